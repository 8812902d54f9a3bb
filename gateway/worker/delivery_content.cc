// A delivery's content: DATA or BDAT towards the backend, streaming, the final reply, and what is
// logged of it.
#include "worker/backend_connection.h"
#include "worker/client_connection.h"
#include "worker/delivery.h"
#include "worker/replies.h"
#include "worker/snapshot.h"
#include "worker/worker.h"

#include "smtp/trace_field.h"

#include <algorithm>

namespace ringmx::worker {

using observe::ForwardFailure;
using observe::RejectReason;

namespace {

// In `backend` mode the client's own ten minutes must not pass before ours (CONTRACT,
// timeouts.backend_end_of_data).
constexpr Duration end_of_data_max = 8min;

} // namespace

bool Delivery::envelope_settled() const {
    return next_to_ask_ == recipients_.size() && asked_first_ == asked_.size() &&
           (accepted_ == 0 || accepted_here_ == accepted_);
}

void Delivery::begin_data() {
    data_requested_ = true;
    held_ = false;
    if (doomed_.code != 0) {
        say_doom();
    }
    if (!ended_) {
        advance();
    }
}

void Delivery::begin_chunks() {
    content_.begin(WireForm::raw);
    content_begun_ = true;
    held_ = false;
    if (doomed_.code != 0) {
        fail_message(doomed_.view(), doomed_reason_);
        return;
    }
    advance();
}

// Every recipient was refused while DATA was waiting: the session answers it by 554.
void Delivery::settle_empty_data() {
    if (!data_requested_ || accepted_ > 0 || first_unanswered_ < recipients_.size()) {
        return;
    }
    data_requested_ = false;
    if (data_sent_) {
        drop_connection(); // the backend may be waiting for content
        start_over();
    }
    if (ClientConnection* const owner = client()) {
        owner->answer_data(replies::start_data, RejectReason::count_);
    }
}

// DATA goes up with the last RCPT where the backend takes pipelining; BDAT needs no word before the
// content.
void Delivery::request_data() {
    BackendConnection* const current = connection();
    if (ended_ || current == nullptr || data_sent_ || data_ready_ ||
        !(data_requested_ || content_begun_) || next_to_ask_ < recipients_.size() ||
        mail_refusal_.code != 0) {
        return;
    }
    const bool all_answered = asked_first_ == asked_.size();
    if (all_answered && accepted_here_ == 0) {
        return;
    }
    if (current->capabilities().chunking) {
        if (envelope_settled()) {
            by_chunks_ = true;
            data_ready_ = true;
            let_client_send();
        }
        return;
    }
    if (!all_answered && !current->capabilities().pipelining) {
        return;
    }
    by_chunks_ = false;
    data_sent_ = true;
    current->session().data();
    send_commands(*current);
}

void Delivery::let_client_send() {
    if (!data_requested_) {
        return;
    }
    flush_answers();
    data_requested_ = false;
    content_begun_ = true;
    content_.begin(WireForm::stuffed);
    if (ClientConnection* const owner = client()) {
        owner->answer_data(replies::start_data, RejectReason::count_);
    }
}

void Delivery::data_reply(const smtp::Reply& reply) {
    if (accepted_here_ == 0) {
        return; // pipelined behind recipients that were all refused: settle_empty_data() closes the
                // connection
    }
    if (reply.code == 354) {
        data_ready_ = true;
        let_client_send();
        return;
    }
    data_sent_ = false;
    const bool ours = replies::is_our_fault(reply.code);
    const bool passes_on = !ours && (reply.severity() == 4 || reply.severity() == 5);
    count_failure(ours                    ? ForwardFailure::our_fault
                  : reply.severity() == 4 ? ForwardFailure::tempfail
                                          : ForwardFailure::reject);
    if (ours) {
        log_fault("DATA", reply);
    }
    const smtp::Reply answer = ours ? replies::our_fault : passes_on ? reply : replies::unavailable;
    const RejectReason reason = ours                    ? RejectReason::backend_fault
                                : reply.severity() == 4 ? RejectReason::backend_tempfail
                                                        : RejectReason::backend_reject;
    if (!data_requested_) {
        fail_message(answer, reason);
        return;
    }
    flush_answers();
    refuse_data(answer, reason);
}

bool Delivery::content(const Slice& whole, Bytes part, bool is_literal) {
    if (ended_) {
        return true;
    }
    held_ = false;
    const bool kept = is_literal ? content_.append_copy(worker_.pool(), part)
                                 : content_.append(worker_.pool(), whole, part);
    if (!kept) {
        return false;
    }
    if (content_.held_bytes() > replayable_bytes_max || worker_.pressure() != Pressure::none) {
        advance();
        if (!ended_ && content_.held_bytes() > window_bytes_max) {
            if (ClientConnection* const owner = client()) {
                owner->pause_content();
            }
        }
    }
    return true;
}

void Delivery::end_content() {
    if (ended_) {
        return;
    }
    held_ = false;
    content_ended_ = true;
    content_ended_at_ = worker_.now();
    advance();
}

void Delivery::release_client() {
    if (content_.held_bytes() <= replayable_bytes_max) {
        if (ClientConnection* const owner = client()) {
            owner->resume_content();
        }
    }
}

void Delivery::write_trace_field() {
    ClientConnection* const owner = client();
    smtp::TraceSource source;
    source.hello_name = hello_name_;
    if (!is_unix_peer_) {
        source.client_ip = client_ip_;
    }
    source.hostname = snapshot_->settings->hostname;
    source.id = id_;
    if (accepted_ == 1) {
        source.recipient =
            std::ranges::find(recipients_, Fate::accepted, &Recipient::fate)->mailbox;
    }
    source.received_at = worker_.wall_time();
    source.esmtp = esmtp_;
    source.smtputf8 = mail_.smtputf8;
    if (owner != nullptr) {
        starts_with_space_ = owner->session().content_starts_with_space();
        content_bytes_ = owner->session().content_bytes();
    }
    source.content_starts_with_space = starts_with_space_;
    trace_.clear();
    smtp::append_trace_field(trace_, source);
}

// A small message goes up whole, in one send; a large one as it comes, one send at a time.
void Delivery::pump() {
    BackendConnection* const current = connection();
    if (ended_ || current == nullptr || !data_ready_ || final_submitted_ || !content_begun_) {
        return;
    }
    const bool streams = body_begun_ || content_.unsent_bytes() > replayable_bytes_max ||
                         (worker_.pressure() != Pressure::none && content_.unsent_bytes() > 0);
    if (!content_ended_ && !streams) {
        return;
    }
    if (current->unsent_bytes() > 0 && content_.unsent_bytes() > 0 && body_begun_) {
        return; // on_sent() comes back here
    }
    const bool sent = by_chunks_ ? pump_chunk(*current) : pump_data(*current);
    if (!sent) {
        fail_message(replies::no_memory, RejectReason::no_memory);
    }
}

bool Delivery::pump_data(BackendConnection& current) {
    outgoing_.clear();
    if (!body_begun_) {
        write_trace_field();
        body_begun_ = true;
        if (!outgoing_.append_copy(worker_.pool(), as_bytes(trace_))) {
            return false;
        }
    }
    if (!content_.take(worker_.pool(), WireForm::stuffed, outgoing_)) {
        return false;
    }
    if (outgoing_.bytes() == 0 && !content_ended_) {
        return true; // the client is waited for, not the backend
    }
    worker_.counters().backend_bytes_sent_total.add(outgoing_.bytes());
    for (Slice& slice : outgoing_.slices()) {
        current.send(std::move(slice));
    }
    outgoing_.clear();
    if (!content_ended_) {
        current.expect_within(snapshot_->settings->timeouts.backend_reply);
        return true;
    }
    current.send(Slice::literal(content_.terminator()));
    submit_final(current);
    current.session().content_sent(accepted_here_);
    return true;
}

void Delivery::submit_final(BackendConnection& current) {
    final_submitted_ = true;
    timer_.cancel();
    if (ClientConnection* const owner = client()) {
        content_bytes_ = owner->session().content_bytes();
    }
    current.expect_within(
        std::min(snapshot_->settings->timeouts.backend_end_of_data, end_of_data_max));
}

bool Delivery::pump_chunk(BackendConnection& current) {
    if (!current.capabilities().pipelining && current.session().unanswered() > 0) {
        return true; // BDAT's octets may not follow before the answer (RFC 3030, 4.2)
    }
    outgoing_.clear();
    if (!body_begun_) {
        write_trace_field();
        if (!outgoing_.append_copy(worker_.pool(), as_bytes(trace_))) {
            return false;
        }
    }
    if (!content_.take(worker_.pool(), WireForm::raw, outgoing_)) {
        return false;
    }
    if (outgoing_.bytes() == 0 && !content_ended_) {
        return true;
    }
    body_begun_ = true;
    current.session().chunk(outgoing_.bytes(), content_ended_);
    if (!current.send_commands()) {
        return false;
    }
    worker_.counters().backend_bytes_sent_total.add(outgoing_.bytes());
    for (Slice& slice : outgoing_.slices()) {
        current.send(std::move(slice));
    }
    outgoing_.clear();
    if (content_ended_) {
        submit_final(current);
    } else {
        current.expect_within(snapshot_->settings->timeouts.backend_reply);
    }
    return true;
}

void Delivery::chunk_reply(const smtp::Reply& reply) {
    BackendConnection* const current = connection();
    const bool is_last =
        final_submitted_ && current != nullptr && current->session().unanswered() == 0;
    if (is_last || reply.severity() != 2) {
        final_reply(reply); // a refused chunk makes what follows vain
    }
}

// The backend's last word on the message.
void Delivery::final_reply(const smtp::Reply& reply) {
    BackendConnection* const current = connection();
    if (current == nullptr) {
        return;
    }
    const bool whole = final_submitted_ && current->session().unanswered() == 0;
    connection_ = {};
    const bool taken = whole && reply.severity() == 2;
    if (taken) {
        observe::BackendCounters& counted = worker_.counters_of(current->lease(), current->pool());
        counted.messages_forwarded_total.add();
        counted.forward.record(worker_.now() - offered_at_);
        log_final(*current, reply);
        current->leave(BackendConnection::Leave::clean);
        accept_message(reply);
        end();
        return;
    }
    const bool ours = replies::is_our_fault(reply.code);
    const bool temporary = reply.severity() == 4;
    count_failure(ours        ? ForwardFailure::our_fault
                  : temporary ? ForwardFailure::tempfail
                              : ForwardFailure::reject);
    if (ours) {
        log_fault("end of data", reply);
    }
    smtp::OwnedReply answer(reply); // the connection's own reply may go with it
    if (ours || (!temporary && reply.severity() != 5)) {
        answer = smtp::OwnedReply(ours ? replies::our_fault : replies::unavailable);
    }
    current->leave(whole ? BackendConnection::Leave::resettable : BackendConnection::Leave::broken);
    refuse_message(answer.view(), ours        ? RejectReason::backend_fault
                                  : temporary ? RejectReason::backend_tempfail
                                              : RejectReason::backend_reject);
    end();
}

} // namespace ringmx::worker
