// An array that grows and shrinks at its end without copying what is in it: a chunk at a time.
//
// Memory: whole chunks; an empty one is kept, so that who goes to and fro over an edge allocates
//         nothing. T is trivial, and not initialised beyond push_back().
// Thread: one.
// Errors: none; an index must be below size().
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <vector>

namespace ringmx::spool {

template <typename T, std::uint32_t chunk_items> class ChunkedArray {
    static_assert(std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T>);

  public:
    [[nodiscard]] std::uint32_t size() const { return size_; }
    [[nodiscard]] T& operator[](std::uint32_t index) {
        return chunks_[index / chunk_items][index % chunk_items];
    }
    [[nodiscard]] const T& operator[](std::uint32_t index) const {
        return chunks_[index / chunk_items][index % chunk_items];
    }
    void push_back(const T& item) {
        if (size_ == chunks_.size() * chunk_items) {
            chunks_.push_back(std::make_unique_for_overwrite<T[]>(chunk_items));
        }
        ++size_;
        (*this)[size_ - 1] = item;
    }
    void pop_back() {
        --size_;
        if (size_ + 2 * chunk_items <= chunks_.size() * chunk_items) {
            chunks_.pop_back();
        }
    }
    [[nodiscard]] std::size_t memory_bytes() const {
        return chunks_.size() * chunk_items * sizeof(T) + chunks_.capacity() * sizeof(chunks_[0]);
    }

  private:
    std::vector<std::unique_ptr<T[]>> chunks_;
    std::uint32_t size_ = 0;
};

// Of slots: 4 KiB, so that a queue of few messages stays small.
using SlotArray = ChunkedArray<std::uint32_t, 1024>;

} // namespace ringmx::spool
