#include "load/schedule.h"

#include "load/random.h"

#include <algorithm>
#include <cmath>

namespace ringmx::load {
namespace {

// Apart from what else is drawn from the run's seed.
constexpr std::uint64_t arrivals_seed = 0x6172726976616c73;

} // namespace

Schedule::Schedule(const Rate& rate, Arrivals arrivals, Instant start, unsigned share,
                   unsigned shares, std::uint64_t seed)
    : rate_(rate), arrivals_(arrivals), start_(start), shares_(shares),
      random_seed_(random_number(seed ^ arrivals_seed, share)),
      due_total_(arrivals == Arrivals::even ? share : 0), next_(start) {
    if (arrivals_ == Arrivals::poisson) {
        due_total_ += gap() * shares_;
    }
    next_ = time_of(due_total_);
}

void Schedule::advance() {
    due_total_ += arrivals_ == Arrivals::even ? shares_ : gap() * shares_;
    // What rounding does to arrivals less than a nanosecond apart must not show.
    next_ = std::max(next_, time_of(due_total_));
}

// The inverse of how many are due by a time. While the ramp lasts that is
//
//   arrivals(t) = from t + (to - from) / (2 ramp) t²
//
// and behind it a line. The quadratic formula in the form that does not subtract like from like.
// long double has 64 bits of mantissa or more where this is built; with the nearest nanosecond and
// one rounding on the way (a product that is exact, a quotient) even arrivals stay exact.
Instant Schedule::time_of(long double arrivals) const {
    constexpr long double second = 1e9L; // in nanoseconds
    const long double from = rate_.from_per_second;
    const long double to = rate_.to_per_second;
    const long double ramp = static_cast<long double>(rate_.ramp.count()) / second;
    const long double in_ramp = (from + to) / 2 * ramp;
    long double nanoseconds = 0;
    if (arrivals < in_ramp) {
        const long double curve = (to - from) / (2 * ramp);
        const long double root = std::sqrt(std::max(from * from + 4 * curve * arrivals, 0.0L));
        nanoseconds = arrivals > 0 ? 2 * arrivals / (from + root) * second : 0;
    } else if (to > 0) {
        nanoseconds = ramp * second + (arrivals - in_ramp) * second / to;
    } else {
        return never;
    }
    if (nanoseconds >= static_cast<long double>((never - start_).count())) {
        return never;
    }
    return start_ + Duration(std::llround(nanoseconds));
}

// Not by <random>: its distributions differ from library to library, and a seed must give the same
// run everywhere.
double Schedule::gap() {
    const std::uint64_t bits = random_number(random_seed_, random_count_++) >> 11;
    const double uniform = static_cast<double>(bits + 1) * 0x1p-53; // (0, 1]
    return -std::log(uniform);
}

} // namespace ringmx::load
