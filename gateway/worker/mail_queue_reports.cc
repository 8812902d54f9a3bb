// What the queue tells senders: who hears of what, and what ends when that is safe.
#include "worker/mail_queue.h"

#include "worker/snapshot.h"
#include "worker/worker.h"

#include "spool/message_id.h"

#include <algorithm>
#include <fmt/format.h>

namespace ringmx::worker {

using observe::LogEvent;
using observe::LogRecord;
using observe::ReportKind;
using smtp::ReportAction;
using spool::MarkKind;

namespace {

// Of LogEvent::failed: its reason.
constexpr std::string_view bounced = "bounced";
constexpr std::string_view held = "held";

} // namespace

std::optional<std::uint32_t> MailQueue::report_pool(std::string_view sender) {
    return worker_.snapshot()->pool_for(sender, true, worker_.route_key());
}

// Somebody failed for good: held, over because the sender wants no word of it, or to be reported.
void MailQueue::judge_failure(Dispatch& dispatch, std::uint32_t recipient, bool has_expired,
                              Tally& tally) {
    const spool::StoredMessage& message = dispatch.message();
    const bool may_report = worker_.snapshot()->settings->spool.on_failure == OnFailure::bounce &&
                            !message.reverse_path.empty();
    const bool wants_none = !smtp::wants_report(
        ReportAction::failed, message.recipients[recipient].notify, message.reverse_path);
    const std::string_view reply = dispatch.outcomes()[recipient].reply;
    if (may_report && wants_none) {
        tally.decided.push_back({recipient, MarkKind::removed});
        log_outcome(dispatch, recipient, LogEvent::failed, reply, bounced);
    } else if (!may_report || !report_pool(message.reverse_path)) {
        tally.decided.push_back({recipient, MarkKind::failed});
        ++tally.failed;
        log_outcome(dispatch, recipient, LogEvent::failed,
                    fmt::format("{}{}", reply, why_held(message.reverse_path)), held);
    } else if (is_cut_) {
        ++tally.pending; // the next run finds it out again
    } else {
        // Told in the log when the report is safe.
        tally.reported.push_back({recipient, ReportAction::failed, has_expired});
    }
}

// Behind the reply, where senders are told as a rule.
std::string_view MailQueue::why_held(std::string_view sender) const {
    return worker_.snapshot()->settings->spool.on_failure == OnFailure::hold ? ""
           : sender.empty()
               ? "; held: nobody is told of mail from <>"
               : "; held: no route takes a report to its sender, and there is no bounce_pool";
}

void MailQueue::report_made(Report& report, std::span<const Reported> told, std::uint64_t id) {
    Dispatch& dispatch = report.dispatch();
    const bool is_failure =
        std::ranges::find(told, ReportAction::failed, &Reported::action) != told.end();
    worker_.counters().reports[is_failure ? ReportKind::failed : ReportKind::relayed].add();
    std::vector<Decided> decided;
    for (const Reported& one : told) {
        const bool has_failed = one.action == ReportAction::failed;
        decided.push_back({one.recipient, has_failed ? MarkKind::removed : MarkKind::delivered});
        if (has_failed) {
            log_outcome(dispatch, one.recipient, LogEvent::failed,
                        dispatch.outcomes()[one.recipient].reply, bounced);
        }
    }
    log_report(dispatch, id, is_failure);
    decide(dispatch, decided, report.rest().empty() && report.tally().is_last());
}

void MailQueue::add_report(std::uint64_t id, spool::StoredMessage message,
                           const spool::RecordPlace& place, const spool::Commit& commit,
                           const spool::Commit::Record& record) {
    const std::optional<std::uint32_t> pool = report_pool(message.recipients.front().mailbox);
    const std::uint16_t number =
        pool ? places_.of(*worker_.snapshot()->pools[*pool]) : spool::no_pool;
    add(id, std::move(message), number, place, {}, commit, record);
}

void MailQueue::report_ended(Report& report) {
    ended_reports_.push_back(report.handle());
    conclude(report.dispatch(), report.tally());
}

// Those who failed are tried again later, and reported then. Who was only to hear that it went well
// does not: trying again would make duplicates.
void MailQueue::report_failed(Report& report) {
    Dispatch& dispatch = report.dispatch();
    std::vector<Decided> decided;
    for (const Reported& one : report.rest()) {
        if (one.action == ReportAction::relayed) {
            decided.push_back({one.recipient, MarkKind::delivered});
        }
    }
    worker_.counters().reports_dropped_total.add(decided.empty() ? 0 : 1);
    const bool has_failures = decided.size() < report.rest().size();
    decide(dispatch, decided, !has_failures && report.tally().is_last());
    if (!has_failures) {
        report_ended(report);
        return;
    }
    ended_reports_.push_back(report.handle());
    if (!obey_operator(dispatch, true)) {
        // Who waits for his next attempt has a schedule, the others go with it.
        if (report.tally().pending > 0 && report.tally().was_tried) {
            schedule(dispatch.slot(), report.tally(), worker_.now() + watch_interval);
        } else {
            index_.set_due(dispatch.slot(), worker_.now() + disk_retry_wait);
        }
    }
    end_dispatch(dispatch);
}

void MailQueue::log_report(const Dispatch& dispatch, std::uint64_t id, bool is_failure) {
    if (LogRecord* record = worker_.log().begin(LogEvent::reported, worker_.wall_time())) {
        record->id(dispatch.id_text()).sender(dispatch.message().reverse_path);
        record->detail(fmt::format("sender {} notification: {}",
                                   is_failure ? "non-delivery" : "delivery status",
                                   spool::id_text(id)));
        worker_.log().commit();
    }
}

} // namespace ringmx::worker
