#include "spool/id_table.h"

#include "base/assert.h"

namespace ringmx::spool {

namespace {

// Ids that follow one another share a cache line of buckets, in an order of its own: mail comes and
// goes in that order, and each miss counts. The rest (a counter, a worker, a generation) is mixed by
// the product, in its upper half.
std::uint32_t hash(std::uint64_t id) {
    constexpr std::uint64_t neighbours = 64 / sizeof(std::uint32_t);
    const std::uint64_t rest = id / neighbours;
    const std::uint64_t mixed = (rest ^ rest >> 30U) * 0x9E37'79B9'7F4A'7C15;
    return static_cast<std::uint32_t>(mixed >> 32U ^ id % neighbours);
}

} // namespace

IdTable::IdTable() {
    while (buckets_.size() < buckets_min) {
        buckets_.push_back(0);
    }
}

std::uint32_t IdTable::find(const EntryStore& entries, std::uint64_t id) const {
    std::uint32_t slot = buckets_[bucket_of(id)];
    while (slot != 0 && entries.at(slot).id != id) {
        slot = entries.at(slot).next_in_bucket;
    }
    return slot;
}

void IdTable::insert(EntryStore& entries, std::uint32_t slot) {
    QueueEntry& entry = entries.at(slot);
    std::uint32_t& head = buckets_[bucket_of(entry.id)];
    entry.next_in_bucket = head;
    head = slot;
    if (++count_ > buckets_.size()) {
        split(entries);
    }
}

void IdTable::erase(EntryStore& entries, std::uint32_t slot) {
    QueueEntry& entry = entries.at(slot);
    std::uint32_t* link = &buckets_[bucket_of(entry.id)];
    while (*link != slot) {
        RINGMX_ASSERT(*link != 0);
        link = &entries.at(*link).next_in_bucket;
    }
    *link = entry.next_in_bucket;
    --count_;
    // Two buckets go for each message that goes.
    for (int times = 0; times < 2 && count_ < buckets_.size() / 2; ++times) {
        merge(entries);
    }
}

std::uint32_t IdTable::bucket_of(std::uint64_t id) const {
    const std::uint32_t value = hash(id);
    const std::uint32_t bucket = value & (2 * half_ - 1);
    return bucket < buckets_.size() ? bucket : value & (half_ - 1);
}

// The first bucket that is not split yet is shared with a new one at the end.
void IdTable::split(EntryStore& entries) {
    if (buckets_.size() == 2 * half_) {
        half_ *= 2;
    }
    const std::uint32_t old = buckets_.size() - half_;
    std::uint32_t slot = buckets_[old];
    buckets_[old] = 0;
    buckets_.push_back(0);
    while (slot != 0) {
        QueueEntry& entry = entries.at(slot);
        std::uint32_t& head = buckets_[bucket_of(entry.id)];
        const std::uint32_t next = entry.next_in_bucket;
        entry.next_in_bucket = head;
        head = slot;
        slot = next;
    }
    // What the next one will look at.
    __builtin_prefetch(&entries.at(buckets_[old + 1]));
}

void IdTable::merge(EntryStore& entries) {
    if (buckets_.size() == buckets_min) {
        return;
    }
    if (buckets_.size() == half_) {
        half_ /= 2;
    }
    const std::uint32_t last = buckets_.size() - 1;
    std::uint32_t* link = &buckets_[last - half_];
    while (*link != 0) {
        link = &entries.at(*link).next_in_bucket;
    }
    *link = buckets_[last];
    buckets_.pop_back();
}

} // namespace ringmx::spool
