#include "sink/personality.h"

#include <algorithm>

namespace ringmx::sink {
namespace {

constexpr auto first_verdict = static_cast<std::size_t>(Mischief::tempfail);

} // namespace

Mischief PhaseBehavior::mischief_at(double draw) const {
    for (std::size_t index = 1; index < shares.size(); ++index) {
        if (draw < shares[index]) {
            return static_cast<Mischief>(index);
        }
        draw -= shares[index];
    }
    return Mischief::none;
}

Mischief PhaseBehavior::verdict_at(double draw) const {
    double left = 1;
    for (std::size_t index = 1; index < first_verdict; ++index) {
        left -= shares[index];
    }
    draw *= std::max(left, 0.0);
    for (std::size_t index = first_verdict; index < shares.size(); ++index) {
        if (draw < shares[index]) {
            return static_cast<Mischief>(index);
        }
        draw -= shares[index];
    }
    return Mischief::none;
}

bool PhaseBehavior::is_drawn() const {
    return std::ranges::any_of(shares, [](double share) { return share > 0; });
}

} // namespace ringmx::sink
