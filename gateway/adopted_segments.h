// Which segments of earlier runs are still needed: by workers, who count their holds down, or
// because marks in them are about messages in others that are still there.
//
// Owns the AdoptedSegments, not their files.
// Thread: one; holds are counted down by any.
// Errors: none.
#pragma once

#include "spool/segment_table.h"
#include "worker/segment_supply.h"

#include <cstdint>
#include <memory>
#include <vector>

namespace ringmx {

class AdoptedSegments {
  public:
    // In the order of their indexes.
    void adopt(std::vector<std::unique_ptr<worker::AdoptedSegment>> segments,
               std::vector<std::vector<spool::Segment::Marked>> marked);
    // Stays whatever happens.
    void keep(std::uint32_t index) { table_.hold(index); }

    // Those that nothing needs; their files are deleted (durably) before gone() is said of them.
    [[nodiscard]] std::vector<std::uint32_t> unneeded();
    // After unneeded(), now and then: what one that is in the way waits for is in the way too. If the
    // spool takes more than it may, so is all that others wait for that hold nothing, and at each call
    // one more of those that hold little.
    void note_what_is_in_the_way(bool is_over);
    void gone(std::uint32_t index) { table_.discarded(index); }

    [[nodiscard]] const worker::AdoptedSegment& at(std::uint32_t index) const {
        return *segments_[index];
    }
    [[nodiscard]] bool is_there(std::uint32_t index) const {
        return table_.at(index).state != spool::Segment::State::discarded;
    }
    [[nodiscard]] std::uint32_t count() const { return table_.count(); }

  private:
    [[nodiscard]] worker::AdoptedSegment* holding_least();

    spool::SegmentTable table_{0, 0}; // opens none
    std::vector<std::unique_ptr<worker::AdoptedSegment>> segments_;
    std::vector<bool> is_held_; // in the table, while a worker holds it
};

} // namespace ringmx
