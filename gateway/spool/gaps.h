// Whether segments lack records that were durable once.
//
// In one life records stand one behind the other, and their sequence numbers go up by one, in the next
// life on from there. A crash leaves holes, and so does a write that fails; what is written after it
// begins a new stretch of numbers, in another life or behind it in the same one.
// Each record says which of those before it were not durable yet when it was written. So of a hole
// that it does not name, in the same stretch, it is known that it is damage. What is missing at a
// life's end is seen by the next one's beginning.
//
// In:     the headers of the records that are whole, in order of offset; then lives, in any order.
// Memory: a few octets for each hole.
// Thread: any.
// Errors: none.
#pragma once

#include "spool/format.h"
#include "spool/stored_message.h"

#include <cstdint>
#include <map>
#include <tuple>
#include <vector>

namespace ringmx::spool {

// Of one life.
class SegmentGaps {
  public:
    void record(const RecordHeader& header);
    // How many records are missing by damage, as this life alone tells; at least 1 where it is not
    // known.
    [[nodiscard]] std::uint64_t lost() const;

  private:
    friend class RunGaps;
    struct Hole { // sequence numbers of one stretch
        std::uint64_t first = 0;
        std::uint64_t end = 0;
    };
    // How many of them are below `sure`.
    [[nodiscard]] static std::uint64_t below(const Hole& hole, std::uint64_t sure);

    std::uint64_t first_sequence_ = 0; // 0: none was seen
    std::uint64_t next_sequence_ = 0;  // likewise
    bool has_its_beginning_ = false;
    std::vector<Hole> holes_;
    // By stretch: what has a lower number was durable, if it was written without failure.
    std::map<std::uint64_t, std::uint64_t> sure_;
};

// Of all that is there of some runs.
class RunGaps {
  public:
    void add(const SegmentName& name, const SegmentGaps& gaps);
    // How many more records of this life are missing by damage than it tells itself.
    [[nodiscard]] std::uint64_t lost_beside(const SegmentName& name) const;

  private:
    using Stretch = std::tuple<std::uint32_t, std::uint16_t, std::uint64_t>; // of whom, and which

    std::map<SegmentName, SegmentGaps> lives_;
    std::map<Stretch, std::uint64_t> sure_;
};

} // namespace ringmx::spool
