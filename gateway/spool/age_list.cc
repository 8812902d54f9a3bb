#include "spool/age_list.h"

#include "base/assert.h"

#include <algorithm>
#include <utility>

namespace ringmx::spool {

void AgeList::append(const EntryStore& entries, std::uint32_t slot) {
    if (leaves_.empty() || leaves_.back().leaf->count == leaves_.back().leaf->slots.size()) {
        if (spare_ == nullptr) {
            spare_ = std::make_unique_for_overwrite<Leaf>();
        }
        spare_->count = 0;
        leaves_.push_back({entries.at(slot).age, std::move(spare_)});
    }
    Leaf& leaf = *leaves_.back().leaf;
    leaf.slots[leaf.count++] = slot;
}

void AgeList::erase(const EntryStore& entries, std::uint32_t slot) {
    const std::size_t place = place_of(entries.at(slot).age);
    Leaf& leaf = *leaves_[place].leaf;
    std::uint32_t* const end = leaf.slots.data() + leaf.count;
    std::uint32_t* const found = std::find(leaf.slots.data(), end, slot);
    RINGMX_ASSERT(found != end);
    std::copy(found + 1, end, found);
    if (--leaf.count == 0) {
        drop(place);
    } else if (!merge_with_next(place) && place > 0) {
        (void)merge_with_next(place - 1);
    }
}

std::uint32_t AgeList::first_after(const EntryStore& entries, std::uint64_t age) const {
    if (leaves_.empty()) {
        return 0;
    }
    const std::size_t place = place_of(age);
    const Leaf& leaf = *leaves_[place].leaf;
    const std::uint32_t* const end = leaf.slots.data() + leaf.count;
    const std::uint32_t* const found = std::upper_bound(
        leaf.slots.data(), end, age,
        [&](std::uint64_t wanted, std::uint32_t slot) { return wanted < entries.at(slot).age; });
    if (found != end) {
        return *found;
    }
    return place + 1 < leaves_.size() ? leaves_[place + 1].leaf->slots[0] : 0;
}

std::size_t AgeList::memory_bytes() const {
    return (leaves_.size() + (spare_ != nullptr ? 1 : 0)) * sizeof(Leaf) +
           leaves_.capacity() * sizeof(Place);
}

std::size_t AgeList::place_of(std::uint64_t age) const {
    const auto behind = std::upper_bound(
        leaves_.begin(), leaves_.end(), age,
        [](std::uint64_t wanted, const Place& place) { return wanted < place.first_age; });
    return behind == leaves_.begin() ? 0 : static_cast<std::size_t>(behind - leaves_.begin()) - 1;
}

void AgeList::drop(std::size_t place) {
    spare_ = std::move(leaves_[place].leaf);
    leaves_.erase(leaves_.begin() + static_cast<std::ptrdiff_t>(place));
}

// Not until there is some room left, so that few erasures don't merge again and again.
bool AgeList::merge_with_next(std::size_t place) {
    if (place + 1 == leaves_.size()) {
        return false;
    }
    Leaf& leaf = *leaves_[place].leaf;
    const Leaf& next = *leaves_[place + 1].leaf;
    if (leaf.count + next.count > leaf.slots.size() * 3 / 4) {
        return false;
    }
    std::copy_n(next.slots.data(), next.count, leaf.slots.data() + leaf.count);
    leaf.count += next.count;
    drop(place + 1);
    return true;
}

} // namespace ringmx::spool
