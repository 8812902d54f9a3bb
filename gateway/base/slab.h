// Objects at stable addresses, named by slot and generation, so that a name which outlives its
// object finds nothing.
//
//   Slab<T> slab(slots_max);
//   T* object = slab.create(arguments…);          null when slots_max are in use
//   T(Handle self, arguments…)                    every object is told its own handle
//   slab.find(handle)                             null once the object is gone, even if its slot is
//                                                 in use again
//   slab.existing(handle)                         where that would be our mistake
//
// Memory grows by chunks of chunk_slots and is kept; a free slot is reused last in, first out
// (cache-hot).
// Invariant: a generation is never 0, so Handle{} names nothing. Generations wrap after 2^32 reuses
//            of one slot.
// Thread:    one.
// Errors:    create() gives null when full.
#pragma once

#include "base/assert.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <utility>
#include <vector>

namespace ringmx {

struct Handle {
    std::uint32_t slot = 0;
    std::uint32_t generation = 0; // 0: names nothing

    [[nodiscard]] explicit operator bool() const { return generation != 0; }
    [[nodiscard]] constexpr std::uint64_t packed() const {
        return std::uint64_t{slot} << 32U | generation;
    }
    [[nodiscard]] static constexpr Handle unpacked(std::uint64_t value) {
        return {static_cast<std::uint32_t>(value >> 32U), static_cast<std::uint32_t>(value)};
    }
    bool operator==(const Handle&) const = default;
};

template <typename T> class Slab {
  public:
    static constexpr std::uint32_t chunk_slots = 64;

    explicit Slab(std::uint32_t slots_max) : slots_max_(slots_max) {}
    Slab(const Slab&) = delete;
    Slab& operator=(const Slab&) = delete;
    ~Slab() {
        for_each([this](T& object) { destroy(object); });
    }

    // T is made from its own handle first, then the arguments.
    template <typename... Arguments> [[nodiscard]] T* create(Arguments&&... arguments) {
        std::uint32_t slot = free_;
        if (slot != none) {
            free_ = entry(slot).next_free;
        } else if (touched_ < slots_max_) {
            slot = touched_++;
            if (slot % chunk_slots == 0) {
                chunks_.push_back(std::make_unique<Chunk>());
            }
        } else {
            return nullptr;
        }
        Entry& place = entry(slot);
        place.slot = slot;
        place.used = true;
        if (++place.generation == 0) {
            place.generation = 1;
        }
        ++used_;
        return ::new (static_cast<void*>(place.storage))
            T(Handle{slot, place.generation}, std::forward<Arguments>(arguments)...);
    }

    void destroy(T& object) {
        Entry& place = entry_of(object);
        RINGMX_ASSERT(place.used);
        object.~T();
        place.used = false;
        place.next_free = free_;
        free_ = place.slot;
        --used_;
    }

    [[nodiscard]] T* find(Handle handle) {
        if (handle.slot >= touched_) {
            return nullptr;
        }
        Entry& place = entry(handle.slot);
        return place.used && place.generation == handle.generation ? place.object() : nullptr;
    }

    // Where it can't be gone.
    [[nodiscard]] T& existing(Handle handle) {
        T* const object = find(handle);
        RINGMX_ASSERT(object != nullptr);
        return *object;
    }

    // By slot alone, where the caller knows that the name is fresh; null when the slot is free.
    [[nodiscard]] T* at(std::uint32_t slot) {
        if (slot >= touched_) {
            return nullptr;
        }
        Entry& place = entry(slot);
        return place.used ? place.object() : nullptr;
    }

    // The callback may destroy the object that it is given.
    template <typename Callback> void for_each(Callback&& callback) {
        for (std::uint32_t slot = 0; slot < touched_; ++slot) {
            Entry& place = entry(slot);
            if (place.used) {
                callback(*place.object());
            }
        }
    }

    [[nodiscard]] std::uint32_t used() const { return used_; }

  private:
    static constexpr std::uint32_t none = UINT32_MAX;

    struct Entry {
        alignas(T) std::byte storage[sizeof(T)];
        std::uint32_t generation = 0;
        std::uint32_t next_free = none;
        std::uint32_t slot = 0;
        bool used = false;

        [[nodiscard]] T* object() { return std::launder(reinterpret_cast<T*>(storage)); }
    };
    struct Chunk {
        Entry entries[chunk_slots];
    };

    [[nodiscard]] Entry& entry(std::uint32_t slot) {
        return chunks_[slot / chunk_slots]->entries[slot % chunk_slots];
    }
    [[nodiscard]] static Entry& entry_of(T& object) {
        // storage is an Entry's first member.
        return *reinterpret_cast<Entry*>(&object);
    }

    std::uint32_t slots_max_;
    std::uint32_t touched_ = 0;
    std::uint32_t used_ = 0;
    std::uint32_t free_ = none;
    std::vector<std::unique_ptr<Chunk>> chunks_;
};

} // namespace ringmx
