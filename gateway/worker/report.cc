#include "worker/report.h"

#include "worker/dispatch.h"
#include "worker/mail_queue.h"
#include "worker/snapshot.h"
#include "worker/worker.h"

#include "base/assert.h"
#include "spool/message_id.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

namespace ringmx::worker {
namespace {

using smtp::ReportAction;

constexpr std::string_view expired_words =
    "No server took the message within the time for which it is tried.";
constexpr smtp::EnhancedCode expired_status{4, 4, 7}; // RFC 3463, 3.5: delivery time expired

// What recipients may take in a report: with the original's header and its own it fits in a record.
constexpr std::size_t recipients_bytes_max = 192 * 1024;
static_assert(recipients_bytes_max + 2 * smtp::returned_bytes_max < spool::record_bytes_max);

// At most, in words and in fields: each text twice, folded, and what stands around it.
std::size_t bytes_of(const smtp::ReportedRecipient& recipient) {
    const std::size_t reply = std::min(recipient.diagnostic.size(), smtp::diagnostic_bytes_max);
    const std::size_t texts = recipient.mailbox.size() + recipient.original_recipient.size() +
                              recipient.explanation.size() + reply;
    return 512 + 2 * texts + texts / 2;
}

// As much as a report can give back.
std::string beginning_of(const std::vector<Slice>& content) {
    constexpr std::size_t bytes_max = 2 * smtp::returned_bytes_max + 1;
    std::string text;
    for (const Slice& slice : content) {
        text += slice.text().substr(0, bytes_max - text.size());
    }
    return text;
}

} // namespace

Report::Report(Handle self, Worker& worker, MailQueue& queue, Dispatch& dispatch, Tally tally)
    : self_(self), worker_(worker), queue_(queue), dispatch_(dispatch), tally_(std::move(tally)) {}

void Report::advance() {
    if (state_ != State::waiting) {
        return;
    }
    if (!has_original_ && !dispatch_.message().chunks.empty()) {
        read_original();
        return;
    }
    if (!queue_.has_ids()) {
        fail();
        return;
    }
    if (content_.bytes() == 0 && !make()) {
        return;
    }
    store();
}

void Report::read_original() {
    if (queue_.log().read(dispatch_.chunk_place(0), dispatch_.id(), self_, read_part)) {
        state_ = State::reading;
    }
}

// One that can't be read is reported without its header.
void Report::on_original(ReadRecord record) {
    if (state_ != State::reading) {
        return;
    }
    first_chunk_ = std::move(record.body);
    has_original_ = true;
    state_ = State::waiting;
    advance();
}

// The next of those that are to be reported, as many as there is room for.
std::vector<smtp::ReportedRecipient> Report::take_recipients() {
    std::vector<smtp::ReportedRecipient> recipients;
    std::size_t bytes = 0;
    for (end_ = next_; end_ < tally_.reported.size(); ++end_) {
        const Reported& one = tally_.reported[end_];
        const spool::StoredRecipient& stored = dispatch_.message().recipients[one.recipient];
        const Outcome& outcome = dispatch_.outcomes()[one.recipient];
        smtp::ReportedRecipient told;
        told.mailbox = stored.mailbox;
        told.original_recipient = stored.original_recipient;
        told.action = one.action;
        if (one.action == ReportAction::failed) {
            told.status = one.has_expired ? expired_status : outcome.status;
            if (one.has_expired) {
                told.explanation = expired_words;
            } else if (outcome.is_own) {
                told.explanation = outcome.text();
            }
            if (!outcome.is_own) {
                told.diagnostic = outcome.reply;
                told.remote_mta = outcome.backend_host;
                told.last_attempt = worker_.wall_time();
            }
        }
        bytes += bytes_of(told);
        if (!recipients.empty() && bytes > recipients_bytes_max) {
            break;
        }
        recipients.push_back(told);
    }
    return recipients;
}

// False: no memory now.
bool Report::make() {
    const spool::StoredMessage& about = dispatch_.message();
    const bool is_chunked = !about.chunks.empty();
    const std::string content = beginning_of(is_chunked ? first_chunk_ : dispatch_.content());
    const std::vector<smtp::ReportedRecipient> recipients = take_recipients();
    id_ = queue_.next_id();
    const std::string id = spool::id_text(id_);
    const smtp::DeliveryReport made = smtp::make_report(
        {.hostname = worker_.snapshot()->settings->hostname,
         .report_id = id,
         .random = worker_.random(),
         .made_at = worker_.wall_time(),
         .sender = about.reverse_path,
         .queue_id = dispatch_.id_text(),
         .envelope_id = about.envelope_id,
         .return_content = static_cast<smtp::ReturnContent>(about.return_content),
         .smtputf8 = about.smtputf8,
         .arrived_at = about.accepted_at,
         .recipients = recipients,
         .original = {.trace_field = about.trace_field,
                      .content = as_bytes(content),
                      .form = about.is_stuffed ? smtp::ContentForm::dot_stuffed
                                               : smtp::ContentForm::raw,
                      .is_whole = !is_chunked && content.size() == about.content_bytes}});
    if (!content_.append_copy(worker_.pool(), as_bytes(made.message))) {
        content_.clear();
        return false;
    }
    message_ = {};
    message_.accepted_at = message_.expires_from = worker_.wall_time();
    message_.content_bytes = message_.message_bytes = made.message.size();
    message_.smtputf8 = made.needs_smtputf8;
    message_.is_esmtp = true;
    message_.body =
        made.has_eight_bit ? spool::StoredBody::eight_bit_mime : spool::StoredBody::seven_bit;
    // RFC 3461, 6.1: of a report nobody is to be told.
    message_.recipients = {{.mailbox = about.reverse_path, .notify = smtp::notify_never}};
    return true;
}

void Report::store() {
    if (!queue_.log().make_room_for_report(content_.bytes())) {
        fail();
        return;
    }
    std::string& head = queue_.scratch();
    head.clear();
    spool::append_message_body(head, message_);
    RINGMX_ASSERT(head.size() + content_.bytes() + spool::record_header_bytes <=
                  spool::record_bytes_max);
    const spool::Commit::Append appended = queue_.log().journal().append(
        {.type = spool::RecordType::message, .id = id_, .owner = MailQueue::owner_of(*this)},
        as_bytes(head), content_.slices());
    if (appended == spool::Commit::Append::taken) {
        state_ = State::storing;
        content_.clear();
    }
}

void Report::on_durable(const spool::Commit::Record& record, const spool::RecordPlace& place,
                        const spool::Commit& commit) {
    RINGMX_ASSERT(state_ == State::storing);
    const std::size_t first = std::exchange(next_, end_);
    queue_.report_made(*this, std::span(tally_.reported).subspan(first, end_ - first), id_);
    queue_.add_report(id_, std::move(message_), place, commit, record);
    if (next_ < tally_.reported.size()) {
        state_ = State::waiting; // goes on in the next turn
        return;
    }
    state_ = State::over;
    queue_.report_ended(*this);
}

void Report::on_failed() { fail(); }

void Report::give_up() {
    if (state_ == State::waiting || state_ == State::reading) {
        fail();
    }
}

void Report::fail() {
    state_ = State::over;
    content_.clear();
    queue_.report_failed(*this);
}

} // namespace ringmx::worker
