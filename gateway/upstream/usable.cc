#include "upstream/usable.h"

#include <algorithm>

namespace ringmx::upstream {

void gather_usable(const Pool& pool, std::span<const std::uint16_t> tried, Instant now,
                   std::vector<std::uint16_t>& usable) {
    usable.clear();
    for (const std::uint16_t index : pool.table.weighted()) {
        const bool is_tried = std::ranges::find(tried, index) != tried.end();
        if (!is_tried && pool.states[index]->usable(now)) {
            usable.push_back(index);
        }
    }
}

std::uint32_t first_usable(const Pool& pool, std::uint32_t slot, Instant now) {
    const std::uint32_t first = pool.table.first(slot);
    if (first == no_backend || pool.states[first]->usable(now)) {
        return first;
    }
    std::vector<std::uint16_t> usable;
    gather_usable(pool, {}, now, usable);
    return pool.table.best_of(slot, usable);
}

} // namespace ringmx::upstream
