// The durable log of one worker, on the ring: writes what the journal wants written, reads records
// back, and gets segment files from the supply.
//
//   Journal ··next_write()··▶ write_file ──▶ Journal::written() ──▶ JournalObserver
//   read()  ────────────────▶ read_file  ──▶ judged by its CRC ──▶ RecordReader
//
// Segments: own ones by their number in the SegmentTable, those of earlier runs (adopt()) by a number
//           with adopted_segment set. Spare ones are asked for ahead of need, in the background; when
//           mail waits for one, at once.
// Too full: where no segment has room for marks (many were written, or writes failed in all of them),
//           or for reports, the spool could not empty itself: more are asked for, one by one, at most
//           extra_segments(). New mail gets nothing of these. Where none is to be had the last one
//           goes on, although a write failed in it.
// Room:     what new mail may still take: what is left in segments, and in those that may still be
//           made. One segment is kept for marks, so that a full spool can empty itself.
// Bound:    reads by their callers; each holds the record's size in pool memory.
// Thread:   one worker's.
// Errors:   JournalObserver::failed; RecordReader with an errno (EBADMSG: the record is damaged).
#pragma once

#include "base/buffer.h"
#include "base/slab.h"
#include "observe/counters.h"
#include "ring/stream.h"
#include "spool/journal.h"
#include "spool/segment_table.h"
#include "worker/segment_supply.h"

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <sys/uio.h>
#include <utility>
#include <vector>

namespace ringmx::worker {

inline constexpr std::uint32_t adopted_segment = 1U << 31U;

struct SpoolOptions {
    SegmentSupply* supply = nullptr; // null: no listener spools. It outlives the worker
    std::uint32_t generation = 0;    // of this run
    std::uint64_t segment_bytes = 0;
    std::uint32_t segments_max = 0;
    std::uint32_t held_segments_max = 0; // beside them, for mail that failed
    std::function<spool::Nonce()> make_nonce;
};

struct ReadRecord {
    int error = 0; // then there is no body
    spool::RecordHeader header;
    std::vector<Slice> body;
};

// The head of a message's record; nothing if there is an error, or it makes no sense. What it is
// about begins behind `content_start` octets of the body.
[[nodiscard]] std::optional<spool::StoredMessage> head_of(const ReadRecord& record,
                                                          std::size_t& content_start);

struct ReadMessage {
    spool::StoredMessage head;
    std::vector<Slice> content; // none of one that is in chunks
};
// Of a message's record; nothing as for head_of().
[[nodiscard]] std::optional<ReadMessage> message_of(ReadRecord record);

class RecordReader {
  public:
    // `part`: as given to read().
    virtual void on_record(Handle reader, std::uint32_t part, ReadRecord record) = 0;

  protected:
    ~RecordReader() = default;
};

class SpoolLog {
  public:
    SpoolLog(ring::Loop& loop, std::uint32_t worker, SpoolOptions options,
             observe::WorkerCounters& counters, spool::JournalObserver& observer,
             RecordReader& reader);
    ~SpoolLog();
    SpoolLog(const SpoolLog&) = delete;
    SpoolLog& operator=(const SpoolLog&) = delete;

    [[nodiscard]] spool::Journal& journal() { return journal_; }
    [[nodiscard]] const spool::SegmentTable& segments() const { return table_; }
    [[nodiscard]] std::uint64_t segment_bytes() const { return options_.segment_bytes; }
    [[nodiscard]] std::uint32_t segments_max() const {
        return options_.segments_max + held_segments_;
    }
    // Mail that failed takes so many octets, which have segments of their own in the sum: those of
    // new mail never get fewer by it.
    void count_held(std::uint64_t bytes);
    // The record at `segment` is a later one of a message that stood in `home`.
    void note_move(std::uint32_t segment, const spool::SegmentName& home) {
        table_.note_mark(segment, home);
    }
    [[nodiscard]] std::uint64_t room_bytes() const;
    // Whether a report of so many octets may be written now, which is as good as marks: what it is
    // about ends with it. If not, a segment for it is asked for, if one may be.
    [[nodiscard]] bool make_room_for_report(std::uint64_t bytes);
    // Why nothing can be written now, as an errno; 0 while it can. A write that failed counts for as
    // long as the journal pauses.
    [[nodiscard]] int error() const;

    // The spool takes more than it may: nothing is for new mail until earlier runs' files are gone.
    [[nodiscard]] bool is_over() const { return is_over_; }

    // There may be more segments than there are, for new mail.
    [[nodiscard]] bool may_grow() const {
        return table_.files_count() < segments_max() && growth_error_ == 0 && !is_over_;
    }

