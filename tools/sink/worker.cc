#include "sink/worker.h"

#include "ring/sockets.h"
#include "ring/uring_port.h"

#include <algorithm>
#include <cstdio>
#include <fmt/format.h>
#include <utility>

namespace ringmx::sink {
namespace {

// Token::operation: the listeners' two, then a stream's.
constexpr std::uint8_t operation_accept = 0;
constexpr std::uint8_t operation_cancel_accept = 1;
constexpr std::uint8_t operation_stream = 2;

// A client that lets this much of its replies lie gets no more of its commands run.
constexpr std::size_t unsent_bytes_max = std::size_t{64} * 1024;
// Kept input that is this small is moved out of its receive buffer, which would stay pinned as a
// whole.
constexpr std::size_t moved_bytes_max = 4096;
// After an accept that failed for want of descriptors or memory: at once would be a busy loop.
constexpr Duration accept_pause = 100ms;

} // namespace

Worker::Peer::Peer(Handle handle, Ledger& ledger, Backend& backend)
    : stream(handle, operation_stream), connection(ledger, backend), timer(handle.slot, *this) {}

Expected<std::unique_ptr<Worker>> Worker::create(const Options& options, unsigned index,
                                                 const std::vector<Listening>& listeners) {
    const Expected<ring::Features> features = ring::probe();
    if (!features) {
        return std::unexpected(features.error());
    }
    ring::UringPort::Settings settings;
    settings.features = *features;
    Expected<std::unique_ptr<ring::UringPort>> port = ring::UringPort::create(settings);
    if (!port) {
        return std::unexpected(port.error());
    }
    auto worker = std::make_unique<Worker>(options, index, std::move(*port), listeners);
    if (!options.record.empty()) {
        Expected<RecordFile> record = RecordFile::open(options.record);
        if (!record) {
            return std::unexpected(record.error());
        }
        worker->ledger_.record = std::move(*record);
    }
    if (!options.store.empty()) {
        Expected<MessageStore> store = MessageStore::open(options.store, index);
        if (!store) {
            return std::unexpected(store.error());
        }
        worker->ledger_.store = std::move(*store);
    }
    return worker;
}

Worker::Worker(const Options& options, unsigned index, std::unique_ptr<ring::Port> port,
               const std::vector<Listening>& listeners)
    : ledger_(options, index), port_(std::move(port)), pool_({.bytes_max = receive_bytes_max}),
      buffers_(pool_, *port_), loop_(*port_, pool_), timers_(port_->now()),
      peers_(connections_max) {
    for (const Listening& listening : listeners) {
        listeners_.push_back({listening});
    }
}

Worker::~Worker() {
    for (const Listener& listener : listeners_) {
        ring::close_socket(listener.listening.descriptor);
    }
}

void Worker::run() {
    for (std::uint32_t listener = 0; listener < listeners_.size(); ++listener) {
        arm(listener);
    }
    while (!is_stopping_ || !is_idle()) {
        const std::span<const ring::Completion> completions = loop_.turn(turn_end());
        ledger_.now = loop_.now();
        // Now that the last turn's replies are on their way: what was recorded has been answered.
        if (!is_stopping_ && life_.load(std::memory_order_acquire) != Life::running) {
            begin_stop();
        }
        for (const ring::Completion& completion : completions) {
            take(completion);
        }
        timers_.advance(loop_.now(),
                        [this](Timer& timer) { take_timer(static_cast<PeerTimer&>(timer).peer); });
        buffers_.refill();
        buffers_.rearm_starved([this](ring::Token token) {
            Peer* peer = peers_.find({token.slot, token.generation});
            if (peer == nullptr || peer->stream.closing() || !peer->stream.receiving()) {
                return false;
            }
            peer->stream.receive(loop_);
            return true;
        });
        rearm_listeners();
        write_record();
    }
    // The port must not go while the other thread still wakes it.
    life_.wait(Life::stop_requested);
    port_.reset();
}

void Worker::request_stop() {
    life_.store(Life::stop_requested, std::memory_order_release);
    port_->waker().wake();
    life_.store(Life::woken, std::memory_order_release);
    life_.notify_one();
}

Instant Worker::turn_end() {
    Instant end = timers_.next_due();
    for (const Listener& listener : listeners_) {
        end = std::min(end, listener.rearm_at);
    }
    return end;
}

bool Worker::is_idle() const {
    return peers_.used() == 0 && cancels_in_flight_ == 0 &&
           std::ranges::none_of(listeners_, &Listener::is_armed);
}

void Worker::begin_stop() {
    is_stopping_ = true;
    for (std::uint32_t index = 0; index < listeners_.size(); ++index) {
        Listener& listener = listeners_[index];
        listener.rearm_at = never;
        if (listener.is_armed) {
            ring::Operation operation{};
            operation.code = ring::Opcode::cancel;
            operation.token = {operation_cancel_accept, index, 0};
            operation.target = {operation_accept, index, 0};
            loop_.queue(operation);
            ++cancels_in_flight_;
        }
    }
    peers_.for_each([this](Peer& peer) { close(peer); });
}

void Worker::arm(std::uint32_t listener) {
    ring::Operation operation{};
    operation.code = ring::Opcode::accept;
    operation.descriptor = listeners_[listener].listening.descriptor;
    operation.token = {operation_accept, listener, 0};
    loop_.queue(operation);
    listeners_[listener].is_armed = true;
}

void Worker::rearm_listeners() {
    for (std::uint32_t index = 0; index < listeners_.size(); ++index) {
        if (listeners_[index].rearm_at <= loop_.now()) {
            listeners_[index].rearm_at = never;
            arm(index);
        }
    }
}

// Before the turn's replies leave: what was acknowledged stands in the file even if this process is
// killed.
void Worker::write_record() {
    if (!ledger_.record.has_unwritten()) {
        return;
    }
    if (const Expected<void> written = ledger_.record.flush(); !written) {
        fmt::print(stderr, "ringmx-sink: --record: {}\n", written.error().message());
    }
}

void Worker::take(const ring::Completion& completion) {
    Slice octets = buffers_.settle(completion);
    const ring::Token token = completion.token;
    if (token.operation == operation_accept) {
        take_accept(completion);
    } else if (token.operation == operation_cancel_accept) {
        --cancels_in_flight_;
    } else if (Peer* peer = peers_.find({token.slot, token.generation})) {
        const auto operation =
            static_cast<ring::StreamOperation>(token.operation - operation_stream);
        take_stream(*peer, operation, completion, std::move(octets));
    }
}

void Worker::take_accept(const ring::Completion& completion) {
    const std::uint32_t index = completion.token.slot;
    if (!completion.more) {
        listeners_[index].is_armed = false;
        if (!is_stopping_) {
            listeners_[index].rearm_at =
                completion.result < 0 ? loop_.now() + accept_pause : loop_.now();
        }
    }
    if (completion.result < 0) {
        return;
    }
    Peer* peer =
        is_stopping_ ? nullptr : peers_.create(ledger_, listeners_[index].listening.backend);
    if (peer == nullptr) {
        port_->close(completion.result);
        return;
    }
    peer->stream.open(completion.result);
    peer->stream.receive(loop_);
    obey(*peer, peer->connection.greet());
    advance(*peer);
}

void Worker::take_stream(Peer& peer, ring::StreamOperation operation,
                         const ring::Completion& completion, Slice octets) {
    switch (peer.stream.complete(loop_, operation, completion)) {
    case ring::StreamEvent::nothing:
    case ring::StreamEvent::connected:
        return;
    case ring::StreamEvent::received:
        peer.input.push(pool_, std::move(octets));
        break;
    case ring::StreamEvent::ended:
        peer.has_ended = true;
        break;
    case ring::StreamEvent::starved:
        buffers_.starve(completion.token);
        return;
    case ring::StreamEvent::sent:
        break;
    case ring::StreamEvent::failed:
        peer.is_dropped = true;
        break;
    case ring::StreamEvent::closed:
        peers_.destroy(peer);
        return;
    }
    advance(peer);
}

void Worker::take_timer(Peer& peer) {
    if (peer.is_waiting) {
        peer.is_waiting = false;
        obey(peer, peer.connection.conclude());
    } else {
        // Idle. One that doesn't read is not waited for.
        peer.is_dropped = peer.stream.unsent_bytes() > 0;
        peer.is_closing = true;
        if (!peer.is_mute) {
            peer.connection.expire();
        }
    }
    advance(peer);
}

// The one place from which a connection goes on, and the only one that closes it.
void Worker::advance(Peer& peer) {
    if (!peer.is_dropped) {
        read_input(peer);
    }
    std::string& output = peer.connection.output();
    if (!output.empty() && !peer.is_dropped) {
        peer.is_dropped = !peer.stream.send_text(loop_, output);
        output.clear();
    }
    if (peer.is_flooding && !peer.is_dropped && peer.stream.unsent_bytes() == 0) {
        peer.is_dropped = !peer.stream.send_text(loop_, peer.connection.flood());
    }
    if (peer.has_ended && !peer.is_waiting && peer.input.empty()) {
        peer.is_closing = true;
    }
    if (peer.is_dropped || (peer.is_closing && peer.stream.unsent_bytes() == 0)) {
        close(peer);
        return;
    }
    settle_flow(peer);
    const Duration idle = peer.connection.idle_timeout();
    if (idle > Duration::zero() && !peer.is_waiting) {
        timers_.set(peer.timer, loop_.now() + idle);
    }
}

void Worker::read_input(Peer& peer) {
    while (!peer.is_waiting && !peer.is_closing && !peer.is_mute && !peer.input.empty() &&
           peer.stream.unsent_bytes() <= unsent_bytes_max) {
        const Connection::Step step = peer.connection.receive(peer.input.front().bytes());
        peer.input.consume(step.consumed);
        obey(peer, step.wish);
    }
    if (peer.is_mute) {
        peer.input.clear();
    }
}

void Worker::obey(Peer& peer, Connection::Wish wish) {
    switch (wish) {
    case Connection::Wish::need_input:
        break;
    case Connection::Wish::wait:
        peer.is_waiting = true;
        timers_.set(peer.timer, loop_.now() + peer.connection.delay());
        break;
    case Connection::Wish::close:
        peer.is_closing = true;
        break;
    case Connection::Wish::flood:
        peer.is_flooding = true;
        [[fallthrough]];
    case Connection::Wish::mute:
        peer.is_mute = true;
        break;
    }
}

void Worker::settle_flow(Peer& peer) {
    // What can't be consumed in this turn should not pin a receive buffer for as long as that takes.
    peer.input.unpin(pool_, moved_bytes_max);
    const bool wanted = peer.input.empty() && !peer.is_closing;
    if (wanted && !peer.stream.receiving()) {
        peer.stream.receive(loop_);
    } else if (!wanted && peer.stream.receiving()) {
        peer.stream.pause(loop_);
    }
}

void Worker::close(Peer& peer) {
    peer.timer.cancel();
    peer.input.clear();
    if (!peer.stream.closing() && peer.stream.close(loop_)) {
        peers_.destroy(peer);
    }
}

} // namespace ringmx::sink
