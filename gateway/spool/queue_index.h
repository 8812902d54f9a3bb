// Every live message of one worker's queue, in memory: found by id, in order of age, and by when it
// is due.
//
//            set_due()             its time has come
//   active ─────────────▶ due ─────────────────────────────────────┐
//   ▲ │ │    park()                 its time has come, or wake()   ▼
//   │ │ ├───────────────▶ parked ─────────────────────────────▶ next_due()
//   │ │ │ hold_for_pool()                            wake()        ▲ │
//   │ │ └───────────────▶ pool_hold ───────────────────────────────┘ │
//   │ └─────────────────▶ on_hold, failed                            │ set_active()
//   └────────────────────────────────────────────────────────────────┘
//
// Any state leads to any other. next_due() only names a message; set_active() takes it.
// Age:     new mail in order of add(), adopted mail before all new mail, in order of adopt(). An age is
//          never used again, so it serves as a page's cursor whatever has gone meanwhile.
// Due:     oldest first among those whose time has come; of a crowd that comes due in one instant
//          a few are looked at in each call, in order of their time. Times are kept in steps of
//          due_step, rounded down: well within the spread of retries.
// Pools:   park() and hold_for_pool() are by pool; wake() makes all of a pool due at once, in O(1).
//          The first that is parked again puts those that are left back to sleep: park only while
//          the pool takes no mail, else nobody may wake it. Pools are the caller's numbers, small
//          ones; they must keep their meaning.
// Crowds:  what is due and names a pool that is crowded is due all the same, but next_due() passes it
//          over, once each: it stands aside, by age, until uncrowd(). Both are O(1), as wake() is.
// Slots:   a slot names its message until erase(), then another one. Who comes back later, comes with
//          an id.
// Cost:    O(1) or O(log n) each; growth copies nothing and stalls nobody (linear hashing, chunks).
// Memory:  at most 96 octets a message, and what replies and extras take.
// Thread:  one worker.
// Errors:  none.
// Source:  Litwin, "Linear Hashing: A New Tool for File and Table Addressing" (1980).
#pragma once

