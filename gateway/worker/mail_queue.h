// One worker's part of the durable queue: takes messages in, forwards them, tries again, and lets go
// of them only when that is durable too.
//
//   SpoolIntake ─▶ record durable ─▶ add() ─▶ Dispatch ─▶ Forwarding ─▶ outcome of each recipient
//                                     ▲           ▲                          │
//                                  QueueIndex ── due ◀── deferred ───────────┤
//                                                        delivered ─▶ marks ─┴▶ holds end when they
//                                                        failed ─▶ held, or        are durable
//                                                                  Report ─▶ add(), marks
//
// New mail is forwarded from memory at once; what finds no backend, or no room here, waits in the
// index without content and is read from the log when it is due. From disk at most
// disk_dispatches_max messages at a time, oldest first, so that a backlog can't starve new mail; a
// pool and a backend have shares of these (DiskShares): theirs can't starve others' mail either.
// Pools: the index knows what mail waits for by numbers that outlive reloads (WaitingPlaces).
// Owners: what the journal tells again of a record or mark: owner_of() a transaction, a Report, or an
//         Ending.
// Bounds: dispatches_max; memory: what is new and waits is postponed under pressure.
// Thread: one worker's.
// Errors: replies to clients; logs.
#pragma once

#include "base/slab.h"
#include "smtp/envelope.h"
#include "spool/message_id.h"
#include "spool/queue_index.h"
#include "spool/recovery.h"
#include "worker/disk_shares.h"
#include "worker/dispatch.h"
#include "worker/entry_flags.h"
#include "worker/forwarding.h"
#include "worker/held_budget.h"
#include "worker/mover.h"
#include "worker/queue_answers.h"
#include "worker/report.h"
#include "worker/spool_intake.h"
#include "worker/spool_log.h"
#include "worker/tally.h"
#include "worker/waiting_places.h"

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ringmx::worker {

class ClientConnection;
class Worker;

class MailQueue final : public spool::JournalObserver, public RecordReader {
  public:
    static constexpr std::uint32_t dispatches_max = 4096;    // of new mail
    static constexpr std::uint32_t disk_dispatches_max = 32; // beside them
    static constexpr std::uint32_t due_looks_per_turn = 256;
    static constexpr std::size_t adopted_per_turn = 4096; // about 2 ms
    // Reserved where MAIL doesn't say the size: with its padding any small message has room. All that
    // is reserved beyond so much a message is half of the room at most, or one message: clients that
    // say large sizes and send nothing keep no small mail away.
    static constexpr std::uint64_t room_unstated_bytes = 64 * 1024;
    static constexpr Duration watch_interval = 250ms; // of pools that get a backend again
    static constexpr Duration missing_room_memory = 10s;
    static constexpr Duration disk_retry_wait = 1min; // after a message could not be read
    // A drain waits so long for a disk that can't be written: some tries.
    static constexpr Duration stuck_patience = 3s;

    MailQueue(Worker& worker, const SpoolOptions& options);
    MailQueue(const MailQueue&) = delete;
    MailQueue& operator=(const MailQueue&) = delete;

    // For client connections.
    // Why MAIL can't be taken now; nothing: it can.
    [[nodiscard]] std::optional<Refusal> refusal_of(const smtp::MailCommand& mail);
    // Of what could not be written, with this errno.
    [[nodiscard]] static Refusal refusal_for(int error);
    // Null: no memory, or no id.
    [[nodiscard]] SpoolIntake* begin(ClientConnection& client);
    [[nodiscard]] Slab<SpoolIntake>& intakes() { return intakes_; }

    // For intakes, and for clients before they have one.
    [[nodiscard]] bool has_ids() const { return ids_.any_left(); }
    [[nodiscard]] std::uint64_t next_id();
    [[nodiscard]] SpoolLog& log() { return log_; }
    [[nodiscard]] std::string& scratch() { return scratch_; } // for one call
    [[nodiscard]] static std::uint64_t room_for(const smtp::MailCommand& mail);
    [[nodiscard]] bool has_room(std::uint64_t bytes) const { return free_bytes() >= bytes; }
    // One reservation of `before` octets has `after` now; 0: there is none.
    void change_reserved(std::uint64_t before, std::uint64_t after) {
        reserved_bytes_ += after - before;
        reserved_beyond_bytes_ += beyond_unstated(after) - beyond_unstated(before);
    }
    [[nodiscard]] std::uint64_t reserved_bytes() const { return reserved_bytes_; }
    [[nodiscard]] static std::uint64_t owner_of(const SpoolIntake& intake);
    void wait_for_journal(Handle intake) { journal_waiters_.push_back(intake); }
    void intake_ended(SpoolIntake& intake) { ended_intakes_.push_back(intake.handle()); }
    // The message is durable at `place`; the holds there and on `chunk_segments` are the queue's
    // now. `pool`: of all recipients, by number; no_pool: they have several, or it is not known.
    void add(std::uint64_t id, spool::StoredMessage&& message, std::uint16_t pool,
             const spool::RecordPlace& place, std::vector<std::uint32_t> chunk_segments,
             const spool::Commit& commit, const spool::Commit::Record& record);

    // For the mover.
    static constexpr std::uint32_t mover_part = 1U << 31U; // of a read
    static constexpr std::uint32_t intake_part = 1U << 30U;
    [[nodiscard]] static std::uint64_t owner_of_move(Handle move);
    // It could not be read for long: its segments are set aside once nothing else is in them.
    void set_aside(std::uint64_t id, int error);
    // The message stands at `place` now, held there and on `chunk_segments`, as well as where it was.
    void moved(std::uint64_t id, const spool::RecordPlace& place,
               std::vector<std::uint32_t> chunk_segments);
    // It may stand elsewhere, in a copy whose write failed and whose chunks are in these segments, held
    // once each; `home`: where the message stood then. They stay until the last mark about it is durable.
    // How many chunks of copies of it may be on the disk in this segment, and are held there.
    [[nodiscard]] std::size_t copies_in(std::uint64_t id, std::uint32_t segment) const;
    void keep_copy(std::uint64_t id, const spool::SegmentName& home,
                   std::vector<std::uint32_t> chunk_segments);

    // For dispatches and forwardings.
    [[nodiscard]] Slab<Forwarding>& forwardings() { return forwardings_; }
    [[nodiscard]] const WaitingPlaces& places() const { return places_; }
    void forwarding_ended(Forwarding& forwarding) {
        ended_forwardings_.push_back(forwarding.handle());
    }
    // It goes to this place; spool::no_pool: to several, or to one without a number. False: no more may
    // be under way there, and the message waits for its turn as what is due.
    [[nodiscard]] bool take_share(Dispatch& dispatch, std::uint16_t place);
    // A part of it waits for a connection; has one, at once or after that.
    void note_wait(Dispatch& dispatch) {
        if (dispatch.share()) {
            shares_.note_wait(*dispatch.share());
        }
    }
    void note_begin(Dispatch& dispatch, bool at_once) {
        if (dispatch.share()) {
            shares_.note_begin(*dispatch.share(), at_once);
        }
    }
    void finish(Dispatch& dispatch);               // no forwarding is under way any more
    void note_delivered(const Dispatch& dispatch); // some still are
    [[nodiscard]] spool::QueueIndex& index() { return index_; }

    // For queue answers.
    [[nodiscard]] QueueAnswers& answers() { return answers_; }
    // Nobody may change it now: it is being moved.
    [[nodiscard]] bool is_moving(spool::QueueIndex::Slot slot) const {
        return has_flag(index_.at(slot), moving_flag);
    }
    // QueueAnswers::mark_over() follows.
    void await_mark(spool::QueueIndex::Slot slot, spool::MarkKind kind, Handle command);
    void mark_is_over(spool::QueueIndex::Slot slot) {
        set_flag(index_.at(slot), changing_flag, false);
    }
    void hold(spool::QueueIndex::Slot slot);
    void release(spool::QueueIndex::Slot slot);
    void remove(spool::QueueIndex::Slot slot);
    // For the held budget: nobody waits for it.
    void give_up(spool::QueueIndex::Slot slot) {
        end_message(slot, spool::MarkKind::removed, spool::every_recipient);
    }

    // For reports.
    [[nodiscard]] static std::uint64_t owner_of(const Report& report);
    // `report` is durable, and these recipients are over.
    void report_made(Report& report, std::span<const Reported> told, std::uint64_t id);
    void add_report(std::uint64_t id, spool::StoredMessage message, const spool::RecordPlace& place,
                    const spool::Commit& commit, const spool::Commit::Record& record);
    void report_ended(Report& report);
    void report_failed(Report& report); // it can't be written now

    // Messages of earlier runs, in order of acceptance, and the segments that they are in; some in
    // each turn, so that clients don't wait for all of them.
    void adopt(std::vector<spool::RecoveredMessage> messages,
               std::vector<AdoptedSegment*> segments);

    // For the worker's turn.
    void complete(const ring::Completion& completion) { log_.complete(completion); }
    void run(); // once a turn, after everything that appends
    void reap();
    [[nodiscard]] Instant deadline() const;
    void snapshot_changed();
    void relieve(); // memory is short
    void go_on();   // what found no memory
    void drain();   // nothing is begun any more
    void cut();     // what is under way ends
    // Nothing is under way, and everything is written, or can't be.
    [[nodiscard]] bool idle() const;

    // Of JournalObserver.
    void durable(const spool::Commit::Record& record, const spool::RecordPlace& place,
                 const spool::Commit& commit) override;
    void failed(const spool::Commit::Record& record, bool is_written, int error) override;
    void mark_durable(std::uint64_t owner) override;
    void mark_failed(std::uint64_t owner, int error) override;
    // Of RecordReader.
    void on_record(Handle reader, std::uint32_t part, ReadRecord record) override;

  private:
    using Slot = spool::QueueIndex::Slot;
    // A message that is over, until that is durable.
    struct Ending {
        Handle self;
        std::vector<std::uint32_t> segments; // held once each
        explicit Ending(Handle handle) : self(handle) {}
    };

    void forward(Slot slot, spool::StoredMessage&& message, const spool::Commit& commit,
                 const spool::Commit::Record& record);
    void adopt(const spool::RecoveredMessage& message);
    void go_on_adopting();
    void start_due();
    [[nodiscard]] bool wait_for_pool(Slot slot);
    [[nodiscard]] bool wake_older(Slot slot);
    [[nodiscard]] bool may_start_due() const;
    [[nodiscard]] bool start_from_disk(Slot slot);
    void watch_pools();
    void try_journal_waiters();
    void watch_disk();
    [[nodiscard]] bool is_hopeless() const;
    void end_message(Slot slot, spool::MarkKind kind, std::uint32_t recipient);
    void append_last_mark(std::uint64_t id, spool::MarkKind kind, std::uint32_t recipient,
                          const spool::SegmentName& home, std::vector<std::uint32_t> segments);
    [[nodiscard]] std::vector<std::uint32_t> segments_of(Slot slot) const; // once for each hold
    [[nodiscard]] std::vector<std::uint32_t> all_segments_of(Slot slot);   // of one that ends
    [[nodiscard]] std::vector<std::uint32_t> take_copies(std::uint64_t id);
    void drop(Slot slot); // of which a durable mark says that it is over
    void postpone(Slot slot);
    void end_dispatch(Dispatch& dispatch);
    void conclude(Dispatch& dispatch, const Tally& tally);
    [[nodiscard]] Instant let_rest(const Dispatch& dispatch, const Tally& tally);
    [[nodiscard]] bool obey_operator(Dispatch& dispatch, bool is_over);
    // It stays for long: the number of its pool shall be another's meanwhile.
    void forget_pool(Slot slot) { index_.set_pool(slot, spool::no_pool); }
    void append_mark(Slot slot, spool::MarkKind kind, std::uint32_t recipient,
                     std::string_view reply);
    [[nodiscard]] Tally judge_outcomes(Dispatch& dispatch);
    void keep_replies(const Dispatch& dispatch, const Tally& tally);
    [[nodiscard]] std::uint32_t failed_count(Slot slot) const;
    void judge_failure(Dispatch& dispatch, std::uint32_t recipient, bool has_expired, Tally& tally);
    void decide(Dispatch& dispatch, std::span<const Decided> decided, bool are_last);
    void settle(Slot slot, const Decided& decided, std::string_view reply);
    [[nodiscard]] std::optional<std::uint32_t> report_pool(std::string_view sender);
    [[nodiscard]] std::string_view why_held(std::string_view sender) const;
    void log_report(const Dispatch& dispatch, std::uint64_t id, bool is_failure);
    [[nodiscard]] bool is_held_by_pool(Slot slot) const {
        return has_flag(index_.at(slot), pool_hold_flag);
    }
    void note_pool_hold(Slot slot);
    [[nodiscard]] bool let_go(const Dispatch& dispatch);
    void start_time_anew(Slot slot);
    void schedule(Slot slot, const Tally& tally, Instant soon);
    [[nodiscard]] Duration time_left(Slot slot);
    [[nodiscard]] bool has_expired(Slot slot);
    [[nodiscard]] bool takes_mail(std::uint16_t place) const;
    [[nodiscard]] std::uint64_t room_bytes() const; // for new mail
    [[nodiscard]] static std::uint64_t beyond_unstated(std::uint64_t bytes) {
        return bytes - std::min(bytes, room_unstated_bytes);
    }
    [[nodiscard]] bool may_promise(std::uint64_t bytes) const;
    [[nodiscard]] std::uint64_t free_bytes() const; // of that, promised to nobody
    void count_queue();
    void count_messages();
    void count_pools();
    [[nodiscard]] static std::uint64_t owner_of(const Ending& ending);
    // Of one that nobody is asked about: its pool is known to have no backend.
    void tell_parked(Slot slot, const spool::StoredMessage& message);
    void log_unreadable(const Dispatch& dispatch);
    void log_outcome(const Dispatch& dispatch, std::uint32_t recipient, observe::LogEvent event,
                     std::string_view reply, std::string_view reason = {});
    void log_outcome(std::uint64_t id, const spool::StoredMessage& message, std::uint32_t recipient,
                     const Outcome& outcome, observe::LogEvent event, std::string_view reply,
                     std::string_view reason);

    Worker& worker_;
    SpoolLog log_;
    spool::QueueIndex index_;
    QueueAnswers answers_;
    HeldBudget held_budget_;
    Slab<SpoolIntake> intakes_;
    Slab<Dispatch> dispatches_;
    Slab<Forwarding> forwardings_;
    Slab<Ending> endings_;
    Mover mover_;
    Slab<Report> reports_;
    std::vector<Handle> journal_waiters_; // first come, first served
    std::vector<Handle> ended_intakes_;   // to be destroyed at the turn's end
    std::vector<Handle> ended_dispatches_;
    std::vector<Handle> ended_forwardings_;
    std::vector<Handle> ended_reports_;
    WaitingPlaces places_;
    DiskShares shares_{places_, index_, disk_dispatches_max};
    std::string scratch_;
    std::uint64_t reserved_bytes_ = 0;
    std::uint64_t reserved_beyond_bytes_ = 0; // of these: beyond room_unstated_bytes of each
    // Less room than that, and the spool is full: of the least message, or of one that was refused a
    // short time ago and is no larger than a segment.
    std::uint64_t missing_room_ = 0;
    Instant missing_until_{};
    std::uint64_t counted_changes_ = UINT64_MAX; // of the index
    spool::MessageIds ids_;
    // By message: segments with chunks of copies that may be on the disk, each held.
    std::map<std::uint64_t, std::vector<std::uint32_t>> copies_;
    std::uint32_t disk_dispatches_ = 0;
    std::vector<spool::RecoveredMessage> to_adopt_;
    std::size_t adopted_count_ = 0; // of these
    bool is_adopting_ = false;
    Instant watch_at_{};
    Instant start_again_at_{};    // what is due
    Instant stuck_since_ = never; // while draining: nothing can be written
    bool is_draining_ = false;
    bool is_cut_ = false;
};

} // namespace ringmx::worker
