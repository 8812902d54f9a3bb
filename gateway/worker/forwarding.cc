#include "worker/forwarding.h"

#include "worker/mail_queue.h"
#include "worker/replies.h"
#include "worker/worker.h"

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
                       std::span<const std::uint32_t> recipients)
    : self_(self), worker_(worker), queue_(queue), dispatch_(dispatch),
      access_(worker, exchange_id(), dispatch.snapshot(), BackendAccess::no_share) {
    access_.choose(pool_index, key_hash);
    recipients_.reserve(recipients.size());
    for (const std::uint32_t index : recipients) {
        recipients_.push_back({.index = index});
    }
    start_over();
}

// What there is to do next, in whatever state. Calls made from inside only ask for another round.
void Forwarding::advance() {
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
            if (!access_.is_waiting()) {
                acquire();
                again_ = true;
            }
        } else if (current->is_ready()) {
            send_envelope(*current);
        }
    } while (again_ && !ended_);
    advancing_ = false;
    tell_queue();
}

void Forwarding::acquire() {
    if (const auto result = access_.acquire(); !result) {
        no_backend(result.error());
    }
}

void Forwarding::granted(const upstream::Answer& answer) {
    if (const auto result = access_.grant(answer); !result) {
        no_backend(result.error());
    }
    advance();
}

void Forwarding::start_over() {
    next_to_ask_ = first_unanswered_ = accepted_ = 0;
    mail_refusal_ = {};
    is_judged_ = mail_sent_ = mail_answered_ = data_sent_ = false;
    content_begun_ = by_chunks_ = body_begun_ = final_submitted_ = content_refused_ = false;
    is_taken_ = false;
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
    access_.note_loss(dispatch_.id_text(), kind);
    was_dialed_ = true;
    const bool is_unanswered = final_submitted_ && kind != ForwardFailure::unavailable;
    // Without any answer it was closed before anything came, most likely.
    const bool may_redial = !is_unanswered || !access_.has_heard();
    if (const auto lease = access_.lose(lost, kind, may_redial)) {
        if (is_unanswered) {
            access_.count_failure(ForwardFailure::possible_duplicate);
        }
        start_over();
        if (const auto result = access_.dial(*lease); !result) {
            no_backend(result.error());
        }
        return;
    }
    // Then it was tried, as far as its schedule goes, where no other backend takes it.
    was_answered_ =
        was_answered_ || access_.has_heard() || (mail_sent_ && kind == ForwardFailure::unavailable);
    if (is_unanswered) {
        note_duplicate();
        settle_rest(replies::unavailable, {});
        end();
        return;
    }
    if (mail_sent_ && kind != ForwardFailure::unavailable) {
        ++drops_;
    }
    start_over();
    if (drops_ >= drops_max) {
        settle_rest(replies::unavailable, {});
        end();
    }
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
    if (is_whole && !content_refused_ && is_taken_) {
        access_.leave(Leave::clean);
    } else if (!is_whole && (body_begun_ || data_sent_)) {
        access_.leave(Leave::broken);
    } else {
        access_.leave(mail_sent_ ? Leave::resettable : Leave::clean);
    }
    // Who was not asked here goes on over another one.
    const bool has_more =
        std::ranges::find(recipients_, Fate::waiting, &Recipient::fate) != recipients_.end();
    if (has_more) {
        start_over();
        advance();
    } else {
        end();
    }
}

void Forwarding::settle(Recipient& recipient, const smtp::Reply& reply, std::string_view after) {
    const bool is_own = after.empty();
    const bool is_our_fault = replies::is_our_fault(reply.code) && !is_own;
    const bool is_final = reply.severity() == 5 && !is_our_fault;
    if (is_our_fault) {
        access_.note_fault(dispatch_.id_text(), after, reply);
    } else if (!is_own) {
        access_.count_failure(is_final ? ForwardFailure::reject : ForwardFailure::tempfail);
    }
    set_outcome(recipient, is_final ? Outcome::Kind::failed : Outcome::Kind::deferred, reply,
                is_own);
}

void Forwarding::set_outcome(Recipient& recipient, Outcome::Kind kind, const smtp::Reply& reply,
                             bool is_own) {
    recipient.fate = Fate::settled;
    dispatch_.set_outcome(recipient.index, kind, access_.pool_index(), access_.backend_index(),
                          reply, is_own);
}

// For good, by our own word.
void Forwarding::refuse(Recipient& recipient, const smtp::Reply& reply) {
    access_.count_failure(ForwardFailure::reject);
    set_outcome(recipient, Outcome::Kind::failed, reply, true);
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

void Forwarding::no_backend(BackendAccess::Refusal refusal) {
    if (refusal) {
        access_.count_failure(*refusal);
    } else if (was_answered_) {
        settle_rest(replies::unavailable, {});
        end();
        return;
    }
    for (Recipient& recipient : recipients_) {
        if (recipient.fate != Fate::settled) {
            recipient.fate = Fate::settled;
            dispatch_.set_outcome(recipient.index, Outcome::Kind::no_backend, access_.pool_index(),
                                  access_.first_choice(), replies::unavailable, true);
            if (was_dialed_) {
                dispatch_.note_dialed(recipient.index);
            }
        }
    }
    end();
}

void Forwarding::give_up() {
    access_.stop_waiting();
    end();
}

void Forwarding::cut() {
    if (ended_) {
        return;
    }
    if (access_.has_connection() && final_submitted_) {
        note_duplicate();
    }
    access_.leave(BackendConnection::Leave::broken);
    give_up();
}

void Forwarding::go_on() {
    if (!access_.is_waiting()) {
        advance();
    }
}

// Whether there are connections for what it begins from disk.
void Forwarding::tell_queue() {
    if (ended_) {
        return; // its dispatch may have ended too
    }
    if (access_.is_waiting() && !std::exchange(has_waited_, true)) {
        queue_.note_wait(dispatch_);
    }
    if (access_.has_connection() && !std::exchange(has_begun_, true)) {
        queue_.note_begin(dispatch_, !has_waited_);
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