#include "base/instant.h"
#include "base/reply_table.h"
#include "spool/age_list.h"
#include "spool/entry_store.h"
#include "spool/id_table.h"
#include "spool/queue_entry.h"
#include "spool/reply_patterns.h"
#include "spool/slot_heap.h"

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace ringmx::spool {

class QueueIndex {
  public:
    using Slot = std::uint32_t;

    static constexpr Duration due_step{1 << 27}; // about 134 ms

    struct Message {
        std::uint64_t id = 0;
        std::uint32_t segment = 0;
        std::uint64_t offset = 0;
        std::uint32_t record_bytes = 0;
        std::uint64_t stored_bytes = 0;
        std::uint32_t recipients_count = 0;
        std::uint32_t accepted_at_s = 0; // since 1970
        std::uint32_t expires_from_s = 0;
    };
    struct Sum {
        std::uint64_t messages = 0;
        std::uint64_t stored_bytes = 0;
    };

    // Each is active then. Its id must be new (checked of what comes from a disk).
    Slot add(const Message& message);
    Slot adopt(const Message& message);
    void erase(Slot slot);

    [[nodiscard]] std::optional<Slot> find(std::uint64_t id) const;
    [[nodiscard]] QueueEntry& at(Slot slot) {
        RINGMX_ASSERT(entries_.is_used(slot));
        return entries_.at(slot);
    }
    [[nodiscard]] const QueueEntry& at(Slot slot) const {
        RINGMX_ASSERT(entries_.is_used(slot));
        return entries_.at(slot);
    }
    [[nodiscard]] QueueState state(Slot slot) const;
    [[nodiscard]] Instant next_attempt(Slot slot) const; // `never` if it has none

    void set_active(Slot slot);
    void set_due(Slot slot, Instant when);
    // Becomes due by wake(pool), at the latest at `second_line`.
    void park(Slot slot, std::uint16_t pool, Instant second_line);
    // Becomes due by wake(pool) alone.
    void hold_for_pool(Slot slot, std::uint16_t pool);
    void hold(Slot slot); // by an operator
    void fail(Slot slot); // for good
    // As a hint; no_pool: not known. Of one that waits for none.
    void set_pool(Slot slot, std::uint16_t pool);
    void set_stored_bytes(Slot slot, std::uint64_t bytes);

    // Whether somebody is asleep for it; wakes them.
    [[nodiscard]] bool is_asleep(std::uint16_t pool) const {
        return pool < pools_.size() && !pools_[pool].is_awake && !pools_[pool].waiting.empty();
    }
    bool wake(std::uint16_t pool);
    // Until uncrowd() next_due() gives nothing that names it.
    void crowd(std::uint16_t pool);
    void uncrowd(std::uint16_t pool);
    // Whether next_due() names another one of this pool's before this one, once it is not crowded.
    [[nodiscard]] bool has_older(std::uint16_t pool, Slot slot) const;
    // Whether some message names it, be it as a hint only: then it must keep its meaning.
    [[nodiscard]] bool is_named(std::uint16_t pool) const {
        return pool < pools_.size() && pools_[pool].named_by > 0;
    }
    // Nothing also while many have to be passed over: the next call goes on with that.
    [[nodiscard]] std::optional<Slot> next_due(Instant now);
    // When next_due() has something, or something to pass over, without anything else happening; the
    // past if it has now.
    [[nodiscard]] Instant next_deadline() const;

    // In order of age: the first behind `age`, 0 for the very first.
    [[nodiscard]] std::optional<Slot> first_after(std::uint64_t age) const;

    [[nodiscard]] Sum sum(QueueState state) const;
    // Of a pool, parked or held for it.
    [[nodiscard]] Sum sum(QueueState state, std::uint16_t pool) const;
    [[nodiscard]] Sum sum() const;
    // Goes up whenever a sum, or what is oldest, may have changed.
    [[nodiscard]] std::uint64_t changes() const { return changes_; }
    [[nodiscard]] Sum held() const; // on hold, or failed
    [[nodiscard]] std::optional<std::uint32_t> oldest_accepted_at_s() const;

    // What was said last of a recipient who pends.
    struct LastReply {
        std::uint32_t recipient = 0;
        std::optional<std::string_view> text; // none: as before
    };
    // Of all who pend, in order. Where there are too many different ones they are cut to their codes,
    // or are not known: never is one given for another's.
    void set_last_replies(Slot slot, std::span<const LastReply> replies);
    [[nodiscard]] std::string_view last_reply(Slot slot, std::uint32_t recipient) const {
        return reply(patterns_.reply(at(slot).last_reply, recipient));
    }
    [[nodiscard]] std::string_view reply(std::uint16_t index) const { return replies_.text(index); }

    // Null when it has none.
    [[nodiscard]] const QueueExtra* extra(Slot slot) const;
    void settle(Slot slot, std::uint32_t recipient, RecipientState state, std::string_view text,
                std::string_view fallback);
    // An operator's release: those that failed pend again, and have been told what they were.
    void unsettle_failed(Slot slot);
    void set_chunk_segments(Slot slot, std::vector<std::uint32_t> segments);

    [[nodiscard]] std::size_t memory_bytes() const;

  private:
    struct Pool {
        SlotHeap<ByAge> waiting; // parked, or held for the pool
        SlotHeap<ByAge> aside;   // due, and passed over while it was crowded
        std::array<Sum, queue_states_count> sums;
        std::uint32_t named_by = 0; // messages
        bool is_awake = false;
        bool is_crowded = false;
        bool is_offering = false;
    };

    Slot insert(const Message& message, std::uint64_t age, AgeList& list);
    void change_state(QueueEntry& entry, QueueState state);
    void leave(Slot slot);
    void enter_pool(Slot slot, std::uint16_t pool, QueueState state);
    void leave_pool(QueueEntry& entry, Slot slot);
    void suspend(std::uint16_t pool);
    [[nodiscard]] bool is_aside(const QueueEntry& entry, Slot slot) const;
    [[nodiscard]] bool is_crowded(const QueueEntry& entry) const {
        return entry.pool != no_pool && pools_[entry.pool].is_crowded;
    }
    void leave_ready(QueueEntry& entry, Slot slot);
    void update_offer(std::uint16_t pool);
    void name_pool(QueueEntry& entry, std::uint16_t pool);
    void ripen(Instant now);
    void pass_over_crowded();
    void set_next_attempt(Slot slot, Instant when);
    [[nodiscard]] AgeList& list_of(std::uint64_t age);
    [[nodiscard]] ReplyPatterns::Parts parts_of(Slot slot, std::span<const LastReply> replies,
                                                bool is_plain);
    void append_part(ReplyPatterns::Parts& parts, std::uint32_t recipient, std::uint16_t reply);
    [[nodiscard]] QueueExtra& make_extra(Slot slot);
    void drop_extra(Slot slot);

    EntryStore entries_;
    IdTable ids_;
    AgeList adopted_;
    AgeList fresh_;
    std::uint64_t adopted_age_ = 0; // the last one
    std::uint64_t fresh_age_ = first_fresh_age;
    SlotHeap<ByTime> by_time_; // due later, or parked with a second line
    SlotHeap<ByAge> ready_;    // their time has come, and they are not aside
    std::vector<Pool> pools_;
    std::vector<std::uint16_t> awake_;    // pools that are awake: somebody waits for each of them
    std::vector<std::uint16_t> offering_; // pools not crowded that are awake, or have some aside
    std::array<Sum, queue_states_count> sums_{}; // by what entries say
    ReplyTable replies_;
    ReplyPatterns patterns_{replies_};
    std::map<Slot, QueueExtra> extras_; // a map: it never rehashes
    std::size_t extra_bytes_ = 0;
    std::uint64_t changes_ = 0;

    static constexpr std::uint64_t first_fresh_age = 1ULL << 41U;
};

} // namespace ringmx::spool
