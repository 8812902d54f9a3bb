// Octets that have come and wait to be taken: slices in order, consumed from the front.
//
// What waits must not pin much more memory than it has octets: a slice that lies right behind the
// last one becomes part of it, small ones (under gathered_bytes_max) that follow another are copied
// together, and unpin() moves the rest out of shared buffers.
//
// Bounds: at most 2 * bytes() / gathered_bytes_max + 2 slices.
// Cost:   push and consume are O(1) but for the octets copied.
// Thread: one.
// Errors: without memory to copy into, slices are kept as they came.
#pragma once

#include "base/buffer.h"

#include <cstddef>
#include <vector>

namespace ringmx {

class SliceQueue {
  public:
    static constexpr std::size_t gathered_bytes_max = 512;

    void push(BufferPool& pool, Slice slice);
    [[nodiscard]] bool empty() const { return first_ == slices_.size(); }
    [[nodiscard]] std::size_t bytes() const { return bytes_; }
    // The oldest slice; empty() must be false. Valid until the next call that changes the queue,
    // but for push().
    [[nodiscard]] const Slice& front() const { return slices_[first_]; }
    // `count` octets of front() are done with.
    void consume(std::size_t count);
    void clear();
    // Copies slices of fewer than `bytes_below` octets that lie in receive buffers into memory of their own, where that takes less.
    void unpin(BufferPool& pool, std::size_t bytes_below);

  private:
    static constexpr std::size_t kept_slices_max = 16; // an emptied queue keeps no more room

    [[nodiscard]] bool unpin_slice(BufferPool& pool, Slice& slice) const; // false: no memory

    std::vector<Slice> slices_;
    std::size_t first_ = 0;
    std::size_t bytes_ = 0;
    std::size_t unpinned_ = 0;       // slices before this one were looked at by unpin() already,
    std::size_t unpinned_below_ = 0; // with this bound
    Draft gathering_;
};

} // namespace ringmx
