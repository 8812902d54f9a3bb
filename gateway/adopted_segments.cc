#include "adopted_segments.h"

#include "base/assert.h"

#include <algorithm>
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

void AdoptedSegments::note_what_is_in_the_way(bool is_over) {
    for (std::uint32_t index = 0; index < segments_.size(); ++index) {
        const bool is_waiting = is_there(index) && table_.at(index).holds == 0;
        const bool is_in_the_way = segments_[index]->is_in_the_way.load(std::memory_order_relaxed);
        if (!is_waiting || (!is_over && !is_in_the_way)) {
            continue;
        }
        for (const spool::Segment::Marked& marked : table_.at(index).marked) {
            const auto home = std::ranges::find(segments_, marked.home,
                                                [](const auto& segment) { return segment->name; });
            if (home != segments_.end()) {
                (*home)->is_in_the_way.store(true, std::memory_order_relaxed);
            }
        }
    }
    worker::AdoptedSegment* const least = is_over ? holding_least() : nullptr;
    if (least != nullptr) {
        least->is_in_the_way.store(true, std::memory_order_relaxed);
    }
}

// Of those that are not in the way yet. Where most of one is mail there is little to be had by moving
// that; null: there is no other.
worker::AdoptedSegment* AdoptedSegments::holding_least() {
    worker::AdoptedSegment* least = nullptr;
    std::uint64_t least_bytes = 0;
    for (std::uint32_t index = 0; index < segments_.size(); ++index) {
        worker::AdoptedSegment& segment = *segments_[index];
        if (!is_held_[index] || segment.is_in_the_way.load(std::memory_order_relaxed)) {
            continue;
        }
        const std::uint64_t bytes =
            segment.live_bytes / segment.records * segment.holds.load(std::memory_order_relaxed);
        if (bytes <= segment.size_bytes / 2 && (least == nullptr || bytes < least_bytes)) {
            least = &segment;
            least_bytes = bytes;
        }
    }
    return least;
}

} // namespace ringmx
