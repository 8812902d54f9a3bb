#include "base/buffer.h"

#include "base/sanitizers.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <ranges>
#include <sys/mman.h>

#ifdef RINGMX_ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#endif

namespace ringmx {
namespace {

constexpr std::size_t buffer_ids_max = 65536; // the kernel names a provided buffer by 16 bits

// Recycled memory never goes back to the allocator, so that ASan has to be told by hand what is
// free.
void poison([[maybe_unused]] const Block& block) {
#ifdef RINGMX_ADDRESS_SANITIZER
    __asan_poison_memory_region(block.memory, block.size_bytes);
#endif
}

void unpoison([[maybe_unused]] const Block& block) {
#ifdef RINGMX_ADDRESS_SANITIZER
    __asan_unpoison_memory_region(block.memory, block.size_bytes);
#endif
}

std::align_val_t alignment_of(std::size_t bytes) {
    return std::align_val_t{bytes < BufferPool::draft_page_bytes ? alignof(std::max_align_t)
                                                                 : BufferPool::draft_page_bytes};
}

std::byte* allocate(std::size_t bytes) {
    return static_cast<std::byte*>(::operator new(bytes, alignment_of(bytes)));
}

void free_memory(const Block& block) {
    ::operator delete(block.memory, alignment_of(block.size_bytes));
}

} // namespace

BufferPool::BufferPool(Settings settings) : settings_(settings) {
    const std::size_t bytes = settings_.receive_buffer_bytes;
    settings_.bytes_max = std::min(settings_.bytes_max, buffer_ids_max * bytes);
    receiving_bytes_max_ = settings_.bytes_max - settings_.bytes_max / 16 / bytes * bytes;
    buffers_max_ = std::max<std::size_t>(1, settings_.bytes_max / bytes);
    const std::size_t mapping_bytes = buffers_max_ * settings_.receive_buffer_bytes;
    void* memory = ::mmap(nullptr, mapping_bytes, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    RINGMX_ASSERT_STATE(memory != MAP_FAILED, "mmap of %zu bytes of address space", mapping_bytes);
    mapping_ = static_cast<std::byte*>(memory);
    buffers_ = std::make_unique<Block[]>(buffers_max_);
}

BufferPool::~BufferPool() {
    RINGMX_ASSERT_STATE(bytes_in_use_ == 0, "%zu bytes of slices outlive their pool",
                        bytes_in_use_);
    for (std::uint32_t index = 0; index < buffers_touched_; ++index) {
        unpoison(buffers_[index]);
    }
    ::munmap(mapping_, buffers_max_ * settings_.receive_buffer_bytes);
    for (const std::unique_ptr<Block>& block : blocks_) {
        unpoison(*block);
        free_memory(*block);
    }
}

Block* BufferPool::take_buffer() {
    const std::size_t bytes = settings_.receive_buffer_bytes;
    if (bytes_in_use_ + bytes > receiving_bytes_max()) {
        return nullptr;
    }
    Block* block = free_buffers_;
    if (block != nullptr) {
        free_buffers_ = block->next_free;
    } else {
        make_room(bytes);
        if (cold_buffers_ != nullptr) {
            block = cold_buffers_;
            cold_buffers_ = block->next_free;
        } else if (buffers_touched_ < buffers_max_) {
            block = &buffers_[buffers_touched_];
            block->memory = mapping_ + std::size_t{buffers_touched_} * bytes;
            block->pool = this;
            block->size_bytes = static_cast<std::uint32_t>(bytes);
            block->index = buffers_touched_;
            block->is_receive_buffer = true;
            ++buffers_touched_;
        } else {
            return nullptr;
        }
        bytes_resident_ += bytes;
    }
    unpoison(*block);
    block->references = 1;
    bytes_in_use_ += bytes;
    return block;
}

Draft BufferPool::draft(std::size_t bytes) {
    Block* const block = take_block(bytes);
    return block == nullptr ? Draft() : Draft(block);
}

Block* BufferPool::take_block(std::size_t bytes) {
    // From the smallest on: most are replies.
    const auto* const size = std::ranges::find_if(
        draft_sizes, [bytes](std::uint32_t size_bytes) { return size_bytes >= bytes; });
    if (size == draft_sizes.end()) {
        return nullptr;
    }
    if (bytes_in_use_ + *size > settings_.bytes_max) {
        ++refusals_total_;
        return nullptr;
    }
    const auto size_class = static_cast<std::uint8_t>(size - draft_sizes.begin());
    Block* block = free_blocks_[size_class];
    if (block != nullptr) {
        free_blocks_[size_class] = block->next_free;
        unpoison(*block);
    } else {
        make_room(*size);
        blocks_.push_back(std::make_unique<Block>());
        block = blocks_.back().get();
        block->position = static_cast<std::uint32_t>(blocks_.size() - 1);
        block->memory = allocate(*size);
        block->pool = this;
        block->size_bytes = *size;
        block->size_class = size_class;
        bytes_resident_ += *size;
    }
    block->references = 1;
    bytes_in_use_ += block->size_bytes;
    return block;
}

// What is in use and what is needed fit in the bound, so that enough of the rest is free.
void BufferPool::make_room(std::size_t bytes) {
    while (bytes_resident_ + bytes > settings_.bytes_max) {
        const bool gave_back = give_back_free_block() || give_back_free_buffer();
        RINGMX_ASSERT_STATE(gave_back, "%zu bytes resident, %zu in use", bytes_resident_,
                            bytes_in_use_);
    }
}

bool BufferPool::give_back_free_block() {
    // The largest first: few of them make room.
    for (Block*& head : std::views::reverse(free_blocks_)) {
        if (head == nullptr) {
            continue;
        }
        Block* const block = head;
        head = block->next_free;
        unpoison(*block);
        free_memory(*block);
        bytes_resident_ -= block->size_bytes;
        const std::uint32_t position = block->position;
        std::swap(blocks_[position], blocks_.back());
        blocks_[position]->position = position;
        blocks_.pop_back();
        return true;
    }
    return false;
}

bool BufferPool::give_back_free_buffer() {
    Block* const block = free_buffers_;
    if (block == nullptr) {
        return false;
    }
    free_buffers_ = block->next_free;
    ::madvise(block->memory, block->size_bytes, MADV_DONTNEED);
    block->next_free = cold_buffers_;
    cold_buffers_ = block;
    bytes_resident_ -= block->size_bytes;
    return true;
}

Slice BufferPool::copy(Bytes octets) {
    Block* const block = take_block(octets.size());
    if (block == nullptr) {
        return {};
    }
    std::copy(octets.begin(), octets.end(), block->memory);
    Slice copied(block, {block->memory, octets.size()});
    release(block); // the slice has a reference of its own
    return copied;
}

bool BufferPool::unpin(Slice& slice) {
    if (slice.block() == nullptr || !slice.block()->is_receive_buffer ||
        slice.size() > saving_copy_bytes_max) {
        return true;
    }
    Slice moved = copy(slice.bytes());
    if (moved.empty()) {
        return false;
    }
    slice = std::move(moved);
    return true;
}

void BufferPool::recycle(Block* block) {
    bytes_in_use_ -= block->size_bytes;
    Block*& head = block->is_receive_buffer ? free_buffers_ : free_blocks_[block->size_class];
    block->next_free = head;
    head = block;
    poison(*block);
}

Draft& Draft::operator=(Draft&& other) noexcept {
    if (this != &other) {
        if (block_ != nullptr) {
            block_->pool->release(block_);
        }
        block_ = std::exchange(other.block_, nullptr);
        size_ = std::exchange(other.size_, 0U);
        taken_ = std::exchange(other.taken_, 0U);
    }
    return *this;
}

Draft::~Draft() {
    if (block_ != nullptr) {
        block_->pool->release(block_);
    }
}

void Draft::append(Bytes octets) {
    RINGMX_ASSERT(octets.size() <= room());
    if (!octets.empty()) {
        std::memcpy(block_->memory + size_, octets.data(), octets.size());
        size_ += static_cast<std::uint32_t>(octets.size());
    }
}

Slice Draft::take() {
    if (block_ == nullptr) {
        return {};
    }
    Slice slice(block_, Bytes{block_->memory + taken_, size_ - taken_});
    taken_ = size_;
    return slice;
}

} // namespace ringmx
