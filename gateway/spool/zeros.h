// Parts of a segment file that were never written to.
//
// A log is dense: where a commit stands, others stand before it, but for those that were under way
// when the run ended. Behind many more zeros than those could leave nothing can follow, unless the
// disk has lost what it had. Against that one block of each zeros_step is looked at, not all of
// them: a fresh segment would else cost the time to read it at each start.
//
// Thread: any.
// Errors: what can't be read is not zero.
#pragma once

#include "base/bytes.h"
#include "spool/commit.h"
#include "spool/journal.h"
#include "spool/scanner.h"

#include <cstdint>
#include <optional>

namespace ringmx::spool {

inline constexpr std::uint64_t zeros_max = 8UL * 1024 * 1024; // behind which steps are taken
inline constexpr std::uint64_t zeros_step = 1024UL * 1024;

static_assert(zeros_max > writes_max * commit_bytes_max && zeros_step % block_bytes == 0);

[[nodiscard]] bool is_zero(Bytes octets);
// `from`: at a block. Where to read on: a step before the first block looked at that is not zero.
// None: there are only zeros to the end, as far as was looked.
[[nodiscard]] std::optional<std::uint64_t> end_of_zeros(const SegmentReader& read,
                                                        std::uint64_t from);

} // namespace ringmx::spool
