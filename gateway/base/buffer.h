// The memory that mail passes through: buffers that the kernel fills, blocks of their own size, and
// slices of both.
//
//   BufferPool ── owns ──▶ Block ◀── counted references ── Slice
//                          (a 64 KiB receive buffer, or an own-size block)
//
// Block:  header of a piece of memory. References are counted without atomics; the last one out
//         recycles it.
// Slice:  a counted reference to a range of octets. Without a block it is a literal: octets with
//         static storage duration.
// Pool:   one per worker. Receive buffers are carved from one mapping and kept in a LIFO free list
//         (the hottest first); own-size blocks come in a few sizes, each with its own free list, so
//         that steady traffic allocates nothing.
//
// Bound:  bytes_in_use() never passes bytes_max (at most 65,536 receive buffers' worth: the kernel
//         names them by 16 bits); draft() past it gives an empty one, take_buffer() null already
//         past receiving_bytes_max(), and the caller answers as the contract says. What is free
//         is kept for reuse, but given back when another size needs the room: bytes_resident()
//         stays within the same bound.
// Thread: everything of a pool (its blocks, every slice of them) belongs to one thread.
// Errors: none but exhaustion. Memory that is free is poisoned in ASan builds.
#pragma once

#include "base/assert.h"
#include "base/bytes.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

namespace ringmx {

class BufferPool;

struct Block {
    std::byte* memory = nullptr;
    BufferPool* pool = nullptr;
    Block* next_free = nullptr;
    std::uint32_t size_bytes = 0;
    std::uint32_t references = 0;
    std::uint32_t index = 0;     // receive buffers: position in the pool, the kernel's buffer id
    std::uint32_t position = 0;  // own-size blocks: where among all of the pool
    std::uint8_t size_class = 0; // own-size blocks: which free list
    bool is_receive_buffer = false;
};

class Slice {
  public:
    Slice() = default;
    // Takes over no reference: adds its own. `octets` lie inside `block`.
    Slice(Block* block, Bytes octets);
    // Octets with static storage duration.
    [[nodiscard]] static Slice literal(std::string_view text) {
        return Slice(nullptr, as_bytes(text));
    }

    Slice(Slice&& other) noexcept
        : block_(std::exchange(other.block_, nullptr)), data_(std::exchange(other.data_, nullptr)),
          size_(std::exchange(other.size_, 0U)) {}
    Slice& operator=(Slice&& other) noexcept {
        if (this != &other) {
            reset();
            block_ = std::exchange(other.block_, nullptr);
            data_ = std::exchange(other.data_, nullptr);
            size_ = std::exchange(other.size_, 0U);
        }
        return *this;
    }
    Slice(const Slice&) = delete;
    Slice& operator=(const Slice&) = delete;
    ~Slice() { reset(); }

    void reset();

    // A second reference to the range [offset, offset + count).
    [[nodiscard]] Slice share(std::size_t offset, std::size_t count) const;
    [[nodiscard]] Slice share() const { return share(0, size_); }
    // A reference to `octets`, which lie inside this slice.
    [[nodiscard]] Slice share(Bytes octets) const;
    void remove_prefix(std::size_t count) {
        RINGMX_ASSERT(count <= size_);
        data_ += count;
        size_ -= static_cast<std::uint32_t>(count);
    }
    void remove_suffix(std::size_t count) {
        RINGMX_ASSERT(count <= size_);
        size_ -= static_cast<std::uint32_t>(count);
    }

    // Takes in `octets` if they lie right behind this slice in the same block.
    [[nodiscard]] bool extend(const Block* block, Bytes octets) {
        if (block == nullptr || block != block_ || octets.data() != data_ + size_) {
            return false;
        }
        size_ += static_cast<std::uint32_t>(octets.size());
        return true;
    }

    [[nodiscard]] Bytes bytes() const { return {data_, size_}; }
    [[nodiscard]] std::string_view text() const { return as_text(bytes()); }
    [[nodiscard]] const std::byte* data() const { return data_; }
    [[nodiscard]] std::size_t size() const { return size_; }
    [[nodiscard]] bool empty() const { return size_ == 0; }
    [[nodiscard]] const Block* block() const { return block_; }

  private:
    Block* block_ = nullptr;
    const std::byte* data_ = nullptr;
    std::uint32_t size_ = 0;
};

// An own-size block while it is being written: the one time that pool memory is mutable.
class Draft {
  public:
    Draft() = default;
    explicit Draft(Block* block) : block_(block) {} // takes over the caller's reference
    Draft(Draft&& other) noexcept
        : block_(std::exchange(other.block_, nullptr)), size_(std::exchange(other.size_, 0U)),
          taken_(std::exchange(other.taken_, 0U)) {}
    Draft& operator=(Draft&& other) noexcept;
    Draft(const Draft&) = delete;
    Draft& operator=(const Draft&) = delete;
    ~Draft();

