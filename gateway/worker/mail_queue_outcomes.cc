// What becomes of a message when its forwarding is over: marks, the next attempt, the end.
#include "worker/mail_queue.h"

#include "worker/snapshot.h"
#include "worker/worker.h"

#include "base/mutation.h"
#include "spool/retry_schedule.h"

#include <algorithm>
#include <utility>

namespace ringmx::worker {

using observe::LogEvent;
using observe::LogRecord;
using spool::MarkKind;
using spool::RecipientState;

void MailQueue::finish(Dispatch& dispatch) {
    const Slot slot = dispatch.slot();
    ended_dispatches_.push_back(dispatch.handle());
    if (dispatch.is_from_disk()) {
        --disk_dispatches_;
    }
    const std::uint64_t flags = index_.at(slot).flags;
    set_flag(slot, hold_flag | removed_flag, false);
    if ((flags & removed_flag) != 0) {
        drop(slot);
        return;
    }
    const bool is_held = (flags & hold_flag) != 0;
    if (is_held && (dispatch.error() != 0 || dispatch.outcomes().empty())) {
        index_.hold(slot); // nothing was tried
        return;
    }
    if (dispatch.error() != 0) {
        log_unreadable(dispatch);
        index_.set_due(slot, worker_.now() + disk_retry_wait);
        return;
    }
    const Tally tally = settle_outcomes(dispatch, has_expired(slot));
    if (tally.pending == 0 && tally.failed == 0) {
        return; // its last mark has ended it
    }
    if (is_held) {
        index_.hold(slot);
        return;
    }
    if (tally.pending == 0) {
        index_.fail(slot);
        return;
    }
    schedule(slot, tally);
}

// Marks for all that is decided; the last one of a message ends it.
MailQueue::Tally MailQueue::settle_outcomes(Dispatch& dispatch, bool has_expired) {
    const Slot slot = dispatch.slot();
    const std::vector<Outcome>& outcomes = dispatch.outcomes();
    Tally tally;
    std::vector<std::uint32_t> delivered;
    const spool::QueueExtra* const extra = index_.extra(slot);
    const std::size_t settled_before = extra == nullptr ? 0 : extra->settled.size();
    std::size_t failed_before = 0;
    if (extra != nullptr) {
        failed_before = static_cast<std::size_t>(std::ranges::count(
            extra->settled, RecipientState::failed, &spool::QueueExtra::Settled::state));
    }
    for (std::uint32_t index = 0; index < outcomes.size(); ++index) {
        const Outcome& outcome = outcomes[index];
        const bool is_settled =
            extra != nullptr &&
            std::ranges::find(extra->settled, index, &spool::QueueExtra::Settled::recipient) !=
                extra->settled.end();
        if (is_settled) {
            continue;
        }
        switch (outcome.kind) {
        case Outcome::Kind::delivered:
            delivered.push_back(index);
            continue;
        case Outcome::Kind::failed:
            break;
        case Outcome::Kind::none:
            if (!has_expired) {
                ++tally.pending;
                continue;
            }
            break;
        case Outcome::Kind::deferred:
            tally.was_tried = true;
            [[fallthrough]];
        case Outcome::Kind::no_backend:
        case Outcome::Kind::pool_hold:
            if (outcome.kind == Outcome::Kind::no_backend) {
                tally.waits_for = outcome.pool;
            } else if (outcome.kind == Outcome::Kind::pool_hold) {
                tally.held_by = outcome.pool;
            }
            if (!has_expired || outcome.kind == Outcome::Kind::pool_hold) {
                ++tally.pending;
                index_.set_last_reply(slot, outcome.reply, outcome.reply.substr(0, 3));
                log_outcome(dispatch, index, LogEvent::deferred, outcome.reply);
                continue;
            }
            break;
        }
        failed_now_.push_back(index);
    }
    tally.delivered = static_cast<std::uint32_t>(delivered.size());
    tally.failed = static_cast<std::uint32_t>(failed_now_.size() + failed_before);
    if (tally.pending == 0 && tally.failed == 0) {
        const bool is_for_all = settled_before == 0;
        for (const std::uint32_t index : delivered) {
            if (!is_for_all && index != delivered.back()) {
                append_mark(slot, MarkKind::delivered, index, {});
            }
        }
        end_message(slot, MarkKind::delivered,
                    is_for_all ? spool::every_recipient : delivered.back());
        return tally;
    }
    for (const std::uint32_t index : delivered) {
        append_mark(slot, MarkKind::delivered, index, {});
        index_.settle(slot, index, RecipientState::delivered, {}, {});
    }
    for (const std::uint32_t index : std::exchange(failed_now_, {})) {
        const std::string& reply = outcomes[index].reply;
        append_mark(slot, MarkKind::failed, index, reply);
        index_.settle(slot, index, RecipientState::failed, reply, reply.substr(0, 3));
        log_outcome(dispatch, index, LogEvent::failed, reply);
    }
    return tally;
}

// When those that still pend are tried again. Whose backends were only unavailable was not tried.
void MailQueue::schedule(Slot slot, const Tally& tally) {
    const RetrySettings& retry = worker_.snapshot()->settings->spool.retry;
    spool::QueueEntry& entry = index_.at(slot);
    if (tally.held_by != spool::no_pool && !tally.was_tried && tally.waits_for == spool::no_pool) {
        index_.hold_for_pool(slot, tally.held_by);
        return;
    }
    if (!tally.was_tried && tally.waits_for == spool::no_pool) {
        index_.set_due(slot, worker_.now()); // given up in favour of others
        return;
    }
    if (tally.was_tried) {
        const std::uint64_t attempts = entry.attempts + 1;
        entry.attempts = static_cast<std::uint16_t>(std::min<std::uint64_t>(attempts, UINT16_MAX));
    }
    const Instant next = spool::next_attempt(retry, static_cast<std::uint32_t>(entry.attempts),
                                             worker_.random(), worker_.now(), time_left(slot));
    if (!tally.was_tried) {
        index_.park(slot, tally.waits_for, next);
    } else {
        index_.set_due(slot, next);
    }
}

void MailQueue::append_mark(Slot slot, MarkKind kind, std::uint32_t recipient,
                            std::string_view reply) {
    const spool::QueueEntry& entry = index_.at(slot);
    log_.journal().append_mark({.kind = kind,
                                .id = entry.id,
                                .recipient = recipient,
                                .home = log_.name_of(entry.segment),
                                .at = worker_.wall_time(),
                                .reply = reply},
                               0, false, worker_.now());
}

std::vector<std::uint32_t> MailQueue::segments_of(Slot slot) const {
    std::vector<std::uint32_t> segments = {index_.at(slot).segment};
    if (const spool::QueueExtra* const extra = index_.extra(slot)) {
        segments.insert(segments.end(), extra->chunk_segments.begin(), extra->chunk_segments.end());
    }
    return segments;
}

// The last mark about a message. Its segments are held until that is durable.
void MailQueue::end_message(Slot slot, MarkKind kind, std::uint32_t recipient) {
    append_last_mark(index_.at(slot).id, kind, recipient, segments_of(slot));
    index_.erase(slot);
}

// `segments`: of the message's record, then of its chunks.
void MailQueue::append_last_mark(std::uint64_t id, MarkKind kind, std::uint32_t recipient,
                                 std::vector<std::uint32_t> segments) {
    Ending* const ending = endings_.create();
    RINGMX_ASSERT(ending != nullptr);
    const spool::SegmentName home = log_.name_of(segments.front());
    ending->segments = std::move(segments);
    log_.journal().append_mark(
        {.kind = kind, .id = id, .recipient = recipient, .home = home, .at = worker_.wall_time()},
        owner_of(*ending), false, worker_.now());
}

// Marks name the new place from now on; those that named the old one go with it.
void MailQueue::moved(std::uint64_t id, const spool::RecordPlace& place,
                      std::vector<std::uint32_t> chunk_segments) {
    const std::optional<Slot> slot = index_.find(id);
    if (!slot) { // it ended meanwhile, where it was: so does the copy
        chunk_segments.insert(chunk_segments.begin(), place.segment);
        append_last_mark(id, MarkKind::removed, spool::every_recipient, std::move(chunk_segments));
        return;
    }
    spool::QueueEntry& entry = index_.at(*slot);
    const std::vector<std::uint32_t> old_segments = segments_of(*slot);
    log_.note_move(place.segment, log_.name_of(entry.segment));
    entry.set_place(place.segment, place.offset, place.record_bytes);
    if (!chunk_segments.empty()) {
        index_.set_chunk_segments(*slot, std::move(chunk_segments));
    }
    for (const std::uint32_t segment : old_segments) {
        log_.release(segment);
    }
}

void MailQueue::log_unreadable(const Dispatch& dispatch) {
    if (LogRecord* record =
            worker_.log().begin(LogEvent::notice, LogLevel::error, worker_.wall_time())) {
        const Error cause{"read of a queued message (it is kept and tried again)", dispatch.error(),
                          dispatch.id_text()};
        record->detail(cause.message());
        worker_.log().commit();
    }
}

void MailQueue::log_outcome(const Dispatch& dispatch, std::uint32_t recipient, LogEvent event,
                            std::string_view reply) {
    if (LogRecord* record = worker_.log().begin(event, worker_.wall_time())) {
        const spool::StoredMessage& message = dispatch.message();
        record->id(dispatch.id_text()).client(message.client_ip, message.client_port);
        record->sender(message.reverse_path).recipient(message.recipients[recipient].mailbox);
        record->size(message.message_bytes).detail(reply);
        record->duration(worker_.wall_time() - message.accepted_at);
        worker_.log().commit();
    }
}

} // namespace ringmx::worker
