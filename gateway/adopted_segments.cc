#include "adopted_segments.h"

#include "base/assert.h"

#include <utility>

namespace ringmx {

void AdoptedSegments::adopt(std::vector<std::unique_ptr<worker::AdoptedSegment>> segments,
                            std::vector<std::vector<spool::Segment::Marked>> marked) {
    RINGMX_ASSERT(segments_.empty() && segments.size() == marked.size());
    segments_ = std::move(segments);
    is_held_.resize(segments_.size());
    for (std::uint32_t index = 0; index < segments_.size(); ++index) {
        const worker::AdoptedSegment& segment = *segments_[index];
        (void)table_.adopt(segment.descriptor, segment.name, segment.size_bytes,
                           std::move(marked[index]));
        table_.hold(index);
        is_held_[index] = true;
    }
}

std::vector<std::uint32_t> AdoptedSegments::unneeded() {
    std::vector<std::uint32_t> found;
    for (std::uint32_t index = 0; index < segments_.size(); ++index) {
        // Acquire: what the worker did with the descriptor is over.
        if (is_held_[index] && segments_[index]->holds.load(std::memory_order_acquire) == 0) {
            is_held_[index] = false;
            table_.release(index);
        }
        if (is_there(index) && table_.at(index).holds == 0 && table_.at(index).marked.empty()) {
            found.push_back(index);
        }
    }
    return found;
}

} // namespace ringmx
