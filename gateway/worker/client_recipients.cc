// A client's recipients: limits, routes, verification, and then the transaction.
#include "worker/client_connection.h"
#include "worker/replies.h"
#include "worker/snapshot.h"
#include "worker/worker.h"

#include <memory>

namespace ringmx::worker {

using observe::LogEvent;
using observe::RecipientReason;
using observe::VerificationResult;
using smtp::AnswerSource;

void ClientConnection::on_recipient() {
    if (!snapshot_->limits->admit_recipient(ticket_, worker_.now())) {
        log_limit(LogEvent::recipient_rate,
                  snapshot_->settings->limits.recipient_rate_per_client.count);
        refuse_in_order({replies::recipient_rate, RecipientReason::rate_limit});
        return;
    }
    if (worker_.pressure() == Pressure::critical) {
        refuse_in_order({replies::no_memory, RecipientReason::no_memory});
        return;
    }
    const auto target =
        snapshot_->routes->find_mailbox(session_.recipient().mailbox, worker_.route_key());
    if (!target) {
        refuse_in_order({replies::no_route, RecipientReason::no_route, true});
        return;
    }
    const bool is_rewritten =
        target->rewritten_to_postmaster || session_.recipient().bare_postmaster;
    const RoutedRecipient recipient{
        is_rewritten ? worker_.route_key() : session_.recipient().mailbox,
        session_.recipient().parameters(), target->pool_index, worker_.route_key()};
    if (target->verify_backend) {
        verify(recipient);
    } else if (awaited_ != nullptr) {
        await(recipient, 0);
    } else {
        take_recipient(recipient);
    }
}

// By what is known, else, where nothing but us will ask the backend before the message is taken, by
// asking it now.
void ClientConnection::verify(const RoutedRecipient& recipient) {
    const Verification::Question question{snapshot_, recipient.pool_index, recipient.mailbox,
                                          recipient.key};
    Verification& verification = worker_.verification();
    const std::uint64_t ticket = verification.next_ticket();
    const std::optional<Verdict> verdict =
        spools() ? verification.ask(question, self_, ticket) : verification.known(question);
    if (!verdict && spools()) {
        await(recipient, ticket);
    } else if (const auto refusal = verdict ? refusal_of(*verdict) : std::nullopt) {
        refuse_in_order(*refusal);
    } else if (awaited_ != nullptr) {
        await(recipient, 0);
    } else {
        take_recipient(recipient);
    }
}

// Nothing: the recipient is taken.
std::optional<RecipientRefusal> ClientConnection::refusal_of(const Verdict& verdict) const {
    switch (verdict.result) {
    case VerificationResult::unknown: {
        const bool is_unknown = verdict.reply.code == 550;
        return RecipientRefusal{verdict.reply.view(),
                                is_unknown ? RecipientReason::unknown_recipient
                                           : RecipientReason::backend_reject,
                                is_unknown, AnswerSource::backend};
    }
    case VerificationResult::unavailable:
        if (snapshot_->settings->verification.defer_unavailable) {
            return RecipientRefusal{replies::unverified, RecipientReason::backend_unavailable};
        }
        break;
    case VerificationResult::exists:
    case VerificationResult::count_:
        break;
    }
    return std::nullopt;
}

// `ticket` 0: only those before it are waited for.
void ClientConnection::await(const RoutedRecipient& recipient, std::uint64_t ticket) {
    if (awaited_ == nullptr) {
        awaited_ = std::make_unique<AwaitedRecipients>();
    }
    const std::ptrdiff_t bytes_before = awaited_->bytes();
    awaited_->add(recipient, ticket);
    worker_.count_envelope_bytes(awaited_->bytes() - bytes_before);
}

void ClientConnection::refuse_in_order(const RecipientRefusal& refusal) {
    if (awaited_ == nullptr) {
        refuse_recipient(refusal, session_.recipient().mailbox);
        return;
    }
    const std::ptrdiff_t bytes_before = awaited_->bytes();
    awaited_->add_refused(session_.recipient().mailbox, refusal);
    worker_.count_envelope_bytes(awaited_->bytes() - bytes_before);
}

void ClientConnection::recipient_verified(std::uint64_t ticket, const Verdict& verdict) {
    AwaitedRecipients::Recipient* const recipient =
        awaited_ == nullptr ? nullptr : awaited_->find(ticket);
    if (recipient == nullptr) {
        return; // the client gave the transaction up
    }
    recipient->ticket = 0;
    if (const std::optional<RecipientRefusal> refusal = refusal_of(verdict)) {
        recipient->reply = smtp::OwnedReply(refusal->reply);
        recipient->refusal = *refusal;
    }
    while (awaited_ != nullptr && session_.in_transaction()) { // a refusal may end the session
        const std::ptrdiff_t bytes_before = awaited_->bytes();
        const std::optional<AwaitedRecipients::Recipient> next = awaited_->take_decided();
        if (!next) {
            break;
        }
        worker_.count_envelope_bytes(awaited_->bytes() - bytes_before);
        if (awaited_->empty()) {
            awaited_.reset();
        }
        if (next->reply.code != 0) {
            refuse_recipient(next->why(), next->mailbox);
        } else {
            take_recipient(next->routed());
        }
    }
    if (awaited_ == nullptr && data_waits_) {
        data_waits_ = false;
        on_data();
    }
    resume();
}

void ClientConnection::forget_awaited() {
    if (awaited_ != nullptr) {
        worker_.count_envelope_bytes(-awaited_->bytes());
        awaited_.reset();
    }
    data_waits_ = false;
}

void ClientConnection::take_recipient(const RoutedRecipient& recipient) {
    Transaction* transaction = open_transaction();
    if (transaction == nullptr) {
        transaction = begin_transaction();
        if (transaction == nullptr) {
            refuse_recipient({replies::no_memory, RecipientReason::no_memory}, recipient.mailbox);
            return;
        }
    }
    transaction->add_recipient(recipient.mailbox, recipient.parameters, recipient.pool_index,
                               recipient.key);
}

void ClientConnection::refuse_recipient(const RecipientRefusal& refusal, std::string_view mailbox) {
    if (Transaction* const transaction = open_transaction()) {
        transaction->refuse_recipient(refusal, mailbox);
        return;
    }
    worker_.counters().recipients_rejected[refusal.reason].add();
    log_recipient_refusal(mailbox, refusal.reply, refusal.reason);
    note_recipient_refusal(refusal.reason);
    session_.answer_recipient(refusal.reply, refusal.source, refusal.unknown);
}

} // namespace ringmx::worker
