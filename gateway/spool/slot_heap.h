// Slots in a heap that knows where each of them is, so that any of them can be taken out.
//
// Order::before(a, b)   whether entry a comes out before entry b
// Order::place(entry)   where the entry keeps its place in this heap, from 1; 0: it is not in it
//
// Four children a node: half the levels of two, and the entries of all four are fetched at once.
// Cost:   O(log n), no copying growth; pushed in order, O(1).
// Thread: one.
// Errors: none; who is pushed must not be in it, who is removed must be.
#pragma once

#include "base/assert.h"
#include "spool/chunked_array.h"
#include "spool/entry_store.h"

#include <algorithm>
#include <cstdint>

namespace ringmx::spool {

template <typename Order> class SlotHeap {
  public:
    [[nodiscard]] bool empty() const { return slots_.size() == 0; }
    [[nodiscard]] std::uint32_t top() const { return slots_[0]; }
    // Where several heaps share a place: whether it is in this one.
    [[nodiscard]] bool contains(const EntryStore& entries, std::uint32_t slot) const {
        const std::uint32_t place = Order::place(entries.at(slot));
        return place != 0 && place <= slots_.size() && slots_[place - 1] == slot;
    }

    void push(EntryStore& entries, std::uint32_t slot) {
        RINGMX_ASSERT(Order::place(entries.at(slot)) == 0);
        slots_.push_back(slot);
        rise(entries, slots_.size() - 1, slot);
    }

    void remove(EntryStore& entries, std::uint32_t slot) {
        std::uint32_t& place = Order::place(entries.at(slot));
        RINGMX_ASSERT(place != 0 && slots_[place - 1] == slot);
        const std::uint32_t index = place - 1;
        place = 0;
        const std::uint32_t last = slots_[slots_.size() - 1];
        slots_.pop_back();
        if (index < slots_.size()) { // else it was the last
            rise(entries, sink(entries, index, last), last);
        }
    }

    [[nodiscard]] std::size_t memory_bytes() const { return slots_.memory_bytes(); }

  private:
    static constexpr std::uint32_t children = 4;

    void put(EntryStore& entries, std::uint32_t index, std::uint32_t slot) {
        slots_[index] = slot;
        Order::place(entries.at(slot)) = index + 1;
    }
    // From the free place at `index`: where `slot` may be, or above.
    [[nodiscard]] std::uint32_t sink(EntryStore& entries, std::uint32_t index, std::uint32_t slot) {
        const QueueEntry& sinking = entries.at(slot);
        for (;;) {
            const std::uint32_t first = index * children + 1;
            if (first >= slots_.size()) {
                return index;
            }
            const std::uint32_t end = std::min(first + children, slots_.size());
            std::uint32_t best = first;
            for (std::uint32_t child = first + 1; child < end; ++child) {
                if (Order::before(entries.at(slots_[child]), entries.at(slots_[best]))) {
                    best = child;
                }
            }
            if (!Order::before(entries.at(slots_[best]), sinking)) {
                return index;
            }
            put(entries, index, slots_[best]);
            index = best;
        }
    }
    void rise(EntryStore& entries, std::uint32_t index, std::uint32_t slot) {
        const QueueEntry& rising = entries.at(slot);
        while (index > 0) {
            const std::uint32_t parent = (index - 1) / children;
            if (!Order::before(rising, entries.at(slots_[parent]))) {
                break;
            }
            put(entries, index, slots_[parent]);
            index = parent;
        }
        put(entries, index, slot);
    }

    SlotArray slots_;
};

// The next attempt's time, then age.
struct ByTime {
    [[nodiscard]] static bool before(const QueueEntry& a, const QueueEntry& b) {
        return a.next_attempt_tick != b.next_attempt_tick
                   ? a.next_attempt_tick < b.next_attempt_tick
                   : a.age < b.age;
    }
    [[nodiscard]] static std::uint32_t& place(QueueEntry& entry) { return entry.place_by_time; }
    [[nodiscard]] static std::uint32_t place(const QueueEntry& entry) {
        return entry.place_by_time;
    }
};

struct ByAge {
    [[nodiscard]] static bool before(const QueueEntry& a, const QueueEntry& b) {
        return a.age < b.age;
    }
    [[nodiscard]] static std::uint32_t& place(QueueEntry& entry) { return entry.place_by_age; }
    [[nodiscard]] static std::uint32_t place(const QueueEntry& entry) { return entry.place_by_age; }
};

} // namespace ringmx::spool
