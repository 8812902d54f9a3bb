// Moves the last messages out of segments that few of them keep from being used again: a held message
// would else pin its segment, and those with marks about its neighbours, for weeks.
//
//   few spare segments left, or one that can't be relied on any more
//    ─▶ the oldest that holds something (what can't be relied on, or is an earlier run's, goes first)
//    ─▶ its messages, found in the index bit by bit
//    ─▶ each: its record and its chunks are read ─▶ chunk records anew ─▶ durable
//    ─▶ its message record anew, with the states of that moment ─▶ durable
//    ─▶ the index names the new places, and the holds on the old ones end
//    ─▶ what is there of messages that are still coming is written anew by their SpoolIntake
//
// While a message is moved nobody else reads it: moving_flag in its entry. A message that ends
// meanwhile is ended once more in its new place. Until the old record is gone for good the new one's
// segment stays (SegmentTable::note_mark), since marks name the new place from then on.
// Bounds: moves_max messages at a time, each with one record in memory, and behind them as many that are
//         still coming; a look at entries_looked_at entries a turn.
// Thread: one worker's.
// Errors: a message that can't be written stays where it is. Should a failed copy be on the disk it is
//         as good as the original, so its chunks stay as long as the message. One that can't be read
//         for unreadable_patience is taken out of the queue and its segments are set aside
//         (MailQueue::set_aside()): what later segments have marks about could not go before it, and
//         so nothing could.
#pragma once

#include "base/slab.h"
#include "spool/journal.h"
#include "spool/queue_index.h"
#include "spool/stored_message.h"
#include "worker/spool_log.h"

#include <cstdint>
#include <optional>
#include <vector>

namespace ringmx::worker {

class MailQueue;
class Worker;

class Mover {
  public:
    static constexpr std::uint32_t moves_max = 4;
    static constexpr std::uint32_t entries_looked_at = 1000;
    static constexpr Duration pause = 10s; // after a segment that is not worth it, or a failure
    static constexpr Duration pause_max = 1min; // after many of them
    static constexpr Duration unreadable_patience = 1min;
    static constexpr std::size_t unreadable_max = 1000; // known at a time

    Mover(Worker& worker, MailQueue& queue) : worker_(worker), queue_(queue), moves_(moves_max) {}
    Mover(const Mover&) = delete;
    Mover& operator=(const Mover&) = delete;

    void run(); // once a turn
    [[nodiscard]] Instant deadline() const;
    [[nodiscard]] bool idle() const { return moves_.used() == 0; }

    // Of a record that a move wrote or read; `move` names it.
    void on_record(Handle move, std::uint32_t part, ReadRecord record);
    void on_durable(Handle move, const spool::Commit::Record& record,
                    const spool::RecordPlace& place);
    void on_failed(Handle move, const spool::Commit::Record& record, bool is_written);

  private:
    struct Move {
        Handle self;
        std::uint64_t id = 0;
        spool::StoredMessage message;
        std::vector<Slice> content;                // of the record that is to be written next
        std::vector<std::uint32_t> chunk_segments; // new ones, each held once
        spool::SegmentName home;                   // where it stands
        std::uint32_t next_chunk = 0;
        bool is_busy = false;     // a read or a write is under way
        bool is_read = false;     // the message's record
        std::uint32_t losses = 0; // SpoolLog's, at the first chunk
        explicit Move(Handle handle) : self(handle) {}
    };

    struct Unreadable {
        std::uint64_t id = 0;
        Instant since{};
    };
    // Of the full ones, from the oldest to the newest that there was when it began.
    struct Round {
        std::uint64_t last_life = 0;
        std::uint64_t passed_life = 0; // the last one that could not be emptied
        std::uint32_t passed_count = 0;
    };

    [[nodiscard]] bool may_begin() const;
    [[nodiscard]] bool lacks_spares() const;
    [[nodiscard]] bool
    lacks_room() const; // new mail does, soon: in a small spool before spares are few
    [[nodiscard]] std::optional<std::uint32_t> choose();
    [[nodiscard]] std::optional<std::uint32_t> choose_sealed();
    [[nodiscard]] std::optional<std::uint32_t> choose_full();
    [[nodiscard]] bool is_closed(std::uint32_t segment) const;
    [[nodiscard]] bool is_worth_it() const;
    void end_victim();
    void look_for_messages();
    [[nodiscard]] std::uint64_t unfinished_bytes();
    [[nodiscard]] bool moves_unfinished();
    void begin(spool::QueueIndex::Slot slot);
    void advance(Move& move);
    void read(Move& move, std::uint32_t part);
    void write_chunk(Move& move);
    void write_message(Move& move);
    void give_up_unread(Move& move, int error);
    void give_up(Move& move);
    void end(Move& move);

    Worker& worker_;
    MailQueue& queue_;
    Slab<Move> moves_;
    std::optional<std::uint32_t> victim_;
    std::uint64_t looked_until_ = 0;   // age
    std::uint64_t found_bytes_ = 0;    // of the victim's messages, what is in it
    std::vector<std::uint64_t> found_; // ids, to be moved
    bool takes_little_only_ = false;   // of the victim
    bool is_given_up_ = false;         // the victim: it is not worth it
    Instant rest_until_{};
    Instant look_at_sealed_at_{};
    std::uint32_t next_sealed_ = 0; // to be looked at in this round
    Instant look_at_full_at_{};
    std::optional<Round> round_;
    Instant look_at_adopted_at_{};
    std::uint32_t last_adopted_ = adopted_segment; // that was a victim
    std::vector<Unreadable> unreadable_;
};

} // namespace ringmx::worker
