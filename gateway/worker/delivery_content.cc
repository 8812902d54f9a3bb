// A delivery's content: DATA or BDAT towards the backend, streaming, the final reply, and what is
// logged of it.
#include "worker/backend_connection.h"
#include "worker/client_connection.h"
#include "worker/delivery.h"
#include "worker/replies.h"
#include "worker/snapshot.h"
#include "worker/worker.h"

#include "base/mutation.h"
#include "smtp/trace_field.h"

#include <algorithm>

namespace ringmx::worker {

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
        owner->answer_data(smtp::start_data, RejectReason::count_);
    }
}

// DATA goes up with the last RCPT where the backend takes pipelining; BDAT needs no word before the
// content.
void Delivery::request_data() {
    BackendConnection* const current = access_.connection();
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
    send_commands();
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
        owner->answer_data(smtp::start_data, RejectReason::count_);
    }
}

void Delivery::data_reply(const smtp::Reply& reply) {
    if (accepted_here_ == 0) {
        // Pipelined behind recipients that were all refused: settle_empty_data() closes the
        // connection.
        return;
    }
    if (reply.code == 354) {
        data_ready_ = true;
        let_client_send();
        return;
    }
    data_sent_ = false;
    const bool ours = replies::is_our_fault(reply.code);
    const bool passes_on = !ours && (reply.severity() == 4 || reply.severity() == 5);
    count_refusal("DATA", reply);
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
        if (!ended_ && is_content_full()) {
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
    note_content();
    content_ended_at_ = worker_.now();
    advance();
}

// When memory is short, whoever can't get rid of what has come is read from no further.
bool Delivery::is_content_full() const {
    return content_.held_bytes() > window_bytes_max ||
           (worker_.pressure() != Pressure::none && content_.held_bytes() > 0);
}

void Delivery::release_client() {
    if (content_.held_bytes() <= replayable_bytes_max && !is_content_full()) {
        if (ClientConnection* const owner = client()) {
            owner->resume_content();
        }
    }
}

Bytes Delivery::write_trace_field() {
    note_content();
    smtp::TraceSource source;
    source.hello_name = hello_name_;
    if (!is_unix_peer_) {
        source.client_ip = client_ip_;
    }
    source.hostname = access_.settings().hostname;
    source.id = id_;
    if (accepted_ == 1) {
        source.recipient =
            std::ranges::find(recipients_, Fate::accepted, &Recipient::fate)->mailbox;
    }
    source.received_at = worker_.wall_time();
    source.esmtp = esmtp_;
    source.smtputf8 = mail_.smtputf8;
    source.content_starts_with_space = starts_with_space_;
    std::string& trace = worker_.trace_field();
    trace.clear();
    smtp::append_trace_field(trace, source);
    return as_bytes(trace);
}

// What the session knows of the content; the client may be gone when it is needed.
void Delivery::note_content() {
    if (ClientConnection* const owner = client()) {
        starts_with_space_ = owner->session().content_starts_with_space();
        content_bytes_ = owner->session().content_bytes();
    }
}

// A small message goes up whole, in one send; a large one as it comes, one send at a time.
void Delivery::pump() {
    BackendConnection* const current = access_.connection();
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
    if (by_chunks_) {
        pump_chunk(*current);
    } else {
        pump_data(*current);
    }
}

// What goes up next; false when there is no memory for it. Then nothing has changed: relieve()
// comes back here.
bool Delivery::fill_outgoing(WireForm form) {
    SliceList& outgoing = worker_.outgoing();
    outgoing.clear();
    const bool filled =
        (body_begun_ || outgoing.append_copy(worker_.pool(), write_trace_field())) &&
        content_.take(worker_.pool(), form, outgoing);
    if (!filled) {
        outgoing.clear();
    }
    return filled;
}

void Delivery::pump_data(BackendConnection& current) {
    // Without more the client is waited for, not the backend.
    if (!fill_outgoing(WireForm::stuffed) || (worker_.outgoing().bytes() == 0 && !content_ended_)) {
        return;
    }
    body_begun_ = true;
    send_all(current, worker_.outgoing());
    if (!content_ended_) {
        current.expect_within(access_.settings().timeouts.backend_reply);
        return;
    }
    current.send(Slice::literal(content_.terminator()));
    submit_final(current);
    current.session().content_sent(accepted_here_);
}

void Delivery::send_all(BackendConnection& current, SliceList& outgoing) {
    worker_.counters().backend_bytes_sent_total.add(outgoing.bytes());
    for (Slice& slice : outgoing.slices()) {
        current.send(std::move(slice));
    }
    outgoing.clear();
}

// From here on nothing can be sent again: what is still to go is the connection's.
void Delivery::submit_final(BackendConnection& current) {
    final_submitted_ = true;
    timer_.cancel();
    current.expect_within(
        std::min(access_.settings().timeouts.backend_end_of_data, end_of_data_max));
    RINGMX_MUTATE(ack_before_backend, answer_client(replies::sender_ok));
    RINGMX_MUTATE(second_backend_after_final_dot, return);
    content_.clear();
}

void Delivery::pump_chunk(BackendConnection& current) {
    if (!current.capabilities().pipelining && current.session().unanswered() > 0) {
        return; // BDAT's octets may not follow before the answer (RFC 3030, 4.2)
    }
    SliceList& outgoing = worker_.outgoing();
    Draft kept_for_command = worker_.pool().draft(smtp::chunk_command_bytes_max);
    if (!kept_for_command || !fill_outgoing(WireForm::raw) ||
        (outgoing.bytes() == 0 && !content_ended_)) {
        return;
    }
    body_begun_ = true;
    kept_for_command = Draft();
    current.session().chunk(outgoing.bytes(), content_ended_);
    const bool is_queued = current.send_commands();
    RINGMX_ASSERT(is_queued);
    send_all(current, outgoing);
    if (content_ended_) {
        submit_final(current);
    } else {
        current.expect_within(access_.settings().timeouts.backend_reply);
    }
}

void Delivery::chunk_reply(const smtp::Reply& reply) {
    BackendConnection* const current = access_.connection();
    const bool is_last =
        final_submitted_ && current != nullptr && current->session().unanswered() == 0;
    if (is_last || reply.severity() != 2) {
        final_reply(reply); // a refused chunk makes what follows vain
    }
}

// The backend's last word on the message.
void Delivery::final_reply(const smtp::Reply& reply) {
    BackendConnection* const current = access_.connection();
    if (current == nullptr) {
        return;
    }
    const bool whole = final_submitted_ && current->session().unanswered() == 0;
    const bool taken = whole && reply.severity() == 2;
    if (taken) {
        observe::BackendCounters& counted = worker_.counters_of(current->lease(), current->pool());
        counted.messages_forwarded_total.add();
        counted.forward.record(worker_.now() - offered_at_);
        log_final(*current, reply);
        access_.leave(BackendConnection::Leave::clean);
        accept_message(reply);
        end();
        return;
    }
    const bool ours = replies::is_our_fault(reply.code);
    const bool temporary = reply.severity() == 4;
    count_refusal("end of data", reply);
    const bool passes_on = !ours && (temporary || reply.severity() == 5);
    const smtp::Reply answer = ours ? replies::our_fault : passes_on ? reply : replies::unavailable;
    access_.leave(whole ? BackendConnection::Leave::resettable : BackendConnection::Leave::broken);
    refuse_message(answer, ours        ? RejectReason::backend_fault
                           : temporary ? RejectReason::backend_tempfail
                                       : RejectReason::backend_reject);
    end();
}

} // namespace ringmx::worker
