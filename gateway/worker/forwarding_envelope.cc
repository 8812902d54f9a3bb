// A forwarding's envelope: MAIL and RCPT as the backend takes them, and its replies.
#include "worker/backend_connection.h"
#include "worker/dispatch.h"
#include "worker/forwarding.h"
#include "worker/replies.h"
#include "worker/worker.h"

#include "base/ascii.h"

#include <algorithm>

namespace ringmx::worker {

using observe::ForwardFailure;

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
    if (!ended_ && access_.has_connection()) {
        begin_content(current);
    }
    if (!ended_ && access_.has_connection() && !current.session().output().empty() &&
        !access_.send_commands()) {
        settle_rest(replies::no_memory, {});
        end();
    }
    if (!ended_ && access_.has_connection()) {
        pump(current);
    }
    if (!ended_ && access_.has_connection()) {
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

bool Forwarding::is_envelope_settled(const BackendConnection& current) const {
    return mail_answered_ &&
           (next_to_ask_ == recipients_.size() || current.rejections_left() == 0) &&
           std::ranges::find(recipients_, Fate::asked, &Recipient::fate) == recipients_.end();
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
    access_.heard(from);
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

} // namespace ringmx::worker
