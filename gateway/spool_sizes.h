// How large the segments of a run are, and how many each worker may have.
//
// A segment is what becomes free at once: 64 of them make a spool. Large spools have larger ones, so
// that there are few files; small ones many workers of which each needs four: one that it writes
// to, one in reserve, others that old mail pins.
// Thread: any.
// Errors: none; a max_size too small for four segments a worker is exceeded.
#pragma once

#include "base/settings/settings.h"

#include <cstdint>
#include <string>
#include <vector>

namespace ringmx {

struct SpoolSizes {
    std::uint64_t segment_bytes = 0; // whole mebibytes
    std::uint32_t segments_max = 0;  // of each worker
    // More of each worker, for mail that failed and is kept.
    std::uint32_t held_segments_max = 0;
    // Of this run's segments and what earlier ones left, together.
    std::uint64_t bytes_max = UINT64_MAX;

    // `held_bytes_max`: spool.held.max_size.
    [[nodiscard]] static SpoolSizes of(std::uint64_t max_size_bytes, std::uint64_t held_bytes_max,
                                       std::uint32_t workers);
    // What a worker takes of new mail while it has none: a message that is larger gets 452 at MAIL for
    // ever.
    [[nodiscard]] std::uint64_t room_bytes() const;
};

// What an operator should know of a spool's size, "POINTER: what".
[[nodiscard]] std::vector<std::string> spool_size_warnings(const Settings& settings,
                                                           std::uint32_t workers);

} // namespace ringmx
