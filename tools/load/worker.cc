#include "load/worker.h"

#include "load/addresses.h"

#include "ring/sockets.h"
#include "ring/uring_port.h"
#include "smtp/proxy_header.h"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>
#include <utility>

namespace ringmx::load {
namespace {

constexpr std::uint8_t operation_stream = 0;

// For what is under way when the run is stopped, and for the answers to QUIT.
constexpr Duration stop_patience = 10s;
// What was due before a run's time was over is still sent for as long again, and at least for this:
// a server that falls behind further has given its answer.
constexpr Duration overtime_min = 10s;

Duration thread_cpu_time() {
    timespec time{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return std::chrono::seconds(time.tv_sec) + Duration(time.tv_nsec);
}

} // namespace

Worker::Peer::Peer(Handle self, Client& owner, const Options& options, Result& result)
    : client(owner), stream(self, operation_stream), dialog(options, result), handle(self) {}

Expected<std::unique_ptr<Worker>> Worker::create(const Options& options, const Share& share,
                                                 std::string_view run) {
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
    RecordFile record;
    if (!options.record.empty()) {
        Expected<RecordFile> opened = RecordFile::open(options.record);
        if (!opened) {
            return std::unexpected(opened.error());
        }
        record = std::move(*opened);
    }
    Expected<std::unique_ptr<MessageSource>> source =
        MessageSource::open(options, run, !options.record.empty());
    if (!source) {
        return std::unexpected(source.error());
    }
    return std::make_unique<Worker>(options, share, std::move(*port), std::move(*source),
                                    std::move(record));
}

Worker::Worker(const Options& options, const Share& share, std::unique_ptr<ring::Port> port,
               std::unique_ptr<MessageSource> source, RecordFile record)
    : options_(options), share_(share), port_(std::move(port)),
      pool_({.bytes_max = receive_bytes_max}), buffers_(pool_, *port_), loop_(*port_, pool_),
      timers_(port_->now()), source_(std::move(source)), record_(std::move(record)),
      peers_(connections_max * 2) {
    clients_.reserve(share_.clients);
    for (std::uint32_t number = 0; number < share_.clients; ++number) {
        clients_.push_back(std::make_unique<Client>(number));
        clients_.back()->is_free = true;
        free_clients_.push_back(number);
    }
}

Worker::~Worker() = default;

void Worker::run(Instant start) {
    start_ = start;
    if (options_.duration > Duration{0}) {
        end_ = start + options_.duration;
    }
    if (options_.rate) {
        schedule_.emplace(*options_.rate, options_.arrivals, start, share_.index, share_.count,
                          options_.seed);
    }
    const Duration cpu_before = thread_cpu_time();
    while (!is_over()) {
        begin_due_messages();
        for (const ring::Completion& completion : loop_.turn(turn_end())) {
            take(completion);
        }
        timers_.advance(loop_.now(), [this](Timer& timer) {
            timer_fired(static_cast<ClientTimer&>(timer).client);
        });
        buffers_.refill();
        buffers_.rearm_starved([this](ring::Token token) {
            Peer* const peer = peers_.find({token.slot, token.generation});
            if (peer == nullptr || peer->stream.closing() || !peer->stream.receiving()) {
                return false;
            }
            peer->stream.receive(loop_);
            return true;
        });
        if (!is_stopping_ &&
            (stop_requested_.load(std::memory_order_acquire) || !may_begin_more())) {
            begin_stop();
        }
        if (loop_.now() >= drop_waiting_at_) {
            drop_waiting();
        }
    }
    if (const Expected<void> written = record_.flush(); !written) {
        result_.count_failure("--record: " + written.error().message());
    }
    const Duration elapsed = std::max<Duration>(port_->now() - start_, Duration{1});
    result_.busiest_share = static_cast<double>((thread_cpu_time() - cpu_before).count()) /
                            static_cast<double>(elapsed.count());
    const std::scoped_lock guard(port_lock_); // not while another thread wakes it
    port_.reset();
    has_ended_.store(true, std::memory_order_release);
}

void Worker::request_stop() {
    stop_requested_.store(true, std::memory_order_release);
    const std::scoped_lock guard(port_lock_);
    if (port_ != nullptr) {
        port_->waker().wake();
    }
}

// The run.

void Worker::begin_due_messages() {
    if (is_stopping_) {
        return;
    }
    const Instant now = loop_.now();
    if (!schedule_) {
        while (!free_clients_.empty() && may_begin_more()) {
            begin_message(take_free_client(), now);
        }
        return;
    }
    while (schedule_->next() <= now && may_begin_more()) {
        const Instant due = schedule_->next();
        schedule_->advance();
        ++begun_;
        if (free_clients_.empty()) {
            waiting_.push_back(due);
            continue;
        }
        result_.late += now - due > late_after ? 1U : 0U;
        begin_message(take_free_client(), due);
    }
    progress_.waiting.store(waiting_.size(), std::memory_order_relaxed);
}

bool Worker::may_begin_more() {
    const Instant next = schedule_ ? schedule_->next() : loop_.now();
    return next < end_ && (share_.messages == 0 || begun_ < share_.messages);
}

bool Worker::is_over() const {
    return is_stopping_ && peers_.used() == 0 && free_clients_.size() == clients_.size();
}

Instant Worker::turn_end() {
    Instant until = std::min(timers_.next_due(), drop_waiting_at_);
    if (!is_stopping_) {
        until = std::min({until, end_, schedule_ ? schedule_->next() : never});
    }
    return until;
}

// No more messages begin, but those that were due before go out unless the run is cut short.
void Worker::begin_stop() {
    is_stopping_ = true;
    if (stop_requested_.load(std::memory_order_acquire)) {
        drop_waiting();
        stop_by_ = loop_.now() + stop_patience;
    } else if (end_ != never) {
        drop_waiting_at_ = end_ + std::max(options_.duration, overtime_min);
    }
    peers_.for_each([this](Peer& peer) {
        if (!peer.client.has_message && !peer.stream.closing()) {
            hang_up(peer);
            flush(peer);
        } else if (stop_by_ != never) {
            timers_.set(peer.client.timer, std::min(peer.client.timer.deadline(), stop_by_));
        }
    });
}

// They were due, so they count.
void Worker::drop_waiting() {
    for (; !waiting_.empty(); waiting_.pop_front()) {
        ++result_.sent;
        ++result_.errors;
        result_.count_failure("due, but never sent");
    }
    drop_waiting_at_ = never;
}

Worker::Client& Worker::take_free_client() {
    Client& client = *clients_[free_clients_.back()];
    free_clients_.pop_back();
    client.is_free = false;
    return client;
}

// The client has nothing to do: its next message, or a place among those that are free.
void Worker::give_work(Client& client) {
    if (!waiting_.empty()) {
        const Instant due = waiting_.front();
        waiting_.pop_front();
        begin_message(client, due);
    } else if (!schedule_ && !is_stopping_ && may_begin_more()) {
        begin_message(client, loop_.now());
    } else {
        client.is_free = true;
        free_clients_.push_back(client.timer.slot());
        Peer* const peer = peers_.find(client.peer);
        if (is_stopping_ && peer != nullptr) {
            hang_up(*peer);
        }
    }
}

// Completions.

void Worker::take(const ring::Completion& completion) {
    Slice octets = buffers_.settle(completion);
    const ring::Token token = completion.token;
    Peer* const peer = peers_.find({token.slot, token.generation});
    if (peer == nullptr) {
        return;
    }
    const auto operation = static_cast<ring::StreamOperation>(token.operation - operation_stream);
    switch (peer->stream.complete(loop_, operation, completion)) {
    case ring::StreamEvent::nothing:
        return;
    case ring::StreamEvent::connected:
        connected(*peer);
        return;
    case ring::StreamEvent::received:
        received(*peer, octets);
        return;
    case ring::StreamEvent::sent:
        sent(*peer);
        return;
    case ring::StreamEvent::starved:
        buffers_.starve(token);
        return;
    case ring::StreamEvent::ended:
        ended(*peer, fmt::format("{}: connection closed", phase_word(*peer)));
        return;
    case ring::StreamEvent::failed:
        ended(*peer, fmt::format("{}: {}", phase_word(*peer), std::strerror(peer->stream.error())));
        return;
    case ring::StreamEvent::closed:
        closed(*peer);
        return;
    }
}

void Worker::connected(Peer& peer) {
    peer.is_connected = true;
    result_.part(Part::connect).record(loop_.now() - peer.dialled_at);
    if (options_.hostility == Hostility::reconnect) {
        conclude(peer.client, {Dialog::Ending::error, "reconnect: as soon as connected"}, false);
        close(peer, true);
        return;
    }
    peer.stream.receive(loop_);
    peer.dialog.open(loop_.now());
    if (options_.proxy != ProxyVersion::none) {
        SocketAddress source;
        source.ip = address_of(options_.proxy_clients, proxied_++);
        source.port = static_cast<std::uint16_t>(1024 + proxied_ % 64000);
        std::string header;
        if (options_.proxy == ProxyVersion::v1) {
            smtp::append_proxy_v1(header, source, options_.to);
        } else {
            smtp::append_proxy_v2(header, source, options_.to, smtp::ProxyChecksum::no);
        }
        send_text(peer, header);
    }
    await_answer(peer.client);
}

void Worker::sent(Peer& peer) {
    if (peer.is_aborting) {
        conclude(peer.client, {Dialog::Ending::error, "abort: in the middle of the data"}, false);
        close(peer, true);
    } else if (peer.is_flooding) {
        flood(peer);
    } else if (peer.dialog.was_content_submitted()) {
        peer.dialog.content_sent(loop_.now());
    }
}

void Worker::received(Peer& peer, const Slice& octets) {
    if (peer.is_flooding) {
        return; // what was on its way when reading stopped
    }
    Bytes rest = octets.bytes();
    while (!peer.stream.closing()) {
        const Dialog::Step step = peer.dialog.receive(rest, loop_.now());
        rest = rest.subspan(step.consumed);
        if (step.event == Dialog::Event::need_input) {
            break;
        }
        act(peer, step.event);
    }
    if (!peer.stream.closing()) {
        flush(peer);
    }
}

void Worker::act(Peer& peer, Dialog::Event event) {
    Client& client = peer.client;
    switch (event) {
    case Dialog::Event::need_input:
        return;
    case Dialog::Event::ready:
        peer.is_ready = true;
        if (options_.hostility == Hostility::never_read) {
            flood(peer);
        } else if (client.has_message) {
            begin_transaction(peer);
        } else {
            hang_up(peer); // stopped meanwhile
        }
        return;
    case Dialog::Event::done:
        conclude(client, peer.dialog.outcome(), peer.dialog.was_content_submitted());
        if (options_.messages_per_connection != 0 &&
            peer.messages >= options_.messages_per_connection) {
            hang_up(peer);
        } else {
            give_work(client);
        }
        return;
    case Dialog::Event::closed:
        close(peer);
        return;
    case Dialog::Event::failed:
        if (client.has_message) {
            conclude(client, peer.dialog.outcome(), peer.dialog.was_content_submitted());
        }
        close(peer);
        return;
    }
}

// The connection is over, by its other end, a failure or a timeout.
void Worker::ended(Peer& peer, std::string kind) {
    Client& client = peer.client;
    const bool had_message = client.has_message;
    if (had_message) {
        client.is_resting = !peer.is_connected;
        conclude(client, {Dialog::Ending::error, std::move(kind)},
                 peer.dialog.was_content_submitted());
    }
    close(peer);
}

void Worker::close(Peer& peer, bool reset) {
    peer.is_ready = false;
    if (!peer.stream.closing() && peer.stream.close(loop_, reset)) {
        closed(peer);
    }
}

void Worker::closed(Peer& peer) {
    Client& client = peer.client;
    peers_.destroy(peer);
    client.peer = {};
    if (client.has_message) { // given while the last connection was closing
        dial(client);
        return;
    }
    client.timer.cancel();
    if (client.is_resting) {
        timers_.set(client.timer, loop_.now() + rest_after_failure);
    } else if (!client.is_free) {
        give_work(client);
    }
}

void Worker::timer_fired(Client& client) {
    if (std::exchange(client.is_resting, false)) {
        give_work(client);
        return;
    }
    Peer* const peer = peers_.find(client.peer);
    if (peer == nullptr || peer->stream.closing()) {
        return;
    }
    if (peer->is_dripping && loop_.now() < stop_by_) {
        drip(*peer);
    } else {
        ended(*peer, fmt::format("{}: {}", phase_word(*peer),
                                 loop_.now() >= stop_by_ ? "stopped" : "timeout"));
    }
}

const char* Worker::phase_word(const Peer& peer) {
    return peer.is_connected ? peer.dialog.phase_word() : "connect";
}

} // namespace ringmx::load
