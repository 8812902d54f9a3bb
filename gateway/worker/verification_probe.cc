#include "worker/verification_probe.h"

#include "worker/backend_connection.h"
#include "worker/replies.h"
#include "worker/snapshot.h"
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
    : self_(self), worker_(worker), verification_(verification), snapshot_(std::move(snapshot)),
      pool_index_(pool_index), key_(key), mailbox_(mailbox), key_hash_(key_hash),
      timer_(static_cast<std::uint8_t>(TimerKind::verification), self.slot) {
    worker_.timers().set(timer_, worker_.now() + answer_within);
}

BackendConnection* VerificationProbe::connection() { return worker_.backends().find(connection_); }
const Pool& VerificationProbe::pool() const { return *snapshot_->pools[pool_index_]; }

void VerificationProbe::advance() {
    if (ended_) {
        return;
    }
    BackendConnection* const current = connection();
    if (current == nullptr) {
        if (!is_waiting_) {
            acquire();
        }
    } else if (current->is_ready()) {
        speak(*current);
    }
}

void VerificationProbe::acquire() {
    const upstream::Request request{.pool = &pool().upstream,
                                    .key_hash = key_hash_,
                                    .client_key = askers_key,
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
    advance();
}

void VerificationProbe::granted(const upstream::Answer& answer) {
    is_waiting_ = false;
    take(answer);
    advance();
}

void VerificationProbe::handed_over(const upstream::Answer& answer) {
    is_waiting_ = false;
    take(answer);
    worker_.advance_later(exchange_id());
}

void VerificationProbe::take(const upstream::Answer& answer) {
    switch (answer.verdict) {
    case upstream::Verdict::reuse: {
        BackendConnection* const reused = worker_.backends().at(answer.connection);
        RINGMX_ASSERT(reused != nullptr);
        connection_ = reused->handle();
        reused->reuse(answer.lease, exchange_id(), snapshot_, pool());
        return;
    }
    case upstream::Verdict::dial:
        dial(answer.lease);
        return;
    case upstream::Verdict::wait:
    case upstream::Verdict::refuse:
        end(VerificationResult::unavailable, {});
        return;
    }
}

void VerificationProbe::dial(const upstream::Lease& lease) {
    BackendConnection* const made = worker_.backends().create(worker_, snapshot_, pool());
    if (made == nullptr) {
        upstream::Lease unused = lease;
        worker_.book().retire(unused);
        end(VerificationResult::unavailable, {});
        return;
    }
    connection_ = made->handle();
    made->dial(lease, exchange_id());
}

void VerificationProbe::start_over() {
    connection_ = {};
    mail_sent_ = mail_refused_ = recipient_sent_ = heard_something_ = false;
}

// What may go up now.
void VerificationProbe::speak(BackendConnection& current) {
    const smtp::Capabilities& offered = current.capabilities();
    smtp::ClientSession& session = current.session();
    if (!mail_sent_) {
        smtp::MailCommand mail;
        mail.smtputf8 = !is_ascii(mailbox_);
        if (mail.smtputf8 && !offered.smtputf8) {
            connection_ = {};
            current.leave(BackendConnection::Leave::clean);
            end(VerificationResult::unavailable, {});
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
    if (!current.send_commands()) {
        connection_ = {};
        current.leave(BackendConnection::Leave::broken);
        end(VerificationResult::unavailable, {});
        return;
    }
    current.expect_within(snapshot_->settings->timeouts.backend_reply);
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
    if (!std::exchange(heard_something_, true)) {
        from.transaction_answered();
    }
    if (reply.severity() >= 4 && !mail_refused_) {
        from.count_rejection();
    }
    if (command == smtp::ClientCommand::mail) {
        mail_refused_ = reply.severity() != 2;
        if (mail_refused_ && !recipient_sent_) {
            judge(from, reply);
        } else {
            advance();
        }
    } else if (command == smtp::ClientCommand::recipient) {
        judge(from, reply);
    }
}

void VerificationProbe::judge(BackendConnection& from, const smtp::Reply& reply) {
    const smtp::OwnedReply kept(reply); // `reply` goes with the connection
    connection_ = {};
    from.leave(BackendConnection::Leave::resettable);
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
    const bool dropped = kind == ForwardFailure::dropped || kind == ForwardFailure::unavailable;
    const bool is_ready = lost.is_ready();
    const auto backend = static_cast<std::uint16_t>(lost.lease().backend_index);
    const bool was_idle = dropped && lost.was_reused() && !heard_something_;
    const bool is_failure = is_ready && (kind == ForwardFailure::reply_timeout ||
                                         (dropped && !lost.was_reused() && !heard_something_));
    start_over();
    if (was_idle) { // it may have been closed meanwhile: that says nothing about the backend
        const upstream::Lease lease = lost.leave_lease();
        dial(lease);
        return;
    }
    if (is_failure) {
        lost.leave_failed();
    } else {
        lost.leave(BackendConnection::Leave::broken);
    }
    tried_.push_back(backend);
    if (tried_.size() < attempts_max) {
        advance();
    } else {
        end(VerificationResult::unavailable, {});
    }
}

void VerificationProbe::give_up() {
    if (ended_) {
        return;
    }
    if (is_waiting_) {
        worker_.book().cancel(waiter_);
        is_waiting_ = false;
    }
    if (BackendConnection* const current = connection()) {
        connection_ = {};
        // One that has just been dialled may serve others, unless nobody comes any more.
        const bool is_of_use = !mail_sent_ && !worker_.draining();
        current->leave(is_of_use ? BackendConnection::Leave::clean
                                 : BackendConnection::Leave::broken);
    }
    end(VerificationResult::unavailable, {});
}

void VerificationProbe::end(VerificationResult result, const smtp::Reply& reply) {
    ended_ = true;
    timer_.cancel();
    verification_.answered(*this, result, reply);
}

} // namespace ringmx::worker
