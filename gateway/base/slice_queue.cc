#include "base/slice_queue.h"

#include <algorithm>
#include <utility>

namespace ringmx {

void SliceQueue::push(BufferPool& pool, Slice slice) {
    bytes_ += slice.size();
    if (empty()) {
        slices_.push_back(std::move(slice));
        return;
    }
    if (slices_.back().extend(slice.block(), slice.bytes())) {
        return;
    }
    if (slice.size() < gathered_bytes_max) {
        if (gathering_.room() < slice.size()) {
            gathering_ =
                pool.draft(std::clamp(bytes_, 2 * gathered_bytes_max, BufferPool::draft_bytes_max));
        }
        if (gathering_.room() >= slice.size()) {
            gathering_.append(slice.bytes());
            slice = gathering_.take();
            if (slices_.back().extend(slice.block(), slice.bytes())) {
                return;
            }
        }
    }
    slices_.push_back(std::move(slice));
}

void SliceQueue::consume(std::size_t count) {
    Slice& oldest = slices_[first_];
    oldest.remove_prefix(count);
    bytes_ -= count;
    if (!oldest.empty()) {
        return;
    }
    oldest.reset();
    ++first_;
    if (empty()) {
        clear();
    } else if (first_ >= kept_slices_max && first_ > slices_.size() / 2) {
        // A queue that is never quite empty must not grow by what went through it.
        slices_.erase(slices_.begin(), slices_.begin() + static_cast<std::ptrdiff_t>(first_));
        unpinned_ = unpinned_ > first_ ? unpinned_ - first_ : 0;
        first_ = 0;
    }
}

void SliceQueue::clear() {
    slices_.clear();
    if (slices_.capacity() > kept_slices_max) {
        slices_.shrink_to_fit();
    }
    first_ = 0;
    bytes_ = 0;
    unpinned_ = 0;
    if (gathering_) {
        gathering_ = Draft();
    }
}

void SliceQueue::unpin(BufferPool& pool, std::size_t bytes_below) {
    if (bytes_below > unpinned_below_) {
        unpinned_ = 0; // so far only smaller ones were copied
    }
    unpinned_below_ = bytes_below;
    if (!empty() && !unpin_slice(pool, slices_[first_])) { // consumed, it may have become small
        return;
    }
    for (std::size_t index = std::max(first_ + 1, unpinned_); index < slices_.size(); ++index) {
        if (!unpin_slice(pool, slices_[index])) {
            return;
        }
        // The last one may still grow.
        unpinned_ = index + 1 == slices_.size() ? index : index + 1;
    }
}

bool SliceQueue::unpin_slice(BufferPool& pool, Slice& slice) const {
    return slice.size() >= unpinned_below_ || pool.unpin(slice);
}

} // namespace ringmx
