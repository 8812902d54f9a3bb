// The durable log of one worker: gathers records into commits, says which writes it wants, and tells
// when each record is safe. It writes nothing itself.
//
//   append() ─▶ gathering ─▶ placed in a segment ─▶ next_write() ··· the owner writes ··· written()
//                  ▲  the next one gathers meanwhile                                        │
//                  └───────── elsewhere, once ◀── it failed                                 ▼
//                                                               JournalObserver: durable | failed
//
// Group commit: what is appended while writes are under way goes together into the next one; there
//         is no timer for what somebody waits for. Records that nobody waits for (marks of delivery)
//         go with the next commit, or by themselves after lazy_time.
// Order:  several writes may be under way, and end in any order; each record is told of when its own
//         commit is durable. Who needs another record to be durable first (a message its chunks)
//         appends it after that one was told of.
// Failure: the segment of a failed write is sealed for this run (unless there is no other to be had:
//         then the owner may have the last one resumed), and the commit written to another one; if
//         that fails too, or no segment can be opened, its records are told as failed, nothing is
//         written for a second, and since some of them may be on the disk all the same, marks that
//         remove them follow as soon as something can be written.
// Room:   next_write() opens spare segments as it goes; room_bytes() is what is left for new mail
//         (spares_kept segments stay for marks and for moving).
// Bound:  one commit gathers, writes_max are under way; marks wait in memory, and there can be no
//         more of them than recipients of messages in the spool.
// Thread: one worker.
// Errors: Append; JournalObserver::failed.
#pragma once

#include "base/buffer.h"
#include "base/instant.h"
#include "spool/commit.h"
#include "spool/segment_table.h"
#include "spool/stored_message.h"

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace ringmx::spool {

inline constexpr std::size_t writes_max = 4; // 2 to 4 scale; more gain nothing
inline constexpr Duration lazy_time = 100ms;
inline constexpr std::uint32_t spares_kept = 1;
// New mail leaves free what commits that are gathered or under way may still take.
inline constexpr std::uint64_t room_kept_bytes = 2 * commit_bytes_max;
// What a message takes beside its content, with padding.
inline constexpr std::uint64_t room_overhead_bytes = 8 * 1024;

// How the files of segments are opened, by whoever does: the end of a write is taken for its
// durability.
[[nodiscard]] int segment_open_flags();

// Where a record stands.
struct RecordPlace {
    std::uint32_t segment = 0; // in the SegmentTable
    std::uint64_t offset = 0;
    std::uint32_t record_bytes = 0;
};

class JournalObserver {
  public:
    // A message or a chunk is safe at `place`, whose segment is held once for it: the observer
    // releases it. commit.content(record, …) may be called.
    virtual void durable(const Commit::Record& record, const RecordPlace& place,
                         const Commit& commit) = 0;
    // It is not, and a restart will not find it (unless the machine stops before the marks that
    // follow). A message that has an owner is told of again, by mark_durable(), when they are safe:
    // its chunks may go then. With `is_written` false there are none, since nothing was written.
    virtual void failed(const Commit::Record& record, bool is_written, int error) = 0;
    // The mark that was appended with this owner (not 0). What the mark ends (a message's hold on
    // its segments) may end now, not before: a restart would find a part of a message.
    virtual void mark_durable(std::uint64_t owner) = 0;
    // Of a mark that is awaited; others are tried again.
    virtual void mark_failed(std::uint64_t owner, int error) = 0;

  protected:
    ~JournalObserver() = default;
};

struct JournalWrite {
    std::uint32_t slot = 0; // for written()
    int descriptor = -1;
    std::uint64_t offset = 0;
    std::span<const iovec> pieces; // valid until written()
    std::uint64_t bytes = 0;
};

class Journal {
  public:
    // `make_nonce` gives random octets.
    Journal(BufferPool& pool, SegmentTable& segments, std::function<Nonce()> make_nonce);
    Journal(const Journal&) = delete;
    Journal& operator=(const Journal&) = delete;
    ~Journal();

    // The next record of a message or chunk; somebody waits for it.
    [[nodiscard]] Commit::Append append(const Commit::Record& record, Bytes head,
                                        std::span<const Slice> content);
    // `is_awaited`: somebody waits for it. Where a copy of its message may stand that was never told of
    // as durable, it is written about that too: such a segment may outlive the mark's home.
    void append_mark(const Mark& mark, std::uint64_t owner, bool is_awaited, Instant now);

    // What to write next, until it gives none; `now` decides about records that nobody waits for.
    [[nodiscard]] const JournalWrite* next_write(Instant now);
    // The result of a write: octets written, or a negative errno.
    void written(std::uint32_t slot, std::int64_t result, Instant now, JournalObserver& observer);
    // Nothing can be written for now, with this errno (no spare segment and no file to be had): what
    // waits is told as failed.
    void give_up(int error, JournalObserver& observer);

    // There is no other segment: what comes goes to the last one again, if a write has failed in it.
    void resume_segment();
    // What comes next goes to another segment, if the one that is written to is merely allocated.
    void leave_unwritten_segment();
    // The segments that there are can't be relied on any more: nothing new is written to them.
    void forsake_segments();

    // When next_write() may have something without anything else happening.
    [[nodiscard]] Instant deadline() const;
    [[nodiscard]] bool idle() const; // nothing gathered, nothing under way
    // Commits wait and no segment has room for them.
    [[nodiscard]] bool wants_segment() const { return wants_segment_; }
    // But for what is in so many spare segments.
    [[nodiscard]] std::uint64_t room_bytes(std::uint32_t kept = spares_kept) const;

    struct Totals {
        std::uint64_t commits = 0;
        std::uint64_t records = 0;
        std::uint64_t bytes = 0;
        std::uint64_t failures = 0;
    };
    [[nodiscard]] const Totals& totals() const { return totals_; }

  private:
    struct Slot;
    struct WaitingMark {
        Mark mark; // its reply is in the next member
        std::string reply = {};
        std::uint64_t owner = 0;
        bool is_awaited = false;
        bool goes_with_the_last = false; // the same of another place: in one record with it
    };
    [[nodiscard]] Slot* free_slot();
    [[nodiscard]] bool is_due(Instant now) const;
    [[nodiscard]] bool take_marks(Slot& slot);
    const JournalWrite* place(Slot& slot);
    const JournalWrite* open_segment();
    [[nodiscard]] bool has_no_place() const; // nor will a write that is under way make one
    void settle(Slot& slot, JournalObserver& observer);
    void note_stray(std::uint64_t id, const std::vector<SegmentName>& segments);
    void fail(Slot& slot, int error, JournalObserver& observer);

    SegmentTable& segments_;
    std::function<Nonce()> make_nonce_;
    std::vector<std::unique_ptr<Slot>> slots_; // commits
    std::unique_ptr<Slot> header_;             // the write of a segment's header
    Slot* gathering_ = nullptr;
    std::optional<std::uint32_t> current_; // the segment that commits go to
    std::deque<WaitingMark> waiting_marks_;
    std::uint32_t awaited_marks_ = 0; // of those
    // Where copies of messages may stand whose writes failed; by the messages' ids.
    std::map<std::uint64_t, std::vector<SegmentName>> strays_;
    Instant marks_since_ = never;
    std::string body_;      // scratch
    Instant quiet_until_{}; // after a failure
    bool wants_segment_ = false;
    std::uint64_t sequence_ = 1;
    Totals totals_;
};

} // namespace ringmx::spool