    // How often files that were written to were told to be gone.
    [[nodiscard]] std::uint32_t losses() const { return losses_; }

    // Segments of earlier runs; they stay where they are.
    void adopt(std::vector<AdoptedSegment*> segments) { adopted_ = std::move(segments); }
    // What own segments that hold nothing wait for is in the way from now on.
    void note_what_is_in_the_way();
    // The next adopted segment that is, and is held, behind that one; the first follows the last.
    [[nodiscard]] std::optional<std::uint32_t> adopted_in_the_way(std::uint32_t behind) const;
    [[nodiscard]] bool is_adopted_held(std::uint32_t segment) const {
        return adopted_[segment & ~adopted_segment]->holds.load(std::memory_order_relaxed) > 0;
    }
    [[nodiscard]] spool::SegmentName name_of(std::uint32_t segment) const;
    [[nodiscard]] std::optional<std::uint32_t> find_segment(const spool::SegmentName& name) const;
    void release(std::uint32_t segment); // one hold
    void hold(std::uint32_t segment);    // one more, of what is held
    // Something in it can't be read: once nothing holds it its file is set aside, not used again.
    void note_damage(std::uint32_t segment);

    // The segment is held until the answer. Answered by RecordReader, never in this call. False: no memory now.
    [[nodiscard]] bool read(const spool::RecordPlace& place, std::uint64_t id, Handle reader,
                            std::uint32_t part);

    void complete(const ring::Completion& completion);
    void run(); // once a turn, after everything that appends
    [[nodiscard]] Instant deadline() const;
    // Nothing is gathered, and nothing in flight on the ring.
    [[nodiscard]] bool idle() const { return operations_ == 0 && journal_.idle(); }
    // The last write failed, or there is nowhere to write to.
    [[nodiscard]] bool is_failing() const { return write_error_ != 0 || has_no_segment_; }
    // And nothing is in flight: what is to be written can't be.
    [[nodiscard]] bool is_stuck() const { return operations_ == 0 && is_failing(); }

    static constexpr std::uint32_t spares_ahead = 2;
    static constexpr Duration request_pause = 1s; // after one that failed
    static constexpr Duration resume_pause_max = 1min;
    // A segment that is merely allocated is left, with what room it has, in a spool of at least so
    // many times the segments that there are.
    static constexpr std::uint32_t segments_that_are_few = 4;

  private:
    struct Reading {
        Handle self;
        spool::RecordPlace place;
        std::uint64_t id = 0;
        Handle reader;
        std::uint32_t part = 0;
        std::vector<Block*> blocks; // each with one reference
        std::vector<iovec> pieces;

        explicit Reading(Handle handle) : self(handle) {}
    };

    void take_news();
    void leave_unwritten_segments();
    [[nodiscard]] bool may_resume() const;
    void resume_segment();
    [[nodiscard]] std::uint32_t files_max() const;
    [[nodiscard]] bool may_request() const { return table_.files_count() < files_max(); }
    [[nodiscard]] bool wants_spare() const;
    void request_segments();
    void discard_segments();
    void write();
    void complete_read(const ring::Completion& completion);
    [[nodiscard]] ReadRecord judge(const Reading& reading) const;
    [[nodiscard]] int descriptor_of(std::uint32_t segment) const;
    [[nodiscard]] const spool::Nonce& nonce_of(std::uint32_t segment) const;

    ring::Loop& loop_;
    SpoolOptions options_;
    observe::WorkerCounters& counters_;
    spool::JournalObserver& observer_;
    RecordReader& reader_;
    spool::SegmentTable table_;
    spool::Journal journal_;
    std::vector<AdoptedSegment*> adopted_;
    Slab<Reading> readings_;
    std::array<Instant, spool::writes_max + 2> written_at_{}; // by the journal's slot
    std::uint32_t operations_ = 0;                            // in flight
    bool is_requested_ = false;
    bool is_urgent_ = false; // and it was said that mail waits
    Instant request_at_{};   // not before
    std::uint32_t held_segments_ = 0;
    int growth_error_ = 0; // of the last request; 0: it was answered by a segment
    bool is_over_ = false;
    int lost_ = 0; // the files are gone
    std::uint32_t losses_ = 0;
    int file_system_error_ = 0;   // nothing can be written to it
    bool has_no_segment_ = false; // for what is to be written, and none is to be had
    bool wants_room_for_report_ = false;
    Instant resume_at_{}; // not before
    Duration resume_pause_ = request_pause;
    int write_error_ = 0;
    Instant write_error_until_{};
};

} // namespace ringmx::worker
