// What the queue's index knows of one message: 64 octets, without addresses and without content.
//
// The place, `expires_from_s`, `flags` and the attempts are the caller's to change; the rest goes by
// QueueIndex, since orders and sums depend on it.
// Thread: one worker.
#pragma once

#include "base/assert.h"
#include "base/instant.h"
#include "base/messages/queue_messages.h"
#include "spool/commit.h"
#include "spool/stored_message.h"

#include <algorithm>
#include <cstdint>
#include <vector>

namespace ringmx::spool {

using ringmx::queue_states_count;
using ringmx::QueueState;

inline constexpr std::uint16_t no_pool = 0xFFFF;

// As an entry keeps it: whole ones since 1970.
[[nodiscard]] inline std::uint32_t seconds_of(WallTime time) {
    return static_cast<std::uint32_t>(
        std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count());
}

struct QueueEntry {
    std::uint64_t id = 0;
    std::uint64_t age : 42 = 0;      // the smaller the older; where the next page begins
    std::uint64_t answered : 6 = 0;  // attempts that a backend answered: what retries go by
    std::uint64_t attempts : 16 = 0; // these, and those in which none could be reached
    std::uint64_t offset : 36 = 0;   // of its message record
    std::uint64_t record_bytes : 20 = 0;
    std::uint64_t flags : 7 = 0; // the caller's
    bool has_extra : 1 = false;
    std::uint64_t stored_bytes : 41 = 0; // a message may have 2^40
    std::uint64_t recipients_count : 20 = 0;
    QueueState state : 3 = QueueState::active; // QueueIndex::state() knows who has been woken
    std::uint32_t segment = 0;                 // what the caller calls it
    std::uint32_t accepted_at_s = 0;
    std::uint32_t expires_from_s = 0;
    std::uint32_t next_attempt_tick = 0;
    std::uint32_t next_in_bucket = 0; // a slot; so in a free one, for the next free one
    std::uint32_t place_by_time = 0;  // in a heap; 0: in none
    std::uint32_t place_by_age = 0;
    std::uint16_t pool = no_pool; // that it is to go to, as far as is known
    std::uint16_t last_reply = 0; // to those who pend: QueueIndex::last_reply()

    // Of its message record.
    void set_place(std::uint32_t new_segment, std::uint64_t new_offset,
                   std::uint32_t new_record_bytes) {
        RINGMX_ASSERT(new_offset >> 36U == 0 && new_record_bytes >> 20U == 0);
        segment = new_segment;
        offset = new_offset & 0xF'FFFF'FFFF;
        record_bytes = new_record_bytes & 0xF'FFFF;
    }
    void count_attempt(bool was_answered) {
        if (attempts != 0xFFFF) {
            ++attempts;
        }
        if (was_answered && answered != 0x3F) {
            ++answered;
        }
    }
};
static_assert(sizeof(QueueEntry) == 64, "a cache line");
static_assert(record_bytes_max < (1U << 20U), "a record's size fits");

// What only few messages have.
struct QueueExtra {
    struct Settled {
        std::uint32_t recipient = 0; // its index
        RecipientState state = RecipientState::delivered;
        std::uint16_t reply = 0; // QueueIndex::reply()
    };
    [[nodiscard]] bool is_settled(std::uint32_t recipient) const {
        return std::ranges::binary_search(settled, recipient, {}, &Settled::recipient);
    }
    std::vector<Settled> settled;              // in order of recipients
    std::vector<std::uint32_t> chunk_segments; // each that holds a chunk, once for each chunk
};

} // namespace ringmx::spool
