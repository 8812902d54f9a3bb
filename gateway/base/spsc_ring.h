// A bounded ring of values from one thread to one other, without locks: log records, messages
// between threads.
//
// Producer: push_slot() gives the place of the next value (null when the ring is full), publish()
//           hands it over; or try_push().
// Consumer: front() gives the oldest value (null when there is none), pop_front() gives its place
//           back; or try_pop().
// Shape:    the two indexes count values ever pushed and ever popped; each stands on a cache line
//           of its own, beside the side's last known copy of the other's, so that a ring that is
//           neither full nor empty costs one shared line per push and pop.
// Bound:    the capacity, a power of two, allocated once by the constructor (plain memory is not
//           touched until it is used).
// Thread:   one producer and one consumer at a time; a place may be written through until publish()
//           and read until pop_front().
// Errors:   none but full and empty.
//
// Values are reused in place: a T that owns something gives it up when it is moved out of.
#pragma once

#include "base/assert.h"

#include <atomic>
#include <bit>
#include <cstddef>
#include <memory>
#include <type_traits>
#include <utility>

namespace ringmx {

// What x86-64 and most aarch64 cores keep coherent as one;
// std::hardware_destructive_interference_size differs by compiler flag.
inline constexpr std::size_t cache_line_bytes = 64;

template <typename T> class SpscRing {
    static_assert(std::is_nothrow_move_assignable_v<T>,
                  "a value that throws half-way would be lost");

  public:
    explicit SpscRing(std::size_t capacity)
        : mask_(capacity - 1), places_(std::make_unique_for_overwrite<T[]>(capacity)) {
        RINGMX_ASSERT_STATE(std::has_single_bit(capacity), "capacity %zu", capacity);
    }
    SpscRing(const SpscRing&) = delete;
    SpscRing& operator=(const SpscRing&) = delete;

    // The producer's side.
    [[nodiscard]] T* push_slot() {
        const std::size_t tail = producer_.own.load(std::memory_order_relaxed);
        if (tail - producer_.other_seen > mask_) {
            producer_.other_seen = consumer_.own.load(std::memory_order_acquire);
            if (tail - producer_.other_seen > mask_) {
                return nullptr;
            }
        }
        return &places_[tail & mask_];
    }
    // More than half of the places are taken.
    [[nodiscard]] bool is_over_half() {
        const std::size_t tail = producer_.own.load(std::memory_order_relaxed);
        if (tail - producer_.other_seen <= mask_ / 2) {
            return false;
        }
        producer_.other_seen = consumer_.own.load(std::memory_order_acquire);
        return tail - producer_.other_seen > mask_ / 2;
    }
    void publish() {
        const std::size_t tail = producer_.own.load(std::memory_order_relaxed);
        producer_.own.store(tail + 1, std::memory_order_release);
    }
    [[nodiscard]] bool try_push(T&& value) {
        T* place = push_slot();
        if (place == nullptr) {
            return false;
        }
        *place = std::move(value);
        publish();
        return true;
    }
    [[nodiscard]] bool try_push(const T& value) { return try_push(T(value)); }

    // The consumer's side.
    [[nodiscard]] T* front() {
        const std::size_t head = consumer_.own.load(std::memory_order_relaxed);
        if (head == consumer_.other_seen) {
            consumer_.other_seen = producer_.own.load(std::memory_order_acquire);
            if (head == consumer_.other_seen) {
                return nullptr;
            }
        }
        return &places_[head & mask_];
    }
    void pop_front() {
        const std::size_t head = consumer_.own.load(std::memory_order_relaxed);
        consumer_.own.store(head + 1, std::memory_order_release);
    }
    [[nodiscard]] bool try_pop(T& value) {
        T* place = front();
        if (place == nullptr) {
            return false;
        }
        value = std::move(*place);
        pop_front();
        return true;
    }

    [[nodiscard]] std::size_t capacity() const { return mask_ + 1; }

  private:
    struct alignas(cache_line_bytes) Side {
        std::atomic<std::size_t> own{0};
        std::size_t other_seen = 0; // only this side reads and writes it
    };

    std::size_t mask_;
    std::unique_ptr<T[]> places_;
    Side producer_;
    Side consumer_;
};

} // namespace ringmx
