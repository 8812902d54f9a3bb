// One thread of the load: a ring, its clients, and what they measured.
//
//   closed loop  each client takes the next message as soon as it is done with the one before
//   open loop    the Schedule says when messages are due; one that finds no client free waits its
//                turn, and its latency counts from the time that it was due
//
// A client is a place for one connection at a time; it connects when it has something to send, and
// ends the connection after messages_per_connection.
//
// Bounds:  clients by the options, receive memory by receive_bytes_max; messages that wait for a
//          client cost 8 octets each.
// Thread:  run() and everything it calls belong to one thread; request_stop() and progress() are for
//          others.
// Errors:  create() fails with the ring's reason, or the record's.
#pragma once

#include "base/buffer.h"
#include "base/slab.h"
#include "base/timer_wheel.h"
#include "load/dialog.h"
#include "load/message_source.h"
#include "load/options.h"
#include "load/result.h"
#include "load/schedule.h"
#include "record/record_file.h"
#include "ring/receive_buffers.h"
#include "ring/stream.h"

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

namespace ringmx::load {

// What the progress line shows; written by the worker, read by the main thread.
struct Progress {
    std::atomic<std::uint64_t> sent{0};
    std::atomic<std::uint64_t> accepted{0};
    std::atomic<std::uint64_t> failed{0};
    std::atomic<std::uint64_t> in_flight{0};
    std::atomic<std::uint64_t> waiting{0}; // due, and without a client
};

// Of a run of several workers.
struct Share {
    unsigned index = 0;
    unsigned count = 1;
    std::uint32_t clients = 0;
    std::uint64_t messages = 0; // 0: not bounded
};

class Worker {
  public:
    static constexpr std::size_t receive_bytes_max = std::size_t{64} * 1024 * 1024;
    // A server that refuses connections is not asked more often than this by one client.
    static constexpr Duration rest_after_failure = 100ms;

    // `options` outlives it. `run` is the word in the Message-IDs.
    [[nodiscard]] static Expected<std::unique_ptr<Worker>>
    create(const Options& options, const Share& share, std::string_view run);
    // Over any port: what create() uses, and tests.
    Worker(const Options& options, const Share& share, std::unique_ptr<ring::Port> port,
           std::unique_ptr<MessageSource> source, RecordFile record);
    ~Worker();
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;

    // Until everything is sent and answered, or request_stop() and then stop_patience.
    void run(Instant start);
    void request_stop(); // at most once; no message begins any more
    [[nodiscard]] bool has_ended() const { return has_ended_.load(std::memory_order_acquire); }
    [[nodiscard]] const Progress& progress() const { return progress_; }
    [[nodiscard]] Result& result() { return result_; } // when run() has returned

  private:
    struct Client;
    struct Peer;
    struct ClientTimer : Timer {
        ClientTimer(std::uint32_t slot, Client& owner) : Timer(0, slot), client(owner) {}
        Client& client;
    };
    // One connection's socket and dialog.
    struct Peer {
        Peer(Handle self, Client& owner, const Options& options, Result& result);
        Client& client;
        ring::Stream stream;
        Dialog dialog;
        Handle handle;
        Instant dialled_at{};
        std::uint64_t messages = 0; // begun on it
        bool is_connected = false;
        bool is_ready = false;    // a message may begin on it
        bool is_dripping = false; // content is under way, a few octets at a time
        bool is_aborting = false; // ends, by RST, when what is queued is sent
        bool is_flooding = false; // sends commands and reads nothing
        std::string dripped;      // the whole content in its wire form,
        std::size_t drip_at = 0;  // of which so much is sent
    };
    // Free: it has neither message nor rest, and a connection at most. Otherwise it has a message,
    // or its last connection is still ending, or it rests; then it is given work again.
    struct Client {
        explicit Client(std::uint32_t number) : timer(number, *this) {}
        ClientTimer timer; // for the next answer, or the rest's end
        Handle peer;
        Message message;
        Instant due{};
        std::uint64_t sequence = 0;
        bool has_message = false; // from when it is given one to its outcome
        bool is_resting = false;  // after a failure to connect
        bool is_free = false;
    };

    // The run.
    void begin_due_messages();
    [[nodiscard]] bool may_begin_more();
    [[nodiscard]] bool is_over() const;
    [[nodiscard]] Instant turn_end();
    void begin_stop();
    void drop_waiting();
    Client& take_free_client();
    void give_work(Client& client);

    // One client.
    void begin_message(Client& client, Instant due);
    void begin_transaction(Peer& peer);
    void dial(Client& client);
    void failed_to_connect(Client& client, int error);
    void conclude(Client& client, const Dialog::Outcome& outcome, bool was_submitted);
    void count_second(bool is_accepted, std::uint64_t octets, Duration latency);
    void show_progress();
    void hang_up(Peer& peer);
    void await_answer(Client& client);

    // Completions.
    void take(const ring::Completion& completion);
    void connected(Peer& peer);
    void sent(Peer& peer);
    void received(Peer& peer, const Slice& octets);
    void act(Peer& peer, Dialog::Event event);
    void ended(Peer& peer, std::string kind);
    void close(Peer& peer, bool reset = false);
    void closed(Peer& peer);
    void timer_fired(Client& client);
    [[nodiscard]] static const char* phase_word(const Peer& peer);

    // Sending.
    void flush(Peer& peer);
    void send_content(Peer& peer);
    void send_text(Peer& peer, std::string_view text);

    // Hostile ones (worker_hostile.cc).
    void begin_drip(Peer& peer);
    void drip(Peer& peer);
    void send_and_abort(Peer& peer);
    void flood(Peer& peer);

    const Options& options_;
    Share share_;
    Progress progress_;
    Result result_;
    std::unique_ptr<ring::Port> port_;
    BufferPool pool_;
    ring::ReceiveBuffers buffers_;
    ring::Loop loop_;
    TimerWheel timers_;
    std::unique_ptr<MessageSource> source_;
    RecordFile record_;
    Slab<Peer> peers_;
    std::vector<std::unique_ptr<Client>> clients_;
    std::vector<std::uint32_t> free_clients_; // by number; the one that worked last is last
    std::optional<Schedule> schedule_;        // open loop
    std::deque<Instant> waiting_;             // due times without a client
    Instant start_{};
    Instant end_ = never; // no message begins from then on
    Instant drop_waiting_at_ = never;
    Instant stop_by_ = never;
    std::uint64_t begun_ = 0; // messages that are due, or were
    std::uint64_t sequences_ = 0;
    std::uint64_t in_flight_ = 0;
    std::uint64_t dialled_ = 0;
    std::uint64_t proxied_ = 0;
    std::mutex port_lock_; // between the end of run() and request_stop()
    bool is_stopping_ = false;
    std::atomic<bool> stop_requested_{false};
    std::atomic<bool> has_ended_{false};
};

} // namespace ringmx::load
