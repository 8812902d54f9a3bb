// Which backends of a pool may be used now, in one pass over them, however many are out: asking a slot
// for its next choice again and again would take a pass for each that is out.
//
// Cost:   O(backends), with a rank for each that is usable; first_usable() none of that while the slot's
//         own choice is usable.
// Thread: any (the states are shared atomics).
// Errors: none.
#pragma once

#include "base/instant.h"
#include "upstream/pool.h"

#include <cstdint>
#include <span>
#include <vector>

namespace ringmx::upstream {

// Those that have a weight and are not among `tried`, by index, into `usable`.
void gather_usable(const Pool& pool, std::span<const std::uint16_t> tried, Instant now,
                   std::vector<std::uint16_t>& usable);

// The one that comes first in the slot's ranking; no_backend when there is none.
[[nodiscard]] std::uint32_t first_usable(const Pool& pool, std::uint32_t slot, Instant now);

} // namespace ringmx::upstream
