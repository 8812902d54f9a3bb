// A network and a clock inside one program: what SimPorts and scripted peers talk through.
//
//   SimPort ── Endpoint ══ outbound ─▶ segments ─▶ inbound ══ Endpoint ── SimSocket
//                                                                        or another SimPort
//
// A SimSocket is a peer scripted by the test.
// Time is virtual: it advances only when no port has anything to do, to the next event or the
// nearest `until`. Everything that is left to chance (segmentation, delays, faults) comes from one
// seed, so that a seed replays a run. A direction of a connection keeps octets in order and loses
// none, unless the connection is reset or swallowed; socket buffers are bounded, so that a peer that
// doesn't read makes sends hang. An address nobody listens at refuses; a black hole never answers.
//
// Thread: one for a network, its ports and its peers. The network outlives its ports. SimSockets
//         live as long as the network.
// Errors: a simulation that can't go on (nothing will ever happen) aborts and says so.
#pragma once

#include "base/address.h"
#include "base/instant.h"
#include "sim/random.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ringmx::sim {

class SimPort;
class SimSocket;
class SimNetwork;

// Probabilities are from 0 to 1. The defaults are a network without faults.
struct Options {
    std::uint64_t seed = 1;
    std::size_t provided_buffers_max = 16;
    bool incremental_buffers = true;
    std::size_t socket_buffer_bytes = 64 * 1024; // for each direction, at each end
    std::size_t segment_bytes_max = 64 * 1024;
    Duration delay_min =
        std::chrono::microseconds(20); // of a segment, a connect, a late completion
    Duration delay_max = std::chrono::microseconds(200);
    double tiny_segments = 0; // of a direction of a connection: its segments have 1 to 16 octets
    double odd_segments = 0;  // likewise: of every size, the small ones as often as the large
    double late =
        0; // what could complete now does so later, so that completions overtake one another
    double multishot_end = 0;    // a multishot completion is its operation's last, for no reason
    double spurious_enobufs = 0; // a receive ends with -ENOBUFS although there are buffers
    double cancel_busy = 0;      // a cancel answers -EALREADY; its target ends a little later

    // These change what a test may expect: sends end with a part of their octets, as by a signal;
    // connections end; time passes.
    double short_sends = 0;
    double reset = 0;      // instead of a segment's delivery the connection is reset
    double swallow = 0;    // … nothing arrives any more, in either direction, and nobody is told
    double slow = 0;       // of a segment or a connect: it takes up to slow_delay_max
    double clock_jump = 0; // of a step of time: up to jump_max more pass, as for a stopped machine;
                           // the wall clock leaps up to a day, either way
    Duration slow_delay_max = 30s;
    Duration jump_max = 5min;

    // All those before the last group at once.
    [[nodiscard]] static Options hostile(std::uint64_t seed);
};

// Octets in arrival order, cheap to take from the front.
class ByteQueue {
  public:
    void append(std::string_view octets) { octets_.append(octets); }
    [[nodiscard]] std::string_view view() const { return std::string_view(octets_).substr(head_); }
    [[nodiscard]] std::size_t size() const { return octets_.size() - head_; }
    [[nodiscard]] bool empty() const { return size() == 0; }
    void drop(std::size_t count);
    void clear() { drop(size()); }

  private:
    std::string octets_;
    std::size_t head_ = 0;
};

// One end of a connection. Used by SimPort and SimSocket; tests use SimSocket.
struct Endpoint {
    std::uint64_t id = 0;
    Endpoint* peer = nullptr;
    SocketAddress local;
    SocketAddress remote;
    ByteQueue inbound;  // arrived, unread
    ByteQueue outbound; // written, not yet arrived at the peer
    int error = 0;      // of a reset connection; unread octets come first
    bool connected = false;
    bool write_ended = false; // we said our end; it travels behind `outbound`
    bool end_delivered = false;
    bool input_ended = false; // the peer's end arrived, behind `inbound`
    bool input_shut = false;  // we shut our receiving direction
    bool closed = false;      // the owner is gone
    bool tiny_segments = false;
    bool odd_segments = false;
    bool swallowed = false;  // what is written goes nowhere
    bool delivering = false; // an event is on its way
    SimPort* port = nullptr; // the owner: a port's descriptor, or a scripted peer
    int descriptor = -1;
    SimSocket* socket = nullptr;
};

// A scripted peer's end. What it writes leaves at once, whatever its size; what arrives gathers in
// arrived() unless it is paused.
class SimSocket {
  public:
    SimSocket(SimNetwork& network, std::uint64_t endpoint)
        : network_(network), endpoint_(endpoint) {}

    void write(std::string_view octets); // may be called before the connection stands
    void end();                          // half-close: no more will be written
    void close(); // the peer sees the end; what it still sends is answered by a reset
    void reset(); // the peer sees ECONNRESET
    void pause() { paused_ = true; } // reads no more: the peer's sends hang once buffers are full
    void resume();

