#include "spool/entry_store.h"

namespace ringmx::spool {

std::uint32_t EntryStore::take() {
    if (open_ == none) {
        open(make_chunk());
    }
    Chunk& chunk = chunks_[open_];
    const std::uint32_t slot = chunk.first_free;
    QueueEntry& entry = at(slot);
    chunk.first_free = entry.next_in_bucket;
    ++chunk.used;
    ++used_;
    if (chunk.first_free == 0) {
        close(open_);
    }
    entry = QueueEntry{};
    return slot;
}

void EntryStore::give_back(std::uint32_t slot) {
    const std::uint32_t number = slot / chunk_entries;
    Chunk& chunk = chunks_[number];
    QueueEntry& entry = at(slot);
    entry = QueueEntry{};
    entry.next_in_bucket = chunk.first_free;
    if (chunk.first_free == 0) {
        open(number);
    }
    chunk.first_free = slot;
    --chunk.used;
    --used_;
    if (chunk.used == 0 && places_ - used_ >= 2 * chunk_entries) {
        close(number);
        chunk.entries.reset();
        chunk.next = missing_;
        missing_ = number;
        places_ -= number == 0 ? chunk_entries - 1 : chunk_entries;
    }
}

std::size_t EntryStore::memory_bytes() const {
    return (places_ + 1) * sizeof(QueueEntry) + chunks_.capacity() * sizeof(Chunk);
}

// All of its places free, the lowest first.
std::uint32_t EntryStore::make_chunk() {
    std::uint32_t number = missing_;
    if (number != none) {
        missing_ = chunks_[number].next;
    } else {
        number = static_cast<std::uint32_t>(chunks_.size());
        RINGMX_ASSERT(number < UINT32_MAX / chunk_entries);
        chunks_.emplace_back();
    }
    Chunk& chunk = chunks_[number];
    chunk.entries = std::make_unique<QueueEntry[]>(chunk_entries);
    const std::uint32_t first = number * chunk_entries + (number == 0 ? 1 : 0);
    const std::uint32_t last = number * chunk_entries + chunk_entries - 1;
    for (std::uint32_t slot = first; slot < last; ++slot) {
        at(slot).next_in_bucket = slot + 1;
    }
    chunk.first_free = first;
    places_ += last - first + 1;
    return number;
}

void EntryStore::open(std::uint32_t number) {
    Chunk& chunk = chunks_[number];
    chunk.previous = none;
    chunk.next = open_;
    if (open_ != none) {
        chunks_[open_].previous = number;
    }
    open_ = number;
}

void EntryStore::close(std::uint32_t number) {
    const Chunk& chunk = chunks_[number];
    if (chunk.next != none) {
        chunks_[chunk.next].previous = chunk.previous;
    }
    if (chunk.previous != none) {
        chunks_[chunk.previous].next = chunk.next;
    } else {
        open_ = chunk.next;
    }
}

} // namespace ringmx::spool
