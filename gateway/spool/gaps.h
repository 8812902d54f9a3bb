// Whether a segment lacks records that were durable once.
//
// In one life records stand one behind the other, and their sequence numbers go up by one. A crash
// leaves holes among the last writes_max commits only: no more are under way at a time, and a write
// that fails ends the life. So a hole that writes_max commits or more stand behind is damage. Holes
// nearer to the end can't be told from a crash's.
//
// In:     the headers of the records that are whole, in order of offset.
// Thread: any.
// Errors: none.
#pragma once

#include "spool/format.h"
#include "spool/journal.h"

#include <array>
#include <cstdint>

namespace ringmx::spool {

class SegmentGaps {
  public:
    void record(const RecordHeader& header);
    // How many records are missing by damage; at least 1 where it is not known.
    [[nodiscard]] std::uint64_t lost() const { return lost_; }

  private:
    std::uint64_t end_ = block_bytes; // of the record before
    std::uint64_t next_sequence_ = 0; // 0: none was seen
    // Records missing before each of the last commits, in a circle. What leaves it was lost: with
    // the one that comes, writes_max commits stand behind it.
    std::array<std::uint64_t, writes_max - 1> missing_{};
    std::uint64_t commits_ = 0;
    std::uint64_t lost_ = 0;
};

} // namespace ringmx::spool
