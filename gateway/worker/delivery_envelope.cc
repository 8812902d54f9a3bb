// A delivery's envelope: asking the backend about the recipients, and giving the client its answers
// in order.
#include "worker/backend_connection.h"
#include "worker/choice_key.h"
#include "worker/client_connection.h"
#include "worker/delivery.h"
#include "worker/replies.h"
#include "worker/snapshot.h"
#include "worker/worker.h"

#include "base/ascii.h"
#include "base/mutation.h"

#include <algorithm>
#include <utility>

namespace ringmx::worker {

using observe::ForwardFailure;
using observe::RecipientReason;
using observe::RejectReason;
using smtp::AnswerSource;

Delivery::Recipient& Delivery::append_recipient(std::string_view mailbox,
                                                const smtp::RecipientParameters& parameters) {
    Recipient& recipient = recipients_.emplace_back();
    recipient.mailbox = mailbox;
    recipient.original_recipient = parameters.original_recipient;
    recipient.notify = parameters.notify;
    count_envelope(bytes_of(recipient));
    return recipient;
}

void Delivery::add_recipient(std::string_view mailbox, const smtp::RecipientParameters& parameters,
                             std::uint32_t pool_index, std::string_view key) {
    Recipient& recipient = append_recipient(mailbox, parameters);
    recipient.pool_index = pool_index;
    recipient.key_hash = choice_key(access_.snapshot()->pools[pool_index]->settings().hash, key,
                                    mail_.reverse_path, client_ip_);
    held_ = false;
    if (doomed_.code != 0) {
        settle_recipient(recipient, doomed_.view(), AnswerSource::own, false,
                         RecipientReason::backend_unavailable);
    }
    advance();
}

void Delivery::refuse_recipient(const RecipientRefusal& refusal, std::string_view mailbox) {
    settle_recipient(append_recipient(mailbox), refusal.reply, refusal.source, refusal.unknown,
                     refusal.reason);
    advance();
}

// Whether the backend that the connection is to would be chosen for this recipient alone. In turn,
// whoever has refused all others is not chosen again.
bool Delivery::same_choice(const Recipient& recipient) const {
    if (recipient.pool_index != access_.pool_index()) {
        return false;
    }
    if (pool().settings().hash == HashKey::none) {
        return !refused_here_ || asked_first_ < asked_.size();
    }
    const std::uint32_t slot = upstream::SlotTable::slot_of(recipient.key_hash);
    return recipient.key_hash == access_.key_hash() ||
           pool().upstream.table.first(slot) == access_.backend_index();
}

// What this backend offers takes the recipient; else the reply that says why not.
std::optional<smtp::Reply> Delivery::want_of(const Recipient& recipient) {
    const smtp::Capabilities& offered = access_.connection()->capabilities();
    if (!offered.may_take(mail_.declared_size_bytes.value_or(0))) {
        return replies::too_large;
    }
    if (!offered.smtputf8 && (!is_ascii(recipient.mailbox) || !is_ascii(mail_.reverse_path))) {
        return replies::needs_smtputf8;
    }
    return std::nullopt;
}

// Whether this recipient's RCPT may go up on the connection now. What it may not be asked at all it
// is told here.
bool Delivery::may_ask(Recipient& recipient) {
    const bool undecided = asked_first_ < asked_.size();
    const bool is_lmtp = pool().settings().protocol == Protocol::lmtp;
    const std::optional<smtp::Reply> want = want_of(recipient);
    if (recipient.fate == Fate::accepted) { // again, on another connection
        if (want) {
            envelope_changed();
        }
        return !want;
    }
    if (accepted_ > 0) {
        RINGMX_MUTATE(wrong_pool_asked, return true);
        if (recipient.pool_index != access_.pool_index() || is_lmtp) {
            settle_recipient(recipient, replies::other_pool, AnswerSource::own, false,
                             RecipientReason::other_pool);
            return false;
        }
    } else if (undecided) {
        if (is_lmtp || !same_choice(recipient)) {
            return false; // it depends on the answer to the one before
        }
    } else if (!same_choice(recipient)) {
        change_connection();
        access_.forget_tried();
        return false;
    }
    if (want) {
        settle_recipient(recipient, *want, AnswerSource::own, false,
                         want->code == replies::too_large.code ? RecipientReason::size
                                                               : RecipientReason::backend_reject);
    }
    return !want;
}

// Sends MAIL and as many RCPT as may go now: all in one go where the backend takes pipelining, else
// one at a time.
void Delivery::ask() {
    bool queued = false;
    while (!ended_ && next_to_ask_ < recipients_.size() && !data_sent_) {
        BackendConnection* const current = access_.connection();
        if (current == nullptr) {
            return;
        }
        Recipient& recipient = recipients_[next_to_ask_];
        if (recipient.fate == Fate::refused) {
            ++next_to_ask_;
            continue;
        }
        const bool pipelining = current->capabilities().pipelining;
        const bool reply_due = (mail_sent_ && !mail_answered_) || asked_first_ < asked_.size();
        if (mail_refusal_.code != 0 || (reply_due && !pipelining)) {
            break; // a refused MAIL is settled when its last reply is in
        }
        const std::size_t undecided = asked_.size() - asked_first_;
        if (undecided > 0 && undecided >= current->rejections_left()) {
            break; // were they all refused, the next one belongs to another connection
        }
        if (mail_answered_ && undecided == 0 && current->rejections_left() == 0) {
            change_connection();
            break;
        }
        if (!may_ask(recipient)) {
            if (recipient.fate == Fate::refused) {
                continue;
            }
            break;
        }
        if (!mail_sent_) {
            const std::uint64_t size = mail_.declared_size_bytes.value_or(0);
            current->session().mail(mail_, size);
            mail_sent_ = true;
            queued = true;
            offered_at_ = worker_.now();
            if (!pipelining) {
                break;
            }
        }
        current->session().recipient(recipient.mailbox,
                                     {recipient.notify, recipient.original_recipient});
        asked_.push_back(next_to_ask_++);
        if (recipient.fate == Fate::waiting) {
            recipient.fate = Fate::asked;
        }
        queued = true;
    }
    if (queued && access_.has_connection()) {
        send_commands();
    }
}

void Delivery::send_commands() {
    if (!access_.send_commands()) {
        start_over();
        doom(replies::no_memory, RejectReason::no_memory);
    }
}

void Delivery::on_reply(BackendConnection& from, smtp::ClientCommand command,
                        const smtp::Reply& reply) {
    if (ended_) {
        return;
    }
    if (reply.code == 421) {
        fail_over(from, ForwardFailure::unavailable);
        advance();
        return;
    }
    access_.heard(from);
    // What follows a refusal in the pipeline is refused for that one's sake.
    const bool is_consequence =
        (command == smtp::ClientCommand::recipient && mail_refusal_.code != 0) ||
        (command == smtp::ClientCommand::data && accepted_here_ == 0);
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
        final_reply(reply);
        break;
    case smtp::ClientCommand::chunk:
        chunk_reply(reply);
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

// A refusal of MAIL is the answer to each recipient that was to follow it.
void Delivery::mail_reply(const smtp::Reply& reply) {
    mail_answered_ = true;
    if (reply.severity() == 2) {
        return;
    }
    if (accepted_ > 0) {
        envelope_changed();
        return;
    }
    mail_refusal_ = smtp::OwnedReply(reply);
    refused_here_ = true;
    if (asked_first_ == asked_.size()) {
        if (next_to_ask_ < recipients_.size()) {
            refuse_by_backend(recipients_[next_to_ask_++], reply, "MAIL");
        }
        forget_refused_mail();
    }
}

void Delivery::forget_refused_mail() {
    mail_refusal_ = {};
    mail_sent_ = false;
    mail_answered_ = false;
}

void Delivery::recipient_reply(const smtp::Reply& reply) {
    RINGMX_ASSERT(asked_first_ < asked_.size());
    Recipient& recipient = recipients_[asked_[asked_first_++]];
    const bool is_last = asked_first_ == asked_.size();
    if (is_last) {
        asked_.clear();
        asked_first_ = 0;
    }
    refused_here_ = refused_here_ || reply.severity() != 2;
    if (mail_refusal_.code != 0) {
        refuse_by_backend(recipient, mail_refusal_.view(), "MAIL");
        if (is_last) {
            forget_refused_mail();
        }
        return;
    }
    if (reply.severity() == 2) {
        ++accepted_here_;
        if (recipient.fate == Fate::asked) {
            recipient.fate = Fate::accepted;
            if (++accepted_ == 1) {
                access_.keep_backend_for(recipient.key_hash);
            }
            recipient.source = AnswerSource::backend;
            recipient.reply = smtp::OwnedReply(reply);
            worker_.counters().recipients_accepted_total.add();
        }
    } else if (recipient.fate == Fate::accepted) {
        envelope_changed();
    } else {
        refuse_by_backend(recipient, reply, "RCPT");
    }
}

void Delivery::refuse_by_backend(Recipient& recipient, const smtp::Reply& reply,
                                 std::string_view after) {
    if (replies::is_our_fault(reply.code)) {
        access_.note_fault(id_, after, reply);
        settle_recipient(recipient, replies::our_fault, AnswerSource::own, false,
                         RecipientReason::backend_fault);
        return;
    }
    if (reply.severity() != 4 && reply.severity() != 5) {
        settle_recipient(recipient, replies::unavailable, AnswerSource::own, false,
                         RecipientReason::backend_unavailable);
        return;
    }
    const bool unknown = reply.code == 550 && after == "RCPT";
    const RecipientReason reason = reply.severity() == 4 ? RecipientReason::backend_tempfail
                                   : unknown             ? RecipientReason::unknown_recipient
                                                         : RecipientReason::backend_reject;
    settle_recipient(recipient, reply, AnswerSource::backend, unknown, reason);
}

// What was promised for a recipient does not hold on the other backend.
void Delivery::envelope_changed() {
    RINGMX_MUTATE(changed_envelope_ignored, return);
    drop_connection();
    start_over();
    changed_ = true;
    doom(replies::unavailable, RejectReason::backend_unavailable);
}

void Delivery::settle_recipient(Recipient& recipient, const smtp::Reply& reply, AnswerSource source,
                                bool unknown, RecipientReason reason) {
    recipient.fate = Fate::refused;
    recipient.source = source;
    recipient.unknown = unknown;
    recipient.reason = reason;
    recipient.reply = smtp::OwnedReply(reply);
    worker_.counters().recipients_rejected[reason].add();
    log_refusal(recipient, reply);
}

void Delivery::flush_answers() {
    bool any = false;
    while (first_unanswered_ < recipients_.size()) {
        Recipient& recipient = recipients_[first_unanswered_];
        ClientConnection* const owner = client();
        if (owner == nullptr || recipient.fate == Fate::waiting || recipient.fate == Fate::asked) {
            break;
        }
        ++first_unanswered_;
        any = true;
        owner->answer_recipient(recipient.reply.view(), recipient.source, recipient.unknown,
                                recipient.reason);
        recipient.reply = {};
    }
    forget_refused_recipients();
    ClientConnection* const owner = client();
    if (any && owner != nullptr) {
        owner->resume();
    }
}

// A client may be refused any number of recipients: once answered, they are none of the transaction's.
void Delivery::forget_refused_recipients() {
    if (first_unanswered_ < recipients_.size() || asked_first_ < asked_.size() ||
        accepted_ == recipients_.size()) {
        return;
    }
    const auto is_refused = [](const Recipient& recipient) {
        return recipient.fate == Fate::refused;
    };
    for (const Recipient& recipient : recipients_) {
        if (is_refused(recipient)) {
            count_envelope(-bytes_of(recipient));
        }
    }
    next_to_ask_ -= static_cast<std::uint32_t>(
        std::count_if(recipients_.begin(), recipients_.begin() + next_to_ask_, is_refused));
    std::erase_if(recipients_, is_refused);
    first_unanswered_ = static_cast<std::uint32_t>(recipients_.size());
}

} // namespace ringmx::worker
