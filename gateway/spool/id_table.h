// Slots by the ids of their messages: linear hashing, whose buckets are split one at a time, so that
// growth never stalls. Messages of one bucket are chained through their entries.
//
// Load:   between a half and one message a bucket, but never below buckets_min.
// Thread: one.
// Errors: none; ids are unique.
// Source: Litwin, "Linear Hashing: A New Tool for File and Table Addressing" (1980).
#pragma once

#include "spool/chunked_array.h"
#include "spool/entry_store.h"

#include <cstdint>

namespace ringmx::spool {

class IdTable {
  public:
    IdTable();
    // 0: there is none.
    [[nodiscard]] std::uint32_t find(const EntryStore& entries, std::uint64_t id) const;
    void insert(EntryStore& entries, std::uint32_t slot);
    void erase(EntryStore& entries, std::uint32_t slot);
    [[nodiscard]] std::size_t memory_bytes() const { return buckets_.memory_bytes(); }

  private:
    static constexpr std::uint32_t buckets_min = 256;

    [[nodiscard]] std::uint32_t bucket_of(std::uint64_t id) const;
    void split(EntryStore& entries);
    void merge(EntryStore& entries);

    SlotArray buckets_;                // the first of each chain; 0: none
    std::uint32_t half_ = buckets_min; // a power of two; buckets below size - half_ are split
    std::uint32_t count_ = 0;
};

} // namespace ringmx::spool
