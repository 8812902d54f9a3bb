#include "spool/gaps.h"

#include <algorithm>

namespace ringmx::spool {

void SegmentGaps::record(const RecordHeader& header) {
    const std::uint64_t before = round_up(end_, record_alignment);
    std::uint64_t missing = 0;
    if (next_sequence_ != 0) {
        missing = header.sequence - std::min(header.sequence, next_sequence_);
    } else if (header.offset != block_bytes) {
        missing = 1;
    }
    // The first record of a commit stands on a block's beginning. (Where the commit before fills
    // its last block exactly the two count as one.)
    const bool begins_commit = missing > 0 || next_sequence_ == 0 || header.offset != before;
    if (begins_commit) {
        std::uint64_t& place = missing_[commits_++ % missing_.size()];
        lost_ += place;
        place = missing;
    }
    end_ = header.offset + header.record_bytes;
    next_sequence_ = header.sequence + 1;
}

} // namespace ringmx::spool
