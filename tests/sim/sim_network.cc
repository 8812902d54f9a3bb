#include "sim/sim_network.h"

#include "base/assert.h"
#include "sim/sim_port.h"

#include <algorithm>
#include <cerrno>

namespace ringmx::sim {
namespace {

// A loop that turns this often without time or anything else going on waits for what never comes.
constexpr std::uint32_t idle_turns_max = 100'000;
// 2026-01-01: some date, always the same.
constexpr WallTime wall_time_start{std::chrono::seconds(1'767'225'600)};

} // namespace

Options Options::hostile(std::uint64_t seed) {
    Options options;
    options.seed = seed;
    options.incremental_buffers = seed % 4 != 0;
    options.socket_buffer_bytes = seed % 3 == 0 ? 4096 : 64 * 1024;
    options.tiny_segments = 0.3;
    options.odd_segments = 0.5;
    options.late = 0.3;
    options.multishot_end = 0.1;
    options.spurious_enobufs = 0.05;
    options.cancel_busy = 0.2;
    return options;
}

void ByteQueue::drop(std::size_t count) {
    head_ += count;
    if (head_ == octets_.size()) {
        octets_.clear();
        head_ = 0;
    } else if (head_ > octets_.size() / 2) {
        octets_.erase(0, head_);
        head_ = 0;
    }
}

void SimSocket::write(std::string_view octets) {
    Endpoint* endpoint = network_.find(endpoint_);
    if (endpoint != nullptr && !endpoint->closed && !endpoint->write_ended &&
        endpoint->error == 0) {
        endpoint->outbound.append(octets);
        network_.wrote(*endpoint);
    }
}

void SimSocket::end() {
    if (Endpoint* endpoint = network_.find(endpoint_); endpoint != nullptr) {
        endpoint->write_ended = true;
        network_.wrote(*endpoint);
    }
}

void SimSocket::close() {
    if (Endpoint* endpoint = network_.find(endpoint_); endpoint != nullptr && !endpoint->closed) {
        network_.close(*endpoint, false);
    }
}

void SimSocket::reset() {
    if (Endpoint* endpoint = network_.find(endpoint_); endpoint != nullptr && !endpoint->closed) {
        network_.close(*endpoint, true);
    }
}

void SimSocket::resume() {
    paused_ = false;
    network_.schedule(network_.delay(), [this] {
        if (Endpoint* endpoint = network_.find(endpoint_); endpoint != nullptr) {
            notice(*endpoint);
        }
    });
}

SocketAddress SimSocket::local() const {
    const Endpoint* endpoint = network_.find(endpoint_);
    return endpoint == nullptr ? SocketAddress{} : endpoint->local;
}

SocketAddress SimSocket::remote() const {
    const Endpoint* endpoint = network_.find(endpoint_);
    return endpoint == nullptr ? SocketAddress{} : endpoint->remote;
}

bool SimSocket::swallowed() const {
    const Endpoint* endpoint = network_.find(endpoint_);
    return endpoint != nullptr && endpoint->swallowed;
}

void SimSocket::notice(Endpoint& endpoint) {
    if (endpoint.closed) {
        return;
    }
    connected_ = endpoint.connected;
    if (!paused_ && !endpoint.inbound.empty()) {
        arrived_.append(endpoint.inbound.view());
        endpoint.inbound.clear();
        network_.was_read(endpoint);
    }
    if (endpoint.inbound.empty()) {
        ended_ = ended_ || endpoint.input_ended;
        error_ = error_ != 0 ? error_ : endpoint.error;
    }
    if (on_event) {
        // A copy: the script may set another one while it runs.
        const std::function<void(SimSocket&)> script = on_event;
        script(*this);
    }
}

SimNetwork::SimNetwork(const Options& options)
    : options_(options), random_(options.seed), now_(std::chrono::hours(1)) {}

SimNetwork::~SimNetwork() {
    RINGMX_ASSERT_STATE(ports_.empty(), "%zu ports outlive their network", ports_.size());
}

Duration SimNetwork::delay() {
    return Duration(static_cast<Duration::rep>(
        random_.between(static_cast<std::uint64_t>(options_.delay_min.count()),
                        static_cast<std::uint64_t>(options_.delay_max.count()))));
}

Duration SimNetwork::travel_time() {
    if (options_.slow > 0 && random_.chance(options_.slow)) {
        return Duration(static_cast<Duration::rep>(
            random_.below(static_cast<std::uint64_t>(options_.slow_delay_max.count()))));
    }
    return delay();
}

std::size_t SimNetwork::segment_bytes(const Endpoint& endpoint) {
    std::size_t segment_max = options_.segment_bytes_max;
    if (endpoint.tiny_segments) {
        segment_max = 16;
    } else if (endpoint.odd_segments) {
        segment_max = std::min(segment_max, std::size_t{1} << random_.below(17));
    }
    return static_cast<std::size_t>(random_.between(1, segment_max));
}

WallTime SimNetwork::wall_time() const {
    return wall_time_start + now_.time_since_epoch() + wall_offset_;
}

void SimNetwork::jump() {
    now_ += Duration(static_cast<Duration::rep>(
        random_.below(static_cast<std::uint64_t>(options_.jump_max.count()))));
    wall_offset_ += std::chrono::seconds(random_.below(2 * 86'400)) - 24h;
}

void SimNetwork::schedule(Duration delay, std::function<void()> action) {
    events_.emplace(std::pair(now_ + delay, ++last_event_), std::move(action));
}

void SimNetwork::run_due() {
    while (!events_.empty() && events_.begin()->first.first <= now_) {
        auto event = events_.extract(events_.begin());
        idle_turns_ = 0;
        event.mapped()();
    }
}

bool SimNetwork::step() {
    run_due();
    if (events_.empty()) {
        return false;
    }
    now_ = events_.begin()->first.first;
    run_due();
    return true;
}

bool SimNetwork::advance_for(const SimPort& port) {
    RINGMX_ASSERT_STATE(++idle_turns_ < idle_turns_max,
                        "the simulation of seed %llu stands still: nothing is on its way, or a "
                        "port is not turned",
                        static_cast<unsigned long long>(options_.seed));
    Instant next = events_.empty() ? never : events_.begin()->first.first;
    for (const SimPort* other : ports_) {
        if (other != &port && other->runnable()) {
            return false;
        }
        next = std::min(next, other->until());
    }
    if (next == never) {
        return false;
    }
    if (next > now_) {
        now_ = next;
        idle_turns_ = 0;
        if (options_.clock_jump > 0 && random_.chance(options_.clock_jump)) {
            jump();
        }
    }
    return true;
}

Endpoint& SimNetwork::add_endpoint() {
    auto endpoint = std::make_unique<Endpoint>();
    endpoint->id = ++last_endpoint_;
    endpoint->tiny_segments = random_.chance(options_.tiny_segments);
    endpoint->odd_segments = random_.chance(options_.odd_segments);
    return *endpoints_.emplace(endpoint->id, std::move(endpoint)).first->second;
}

Endpoint* SimNetwork::find(std::uint64_t id) {
    const auto found = endpoints_.find(id);
    return found == endpoints_.end() ? nullptr : found->second.get();
}

SimSocket& SimNetwork::add_socket(Endpoint& endpoint) {
    sockets_.push_back(std::make_unique<SimSocket>(*this, endpoint.id));
    endpoint.socket = sockets_.back().get();
    return *endpoint.socket;
}

SimSocket& SimNetwork::connect(const SocketAddress& target, const IpAddress& from) {
    Endpoint& endpoint = add_endpoint();
    endpoint.local.ip = from;
    SimSocket& socket = add_socket(endpoint);
    start_connect(endpoint.id, target, [this, id = endpoint.id](int result) {
        Endpoint* found = find(id);
        if (found != nullptr && !found->closed) {
            found->error = -result;
            found->socket->notice(*found);
        }
    });
    return socket;
}

void SimNetwork::listen(const SocketAddress& address, std::function<void(SimSocket&)> on_accept) {
    auto listener = std::make_unique<Listener>();
    listener->address = address;
    listener->on_accept = std::move(on_accept);
    listeners_.push_back(std::move(listener));
}

void SimNetwork::stop_listening(const SocketAddress& address) {
    std::erase_if(listeners_, [&](const std::unique_ptr<Listener>& listener) {
        return listener->port == nullptr && listener->address == address;
    });
}

void SimNetwork::black_hole(const SocketAddress& address, bool on) {
    if (on) {
        black_holes_.insert(address.text());
    } else {
        black_holes_.erase(address.text());
    }
}

void SimNetwork::add_port_listener(SimPort* port, int descriptor, const SocketAddress& address) {
    auto listener = std::make_unique<Listener>();
    listener->address = address;
    listener->port = port;
    listener->descriptor = descriptor;
    listeners_.push_back(std::move(listener));
}

void SimNetwork::remove_port_listeners(const SimPort* port, int descriptor) {
    std::erase_if(listeners_, [&](const std::unique_ptr<Listener>& listener) {
        return listener->port == port && listener->descriptor == descriptor;
    });
}

SimNetwork::Listener* SimNetwork::choose_listener(const SocketAddress& target) {
    std::vector<Listener*> matching;
    for (const std::unique_ptr<Listener>& listener : listeners_) {
        const SocketAddress& address = listener->address;
        const bool any_address = !address.is_unix && !target.is_unix &&
                                 address.port == target.port &&
                                 (address.ip == IpAddress{} || address.ip == IpAddress::v4(0));
        if (address == target || any_address) {
            matching.push_back(listener.get());
        }
    }
    return matching.empty() ? nullptr : matching[random_.below(matching.size())];
}

void SimNetwork::start_connect(std::uint64_t id, const SocketAddress& target,
                               std::function<void(int)> done) {
    Endpoint* endpoint = find(id);
    endpoint->remote = target;
    if (endpoint->local.ip == IpAddress{}) {
        endpoint->local.ip = IpAddress::v4(0x7F000001);
    }
    endpoint->local.is_unix = target.is_unix;
    endpoint->local.port = target.is_unix ? std::uint16_t{0} : ++last_client_port_;
    if (black_holes_.contains(target.text())) {
        return;
    }
    schedule(travel_time(), [this, id, target, done = std::move(done)] {
        Endpoint* client = find(id);
        if (client == nullptr || client->closed) {
            return;
        }
        Listener* listener = choose_listener(target);
        if (listener == nullptr) {
            done(-ECONNREFUSED);
            return;
        }
        establish(*client, *listener);
        done(0);
    });
}

void SimNetwork::establish(Endpoint& client, Listener& listener) {
    Endpoint& server = add_endpoint();
    client.peer = &server;
    server.peer = &client;
    server.local = client.remote;
    server.remote = client.local;
    client.connected = true;
    server.connected = true;
    wrote(client);
    if (listener.port != nullptr) {
        listener.port->add_to_backlog(listener.descriptor, server.id);
        return;
    }
    SimSocket& socket = add_socket(server);
    // A copy: the script may stop listening while it runs.
    const std::function<void(SimSocket&)> on_accept = listener.on_accept;
    socket.connected_ = true;
    if (on_accept) {
        on_accept(socket);
    }
}

std::size_t SimNetwork::room_at(const Endpoint& endpoint) const {
    return options_.socket_buffer_bytes -
           std::min(options_.socket_buffer_bytes, endpoint.inbound.size());
}

void SimNetwork::wrote(Endpoint& endpoint) {
    if (endpoint.peer == nullptr || endpoint.delivering || endpoint.swallowed) {
        return;
    }
    // Without room was_read() comes back here.
    const bool has_work = endpoint.outbound.empty()
                              ? endpoint.write_ended && !endpoint.end_delivered
                              : endpoint.peer->closed || room_at(*endpoint.peer) > 0;
    if (has_work) {
        endpoint.delivering = true;
        schedule(travel_time(), [this, id = endpoint.id] { deliver(id); });
    }
}

void SimNetwork::was_read(Endpoint& endpoint) {
    if (endpoint.peer != nullptr) {
        wrote(*endpoint.peer);
    }
}

void SimNetwork::deliver(std::uint64_t id) {
    Endpoint* from = find(id);
    if (from == nullptr || from->peer == nullptr) {
        return;
    }
    from->delivering = false;
    Endpoint& to = *from->peer;
    if (options_.swallow > 0 && random_.chance(options_.swallow)) {
        from->swallowed = to.swallowed = true;
    }
    if (from->swallowed) {
        return;
    }
    if (to.closed || random_.chance(options_.reset)) {
        // Octets for a socket that nobody has any more are answered by a reset.
        const bool has_octets = !from->outbound.empty();
        from->outbound.clear();
        from->end_delivered = from->write_ended;
        if (has_octets || !to.closed) {
            reset_pair(*from);
        }
        return;
    }
    const std::size_t room = room_at(to);
    if (!from->outbound.empty() && room > 0) {
        const std::size_t count = std::min({from->outbound.size(), room, segment_bytes(*from)});
        to.inbound.append(from->outbound.view().substr(0, count));
        from->outbound.drop(count);
    }
    if (from->outbound.empty() && from->write_ended && !from->end_delivered) {
        from->end_delivered = true;
        to.input_ended = true;
    } else if (!from->outbound.empty() && room_at(to) > 0) {
        wrote(*from);
    }
    notify(to);
    if (Endpoint* still = find(id); still != nullptr) {
        notify(*still);
    }
}

void SimNetwork::notify(Endpoint& endpoint) {
    if (endpoint.closed) {
        return;
    }
    if (endpoint.port != nullptr) {
        endpoint.port->touched(endpoint.descriptor);
    } else if (endpoint.socket != nullptr) {
        endpoint.socket->notice(endpoint);
    }
}

void SimNetwork::reset_pair(Endpoint& endpoint) {
    const std::uint64_t ids[] = {endpoint.id, endpoint.peer == nullptr ? 0 : endpoint.peer->id};
    for (const std::uint64_t id : ids) {
        if (Endpoint* end = find(id); end != nullptr && !end->closed) {
            end->error = ECONNRESET;
            end->outbound.clear();
            end->end_delivered = end->write_ended = true;
            notify(*end);
        }
    }
}

void SimNetwork::close(Endpoint& endpoint, bool reset) {
    endpoint.closed = true;
    endpoint.socket = nullptr;
    endpoint.port = nullptr;
    endpoint.write_ended = true;
    if (endpoint.peer != nullptr && !endpoint.swallowed && (reset || !endpoint.inbound.empty())) {
        // Closing with unread octets resets too, as Linux does (RFC 2525, 2.17).
        endpoint.outbound.clear();
        endpoint.end_delivered = true;
        schedule(delay(), [this, id = endpoint.id] {
            if (Endpoint* found = find(id); found != nullptr) {
                reset_pair(*found);
            }
            if (Endpoint* still = find(id); still != nullptr) {
                forget(*still); // else the peer's script closed its end, and both are gone
            }
        });
        return;
    }
    wrote(endpoint);
    forget(endpoint);
}

void SimNetwork::forget(Endpoint& endpoint) {
    Endpoint* peer = endpoint.peer;
    if (peer != nullptr && !peer->closed) {
        return;
    }
    if (peer != nullptr) {
        endpoints_.erase(peer->id);
    }
    endpoints_.erase(endpoint.id);
}

} // namespace ringmx::sim
