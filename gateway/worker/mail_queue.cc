// The queue's turn, and what comes in: messages, records, memory's wants.
#include "worker/mail_queue.h"

#include "worker/client_connection.h"
#include "worker/replies.h"
#include "worker/snapshot.h"
#include "worker/worker.h"

#include "base/mutation.h"
#include "spool/message_id.h"
#include "spool/retry_schedule.h"

#include <algorithm>
#include <utility>

namespace ringmx::worker {

using spool::QueueState;

namespace {

constexpr std::uint32_t slots_max = (1U << 24U) - 1;
// While the disk takes no write, every message that is delivered meanwhile has one.
constexpr std::uint32_t endings_max = (1U << 28U) - 1;

// Of Commit::Record::owner and the owner of a mark, above a Handle, whose slot has 28 bits.
constexpr unsigned kind_shift = 60;
enum class OwnerKind : std::uint8_t { intake = 1, ending, move, command, report };
static_assert(std::uint64_t{endings_max} << 32U < std::uint64_t{1} << kind_shift);

std::uint64_t owner(OwnerKind kind, Handle handle) {
    return std::uint64_t{static_cast<std::uint8_t>(kind)} << kind_shift | handle.packed();
}

OwnerKind kind_of(std::uint64_t owner) { return static_cast<OwnerKind>(owner >> kind_shift); }

Handle handle_of(std::uint64_t owner) {
    return Handle::unpacked(owner & ((std::uint64_t{1} << kind_shift) - 1));
}

// No object's end ends another one.
template <typename Object> void destroy_all(Slab<Object>& objects, std::vector<Handle>& ended) {
    for (const Handle handle : ended) {
        objects.destroy(objects.existing(handle));
    }
    ended.clear();
}

} // namespace

MailQueue::MailQueue(Worker& worker, const SpoolOptions& options)
    : worker_(worker),
      log_(worker.loop(), worker.index(), options, worker.counters(), *this, *this),
      answers_(worker, *this), held_budget_(worker, *this), intakes_(slots_max),
      dispatches_(dispatches_max + disk_dispatches_max), forwardings_(slots_max),
      endings_(endings_max), mover_(worker, *this), reports_(slots_max),
      ids_(options.generation, worker.index(), static_cast<std::uint32_t>(worker.workers_count())) {
    places_.use(*worker_.snapshot(), index_);
    count_queue(); // main asks whether mail is taken before the first turn
}

std::uint64_t MailQueue::owner_of(const SpoolIntake& intake) {
    return owner(OwnerKind::intake, intake.handle());
}

std::uint64_t MailQueue::owner_of(const Ending& ending) {
    return owner(OwnerKind::ending, ending.self);
}

std::uint64_t MailQueue::owner_of_move(Handle move) { return owner(OwnerKind::move, move); }

std::uint64_t MailQueue::owner_of(const Report& report) {
    return owner(OwnerKind::report, report.handle());
}

std::uint64_t MailQueue::next_id() {
    const std::uint64_t id = ids_.next();
    RINGMX_MUTATE(id_reused, return spool::packed({1, spool::unpacked_id(id).worker,
                                                   spool::unpacked_id(id).counter}));
    return id;
}

std::uint64_t MailQueue::room_for(const smtp::MailCommand& mail) {
    return mail.declared_size_bytes ? *mail.declared_size_bytes + spool::room_overhead_bytes
                                    : room_unstated_bytes;
}

bool MailQueue::may_promise(std::uint64_t bytes) const {
    const std::uint64_t beyond = beyond_unstated(bytes);
    const bool is_within_half = beyond == 0 || reserved_beyond_bytes_ == 0 ||
                                reserved_beyond_bytes_ + beyond <= room_bytes() / 2;
    return is_within_half && has_room(bytes);
}

std::uint64_t MailQueue::free_bytes() const {
    const std::uint64_t room = room_bytes();
    return room - std::min(room, reserved_bytes_);
}

std::uint64_t MailQueue::room_bytes() const {
    const std::uint64_t room = log_.is_over() ? 0 : log_.room_bytes();
    return room - std::min(room, spool::room_kept_bytes);
}

Refusal MailQueue::refusal_for(int error) {
    return is_full(error) ? Refusal{replies::no_memory, observe::RejectReason::spool_full}
                          : Refusal{replies::disk_error, observe::RejectReason::disk_error};
}

std::optional<Refusal> MailQueue::refusal_of(const smtp::MailCommand& mail) {
    if (const int error = log_.error(); error != 0) {
        return refusal_for(error);
    }
    const std::uint64_t wanted = room_for(mail);
    if (!may_promise(wanted)) {
        if (wanted <= log_.segment_bytes()) {
            missing_room_ = std::max(missing_room_, wanted);
            missing_until_ = worker_.now() + missing_room_memory;
        }
        return Refusal{replies::no_memory, observe::RejectReason::spool_full};
    }
    return std::nullopt;
}

SpoolIntake* MailQueue::begin(ClientConnection& client) {
    return ids_.any_left() ? intakes_.create(worker_, *this, client) : nullptr;
}

void MailQueue::add(std::uint64_t id, spool::StoredMessage&& message, std::uint16_t pool,
                    const spool::RecordPlace& place, std::vector<std::uint32_t> chunk_segments,
                    const spool::Commit& commit, const spool::Commit::Record& record) {
    std::uint64_t stored_bytes = record.record_bytes;
    for (const spool::ChunkPlace& chunk : message.chunks) {
        stored_bytes += chunk.record_bytes;
    }
    const Slot slot =
        index_.add({.id = id,
                    .segment = place.segment,
                    .offset = place.offset,
                    .record_bytes = place.record_bytes,
                    .stored_bytes = stored_bytes,
                    .recipients_count = static_cast<std::uint32_t>(message.recipients.size()),
                    .accepted_at_s = spool::seconds_of(message.accepted_at),
                    .expires_from_s = spool::seconds_of(message.expires_from)});
    if (!chunk_segments.empty()) {
        index_.set_chunk_segments(slot, std::move(chunk_segments));
    }
    index_.set_pool(slot, pool);
    set_flag(index_.at(slot), pool_hold_flag, message.waits_for_pool);
    forward(slot, std::move(message), commit, record);
}

// At once and from memory, unless it would only wait there.
void MailQueue::forward(Slot slot, spool::StoredMessage&& message, const spool::Commit& commit,
                        const spool::Commit::Record& record) {
    const spool::QueueEntry& entry = index_.at(slot);
    if (wait_for_pool(slot)) {
        tell_parked(slot, message);
        return;
    }
    if (is_draining_ || worker_.pressure() != Pressure::none) {
        index_.set_due(slot, worker_.now());
        return;
    }
    // Those of what is due are left to it, or new mail took all of them.
    Dispatch* const dispatch = dispatches_.used() < dispatches_max + disk_dispatches_
                                   ? dispatches_.create(worker_, *this, entry.id, slot, false)
                                   : nullptr;
    if (dispatch == nullptr) {
        index_.set_due(slot, worker_.now());
        return;
    }
    std::vector<Slice> content;
    if (message.chunks.empty()) {
        commit.content(record, content);
    }
    dispatch->start(std::move(message), std::move(content));
}

// Whose record it is stays until each of its records was told of.
void MailQueue::durable(const spool::Commit::Record& record, const spool::RecordPlace& place,
                        const spool::Commit& commit) {
    const Handle handle = handle_of(record.owner);
    switch (kind_of(record.owner)) {
    case OwnerKind::intake:
        intakes_.existing(handle).on_durable(record, place, commit);
        return;
    case OwnerKind::move:
        mover_.on_durable(handle, record, place);
        return;
    case OwnerKind::report:
        reports_.existing(handle).on_durable(record, place, commit);
        return;
    case OwnerKind::ending:
    case OwnerKind::command:
        break;
    }
    RINGMX_ASSERT(false); // they have marks alone
}

void MailQueue::failed(const spool::Commit::Record& record, bool is_written, int error) {
    const Handle handle = handle_of(record.owner);
    switch (kind_of(record.owner)) {
    case OwnerKind::intake:
        intakes_.existing(handle).on_failed(record, is_written, error);
        return;
    case OwnerKind::move:
        mover_.on_failed(handle, record, is_written);
        return;
    case OwnerKind::report:
        reports_.existing(handle).on_failed();
        return;
    case OwnerKind::ending:
    case OwnerKind::command:
        break;
    }
    RINGMX_ASSERT(false); // they have marks alone
}

void MailQueue::mark_durable(std::uint64_t owner) {
    switch (kind_of(owner)) {
    case OwnerKind::intake:
        if (SpoolIntake* const intake = intakes_.find(handle_of(owner))) {
            intake->on_removed();
        }
        return;
    case OwnerKind::ending: {
        Ending& ending = endings_.existing(handle_of(owner));
        for (const std::uint32_t segment : ending.segments) {
            log_.release(segment);
        }
        endings_.destroy(ending);
        return;
    }
    case OwnerKind::move:
        return;
    case OwnerKind::command:
        answers_.mark_over(handle_of(owner), 0);
        return;
    case OwnerKind::report:
        return; // what may be on the disk of one that failed is nothing now
    }
}

void MailQueue::mark_failed(std::uint64_t owner, int error) {
    RINGMX_ASSERT(kind_of(owner) == OwnerKind::command); // the journal tries others again
    answers_.mark_over(handle_of(owner), error);
}

void MailQueue::await_mark(Slot slot, spool::MarkKind kind, Handle command) {
    const spool::QueueEntry& entry = index_.at(slot);
    RINGMX_ASSERT(!is_moving(slot));
    set_flag(index_.at(slot), changing_flag, true);
    log_.journal().append_mark({.kind = kind,
                                .id = entry.id,
                                .home = log_.name_of(entry.segment),
                                .at = worker_.wall_time()},
                               owner(OwnerKind::command, command), true, worker_.now());
}

void MailQueue::on_record(Handle reader, std::uint32_t part, ReadRecord record) {
    if (part == QueueAnswers::record_part) {
        answers_.on_record(reader, record);
    } else if (part == Report::read_part) {
        if (Report* const report = reports_.find(reader)) {
            report->on_original(std::move(record));
        }
    } else if ((part & mover_part) != 0) {
        mover_.on_record(reader, part & ~mover_part, std::move(record));
    } else if (part == intake_part) {
        intakes_.existing(reader).on_record(std::move(record));
    } else if (part == 0) {
        Dispatch* const dispatch = dispatches_.find(reader);
        if (dispatch == nullptr) {
            return;
        }
        const bool is_unwanted = has_flag(index_.at(dispatch->slot()), hold_flag | removed_flag);
        if (is_cut_ || is_unwanted) { // since the read began
            finish(*dispatch);
        } else {
            dispatch->start(std::move(record));
        }
    } else if (Forwarding* const forwarding = forwardings_.find(reader)) {
        forwarding->on_chunk(part, record);
    }
}

void MailQueue::run() {
    go_on_adopting();
    try_journal_waiters();
    watch_pools();
    answers_.run();
    if (!is_draining_) {
        held_budget_.run();
    }
    start_due();
    if (!is_adopting_) { // else what it has to move may still be to come
        mover_.run();
    }
    if (reports_.used() > 0) {
        reports_.for_each([](Report& report) { report.advance(); });
    }
    log_.count_held(
        std::min(index_.sum(QueueState::failed).stored_bytes, held_budget_.part_bytes()));
    log_.run();
    watch_disk();
    if (is_hopeless()) {
        intakes_.for_each([](SpoolIntake& intake) { intake.expect_no_removal(); });
    }
    count_queue();
}

// First come, first served: the first that has to wait again ends the round.
void MailQueue::try_journal_waiters() {
    if (journal_waiters_.empty()) {
        return;
    }
    std::vector<Handle> waiters = std::exchange(journal_waiters_, {});
    for (std::size_t index = 0; index < waiters.size(); ++index) {
        if (SpoolIntake* const intake = intakes_.find(waiters[index])) {
            intake->try_again();
            if (!journal_waiters_.empty()) {
                waiters.erase(waiters.begin(),
                              waiters.begin() + static_cast<std::ptrdiff_t>(index) + 1);
                journal_waiters_.insert(journal_waiters_.end(), waiters.begin(), waiters.end());
                return;
            }
        }
    }
}

void MailQueue::snapshot_changed() {
    places_.use(*worker_.snapshot(), index_);
    shares_.places_changed();
    watch_at_ = {};
}

void MailQueue::relieve() {
    intakes_.for_each([](SpoolIntake& intake) { intake.relieve(); });
    dispatches_.for_each([](Dispatch& dispatch) { (void)dispatch.postpone(); });
    reports_.for_each([](Report& report) { report.give_up(); });
    go_on();
}

void MailQueue::go_on() {
    forwardings_.for_each([](Forwarding& forwarding) { forwarding.go_on(); });
}

void MailQueue::drain() {
    is_draining_ = true;
    answers_.drain();
}

void MailQueue::cut() {
    drain();
    is_cut_ = true;
    intakes_.for_each([](SpoolIntake& intake) { intake.cut(); });
    dispatches_.for_each([](Dispatch& dispatch) { dispatch.cut(); });
    reports_.for_each([](Report& report) { report.give_up(); });
}

bool MailQueue::idle() const {
    return intakes_.used() == 0 && dispatches_.used() == 0 && forwardings_.used() == 0 &&
           mover_.idle() && (log_.idle() || is_hopeless());
}

// Since when a drain finds no write that works.
void MailQueue::watch_disk() {
    if (!is_draining_ || !log_.is_failing()) {
        stuck_since_ = never;
    } else if (stuck_since_ == never) {
        stuck_since_ = worker_.now();
    }
}

// What is still to be written won't be: losing it makes a duplicate at most.
bool MailQueue::is_hopeless() const {
    const bool is_over = stuck_since_ != never && worker_.now() - stuck_since_ >= stuck_patience;
    return log_.is_stuck() && (is_cut_ || is_over);
}

Instant MailQueue::deadline() const {
    if (is_adopting_) {
        return worker_.now();
    }
    // The end of what keeps it from starting any wakes the worker.
    const Instant due = may_start_due() ? std::max(index_.next_deadline(), start_again_at_) : never;
    const Instant hopeless_at = stuck_since_ == never ? never : stuck_since_ + stuck_patience;
    const bool watches = shares_.need_watch() || index_.sum(QueueState::parked).messages > 0 ||
                         index_.sum(QueueState::pool_hold).messages > 0;
    const Instant room_at = missing_until_ > worker_.now() ? missing_until_ : never;
    return std::min({due, room_at, log_.deadline(), mover_.deadline(), answers_.deadline(),
                     is_draining_ ? never : held_budget_.deadline(), watches ? watch_at_ : never,
                     hopeless_at > worker_.now() ? hopeless_at : never});
}

void MailQueue::reap() {
    destroy_all(forwardings_, ended_forwardings_);
    destroy_all(reports_, ended_reports_);
    destroy_all(dispatches_, ended_dispatches_);
    destroy_all(intakes_, ended_intakes_);
}

} // namespace ringmx::worker