    [[nodiscard]] const std::string& arrived() const { return arrived_; }
    [[nodiscard]] std::string take() { return std::exchange(arrived_, {}); }
    [[nodiscard]] bool connected() const { return connected_; }
    [[nodiscard]] bool ended() const { return ended_; } // the peer said its end
    [[nodiscard]] int error() const { return error_; }  // errno: refused, reset
    [[nodiscard]] bool gone() const { return ended_ || error_ != 0; }
    [[nodiscard]] bool swallowed() const; // nothing comes or goes any more
    [[nodiscard]] SocketAddress local() const;
    [[nodiscard]] SocketAddress remote() const;

    // Called inside turn() whenever something above changed; may call anything of this class and of
    // the network.
    std::function<void(SimSocket&)> on_event;

  private:
    friend class SimNetwork;
    void notice(Endpoint& endpoint); // takes over what changed and tells on_event

    SimNetwork& network_;
    std::uint64_t endpoint_;
    std::string arrived_;
    bool paused_ = false;
    bool connected_ = false;
    bool ended_ = false;
    int error_ = 0;
};

class SimNetwork {
  public:
    explicit SimNetwork(const Options& options);
    ~SimNetwork();
    SimNetwork(const SimNetwork&) = delete;
    SimNetwork& operator=(const SimNetwork&) = delete;

    // May be changed while the simulation runs (say, faults only after a start without any).
    [[nodiscard]] Options& options() { return options_; }
    [[nodiscard]] Random& random() { return random_; }
    [[nodiscard]] Instant now() const { return now_; }
    [[nodiscard]] WallTime wall_time() const;

    // A scripted peer that connects; `from` makes it come from that IP address.
    SimSocket& connect(const SocketAddress& target,
                       const IpAddress& from = IpAddress::v4(0x7F000001));
    // Scripted peers that accept: a backend, say.
    void listen(const SocketAddress& address, std::function<void(SimSocket&)> on_accept);
    void stop_listening(const SocketAddress& address); // scripted listeners only
    void black_hole(const SocketAddress& address, bool on = true);
    // Runs `action` inside a turn, `delay` from now.
    void schedule(Duration delay, std::function<void()> action);
    // Runs what is due now, then goes to the next event and runs it; false when there is none. For
    // tests without a port's loop.
    bool step();

  private:
    friend class SimPort;
    friend class SimSocket;
    struct Listener {
        SocketAddress address;
        std::function<void(SimSocket&)> on_accept; // scripted
        SimPort* port = nullptr;
        int descriptor = -1;
    };

    // For ports.
    Endpoint& add_endpoint();
    [[nodiscard]] Endpoint* find(std::uint64_t id);
    // `done` is told 0 or a negative errno, unless the endpoint is gone or `alive` says false by
    // then.
    void start_connect(std::uint64_t id, const SocketAddress& target,
                       std::function<void(int)> done);
    void add_port_listener(SimPort* port, int descriptor, const SocketAddress& address);
    void remove_port_listeners(const SimPort* port, int descriptor);
    void wrote(Endpoint& endpoint); // outbound or write_ended changed
    void was_read(Endpoint& endpoint);
    void close(Endpoint& endpoint, bool reset);
    void run_due();
    // Time goes on for the benefit of `port`; false: another port must run first.
    bool advance_for(const SimPort& port);
    [[nodiscard]] Duration delay();
    [[nodiscard]] Duration travel_time(); // delay(), and more where the network is slow
    [[nodiscard]] std::size_t segment_bytes(const Endpoint& endpoint);
    void jump();
    void notify(Endpoint& endpoint);

    void deliver(std::uint64_t id);
    void reset_pair(Endpoint& endpoint);
    void forget(Endpoint& endpoint); // when both ends are closed
    [[nodiscard]] std::size_t room_at(const Endpoint& endpoint) const;
    [[nodiscard]] Listener* choose_listener(const SocketAddress& target);
    void establish(Endpoint& client, Listener& listener);
    SimSocket& add_socket(Endpoint& endpoint);

    Options options_;
    Random random_;
    Instant now_;
    Duration wall_offset_{0};
    std::uint64_t last_endpoint_ = 0;
    std::uint64_t last_event_ = 0;
    std::uint16_t last_client_port_ = 20000;
    std::uint32_t idle_turns_ = 0; // without any progress
    std::map<std::pair<Instant, std::uint64_t>, std::function<void()>> events_;
    std::map<std::uint64_t, std::unique_ptr<Endpoint>> endpoints_;
    std::vector<std::unique_ptr<SimSocket>> sockets_;
    std::vector<std::unique_ptr<Listener>> listeners_;
    std::set<std::string> black_holes_;
    std::vector<SimPort*> ports_;
};

} // namespace ringmx::sim
