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
    : self_(self), worker_(worker), snapshot_(client.snapshot()), client_(client.handle()),
      timer_(static_cast<std::uint8_t>(TimerKind::delivery), self.slot),
      mail_(client.session().mail()), client_key_(client.client_key()),
      client_ip_(client.client_ip()), client_port_(client.client_port()),
      hello_name_(client.session().hello_name()), esmtp_(client.session().esmtp()),
      is_unix_peer_(client.is_unix_peer()), id_(worker.queue_ids().next()) {
    count_envelope(static_cast<std::ptrdiff_t>(sizeof(Delivery) + mail_.reverse_path.size() +
                                               mail_.envelope_id.size() + hello_name_.size()));
}

ClientConnection* Delivery::client() { return worker_.clients().find(client_); }
BackendConnection* Delivery::connection() { return worker_.backends().find(connection_); }
const Pool& Delivery::pool() const { return *snapshot_->pools[pool_index_]; }

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
        BackendConnection* const current = connection();
        if (ended_) {
            break;
        }
        if (current == nullptr) {
            if (!waiting_ && wants_backend()) {
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
        if (next->pool_index != pool_index_ || next->key_hash != choice_hash_) {
            tried_.clear();
            backend_index_ = upstream::no_backend;
        }
        pool_index_ = next->pool_index;
        choice_hash_ = next->key_hash;
    }
    const upstream::Request request{
        .pool = &pool().upstream,
        .key_hash = choice_hash_,
        .client_key = client_key_,
        .transaction = exchange_id().packed(),
        .deadline = worker_.now() + snapshot_->settings->timeouts.backend_wait,
        .preferred = accepted_ > 0 ? backend_index_ : upstream::no_backend};
    const upstream::Answer answer = worker_.book().acquire(request, tried_, worker_.now());
    if (answer.verdict == upstream::Verdict::wait) {
        waiting_ = true;
        waiter_ = answer.waiter;
        return;
    }
    take(answer);
}

void Delivery::granted(const upstream::Answer& answer) {
    waiting_ = false;
    if (answer.verdict == upstream::Verdict::refuse) {
        log_wait();
        unavailable(ForwardFailure::wait_timeout);
    } else {
        take(answer);
    }
    advance();
}

void Delivery::handed_over(const upstream::Answer& answer) {
    waiting_ = false;
    take(answer);
    worker_.advance_later(exchange_id());
}

void Delivery::take(const upstream::Answer& answer) {
    switch (answer.verdict) {
    case upstream::Verdict::reuse: {
        BackendConnection* const reused = worker_.backends().at(answer.connection);
        RINGMX_ASSERT(reused != nullptr);
        connection_ = reused->handle();
        backend_index_ = answer.lease.backend_index;
        reused->reuse(answer.lease, exchange_id(), snapshot_, pool());
        offered_at_ = worker_.now();
        return;
    }
    case upstream::Verdict::dial:
        dial(answer.lease);
        return;
    case upstream::Verdict::wait:
    case upstream::Verdict::refuse:
        if (!tried_.empty()) {
            unavailable(std::nullopt);
        } else {
            unavailable(first_choice_resolves() ? ForwardFailure::no_backend
                                                : ForwardFailure::resolve);
        }
        return;
    }
}

void Delivery::dial(const upstream::Lease& lease) {
    BackendConnection* const made = worker_.backends().create(worker_, snapshot_, pool());
    if (made == nullptr) {
        upstream::Lease unused = lease;
        worker_.book().retire(unused);
        unavailable(ForwardFailure::no_backend);
        return;
    }
    connection_ = made->handle();
    backend_index_ = lease.backend_index;
    offered_at_ = worker_.now();
    made->dial(lease, exchange_id());
}

void Delivery::on_ready() { advance(); }

void Delivery::on_sent(BackendConnection& sender) {
    content_.drop_taken(worker_.pressure() != Pressure::none);
    if (body_begun_ && !final_submitted_ && sender.session().unanswered() == 0) {
        sender.expect_nothing();
    }
    advance();
}

// No backend takes it now. While nobody is accepted this is the verdict on one recipient, and the
// next one chooses anew.
void Delivery::unavailable(std::optional<ForwardFailure> kind) {
    if (kind) { // else the attempts that failed are counted
        count_failure(*kind);
    }
    tried_.clear();
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
    if (waiting_) {
        worker_.book().cancel(waiter_);
        waiting_ = false;
    }
    BackendConnection* const current = connection();
    connection_ = {};
    if (current == nullptr) {
        return;
    }
    using Leave = BackendConnection::Leave;
    if (body_begun_ || data_sent_) {
        current->leave(Leave::broken);
    } else {
        current->leave(mail_sent_ ? Leave::resettable : Leave::clean);
    }
}

void Delivery::start_over() {
    if (mail_sent_) {
        worker_.counters().transactions_replayed_total.add();
    }
    connection_ = {};
    asked_.clear();
    asked_first_ = 0;
    next_to_ask_ = 0;
    accepted_here_ = 0;
    mail_refusal_ = {};
    mail_sent_ = mail_answered_ = false;
    data_sent_ = data_ready_ = body_begun_ = false;
    heard_something_ = false;
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
    count_failure(kind);
    log_attempt(kind);
    RINGMX_MUTATE(second_backend_after_final_dot, final_submitted_ = false);
    const bool is_final = final_submitted_;
    const bool replayable = !is_final && (!content_begun_ || content_.replayable());
    const bool dropped = kind == ForwardFailure::dropped || kind == ForwardFailure::unavailable;
    const bool is_ready = lost.is_ready();
    connection_ = {};
    if (dropped && lost.was_reused() && replayable) {
        // It may have been closed while it was idle: that says nothing about the backend.
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
    if (is_final) {
        if (kind != ForwardFailure::unavailable) {
            count_duplicate();
        }
        refuse_message(replies::unavailable, RejectReason::backend_unavailable);
        end();
        return;
    }
    if (!replayable) {
        doom(replies::unavailable, RejectReason::backend_unavailable);
        return;
    }
    if (is_ready && mail_sent_ && kind != ForwardFailure::unavailable) {
        ++drops_;
    }
    tried_.push_back(static_cast<std::uint16_t>(backend_index_));
    start_over();
    if (drops_ >= 2) { // nor are the recipients still to come offered to a third
        doom(replies::unavailable, RejectReason::backend_unavailable);
    }
}

void Delivery::set_hold_timer() {
    const Duration hold = snapshot_->settings->timeouts.backend_hold;
    ClientConnection* const owner = client();
    BackendConnection* const current = connection();
    if (hold == Duration{0} || owner == nullptr || current == nullptr || !current->is_ready()) {
        return;
    }
    worker_.timers().set(timer_, owner->last_octet_at() + hold);
}

// The client is silent: whoever waits for a connection shall have this one, if the envelope can be
// replayed.
void Delivery::timer_fired() {
    ClientConnection* const owner = client();
    BackendConnection* const current = connection();
    if (ended_ || owner == nullptr || current == nullptr || !current->is_ready()) {
        return;
    }
    const Instant due = owner->last_octet_at() + snapshot_->settings->timeouts.backend_hold;
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
        count_duplicate();
    }
    client_left();
}

void Delivery::cut() {
    if (ended_) {
        return;
    }
    if (final_submitted_) {
        count_duplicate();
        refuse_message(replies::shutting_down, RejectReason::shutdown);
        drop_connection();
        end();
    } else {
        abandon(RejectReason::shutdown);
    }
}

// Memory is short: what can go up goes up, the rest is kept in no more than its size.
void Delivery::relieve() {
    const BackendConnection* const current = connection();
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
