#include "worker/verification_probe.h"

#include "worker/backend_connection.h"
#include "worker/replies.h"
#include "worker/verification.h"
#include "worker/worker.h"

#include "base/ascii.h"

#include <utility>

namespace ringmx::worker {

using observe::ForwardFailure;
using observe::VerificationResult;

namespace {

// The book's name for everybody who asks (Request::client_key).
constexpr std::uint64_t askers_key = 0x7665'7269'6679'0001;
constexpr std::size_t attempts_max = 2;

} // namespace

VerificationProbe::VerificationProbe(Handle self, Worker& worker, Verification& verification,
                                     std::shared_ptr<const Snapshot> snapshot,
                                     std::uint32_t pool_index,
                                     const policy::VerificationCache::Key& key,
                                     std::string_view mailbox, std::uint64_t key_hash)
    : self_(self), worker_(worker), verification_(verification),
      access_(worker, exchange_id(), std::move(snapshot), askers_key), key_(key), mailbox_(mailbox),
      timer_(static_cast<std::uint8_t>(TimerKind::verification), self.slot) {
    access_.choose(pool_index, key_hash);
    worker_.timers().set(timer_, worker_.now() + answer_within);
}

void VerificationProbe::advance() {
    if (ended_) {
        return;
    }
    BackendConnection* const current = access_.connection();
    if (current == nullptr) {
        if (!access_.is_waiting()) {
            acquire();
        }
    } else if (current->is_ready()) {
        speak(*current);
    }
}

void VerificationProbe::acquire() {
    const bool is_refused = !access_.acquire();
    go_on(is_refused);
}

void VerificationProbe::granted(const upstream::Answer& answer) {
    const bool is_refused = !access_.grant(answer);
    go_on(is_refused);
}

void VerificationProbe::go_on(bool is_refused) {
    if (is_refused) {
        end(VerificationResult::unavailable, {});
    } else {
        advance();
    }
}

void VerificationProbe::start_over() { mail_sent_ = mail_refused_ = recipient_sent_ = false; }

// What may go up now.
void VerificationProbe::speak(BackendConnection& current) {
    const smtp::Capabilities& offered = current.capabilities();
    smtp::ClientSession& session = current.session();
    if (!mail_sent_) {
        smtp::MailCommand mail;
        mail.smtputf8 = !is_ascii(mailbox_);
        if (mail.smtputf8 && !offered.smtputf8) {
            access_.leave(BackendConnection::Leave::clean);
            end(VerificationResult::unknown, replies::needs_smtputf8);
            return;
        }
        session.mail(mail, 0);
        mail_sent_ = true;
    }
    if (!recipient_sent_ && (offered.pipelining || session.unanswered() == 0)) {
        session.recipient(mailbox_);
        recipient_sent_ = true;
    }
    if (session.output().empty()) {
        return;
    }
    if (!access_.send_commands()) {
        end(VerificationResult::unavailable, {});
    }
}

void VerificationProbe::on_reply(BackendConnection& from, smtp::ClientCommand command,
                                 const smtp::Reply& reply) {
    if (ended_) {
        return;
    }
    if (reply.code == 421) {
        on_lost(from, ForwardFailure::unavailable);
        return;
    }
    access_.heard(from);
    if (reply.severity() >= 4 && !mail_refused_) {
        from.count_rejection();
    }
    if (command == smtp::ClientCommand::mail) {
        mail_refused_ = reply.severity() != 2;
        if (mail_refused_ && !recipient_sent_) {
            judge(reply);
        } else {
            advance();
        }
    } else if (command == smtp::ClientCommand::recipient) {
        judge(reply);
    }
}

void VerificationProbe::judge(const smtp::Reply& reply) {
    const smtp::OwnedReply kept(reply); // `reply` goes with the connection
    access_.leave(BackendConnection::Leave::resettable);
    const bool says = !mail_refused_ && !replies::is_our_fault(kept.code);
    if (says && kept.view().severity() == 2) {
        end(VerificationResult::exists, kept.view());
    } else if (says && kept.view().severity() == 5) {
        end(VerificationResult::unknown, kept.view());
    } else {
        end(VerificationResult::unavailable, kept.view());
    }
}

void VerificationProbe::on_lost(BackendConnection& lost, ForwardFailure kind) {
    const auto lease = access_.lose(lost, kind, true);
    start_over();
    if (lease) {
        if (!access_.dial(*lease)) {
            end(VerificationResult::unavailable, {});
        }
    } else {
        go_on(access_.tried_count() >= attempts_max);
    }
}

void VerificationProbe::give_up() {
    if (ended_) {
        return;
    }
    access_.stop_waiting();
    access_.leave(mail_sent_ ? BackendConnection::Leave::broken : BackendConnection::Leave::clean);
    end(VerificationResult::unavailable, {});
}

void VerificationProbe::end(VerificationResult result, const smtp::Reply& reply) {
    ended_ = true;
    timer_.cancel();
    verification_.answered(*this, result, reply);
}

} // namespace ringmx::worker
