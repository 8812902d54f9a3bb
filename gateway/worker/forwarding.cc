#include "worker/forwarding.h"

#include "worker/backend_connection.h"
#include "worker/dispatch.h"
#include "worker/mail_queue.h"
#include "worker/replies.h"
#include "worker/snapshot.h"
#include "worker/worker.h"

#include "base/ascii.h"
#include "smtp/delivery_report.h"

#include <algorithm>
#include <utility>

namespace ringmx::worker {

using observe::ForwardFailure;

namespace {

// Connections that may be lost with a part of the message sent, before it is left for later.
constexpr std::uint32_t drops_max = 2;

} // namespace

Forwarding::Forwarding(Handle self, Worker& worker, MailQueue& queue, Dispatch& dispatch,
                       std::uint32_t pool_index, std::uint64_t key_hash,
                       const std::vector<std::uint32_t>& recipients)
    : self_(self), worker_(worker), queue_(queue), dispatch_(dispatch),
      snapshot_(dispatch.snapshot()), pool_index_(pool_index), key_hash_(key_hash) {
    for (const std::uint32_t index : recipients) {
        recipients_.push_back({.index = index});
    }
    start_over();
}

BackendConnection* Forwarding::connection() { return worker_.backends().find(connection_); }
const Pool& Forwarding::pool() const { return *snapshot_->pools[pool_index_]; }

// What there is to do next, in whatever state. Calls made from inside only ask for another round.
void Forwarding::advance() {
    if (advancing_) {
        again_ = true;
        return;
    }
    advancing_ = true;
    do {
        again_ = false;
        BackendConnection* const current = connection();
        if (ended_) {
            break;
        }
        if (current == nullptr) {
            if (!is_waiting_) {
                acquire();
                again_ = true;
            }
        } else if (current->is_ready()) {
            send_envelope(*current);
        }
    } while (again_ && !ended_);
    advancing_ = false;
}

void Forwarding::acquire() {
    const upstream::Request request{.pool = &pool().upstream,
                                    .key_hash = key_hash_,
                                    .transaction = exchange_id().packed(),
                                    .deadline =
                                        worker_.now() + snapshot_->settings->timeouts.backend_wait};
    const upstream::Answer answer = worker_.book().acquire(request, tried_, worker_.now());
    if (answer.verdict == upstream::Verdict::wait) {
        is_waiting_ = true;
        waiter_ = answer.waiter;
        return;
    }
    take(answer);
}

void Forwarding::granted(const upstream::Answer& answer) {
    is_waiting_ = false;
    if (answer.verdict == upstream::Verdict::refuse) {
        no_backend(ForwardFailure::wait_timeout);
    } else {
        take(answer);
    }
    advance();
}

void Forwarding::handed_over(const upstream::Answer& answer) {
    is_waiting_ = false;
    take(answer);
    worker_.advance_later(exchange_id());
}

void Forwarding::take(const upstream::Answer& answer) {
    switch (answer.verdict) {
    case upstream::Verdict::reuse: {
        BackendConnection* const reused = worker_.backends().at(answer.connection);
        RINGMX_ASSERT(reused != nullptr);
        connection_ = reused->handle();
        backend_index_ = answer.lease.backend_index;
        reused->reuse(answer.lease, exchange_id(), snapshot_, pool());
        return;
    }
    case upstream::Verdict::dial:
        dial(answer.lease);
        return;
    case upstream::Verdict::wait:
    case upstream::Verdict::refuse:
        no_backend(tried_.empty() ? std::optional(ForwardFailure::no_backend) : std::nullopt);
        return;
    }
}

void Forwarding::dial(const upstream::Lease& lease) {
    BackendConnection* const made = worker_.backends().create(worker_, snapshot_, pool());
    if (made == nullptr) {
        upstream::Lease unused = lease;
        worker_.book().retire(unused);
        no_backend(ForwardFailure::no_backend);
        return;
    }
    connection_ = made->handle();
    backend_index_ = lease.backend_index;
    made->dial(lease, exchange_id());
}

void Forwarding::start_over() {
    connection_ = {};
    next_to_ask_ = first_unanswered_ = accepted_ = 0;
    mail_refusal_ = {};
    is_judged_ = mail_sent_ = mail_answered_ = data_sent_ = false;
    content_begun_ = by_chunks_ = body_begun_ = final_submitted_ = content_refused_ = false;
    heard_something_ = false;
    for (Recipient& recipient : recipients_) {
        if (recipient.fate != Fate::settled) {
            recipient.fate = Fate::waiting;
        }
    }
    next_chunk_ = 0;
    content_.begin(dispatch_.message().is_stuffed ? WireForm::stuffed : WireForm::raw);
}

void Forwarding::on_lost(BackendConnection& lost, ForwardFailure kind) {
    try_another(lost, kind);
    advance();
}

// The connection can't go on: closes it, and tries again at once where that can't make a duplicate.
void Forwarding::try_another(BackendConnection& lost, ForwardFailure kind) {
    count_failure(kind);
    log_attempt(kind);
    const bool is_ready = lost.is_ready();
    const bool is_unanswered = final_submitted_ && kind != ForwardFailure::unavailable;
    const bool dropped = kind == ForwardFailure::dropped || kind == ForwardFailure::unavailable;
    connection_ = {};
    if (dropped && lost.was_reused() && !heard_something_) {
        // Closed while it was idle, most likely: nothing of what was sent had an answer.
        if (is_unanswered) {
            count_failure(ForwardFailure::possible_duplicate);
        }
        const upstream::Lease lease = lost.leave_lease();
        start_over();
        dial(lease);
        return;
    }
    if (is_ready && (kind == ForwardFailure::reply_timeout ||
                     (dropped && !lost.was_reused() && !heard_something_))) {
        lost.leave_failed();
    } else {
        lost.leave(BackendConnection::Leave::broken);
    }
    if (is_unanswered) {
        log_duplicate();
        settle_rest(replies::unavailable, {});
        end();
        return;
    }
    if (is_ready && mail_sent_ && kind != ForwardFailure::unavailable) {
        ++drops_;
    }
    tried_.push_back(static_cast<std::uint16_t>(backend_index_));
    start_over();
    if (drops_ >= drops_max) {
        settle_rest(replies::unavailable, {});
        end();
    }
}

// A backend that lacks what the message needs will not have it at the next attempt either.
void Forwarding::judge_by_capabilities(BackendConnection& current) {
    is_judged_ = true;
    const smtp::Capabilities& offered = current.capabilities();
    const spool::StoredMessage& message = dispatch_.message();
    const std::uint64_t size = message.message_bytes + message.trace_field.size();
    const bool is_too_large = !offered.may_take(size);
    for (Recipient& recipient : recipients_) {
        if (recipient.fate == Fate::settled) {
            continue;
        }
        if (is_too_large) {
            refuse(recipient, replies::too_large);
        } else if (!offered.smtputf8 && (!is_ascii(message.recipients[recipient.index].mailbox) ||
                                         !is_ascii(message.reverse_path))) {
            refuse(recipient, replies::needs_smtputf8);
        }
    }
}

// Everything that may be sent now; what ends the transaction is seen here too.
void Forwarding::send_envelope(BackendConnection& current) {
    if (!is_judged_) {
        judge_by_capabilities(current);
    }
    ask(current);
    if (!ended_ && connection_) {
        begin_content(current);
    }
    if (!ended_ && connection_ && !current.session().output().empty()) {
        if (!current.send_commands()) {
            // Part of them may be queued: nothing but its end makes sense of this connection.
            connection_ = {};
            current.leave(BackendConnection::Leave::broken);
            settle_rest(replies::no_memory, {});
            end();
            return;
        }
        current.expect_within(snapshot_->settings->timeouts.backend_reply);
    }
    if (!ended_ && connection_) {
        pump(current);
    }
    if (!ended_ && connection_) {
        check_over(current);
    }
}

// MAIL and RCPT, as many as may go: all at once where the backend takes pipelining.
void Forwarding::ask(BackendConnection& current) {
    const bool pipelining = current.capabilities().pipelining;
    while (mail_refusal_.code == 0 && !data_sent_ && !content_begun_) {
        if (current.session().unanswered() > 0 && !pipelining) {
            return;
        }
        while (next_to_ask_ < recipients_.size() &&
               recipients_[next_to_ask_].fate == Fate::settled) {
            ++next_to_ask_;
        }
        if (next_to_ask_ == recipients_.size()) {
            return;
        }
        const auto undecided = static_cast<std::uint32_t>(
            std::ranges::count(recipients_, Fate::asked, &Recipient::fate));
        if (undecided >= current.rejections_left()) {
            return; // were they all refused, the next one belongs to another connection
        }
        if (!mail_sent_) {
            send_mail(current);
            continue;
        }
        Recipient& recipient = recipients_[next_to_ask_++];
        const spool::StoredRecipient& stored = dispatch_.message().recipients[recipient.index];
        current.session().recipient(stored.mailbox, {stored.notify, stored.original_recipient});
        recipient.fate = Fate::asked;
    }
}

void Forwarding::send_mail(BackendConnection& current) {
    const spool::StoredMessage& message = dispatch_.message();
    smtp::MailCommand mail;
    mail.reverse_path = message.reverse_path;
    mail.body = static_cast<smtp::BodyType>(message.body);
    mail.smtputf8 = message.smtputf8;
    mail.return_content = static_cast<smtp::ReturnContent>(message.return_content);
    mail.envelope_id = message.envelope_id;
    current.session().mail(mail, message.message_bytes + message.trace_field.size());
    mail_sent_ = true;
    offered_at_ = worker_.now();
}

bool Forwarding::has_everything() const { return dispatch_.message().chunks.empty(); }

bool Forwarding::is_envelope_settled() const {
    return mail_answered_ && next_to_ask_ == recipients_.size() &&
           std::ranges::find(recipients_, Fate::asked, &Recipient::fate) == recipients_.end();
}

// DATA goes up with the last RCPT where the backend takes pipelining; so does the whole content by
// BDAT, unless it has to be read first.
void Forwarding::begin_content(BackendConnection& current) {
    if (data_sent_ || content_begun_ || mail_refusal_.code != 0 || !mail_sent_ ||
        next_to_ask_ < recipients_.size()) {
        return;
    }
    const bool is_settled = is_envelope_settled();
    if (is_settled && accepted_ == 0) {
        return;
    }
    const smtp::Capabilities& offered = current.capabilities();
    if (!is_settled && (!offered.pipelining || (offered.chunking && !has_everything()))) {
        return;
    }
    if (offered.chunking) {
        by_chunks_ = content_begun_ = true;
        return;
    }
    data_sent_ = true;
    current.session().data();
}

void Forwarding::pump(BackendConnection& current) {
    if (!content_begun_ || final_submitted_ || is_reading_) {
        return;
    }
    if (!body_begun_ && has_everything() && content_.held_bytes() == 0) {
        for (const Slice& slice : dispatch_.content()) {
            if (!content_.append(worker_.pool(), slice, slice.bytes())) {
                content_.begin(dispatch_.message().is_stuffed ? WireForm::stuffed : WireForm::raw);
                return; // relieve() comes back here
            }
        }
    }
    const auto chunks = static_cast<std::uint32_t>(dispatch_.message().chunks.size());
    if (content_.unsent_bytes() == 0 && next_chunk_ < chunks) {
        read_next_chunk();
        return;
    }
    if (body_begun_ && (current.unsent_bytes() > 0 || current.session().unanswered() > 0)) {
        return; // one piece after the other: on_sent() or the answer comes back here
    }
    const bool is_last = next_chunk_ == chunks;
    if (by_chunks_) {
        send_chunk(current, is_last);
    } else {
        send_data(current, is_last);
    }
}

void Forwarding::read_next_chunk() {
    is_reading_ = queue_.log().read(dispatch_.chunk_place(next_chunk_), dispatch_.id(), self_,
                                    next_chunk_ + 1);
}

void Forwarding::on_chunk(std::uint32_t part, const ReadRecord& record) {
    is_reading_ = false;
    if (ended_) {
        return;
    }
    if (part != next_chunk_ + 1 || !content_begun_) {
        advance(); // of an attempt that is over
        return;
    }
    bool kept = record.error == 0;
    for (const Slice& slice : record.body) {
        kept = kept && content_.append(worker_.pool(), slice, slice.bytes());
    }
    if (!kept) {
        BackendConnection* const current = connection();
        connection_ = {};
        if (current != nullptr) {
            current->leave(BackendConnection::Leave::broken);
        }
        settle_rest(record.error == 0 ? replies::no_memory : replies::disk_error, {});
        end();
        return;
    }
    ++next_chunk_;
    advance();
}

bool Forwarding::fill(WireForm form) {
    SliceList& outgoing = worker_.outgoing();
    outgoing.clear();
    const bool filled =
        (body_begun_ ||
         outgoing.append_copy(worker_.pool(), as_bytes(dispatch_.message().trace_field))) &&
        content_.take(worker_.pool(), form, outgoing);
    if (!filled) {
        outgoing.clear();
    }
    return filled;
}

void Forwarding::send_chunk(BackendConnection& current, bool is_last) {
    Draft kept_for_command = worker_.pool().draft(smtp::chunk_command_bytes_max);
    if (!kept_for_command || !fill(WireForm::raw)) {
        return;
    }
    body_begun_ = true;
    kept_for_command = Draft();
    current.session().chunk(worker_.outgoing().bytes(), is_last);
    const bool is_queued = current.send_commands();
    RINGMX_ASSERT(is_queued);
    send_all(current);
    if (is_last) {
        submit_final(current);
    }
}

void Forwarding::send_data(BackendConnection& current, bool is_last) {
    if (!fill(WireForm::stuffed)) {
        return;
    }
    body_begun_ = true;
    send_all(current);
    if (is_last) {
        current.send(Slice::literal(content_.terminator()));
        submit_final(current);
        current.session().content_sent(accepted_);
    }
}

void Forwarding::send_all(BackendConnection& current) {
    SliceList& outgoing = worker_.outgoing();
    worker_.counters().backend_bytes_sent_total.add(outgoing.bytes());
    for (Slice& slice : outgoing.slices()) {
        current.send(std::move(slice));
    }
    outgoing.clear();
    content_.drop_taken(true); // another try begins with the dispatch's, or with the first chunk
    current.expect_within(snapshot_->settings->timeouts.backend_reply);
}

void Forwarding::submit_final(BackendConnection& current) {
    final_submitted_ = true;
    current.expect_within(snapshot_->settings->timeouts.backend_end_of_data);
}

void Forwarding::on_sent(BackendConnection& sender) {
    if (body_begun_ && !final_submitted_ && sender.session().unanswered() == 0) {
        sender.expect_nothing();
    }
    advance();
}

void Forwarding::on_reply(BackendConnection& from, smtp::ClientCommand command,
                          const smtp::Reply& reply) {
    if (ended_) {
        return;
    }
    if (reply.code == 421) {
        try_another(from, ForwardFailure::unavailable);
        advance();
        return;
    }
    if (!std::exchange(heard_something_, true)) {
        from.transaction_answered();
    }
    if (from.session().unanswered() == 0) {
        from.expect_nothing();
    }
    // What follows a refusal in the pipeline is refused for that one's sake.
    const bool is_consequence =
        mail_refusal_.code != 0 || (command != smtp::ClientCommand::mail &&
                                    command != smtp::ClientCommand::recipient && accepted_ == 0);
    if (reply.severity() >= 4 && !is_consequence) {
        from.count_rejection();
    }
    switch (command) {
    case smtp::ClientCommand::mail:
        mail_reply(reply);
        break;
    case smtp::ClientCommand::recipient:
        recipient_reply(reply);
        break;
    case smtp::ClientCommand::data:
        data_reply(reply);
        break;
    case smtp::ClientCommand::content:
    case smtp::ClientCommand::chunk:
        content_reply(from, reply);
        break;
    case smtp::ClientCommand::greeting:
    case smtp::ClientCommand::hello:
    case smtp::ClientCommand::reset:
    case smtp::ClientCommand::quit:
    case smtp::ClientCommand::unsolicited:
        break;
    }
    advance();
}

void Forwarding::mail_reply(const smtp::Reply& reply) {
    mail_answered_ = true;
    if (reply.severity() != 2) {
        mail_refusal_ = smtp::OwnedReply(reply);
    }
}

void Forwarding::recipient_reply(const smtp::Reply& reply) {
    while (recipients_[first_unanswered_].fate != Fate::asked) {
        ++first_unanswered_;
    }
    Recipient& recipient = recipients_[first_unanswered_++];
    if (mail_refusal_.code != 0) {
        settle(recipient, mail_refusal_.view(), "MAIL");
    } else if (reply.severity() == 2) {
        recipient.fate = Fate::accepted;
        ++accepted_;
    } else {
        settle(recipient, reply, "RCPT");
    }
}

void Forwarding::data_reply(const smtp::Reply& reply) {
    if (accepted_ == 0) {
        return; // pipelined behind recipients that were all refused: check_over() sees to it
    }
    if (reply.code == 354) {
        content_begun_ = true;
        return;
    }
    for (Recipient& recipient : recipients_) {
        if (recipient.fate == Fate::accepted) {
            settle(recipient, reply, "DATA");
        }
    }
    accepted_ = 0;
}

// The answer to the content; LMTP gives one for each recipient, in their order. One that comes while
// there is more to send is about a chunk.
void Forwarding::content_reply(BackendConnection& from, const smtp::Reply& reply) {
    if (!final_submitted_ && reply.severity() == 2) {
        return;
    }
    content_refused_ = content_refused_ || reply.severity() != 2;
    const bool is_for_each = final_submitted_ && pool().settings().protocol == Protocol::lmtp;
    taken_now_.clear();
    for (Recipient& recipient : recipients_) {
        if (recipient.fate != Fate::accepted) {
            continue;
        }
        if (reply.severity() == 2) {
            recipient.fate = Fate::settled;
            taken_now_.push_back(recipient.index);
            dispatch_.set_outcome(recipient.index, kind_of_success(recipient, from), pool_index_,
                                  reply, false);
        } else {
            settle(recipient, reply, "end of data");
        }
        if (is_for_each) {
            break;
        }
    }
    if (taken_now_.empty()) {
        return;
    }
    if (!std::exchange(is_taken_, true)) {
        observe::BackendCounters& counted = worker_.counters_of(from.lease(), from.pool());
        counted.messages_forwarded_total.add();
        counted.forward.record(worker_.now() - offered_at_);
    }
    log_delivered(from, reply);
}

// Nothing more is due: the connection is left in the cleanest way that its state allows.
void Forwarding::check_over(BackendConnection& current) {
    if (content_refused_ && !final_submitted_) {
        leave(current); // what follows would be vain
        return;
    }
    if (current.session().unanswered() > 0) {
        return;
    }
    if (mail_refusal_.code != 0) {
        settle_rest(mail_refusal_.view(), "MAIL");
        leave(current);
        return;
    }
    const bool is_under_way = std::ranges::any_of(recipients_, [](const Recipient& recipient) {
        return recipient.fate == Fate::asked || recipient.fate == Fate::accepted;
    });
    const bool may_ask = next_to_ask_ < recipients_.size() && current.rejections_left() > 0 &&
                         !data_sent_ && !content_begun_;
    if (!is_under_way && (!may_ask || final_submitted_)) {
        leave(current);
    }
}

void Forwarding::leave(BackendConnection& current) {
    using Leave = BackendConnection::Leave;
    const bool is_whole = final_submitted_ && current.session().unanswered() == 0;
    connection_ = {};
    if (is_whole && !content_refused_ && is_taken_) {
        current.leave(Leave::clean);
    } else if (!is_whole && (body_begun_ || data_sent_)) {
        current.leave(Leave::broken);
    } else {
        current.leave(mail_sent_ ? Leave::resettable : Leave::clean);
    }
    end();
}

void Forwarding::settle(Recipient& recipient, const smtp::Reply& reply, std::string_view after) {
    recipient.fate = Fate::settled;
    const bool ours = replies::is_our_fault(reply.code) && !after.empty();
    if (ours) {
        log_fault(after, reply);
    }
    const bool is_final = reply.severity() == 5 && !ours;
    if (!after.empty()) {
        count_failure(ours       ? ForwardFailure::our_fault
                      : is_final ? ForwardFailure::reject
                                 : ForwardFailure::tempfail);
    }
    dispatch_.set_outcome(recipient.index,
                          is_final ? Outcome::Kind::failed : Outcome::Kind::deferred, pool_index_,
                          reply, after.empty());
}

// For good, by our own word.
void Forwarding::refuse(Recipient& recipient, const smtp::Reply& reply) {
    recipient.fate = Fate::settled;
    count_failure(ForwardFailure::reject);
    dispatch_.set_outcome(recipient.index, Outcome::Kind::failed, pool_index_, reply, true);
}

// RFC 3461, 5.2.2: where NOTIFY can't go on, who wants to hear of success hears of it from here.
Outcome::Kind Forwarding::kind_of_success(const Recipient& recipient, BackendConnection& taker) {
    const spool::StoredMessage& message = dispatch_.message();
    const bool wants_report =
        smtp::wants_report(smtp::ReportAction::relayed, message.recipients[recipient.index].notify,
                           message.reverse_path);
    return wants_report && !taker.capabilities().dsn ? Outcome::Kind::relayed
                                                     : Outcome::Kind::delivered;
}

// `after` empty: our own word, not the backend's.
void Forwarding::settle_rest(const smtp::Reply& reply, std::string_view after) {
    for (Recipient& recipient : recipients_) {
        if (recipient.fate != Fate::settled) {
            settle(recipient, reply, after);
        }
    }
}

void Forwarding::no_backend(std::optional<ForwardFailure> kind) {
    if (kind) { // else the attempts that failed are counted
        count_failure(*kind);
    }
    for (Recipient& recipient : recipients_) {
        if (recipient.fate != Fate::settled) {
            recipient.fate = Fate::settled;
            dispatch_.set_outcome(recipient.index, Outcome::Kind::no_backend, pool_index_,
                                  replies::unavailable, true);
        }
    }
    end();
}

void Forwarding::give_up() {
    if (is_waiting_) {
        worker_.book().cancel(waiter_);
        is_waiting_ = false;
    }
    end();
}

void Forwarding::cut() {
    if (ended_) {
        return;
    }
    if (BackendConnection* const current = connection()) {
        if (final_submitted_) {
            log_duplicate();
        }
        connection_ = {};
        current->leave(BackendConnection::Leave::broken);
    }
    give_up();
}

void Forwarding::relieve() {
    if (!is_waiting_) {
        advance();
    }
}

void Forwarding::end() {
    if (std::exchange(ended_, true)) {
        return;
    }
    content_.clear();
    queue_.forwarding_ended(*this);
    dispatch_.forwarding_ended(*this);
}

} // namespace ringmx::worker
