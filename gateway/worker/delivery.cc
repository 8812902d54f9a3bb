#include "worker/delivery.h"

#include "worker/backend_connection.h"
#include "worker/client_connection.h"
#include "worker/replies.h"
#include "worker/snapshot.h"
#include "worker/worker.h"

#include "base/mutation.h"

#include <algorithm>
#include <utility>

namespace ringmx::worker {

using observe::ForwardFailure;
using observe::RejectReason;

Delivery::Delivery(Handle self, Worker& worker, ClientConnection& client)
    : self_(self), worker_(worker),
      access_(worker, exchange_id(), client.snapshot(), client.client_key()),
      client_(client.handle()), timer_(static_cast<std::uint8_t>(TimerKind::delivery), self.slot),
      mail_(client.session().mail()), client_ip_(client.client_ip()),
      client_port_(client.client_port()), hello_name_(client.session().hello_name()),
      esmtp_(client.session().esmtp()), is_unix_peer_(client.is_unix_peer()),
      id_(worker.queue_ids().next()) {
    count_envelope(static_cast<std::ptrdiff_t>(sizeof(Delivery) + mail_.reverse_path.size() +
                                               mail_.envelope_id.size() + hello_name_.size()));
}

ClientConnection* Delivery::client() { return worker_.clients().find(client_); }

// What there is to do next, in whatever state: called after everything that happens. Calls made
// from inside only ask for another round.
void Delivery::advance() {
    if (advancing_) {
        again_ = true;
        return;
    }
    advancing_ = true;
    do {
        again_ = false;
        BackendConnection* const current = access_.connection();
        if (ended_) {
            break;
        }
        if (current == nullptr) {
            if (!access_.is_waiting() && wants_backend()) {
                acquire();
                again_ = true;
            }
        } else if (current->is_ready()) {
            ask();
            request_data();
            pump();
        }
        if (!ended_) {
            flush_answers();
        }
    } while (again_ && !ended_);
    advancing_ = false;
    if (!ended_) {
        settle_empty_data();
        set_hold_timer();
        release_client();
    }
}

bool Delivery::wants_backend() const {
    if (held_ || doomed_.code != 0) {
        return false;
    }
    if (accepted_ > 0 && (data_requested_ || content_begun_)) {
        return true;
    }
    // Those before the first unanswered one are settled.
    return std::any_of(recipients_.begin() + first_unanswered_, recipients_.end(),
                       [](const Recipient& recipient) { return recipient.fate == Fate::waiting; });
}

// The first accepted recipient fixes pool and key; while there is none the first waiting one does.
void Delivery::acquire() {
    if (accepted_ == 0) {
        const auto next = std::find_if(
            recipients_.begin() + first_unanswered_, recipients_.end(),
            [](const Recipient& recipient) { return recipient.fate == Fate::waiting; });
        access_.choose(next->pool_index, next->key_hash);
    }
    if (const auto result = access_.acquire(accepted_ > 0); !result) {
        unavailable(result.error());
    }
}

void Delivery::granted(const upstream::Answer& answer) {
    if (const auto result = access_.grant(answer); !result) {
        if (result.error() == ForwardFailure::wait_timeout) {
            log_wait();
        }
        unavailable(result.error());
    }
    advance();
}

void Delivery::on_sent(BackendConnection& sender) {
    content_.drop_taken(worker_.pressure() != Pressure::none);
    if (body_begun_ && !final_submitted_ && sender.session().unanswered() == 0) {
        sender.expect_nothing();
    }
    advance();
}

// No backend takes it now. While nobody is accepted this is the verdict on one recipient, and the
// next one chooses anew.
void Delivery::unavailable(BackendAccess::Refusal refusal) {
    if (refusal) {
        access_.count_failure(*refusal);
    }
    access_.forget_tried();
    if (accepted_ > 0) {
        doom(replies::unavailable, RejectReason::backend_unavailable);
        return;
    }
    const auto next = std::find_if(
        recipients_.begin() + first_unanswered_, recipients_.end(), [](const Recipient& recipient) {
            return recipient.fate == Fate::waiting || recipient.fate == Fate::asked;
        });
    if (next != recipients_.end()) {
        settle_recipient(*next, replies::unavailable, smtp::AnswerSource::own, false,
                         observe::RecipientReason::backend_unavailable);
    }
}

// Recipients that were accepted can't be kept: the message fails at its end (or at DATA, when that
// comes first).
void Delivery::doom(const smtp::Reply& reply, RejectReason reason) {
    doomed_ = smtp::OwnedReply(reply);
    doomed_reason_ = reason;
    for (Recipient& recipient : recipients_) {
        if (recipient.fate == Fate::waiting || recipient.fate == Fate::asked) {
            settle_recipient(recipient, replies::unavailable, smtp::AnswerSource::own, false,
                             observe::RecipientReason::backend_unavailable);
        }
    }
    flush_answers();
    say_doom();
}

// At the end of the data when the data has begun or an answer has changed, else at DATA. Without an
// accepted recipient there is nothing to say: DATA gets 554.
void Delivery::say_doom() {
    if (accepted_ == 0) {
        return;
    }
    if (data_requested_ && changed_) {
        let_client_send();
    }
    if (ended_) {
        return;
    }
    if (content_begun_) {
        fail_message(doomed_.view(), doomed_reason_);
        return;
    }
    flush_answers(); // recipients that came in with DATA, after the doom
    if (data_requested_ && !ended_) {
        refuse_data(doomed_.view(), doomed_reason_);
    }
}

void Delivery::fail_message(const smtp::Reply& reply, RejectReason reason) {
    drop_connection();
    refuse_message(reply, reason);
    end();
}

void Delivery::fail_for_memory() { fail_message(replies::no_memory, RejectReason::no_memory); }

// Leaves the connection in the cleanest way that its state allows: without the final dot nothing of
// the message may be kept there.
void Delivery::drop_connection() {
    using Leave = BackendConnection::Leave;
    access_.stop_waiting();
    access_.leave(body_begun_ || data_sent_ ? Leave::broken
                  : mail_sent_              ? Leave::resettable
                                            : Leave::clean);
}

void Delivery::start_over() {
    if (mail_sent_) {
        worker_.counters().transactions_replayed_total.add();
    }
    asked_.clear();
    asked_first_ = 0;
    next_to_ask_ = 0;
    accepted_here_ = 0;
    mail_refusal_ = {};
    mail_sent_ = mail_answered_ = false;
    data_sent_ = data_ready_ = body_begun_ = false;
    refused_here_ = false;
    for (Recipient& recipient : recipients_) {
        if (recipient.fate == Fate::asked) {
            recipient.fate = Fate::waiting;
        }
    }
    if (content_begun_) {
        content_.rewind();
    }
}

void Delivery::change_connection() {
    drop_connection();
    start_over();
    again_ = true;
}

void Delivery::on_lost(BackendConnection& lost, ForwardFailure kind) {
    fail_over(lost, kind);
    advance();
}

// The connection can't go on: closes it, and tries again where that is safe.
void Delivery::fail_over(BackendConnection& lost, ForwardFailure kind) {
    access_.note_loss(id_, kind);
    RINGMX_MUTATE(second_backend_after_final_dot, final_submitted_ = false);
    const bool is_final = final_submitted_;
    const bool replayable = !is_final && (!content_begun_ || content_.replayable());
    if (const auto lease = access_.lose(lost, kind, replayable)) {
        start_over();
        if (const auto result = access_.dial(*lease); !result) {
            unavailable(result.error());
        }
        return;
    }
    if (is_final) {
        if (kind != ForwardFailure::unavailable) {
            access_.note_duplicate(id_, client_ip_, client_port_, false);
        }
        refuse_message(replies::unavailable, RejectReason::backend_unavailable);
        end();
        return;
    }
    if (!replayable) {
        doom(replies::unavailable, RejectReason::backend_unavailable);
        return;
    }
    if (mail_sent_ && kind != ForwardFailure::unavailable) {
        ++drops_;
    }
    start_over();
    if (drops_ >= 2) { // nor are the recipients still to come offered to a third
        doom(replies::unavailable, RejectReason::backend_unavailable);
    }
}

void Delivery::set_hold_timer() {
    const Duration hold = access_.settings().timeouts.backend_hold;
    ClientConnection* const owner = client();
    BackendConnection* const current = access_.connection();
    if (hold == Duration{0} || owner == nullptr || current == nullptr || !current->is_ready()) {
        return;
    }
    worker_.timers().set(timer_, owner->last_octet_at() + hold);
}

// The client is silent: whoever waits for a connection shall have this one, if the envelope can be
// replayed.
void Delivery::timer_fired() {
    ClientConnection* const owner = client();
    BackendConnection* const current = access_.connection();
    if (ended_ || owner == nullptr || current == nullptr || !current->is_ready()) {
        return;
    }
    const Instant due = owner->last_octet_at() + access_.settings().timeouts.backend_hold;
    // A client whose reading is paused is silent by our doing, and would never end a hold.
    const bool backend_is_slow = current->unsent_bytes() > 0 ||
                                 current->session().unanswered() > 0 || owner->content_paused();
    if (due > worker_.now() || owes_client() || backend_is_slow) {
        worker_.timers().set(timer_, std::max(due, worker_.now() + 1s));
        return;
    }
    if (content_begun_ && !content_.replayable()) {
        return;
    }
    drop_connection();
    start_over();
    held_ = true;
}

void Delivery::client_spoke() {
    if (held_) {
        held_ = false;
        advance();
    }
}

void Delivery::abandon(RejectReason reason) {
    client_ = {};
    if (final_submitted_ || ended_) {
        return;
    }
    if (content_ended_) { // before that the client's connection counts
        worker_.counters().messages_rejected[reason].add();
    }
    drop_connection();
    end();
}

void Delivery::send_client_away() {
    if (final_submitted_) {
        access_.note_duplicate(id_, client_ip_, client_port_, false);
    }
    client_left();
}

void Delivery::cut() {
    if (ended_) {
        return;
    }
    if (final_submitted_) {
        access_.note_duplicate(id_, client_ip_, client_port_, false);
        refuse_message(replies::shutting_down, RejectReason::shutdown);
        drop_connection();
        end();
    } else {
        abandon(RejectReason::shutdown);
    }
}

// Memory is short: what can go up goes up, the rest is kept in no more than its size.
void Delivery::relieve() {
    const BackendConnection* const current = access_.connection();
    if (current != nullptr && current->unsent_bytes() == 0) {
        content_.drop_taken(true); // no on_sent() will come for it
    }
    content_.compact(worker_.pool());
    if (!ended_) {
        advance();
    }
}

void Delivery::accept_message(const smtp::Reply& reply) {
    worker_.counters().messages_accepted_total.add();
    worker_.counters().message_bytes_accepted_total.add(content_bytes_);
    answer_client(reply);
}

void Delivery::refuse_message(const smtp::Reply& reply, RejectReason reason) {
    worker_.counters().messages_rejected[reason].add();
    RINGMX_MUTATE(counted_twice, if (!client()) worker_.counters().messages_rejected[reason].add());
    log_message_refusal(reply, reason, {});
    answer_client(reply);
}

// DATA is refused, the transaction goes on.
void Delivery::refuse_data(const smtp::Reply& reply, RejectReason reason) {
    data_requested_ = false;
    log_message_refusal(reply, reason, "DATA");
    if (ClientConnection* const owner = client()) {
        owner->answer_data(reply, reason);
    }
}

void Delivery::answer_client(const smtp::Reply& reply) {
    if (content_ended_) {
        worker_.counters().acknowledge.record(worker_.now() - content_ended_at_);
    }
    ClientConnection* const owner = client();
    client_ = {};
    if (owner != nullptr) {
        owner->answer_message(reply);
    }
}

void Delivery::count_envelope(std::ptrdiff_t bytes) {
    envelope_bytes_ += bytes;
    worker_.count_envelope_bytes(bytes);
}

void Delivery::end() {
    if (ended_) {
        return;
    }
    ended_ = true;
    timer_.cancel();
    content_.clear();
    worker_.count_envelope_bytes(-envelope_bytes_);
    worker_.delivery_ended(*this);
}

} // namespace ringmx::worker
