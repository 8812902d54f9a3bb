// One thread of the sink: a ring, its listening sockets, its connections, and what they counted.
//
// A turn: completions are settled and taken, connections go on and queue their replies, delays that
// are over conclude their messages, and everything leaves with the next turn's system call; one
// send a connection. Content is read in the receive buffers and never copied.
//
// Bounds: receive memory by receive_bytes_max; a client that doesn't read its replies, or whose
//         message waits for its delay, is not read on: its receive is cancelled, and what still
//         arrives is kept until it goes on.
// Thread: run() and everything it calls belong to one thread; request_stop() may be called from one
//         other.
// Errors: create() fails with the ring's reason.
#pragma once

#include "base/buffer.h"
#include "base/error.h"
#include "base/slab.h"
#include "base/slice_queue.h"
#include "base/timer_wheel.h"
#include "ring/receive_buffers.h"
#include "ring/stream.h"
#include "sink/connection.h"

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace ringmx::sink {

class Worker {
  public:
    static constexpr std::size_t receive_bytes_max = std::size_t{256} * 1024 * 1024;
    static constexpr std::uint32_t connections_max = 1'000'000; // the descriptors end sooner

    struct Listening {
        int descriptor;
        Backend& backend; // that clients meet there
    };

    // `options` and the backends outlive it. Takes over the listening descriptors, and opens record
    // and store as the options say.
    [[nodiscard]] static Expected<std::unique_ptr<Worker>>
    create(const Options& options, unsigned index, const std::vector<Listening>& listeners);
    // Over any port and an open ledger: what create() uses, and tests.
    Worker(const Options& options, unsigned index, std::unique_ptr<ring::Port> port,
           const std::vector<Listening>& listeners);
    ~Worker();
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;

    void run(); // until request_stop(); then everything is closed and the record is written
    void request_stop(); // once
    [[nodiscard]] const Totals& totals() const { return ledger_.totals; }

  private:
    struct Peer;
    struct PeerTimer : Timer {
        PeerTimer(std::uint32_t slot, Peer& owner) : Timer(0, slot), peer(owner) {}
        Peer& peer;
    };
    struct Peer {
        Peer(Handle handle, Ledger& ledger, Backend& backend);

        ring::Stream stream;
        Connection connection;
        PeerTimer timer;         // of the delay, else of being idle
        SliceQueue input;        // not yet consumed
        bool is_waiting = false; // for the delay
        bool has_ended = false;  // the client sends no more
        bool is_closing = false; // after what is queued is sent
        bool is_dropped = false;
        bool is_mute = false; // whatever comes is dropped
        bool is_flooding = false;
    };
    struct Listener {
        Listening listening;
        bool is_armed = false;
        Instant rearm_at = never; // after an accept that failed
    };

    [[nodiscard]] Instant turn_end();
    void take(const ring::Completion& completion);
    void take_accept(const ring::Completion& completion);
    void take_stream(Peer& peer, ring::StreamOperation operation,
                     const ring::Completion& completion, Slice octets);
    void take_timer(Peer& peer);
    void advance(Peer& peer);
    void obey(Peer& peer, Connection::Wish wish);
    void read_input(Peer& peer);
    void settle_flow(Peer& peer);
    void close(Peer& peer);
    void arm(std::uint32_t listener);
    void rearm_listeners();
    void write_record();
    void begin_stop();
    [[nodiscard]] bool is_idle() const;

    enum class Life : std::uint8_t { running, stop_requested, woken };

    Ledger ledger_;
    std::unique_ptr<ring::Port> port_;
    BufferPool pool_;
    ring::ReceiveBuffers buffers_;
    ring::Loop loop_;
    TimerWheel timers_;
    Slab<Peer> peers_;
    std::vector<Listener> listeners_;
    std::uint32_t cancels_in_flight_ = 0;
    bool is_stopping_ = false;
    std::atomic<Life> life_ = Life::running;
};

} // namespace ringmx::sink
