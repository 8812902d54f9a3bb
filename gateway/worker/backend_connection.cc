#include "worker/backend_connection.h"

#include "worker/exchange.h"
#include "worker/own_want.h"
#include "worker/snapshot.h"
#include "worker/worker.h"

#include "base/mutation.h"

#include <algorithm>
#include <utility>

namespace ringmx::worker {
namespace {

using observe::ForwardFailure;
using smtp::ClientCommand;
using smtp::ClientEvent;

// How long a backend may take to answer RSET: nobody waits for it.
constexpr Duration reset_time = 5s;
// … and QUIT: its place among max_connections is free only when it is closed, and somebody may wait
// for that.
constexpr Duration farewell_time = 1s;

} // namespace

BackendConnection::BackendConnection(Handle self, Worker& worker,
                                     std::shared_ptr<const Snapshot> snapshot, const Pool& pool)
    : self_(self), worker_(worker), snapshot_(std::move(snapshot)), pool_(&pool),
      stream_(self, backend_operations),
      session_(snapshot_->settings->hostname, pool.settings().protocol == Protocol::lmtp),
      timer_(static_cast<std::uint8_t>(TimerKind::backend), self.slot) {}

Exchange* BackendConnection::exchange() { return worker_.exchange(exchange_); }

void BackendConnection::dial(const upstream::Lease& lease, ExchangeId exchange) {
    lease_ = lease;
    lease_held_ = is_counted_ = true;
    exchange_ = exchange;
    worker_.timers().set(timer_, worker_.now() + snapshot_->settings->timeouts.backend_connect);
    worker_.counters_of(lease_, *pool_).connections_total.add();
    worker_.counters_of(lease_, *pool_).connections_open.add();
    connect_next();
}

void BackendConnection::connect_next() {
    const auto& addresses = pool_->addresses[lease_.backend_index];
    int error = 0;
    while (next_address_ < addresses.size()) {
        address_ = addresses[next_address_++];
        const auto descriptor = worker_.loop().port().open_socket(address_);
        if (descriptor) {
            state_ = State::connecting;
            stream_.open(*descriptor);
            stream_.connect(worker_.loop(), address_);
            return;
        }
        error = descriptor.error().code;
    }
    lost(addresses.empty() ? ForwardFailure::resolve : ForwardFailure::connect_refused, error);
}

// The next address, if there is one, within the same backend_connect time.
void BackendConnection::connect_failed() {
    if (next_address_ == pool_->addresses[lease_.backend_index].size()) {
        lost(ForwardFailure::connect_refused, stream_.error());
        return;
    }
    const bool is_closed = stream_.close(worker_.loop());
    RINGMX_ASSERT(is_closed); // the connect was all that was in flight
    stream_.renew();
    connect_next();
}

void BackendConnection::reuse(const upstream::Lease& lease, ExchangeId exchange,
                              std::shared_ptr<const Snapshot> snapshot, const Pool& pool) {
    RINGMX_ASSERT(state_ == State::idle);
    snapshot_ = std::move(snapshot);
    pool_ = &pool;
    lease_ = lease;
    lease_held_ = true;
    exchange_ = exchange;
    reused_ = true;
    state_ = State::busy;
    expect_nothing();
}

bool BackendConnection::send_commands() {
    std::string& output = session_.output();
    const bool sent = stream_.send_text(worker_.loop(), output);
    output.clear();
    return sent;
}

void BackendConnection::send(Slice octets) { stream_.send(worker_.loop(), std::move(octets)); }

void BackendConnection::expect_within(Duration time) {
    expected_within_ = time;
    worker_.timers().set(timer_, worker_.now() + time);
}

void BackendConnection::expect_nothing() {
    expected_within_ = Duration{0};
    timer_.cancel();
}

void BackendConnection::transaction_answered() { worker_.book().transaction_answered(lease_); }

std::uint32_t BackendConnection::rejections_left() const {
    const std::uint32_t rejections_max = pool_->settings().rejections_per_connection;
    return rejections_max - std::min(rejections_, rejections_max);
}

bool BackendConnection::worn_out() const {
    return messages_ >= pool_->settings().messages_per_connection || rejections_left() == 0;
}

void BackendConnection::settle(bool failed) {
    if (!lease_held_) {
        return;
    }
    lease_held_ = false;
    if (failed) {
        is_counted_ = false;
        worker_.book().dial_failed(lease_, worker_.now());
    } else {
        worker_.book().let_go(lease_);
    }
}

void BackendConnection::leave(Leave how) {
    exchange_ = {};
    if (state_ == State::connecting || state_ == State::greeting) {
        if (how == Leave::broken || worker_.draining()) {
            close(); // nobody comes any more whom it could serve
        }
        return; // else it goes on without an exchange and ends up idle
    }
    RINGMX_MUTATE(reused_after_421, if (session_.reply().code == 421) how = Leave::clean);
    ++messages_;
    if (how == Leave::resettable && session_.unanswered() > 0 && !capabilities().pipelining) {
        how = Leave::broken; // neither RSET nor QUIT may follow what is not answered yet
    }
    if (how == Leave::clean && !stream_.closing()) {
        finish_clean();
    } else if (how == Leave::resettable && !stream_.closing() && !worn_out()) {
        state_ = State::resetting;
        session_.reset();
        if (!send_commands()) {
            close();
            return;
        }
        worker_.timers().set(timer_, worker_.now() + reset_time);
    } else if (how == Leave::resettable) {
        quit();
    } else {
        close();
    }
}

void BackendConnection::leave_failed() {
    exchange_ = {};
    settle(true);
    close();
}

upstream::Lease BackendConnection::leave_lease() {
    exchange_ = {};
    lease_held_ = is_counted_ = false;
    const upstream::Lease lease = lease_;
    close();
    return lease;
}

// The connection is as after EHLO: it serves the next transaction, or waits for one, or is not
// wanted any more.
void BackendConnection::finish_clean() {
    timer_.cancel();
    if (worn_out() || worker_.draining()) {
        quit();
        return;
    }
    lease_held_ = false;
    state_ = State::idle;
    const upstream::GiveBack back = worker_.book().give_back(lease_, self_.slot, worker_.now());
    switch (back.kept) {
    case upstream::Kept::idle:
        break;
    case upstream::Kept::handed_over:
        if (Exchange* const next = worker_.exchange(ExchangeId::unpacked(back.grant.transaction))) {
            next->handed_over(back.grant.answer);
        } else {
            lease_ = back.grant.answer.lease;
            lease_held_ = true;
            quit();
        }
        break;
    case upstream::Kept::close:
        quit();
        break;
    }
}

void BackendConnection::close_idle() { quit(); }

void BackendConnection::drain() {
    if (exchange() == nullptr && (state_ == State::connecting || state_ == State::greeting)) {
        close();
    }
}

void BackendConnection::quit() {
    settle(false);
    state_ = State::quitting;
    session_.quit();
    if (!send_commands()) {
        close();
        return;
    }
    worker_.timers().set(timer_, worker_.now() + farewell_time);
}

void BackendConnection::cut() { close(); }

void BackendConnection::close() {
    settle(false);
    if (state_ == State::closing) {
        return;
    }
    state_ = State::closing;
    timer_.cancel();
    if (stream_.close(worker_.loop())) {
        closed();
    }
}

void BackendConnection::closed() {
    RINGMX_MUTATE(connection_stays_counted, if (reused_) is_counted_ = false);
    if (is_counted_) {
        is_counted_ = false;
        worker_.book().connection_ended(lease_.state().id());
    }
    worker_.backend_closed(*this);
}

// Whatever ended the connection: the exchange decides what follows, this side only says whose fault
// it was.
void BackendConnection::lost(ForwardFailure kind, int error) {
    Exchange* const waiting = exchange();
    const bool fresh = state_ == State::connecting || state_ == State::greeting;
    // An exchange of an older configuration may know no address of what has resolved by now.
    const bool failed = fresh && kind != ForwardFailure::resolve && !is_own_want(error);
    if (state_ == State::idle) {
        (void)worker_.book().remove_idle(lease_.state(), self_.slot);
    }
    if (waiting == nullptr) {
        settle(failed);
        close();
        return;
    }
    if (failed) {
        settle(true);
    }
    waiting->on_lost(*this, kind);
}

void BackendConnection::complete(ring::StreamOperation operation,
                                 const ring::Completion& completion, Slice&& octets) {
    switch (stream_.complete(worker_.loop(), operation, completion)) {
    case ring::StreamEvent::nothing:
        break;
    case ring::StreamEvent::connected:
        state_ = State::greeting;
        expect_within(snapshot_->settings->timeouts.backend_reply);
        stream_.receive(worker_.loop());
        break;
    case ring::StreamEvent::received:
        worker_.counters().backend_bytes_received_total.add(octets.size());
        received(octets);
        break;
    case ring::StreamEvent::starved:
        worker_.receive_buffers().starve(completion.token);
        break;
    case ring::StreamEvent::sent:
        if (state_ == State::busy) {
            if (expected_within_ != Duration{0}) {
                expect_within(expected_within_);
            }
            if (Exchange* const sender = exchange()) {
                sender->on_sent(*this);
            }
        }
        break;
    case ring::StreamEvent::ended:
    case ring::StreamEvent::failed:
        if (state_ == State::connecting) {
            connect_failed();
        } else {
            lost(ForwardFailure::dropped, stream_.error());
        }
        break;
    case ring::StreamEvent::closed:
        closed();
        break;
    }
}

bool BackendConnection::arm_receive() {
    if (stream_.closing()) {
        return false;
    }
    stream_.receive(worker_.loop());
    return true;
}

void BackendConnection::received(const Slice& octets) {
    Bytes rest = octets.bytes();
    while (!rest.empty() && state_ != State::closing) {
        const smtp::ClientSession::Step step = session_.receive(rest);
        rest = rest.subspan(step.consumed);
        switch (step.event) {
        case ClientEvent::need_input:
            if (state_ == State::greeting && !session_.output().empty()) {
                say_hello();
            }
            return;
        case ClientEvent::ready:
            became_ready();
            break;
        case ClientEvent::failed:
            lost(session_.command() == ClientCommand::greeting ? ForwardFailure::greeting
                                                               : ForwardFailure::hello,
                 0);
            return;
        case ClientEvent::reply:
            take_reply();
            break;
        case ClientEvent::malformed:
            lost(ForwardFailure::malformed_reply, 0);
            return;
        }
    }
}

// EHLO or HELO, with a time of its own for the answer.
void BackendConnection::say_hello() {
    if (!send_commands()) {
        lost(ForwardFailure::dropped, ENOMEM); // our own want
        return;
    }
    expect_within(snapshot_->settings->timeouts.backend_reply);
}

void BackendConnection::became_ready() {
    pool_->traits[lease_.backend_index]->learn(capabilities());
    expect_nothing();
    state_ = State::busy;
    if (Exchange* const waiting = exchange()) {
        waiting->on_ready();
    } else {
        finish_clean();
    }
}

void BackendConnection::take_reply() {
    switch (state_) {
    case State::busy:
        if (session_.command() == ClientCommand::unsolicited) {
            lost(ForwardFailure::unavailable, 0);
            return;
        }
        if (expected_within_ != Duration{0}) {
            expect_within(expected_within_);
        }
        if (Exchange* const waiting = exchange()) {
            waiting->on_reply(*this, session_.command(), session_.reply());
        }
        return;
    case State::resetting:
        if (session_.command() != ClientCommand::reset && session_.reply().code != 421) {
            return; // an answer that the exchange did not wait for
        }
        if (session_.reply().code == 250) {
            finish_clean();
        } else {
            close();
        }
        return;
    case State::idle:
        // Nothing was asked: a 421, most likely, before the backend closes.
        (void)worker_.book().remove_idle(lease_.state(), self_.slot);
        close();
        return;
    case State::quitting:
        close();
        return;
    case State::connecting:
    case State::greeting:
    case State::closing:
        return;
    }
}

void BackendConnection::timer_fired() {
    switch (state_) {
    case State::connecting:
        lost(ForwardFailure::connect_timeout, 0);
        return;
    case State::greeting:
    case State::busy:
        lost(ForwardFailure::reply_timeout, 0);
        return;
    case State::resetting:
    case State::idle:
    case State::quitting:
    case State::closing:
        close();
        return;
    }
}

} // namespace ringmx::worker
