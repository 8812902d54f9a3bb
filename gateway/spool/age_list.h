// Slots in the order in which they were appended, each with an age that is larger than the one before;
// any of them can be erased, and any age be found, whether or not it is still there.
//
//   leaves_   [ first age | ●●●●● ]  [ first age | ●● ]  [ first age | ●●●●●●●● ]  …
//
// Memory: 4 to 12 octets a slot: a leaf is merged with its neighbour when both fit well into one.
// Cost:   O(log n); once a leaf, a move of the rest of leaves_, 16 octets for each.
// Thread: one.
// Errors: none; who is erased must be in it.
#pragma once

#include "spool/entry_store.h"

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

namespace ringmx::spool {

class AgeList {
  public:
    // The slot's entry has its age already.
    void append(const EntryStore& entries, std::uint32_t slot);
    void erase(const EntryStore& entries, std::uint32_t slot);
    // The first with a larger age; 0: there is none.
    [[nodiscard]] std::uint32_t first_after(const EntryStore& entries, std::uint64_t age) const;
    [[nodiscard]] std::size_t memory_bytes() const;

  private:
    struct Leaf {
        std::uint32_t count = 0;
        std::array<std::uint32_t, 123> slots;
    };
    struct Place {
        std::uint64_t first_age = 0; // no slot of the leaf has a smaller one
        std::unique_ptr<Leaf> leaf;
    };
    // The leaf that has this age, if any has it.
    [[nodiscard]] std::size_t place_of(std::uint64_t age) const;
    void drop(std::size_t place);
    [[nodiscard]] bool merge_with_next(std::size_t place);

    std::vector<Place> leaves_;   // none is empty
    std::unique_ptr<Leaf> spare_; // so that a short queue, filled and emptied, allocates nothing
};

} // namespace ringmx::spool
