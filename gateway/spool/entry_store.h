// Where queue entries live: at stable addresses, named by slots, which are used again.
//
// Slot 0 is never given: it stands for none.
// Memory: chunks of 64 KiB. One that is empty goes back once as many places as it has are free
//         elsewhere: memory follows the queue down, and who goes to and fro allocates nothing.
// Thread: one.
// Errors: none; at() must be given a slot in use.
#pragma once

#include "base/assert.h"
#include "spool/queue_entry.h"

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

namespace ringmx::spool {

class EntryStore {
  public:
    static constexpr std::uint32_t chunk_entries = 1024;

    [[nodiscard]] std::uint32_t take();
    void give_back(std::uint32_t slot);

    [[nodiscard]] QueueEntry& at(std::uint32_t slot) {
        return chunks_[slot / chunk_entries].entries[slot % chunk_entries];
    }
    [[nodiscard]] const QueueEntry& at(std::uint32_t slot) const {
        return chunks_[slot / chunk_entries].entries[slot % chunk_entries];
    }
    // Before a slot that came from outside is used.
    [[nodiscard]] bool is_used(std::uint32_t slot) const {
        return slot / chunk_entries < chunks_.size() &&
               chunks_[slot / chunk_entries].entries != nullptr && at(slot).age != 0;
    }
    [[nodiscard]] std::uint32_t used() const { return used_; }
    [[nodiscard]] std::size_t memory_bytes() const;

  private:
    static constexpr std::uint32_t none = UINT32_MAX;

    struct Chunk {
        std::unique_ptr<QueueEntry[]> entries; // null: has none, may be made again
        std::uint32_t used = 0;
        std::uint32_t first_free = 0; // a slot; 0: it is full
        std::uint32_t previous = none;
        std::uint32_t next = none; // of those with a free place; of those without entries
    };
    std::uint32_t make_chunk();
    void open(std::uint32_t number);
    void close(std::uint32_t number);

    std::vector<Chunk> chunks_;
    std::uint32_t open_ = none;    // a chunk with a free place
    std::uint32_t missing_ = none; // one without entries
    std::uint32_t used_ = 0;
    std::uint32_t places_ = 0;
};

} // namespace ringmx::spool