    [[nodiscard]] explicit operator bool() const { return block_ != nullptr; }
    [[nodiscard]] std::size_t size() const { return size_; }
    [[nodiscard]] std::size_t room() const {
        return block_ == nullptr ? 0 : block_->size_bytes - size_;
    }
    void append(Bytes octets);
    void append(std::string_view text) { append(as_bytes(text)); }
    // What was written since the last take(), as a slice; the draft goes on behind it.
    [[nodiscard]] Slice take();

  private:
    Block* block_ = nullptr;
    std::uint32_t size_ = 0;
    std::uint32_t taken_ = 0;
};

class BufferPool {
  public:
    struct Settings {
        std::size_t bytes_max; // receive buffers in use plus own-size blocks in use
        std::size_t receive_buffer_bytes = 64 * 1024; // power of two, at most 64 KiB times 16
    };
    explicit BufferPool(Settings settings);
    ~BufferPool();
    BufferPool(const BufferPool&) = delete;
    BufferPool& operator=(const BufferPool&) = delete;

    // A receive buffer with one reference, which the caller owns; null when none may be had. The
    // last sixteenth of the pool (in whole buffers) is not for receiving: what has come must still
    // be answered when there is no room for more.
    [[nodiscard]] Block* take_buffer();
    // Memory for at least `bytes` octets; empty when none may be had or bytes is over
    // draft_bytes_max.
    [[nodiscard]] Draft draft(std::size_t bytes);
    // The block of such a draft, with one reference, which the caller owns; null when none may be
    // had. From draft_page_bytes on its memory is aligned to that, as direct I/O wants it.
    [[nodiscard]] Block* take_block(std::size_t bytes);
    // A copy of the octets in a block of their own; empty when none may be had.
    [[nodiscard]] Slice copy(Bytes octets);
    // Moves what the slice has out of a receive buffer, where that takes less memory; false when
    // there is none.
    [[nodiscard]] bool unpin(Slice& slice);

    void release(Block* block); // one reference
    [[nodiscard]] Block& buffer(std::uint32_t index) { return buffers_[index]; }

    [[nodiscard]] std::size_t bytes_in_use() const { return bytes_in_use_; }
    // What the process really holds: blocks in use and free ones that are kept.
    [[nodiscard]] std::size_t bytes_resident() const { return bytes_resident_; }
    [[nodiscard]] std::size_t bytes_max() const { return settings_.bytes_max; }
    // take_buffer() leaves no more than this in use.
    [[nodiscard]] std::size_t receiving_bytes_max() const { return receiving_bytes_max_; }
    [[nodiscard]] std::size_t receive_buffer_bytes() const {
        return settings_.receive_buffer_bytes;
    }
    [[nodiscard]] std::size_t buffers_max() const { return buffers_max_; }
    // How often a draft or a block was asked for that could not be had.
    [[nodiscard]] std::uint64_t refusals_total() const { return refusals_total_; }

    static constexpr std::array<std::uint32_t, 7> draft_sizes = {128,  512,   1024, 4096,
                                                                 8192, 16384, 65536};
    static constexpr std::size_t draft_bytes_max = draft_sizes.back();
    static constexpr std::size_t draft_page_bytes = 4096;
    // A copy of more octets takes as much as a receive buffer does: it saves nothing.
    static constexpr std::size_t saving_copy_bytes_max = draft_sizes[draft_sizes.size() - 2];

  private:
    void recycle(Block* block);
    void make_room(std::size_t bytes);
    bool give_back_free_block();
    bool give_back_free_buffer();

    Settings settings_;
    std::size_t receiving_bytes_max_ = 0;
    std::size_t buffers_max_ = 0;
    std::byte* mapping_ = nullptr;
    std::unique_ptr<Block[]> buffers_;
    std::uint32_t buffers_touched_ = 0; // those beyond were never used: their pages don't exist yet
    Block* free_buffers_ = nullptr;
    Block* cold_buffers_ = nullptr; // free, and without pages
    std::array<Block*, draft_sizes.size()> free_blocks_{};
    std::size_t bytes_in_use_ = 0;
    std::size_t bytes_resident_ = 0;
    std::uint64_t refusals_total_ = 0;
    std::vector<std::unique_ptr<Block>> blocks_; // every own-size block there is
};

inline Slice::Slice(Block* block, Bytes octets)
    : block_(block), data_(octets.data()), size_(static_cast<std::uint32_t>(octets.size())) {
    if (block_ != nullptr) {
        ++block_->references;
    }
}

inline Slice Slice::share(std::size_t offset, std::size_t count) const {
    RINGMX_ASSERT(offset <= size_ && count <= size_ - offset);
    return {block_, Bytes{data_ + offset, count}};
}

inline Slice Slice::share(Bytes octets) const {
    RINGMX_ASSERT(octets.data() >= data_ && octets.data() + octets.size() <= data_ + size_);
    return {block_, octets};
}

inline void BufferPool::release(Block* block) {
    RINGMX_ASSERT(block->references > 0);
    if (--block->references == 0) {
        recycle(block);
    }
}

inline void Slice::reset() {
    if (block_ != nullptr) {
        block_->pool->release(block_);
        block_ = nullptr;
    }
    data_ = nullptr;
    size_ = 0;
}

} // namespace ringmx
