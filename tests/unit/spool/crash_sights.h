// What recovery came across that must not be taken for a record: for tests that say that they show
// it. Counted of one segment, from its octets and from where its records were found.
//
// Thread: any. Errors: none.
#pragma once

#include "base/bytes.h"
#include "spool/format.h"

#include <cstdint>
#include <utility>
#include <vector>

namespace ringmx::spool {

struct CrashSights {
    std::uint64_t stale = 0;          // whole records of an earlier life, where they were written
    std::uint64_t copies = 0;         // whole records in a place that is not theirs:
    std::uint64_t copies_of_ours = 0; // of these, of this very life
};

// `found`: the records, as first and last octet, in order.
[[nodiscard]] CrashSights
look_around(Bytes file, const Nonce& nonce,
            const std::vector<std::pair<std::uint64_t, std::uint64_t>>& found);

} // namespace ringmx::spool
