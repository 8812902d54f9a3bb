#include "ring/receive_buffers.h"

#include "base/mutation.h"

#include <algorithm>

namespace ringmx::ring {

ReceiveBuffers::ReceiveBuffers(BufferPool& pool, Port& port, std::size_t posted_target)
    : pool_(pool), port_(port), posted_target_(posted_target),
      offsets_(pool.buffers_max(), not_posted) {
    if (posted_target_ == 0) {
        // Half of a small pool stays free for slices, or nothing that was received could ever wait.
        posted_target_ = std::max<std::size_t>(1, pool.buffers_max() / 2);
    }
    posted_target_ = std::min(posted_target_, port.provided_buffers_max());
    refill();
}

ReceiveBuffers::~ReceiveBuffers() { return_all(); }

Slice ReceiveBuffers::settle(const Completion& completion) {
    if (!completion.has_buffer) {
        return {};
    }
    const std::uint16_t id = completion.buffer_id;
    RINGMX_ASSERT_STATE(id < offsets_.size() && offsets_[id] != not_posted,
                        "completion with buffer %u, which is not posted", unsigned{id});
    Block& block = pool_.buffer(id);
    const std::uint32_t offset = offsets_[id];
    const std::uint32_t count =
        completion.result > 0 ? static_cast<std::uint32_t>(completion.result) : 0U;
    RINGMX_ASSERT_STATE(count <= block.size_bytes - offset, "buffer %u: %u octets at %u of %u",
                        unsigned{id}, count, offset, block.size_bytes);
    Slice slice;
    if (count > 0) {
        slice = Slice(&block, Bytes{block.memory + offset, count});
    }
    RINGMX_MUTATE(offset_shifts, if (completion.buffer_more && !completion.more) return slice);
    if (completion.buffer_more) {
        offsets_[id] = offset + count;
        return slice;
    }
    offsets_[id] = not_posted;
    --posted_;
    RINGMX_MUTATE(double_release, if (block.references > 1) pool_.release(&block));
    pool_.release(&block);
    refill();
    return slice;
}

void ReceiveBuffers::refill() {
    while (posted_ < posted_target_) {
        Block* block = pool_.take_buffer();
        if (block == nullptr) {
            return;
        }
        RINGMX_ASSERT(offsets_[block->index] == not_posted);
        offsets_[block->index] = 0;
        ++posted_;
        port_.provide_buffer(static_cast<std::uint16_t>(block->index),
                             {block->memory, block->size_bytes});
    }
}

void ReceiveBuffers::starve(Token token) { starved_.push_back(token); }

void ReceiveBuffers::forget_rearmed() {
    if (starved_head_ == starved_.size()) {
        starved_.clear();
        starved_head_ = 0;
    } else if (starved_head_ > starved_.size() / 2) {
        starved_.erase(starved_.begin(),
                       starved_.begin() + static_cast<std::ptrdiff_t>(starved_head_));
        starved_head_ = 0;
    }
}

void ReceiveBuffers::return_all() {
    for (std::size_t id = 0; id < offsets_.size() && posted_ > 0; ++id) {
        if (offsets_[id] != not_posted) {
            offsets_[id] = not_posted;
            --posted_;
            pool_.release(&pool_.buffer(static_cast<std::uint32_t>(id)));
        }
    }
}

} // namespace ringmx::ring
