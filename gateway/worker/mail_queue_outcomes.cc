// What becomes of a message when its forwarding is over: marks, the next attempt, the end.
#include "worker/mail_queue.h"

#include "worker/replies.h"
#include "worker/snapshot.h"
#include "worker/worker.h"

#include "spool/message_id.h"
#include "spool/retry_schedule.h"

#include <algorithm>
#include <array>
#include <functional>
#include <utility>

namespace ringmx::worker {

using observe::LogEvent;
using observe::LogRecord;
using smtp::ReportAction;
using spool::MarkKind;
using spool::RecipientState;

namespace {

RecipientState state_after(MarkKind kind) {
    return kind == MarkKind::failed    ? RecipientState::failed
           : kind == MarkKind::removed ? RecipientState::bounced
                                       : RecipientState::delivered;
}

bool waits_for_pool(const std::vector<Outcome>& outcomes) {
    return std::ranges::find(outcomes, Outcome::Kind::pool_hold, &Outcome::kind) != outcomes.end();
}

} // namespace

void MailQueue::finish(Dispatch& dispatch) {
    const bool nothing_was_tried = dispatch.error() != 0 || dispatch.outcomes().empty();
    if (obey_operator(dispatch, nothing_was_tried)) {
        end_dispatch(dispatch);
        return;
    }
    if (dispatch.error() == 0 && nothing_was_tried) {
        index_.set_due(dispatch.slot(), worker_.now());
        end_dispatch(dispatch);
        return;
    }
    if (dispatch.error() != 0) {
        log_unreadable(dispatch);
        index_.set_due(dispatch.slot(), worker_.now() + disk_retry_wait);
        end_dispatch(dispatch);
        return;
    }
    Tally tally = judge_outcomes(dispatch);
    decide(dispatch, tally.decided, tally.is_last() && tally.reported.empty());
    if (tally.reported.empty()) {
        conclude(dispatch, tally);
        return;
    }
    Report* const report = reports_.create(worker_, *this, dispatch, std::move(tally));
    RINGMX_ASSERT(report != nullptr); // there are as many slots as dispatches
    report->advance();
}

void MailQueue::end_dispatch(Dispatch& dispatch) {
    ended_dispatches_.push_back(dispatch.handle());
    if (dispatch.is_from_disk()) {
        --disk_dispatches_;
    }
    if (dispatch.share()) {
        shares_.give_back(*dispatch.share());
    }
}

// Others are still under way, maybe for long: who has the message shall not get it once more should
// this run end meanwhile.
void MailQueue::note_delivered(const Dispatch& dispatch) {
    const Slot slot = dispatch.slot();
    const std::vector<Outcome>& outcomes = dispatch.outcomes();
    for (std::uint32_t index = 0; index < outcomes.size(); ++index) {
        const spool::QueueExtra* const extra = index_.extra(slot);
        const bool is_known = extra != nullptr && extra->is_settled(index);
        if (outcomes[index].kind == Outcome::Kind::delivered && !is_known) {
            settle(slot, {index, MarkKind::delivered}, outcomes[index].reply);
        }
    }
}

void MailQueue::settle(Slot slot, const Decided& decided, std::string_view reply) {
    append_mark(slot, decided.kind, decided.recipient, reply);
    index_.settle(slot, decided.recipient, state_after(decided.kind), reply, reply.substr(0, 3));
}

// Nothing of it is under way any more. If nobody is left, its last mark has ended the message.
void MailQueue::conclude(Dispatch& dispatch, const Tally& tally) {
    end_dispatch(dispatch);
    if (tally.is_last() || obey_operator(dispatch, true)) {
        return;
    }
    if (tally.is_let_go) { // else nobody needs to know
        append_mark(dispatch.slot(), MarkKind::pool_release, spool::every_recipient, {});
    }
    if (tally.held_by != spool::no_pool) {
        note_pool_hold(dispatch.slot());
    }
    const bool is_out_of_date = dispatch.snapshot()->settings != worker_.snapshot()->settings;
    const bool may_go_elsewhere = tally.pending > 0 && !tally.was_tried && is_out_of_date;
    const bool is_released = has_flag(index_.at(dispatch.slot()), released_flag);
    set_flag(index_.at(dispatch.slot()), released_flag, false);
    if (may_go_elsewhere || is_released) {
        index_.set_due(dispatch.slot(), worker_.now());
    } else if (tally.pending > 0) {
        schedule(dispatch.slot(), tally, let_rest(dispatch, tally));
    } else {
        start_time_anew(dispatch.slot()); // spool.held.max_age counts from now on
        index_.fail(dispatch.slot());
        forget_pool(dispatch.slot());
    }
}

// It was the oldest, and waits for a moment: younger mail shall not go meanwhile. For how long, at the
// least. (Of what goes to several backends younger mail may find others than those that it waits for.)
Instant MailQueue::let_rest(const Dispatch& dispatch, const Tally& tally) {
    const std::uint16_t place = dispatch.share() ? dispatch.share()->place : spool::no_pool;
    if (place == spool::no_pool || places_.is_of_several(place) || !tally.lacks_backend ||
        tally.was_tried) {
        return worker_.now() + watch_interval;
    }
    shares_.rest(place);
    return watch_at_;
}

std::uint32_t MailQueue::failed_count(Slot slot) const {
    const spool::QueueExtra* const extra = index_.extra(slot);
    return extra == nullptr
               ? 0
               : static_cast<std::uint32_t>(std::ranges::count(
                     extra->settled, RecipientState::failed, &spool::QueueExtra::Settled::state));
}

// What was wanted of the message while it was under way. True: there is nothing more to decide.
bool MailQueue::obey_operator(Dispatch& dispatch, bool is_over) {
    const Slot slot = dispatch.slot();
    if (has_flag(index_.at(slot), removed_flag)) {
        drop(slot);
        return true;
    }
    if (!has_flag(index_.at(slot), hold_flag) || !is_over) {
        return false;
    }
    set_flag(index_.at(slot), hold_flag, false);
    index_.hold(slot);
    forget_pool(slot);
    return true;
}

// Whether a pool had held it and none does any more: its time starts anew.
bool MailQueue::let_go(const Dispatch& dispatch) {
    const std::vector<Outcome>& outcomes = dispatch.outcomes();
    const bool was_tried = std::ranges::any_of(
        outcomes, [](const Outcome& outcome) { return outcome.kind != Outcome::Kind::none; });
    if (!is_held_by_pool(dispatch.slot()) || waits_for_pool(outcomes) || !was_tried) {
        return false;
    }
    set_flag(index_.at(dispatch.slot()), pool_hold_flag, false);
    start_time_anew(dispatch.slot());
    return true;
}

Tally MailQueue::judge_outcomes(Dispatch& dispatch) {
    const Slot slot = dispatch.slot();
    const std::vector<Outcome>& outcomes = dispatch.outcomes();
    Tally tally;
    tally.is_let_go = let_go(dispatch);
    // What an operator or a pool holds never expires.
    const bool is_held =
        has_flag(index_.at(slot), hold_flag | pool_hold_flag) || waits_for_pool(outcomes);
    const bool has_expired = !is_held && this->has_expired(slot);
    bool drops_report = false;
    const spool::QueueExtra* const extra = index_.extra(slot);
    tally.failed = failed_count(slot);
    for (std::uint32_t index = 0; index < outcomes.size(); ++index) {
        const Outcome& outcome = outcomes[index];
        if (extra != nullptr && extra->is_settled(index)) {
            continue;
        }
        switch (outcome.kind) {
        case Outcome::Kind::relayed:
            if (report_pool(dispatch.message().reverse_path) && !is_cut_) {
                tally.reported.push_back({index, ReportAction::relayed});
                continue;
            }
            drops_report = true;
            [[fallthrough]];
        case Outcome::Kind::delivered:
            tally.decided.push_back({index, MarkKind::delivered});
            continue;
        case Outcome::Kind::failed:
            tally.was_refused = tally.was_refused || !outcome.is_own;
            judge_failure(dispatch, index, false, tally);
            continue;
        case Outcome::Kind::none:
            break;
        case Outcome::Kind::deferred:
            tally.was_tried = true;
            break;
        case Outcome::Kind::no_backend:
            // The one that may take it soonest.
            if (tally.waits_for == spool::no_pool || !takes_mail(tally.waits_for)) {
                tally.waits_for = outcome.pool;
            }
            tally.lacks_backend = true;
            tally.was_dialed = tally.was_dialed || outcome.was_dialed;
            break;
        case Outcome::Kind::pool_hold:
            tally.held_by = outcome.pool;
            tally.lacks_backend = tally.lacks_backend || outcome.pool == spool::no_pool;
            break;
        }
        const bool was_given_up = outcome.kind == Outcome::Kind::none;
        const bool was_cut = is_cut_ && was_given_up;
        tally.was_given_up = tally.was_given_up || was_given_up;
        if (has_expired && !was_cut) {
            judge_failure(dispatch, index, true, tally);
            continue;
        }
        ++tally.pending;
        tally.place.note(outcome.pool, places_);
        if (outcome.kind != Outcome::Kind::none) {
            log_outcome(dispatch, index, LogEvent::deferred, outcome.reply);
        }
    }
    worker_.counters().reports_dropped_total.add(drops_report ? 1 : 0);
    keep_replies(dispatch, tally);
    const bool was_answered = tally.was_tried || tally.was_refused;
    if (was_answered || tally.was_dialed) {
        index_.at(slot).count_attempt(was_answered);
    }
    return tally;
}

// Of all who are not decided: each his own.
void MailQueue::keep_replies(const Dispatch& dispatch, const Tally& tally) {
    const spool::QueueExtra* const extra = index_.extra(dispatch.slot());
    const std::vector<Outcome>& outcomes = dispatch.outcomes();
    std::vector<spool::QueueIndex::LastReply> replies;
    auto decided = tally.decided.begin();
    for (std::uint32_t index = 0; index < outcomes.size(); ++index) {
        if (decided != tally.decided.end() && decided->recipient == index) {
            ++decided;
        } else if (extra == nullptr || !extra->is_settled(index)) {
            replies.push_back({index, {}});
            if (outcomes[index].kind != Outcome::Kind::none) {
                replies.back().text = outcomes[index].reply;
            }
        }
    }
    if (!replies.empty()) {
        index_.set_last_replies(dispatch.slot(), replies);
    }
}

// Marks for what is decided; with `are_last` the last one ends the message.
void MailQueue::decide(Dispatch& dispatch, std::span<const Decided> decided, bool are_last) {
    const Slot slot = dispatch.slot();
    const bool are_all =
        are_last && decided.size() == dispatch.outcomes().size() &&
        std::ranges::adjacent_find(decided, std::not_equal_to{}, &Decided::kind) == decided.end();
    if (are_all) {
        end_message(slot, decided.front().kind, spool::every_recipient);
        return;
    }
    for (const Decided& one : decided) {
        if (are_last && &one == &decided.back()) {
            end_message(slot, one.kind, one.recipient);
            return;
        }
        settle(slot, one, dispatch.outcomes()[one.recipient].reply);
    }
}

// When those that still pend are tried again. Whose backends were only unavailable was not tried.
// `soon`: if one of these takes mail all the same; it was full, or failed for once.
void MailQueue::schedule(Slot slot, const Tally& tally, Instant soon) {
    const RetrySettings& retry = worker_.snapshot()->settings->spool.retry;
    const spool::QueueEntry& entry = index_.at(slot);
    set_flag(index_.at(slot), several_pools_flag, tally.place.are_several());
    if (!tally.was_tried && !tally.lacks_backend) {
        if (tally.held_by != spool::no_pool && !tally.was_given_up) {
            index_.hold_for_pool(slot, tally.held_by);
        } else {
            index_.set_due(slot, worker_.now()); // given up in favour of others
        }
        return;
    }
    // Parking it would put those to sleep that have just been woken.
    const bool is_taken = tally.waits_for != spool::no_pool && takes_mail(tally.waits_for);
    if (!tally.was_tried && is_taken) {
        index_.set_due(slot, std::max(soon, worker_.now() + spool::QueueIndex::due_step));
        return;
    }
    const Duration left = time_left(slot);
    const auto attempts = tally.was_tried ? static_cast<std::uint32_t>(entry.answered)
                                          : spool::attempts_in(retry, retry.expire - left);
    const Instant scheduled = spool::next_attempt(
        retry, attempts, worker_.random(), worker_.now(),
        is_held_by_pool(slot) ? Duration::max() : left + spool::QueueIndex::due_step);
    // In one step with this one it would be due in this turn, again and again.
    const Instant next = std::max(scheduled, worker_.now() + spool::QueueIndex::due_step);
    // The end of a hold wakes those too who have others to wait for.
    const std::uint16_t awaited = tally.was_tried ? tally.held_by : tally.waits_for;
    if (awaited != spool::no_pool) {
        index_.park(slot, awaited, next);
    } else {
        index_.set_due(slot, next);
    }
}

void MailQueue::tell_parked(Slot slot, const spool::StoredMessage& message) {
    const spool::QueueEntry& entry = index_.at(slot);
    if (entry.state != spool::QueueState::parked) {
        return;
    }
    const Outcome outcome =
        Outcome::own(Outcome::Kind::no_backend, entry.pool, replies::unavailable);
    index_.set_last_replies(slot, std::array{spool::QueueIndex::LastReply{0, outcome.reply}});
    for (std::uint32_t index = 0; index < message.recipients.size(); ++index) {
        log_outcome(entry.id, message, index, outcome, LogEvent::deferred, outcome.reply, {});
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
                            std::string_view reply, std::string_view reason) {
    log_outcome(dispatch.id(), dispatch.message(), recipient, dispatch.outcomes()[recipient], event,
                reply, reason);
}

void MailQueue::log_outcome(std::uint64_t id, const spool::StoredMessage& message,
                            std::uint32_t recipient, const Outcome& outcome, LogEvent event,
                            std::string_view reply, std::string_view reason) {
    if (LogRecord* record = worker_.log().begin(event, worker_.wall_time())) {
        record->id(spool::id_text(id)).client(message.client_ip, message.client_port);
        record->sender(message.reverse_path).recipient(message.recipients[recipient].mailbox);
        record->size(message.message_bytes);
        if (!outcome.backend.empty()) {
            record->pool(outcome.pool_name).backend(outcome.backend);
        }
        if (!reason.empty()) {
            record->reason(reason);
        }
        record->duration(worker_.wall_time() - message.accepted_at).detail(reply);
        worker_.log().commit();
    }
}

} // namespace ringmx::worker
