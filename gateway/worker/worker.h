// One worker: one thread, one ring, its clients, its deliveries, its backend connections.
//
//   turn:  submit and wait ─▶ settle and run each completion ─▶ due timers ─▶ inbox
//          ─▶ relief of memory ─▶ grants of the connection book ─▶ receives that starved
//          ─▶ (everything that was queued leaves with the next turn's one system call)
//
// The worker owns what all connections share and hands completions to their owners by token;
// ClientConnection, Delivery and BackendConnection do the work. Nothing here blocks; nothing is
// shared with other workers but the Snapshot's atomics.
//
// Messages from the main thread come through an inbox (a new snapshot, questions about the queue and
// the cache of verification, drain, stop); answers go the other way, and finished() is how main learns that a drain is done.
// Memory: the buffer pool holds the octets that clients and backends can make the worker keep, and
//         envelopes are counted beside it; see pressure().
// Thread: run() on its own thread; post(), take_answer(), finished() from main.
// Errors: none after construction.
#pragma once

#include "base/buffer.h"
#include "base/messages/cache_messages.h"
#include "base/messages/queue_messages.h"
#include "base/slab.h"
#include "base/spsc_ring.h"
#include "base/timer_wheel.h"
#include "observe/counters.h"
#include "observe/log_writer.h"
#include "ring/port.h"
#include "ring/receive_buffers.h"
#include "ring/stream.h"
#include "upstream/connection_book.h"
#include "worker/backend_connection.h"
#include "worker/client_connection.h"
#include "worker/delivery.h"
#include "worker/mail_queue.h"
#include "worker/queue_id.h"
#include "worker/snapshot.h"
#include "worker/verification.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace ringmx::worker {

struct ListeningSocket {
    int descriptor;
    std::uint32_t listener_index; // into Settings::listeners
};

struct Inbox {
    enum class Kind : std::uint8_t {
        snapshot, // use this configuration from now on
        adopt,    // messages of earlier runs, in order of acceptance
        question, // about the queue
        cache_question,
        drain, // stop accepting, let transactions finish
        cut,   // the time for draining is over: end everything now
    };
    Kind kind = Kind::snapshot;
    std::shared_ptr<const Snapshot> snapshot = {};
    std::vector<spool::RecoveredMessage> messages = {};
    QueueQuestion question = {};
    CacheQuestion cache_question = {};
    std::vector<AdoptedSegment*> segments = {}; // of all of them, the same for every worker
};

// How much room is left for what clients send (DESIGN: high and critical marks).
enum class Pressure : std::uint8_t {
    none,
    // MAIL gets 452, blocked clients are not read from, small slices move out of receive buffers.
    high,
    critical, // no more buffers to receive into; when there is none at all for a while, the message
              // with the least progress is failed
};

class Worker {
  public:
    struct Options {
        std::uint32_t index = 0;
        std::size_t memory_bytes_max = 0;
        std::uint32_t clients_max = 0;          // connections; Token slots bound it
        std::vector<ListeningSocket> listeners; // the worker closes them
        std::shared_ptr<const Snapshot> snapshot;
        ring::Port* port = nullptr; // outlives the worker
        observe::WorkerCounters* counters = nullptr;
        observe::Log* log = nullptr;
        SharedCounters* shares = nullptr;
        std::span<ring::Waker* const> wakers; // of every worker, by index
        ring::Waker* main_waker = nullptr;    // told when finished() becomes true
        std::uint64_t seed = 0;
        std::size_t posted_buffers = 0; // 0: the port's maximum
        SpoolOptions spool;
    };

    explicit Worker(Options options);
    ~Worker();
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;

    void run();   // until a drain or cut is complete
    void start(); // arms the listeners; run() does it
    void turn();  // one turn; for tests that step
    // From main; false: the inbox is full, and the message is whole.
    [[nodiscard]] bool post(Inbox&& message);
    // To main: the next answer to a question, when there is one.
    [[nodiscard]] bool take_answer(QueueAnswer& answer) { return answers_.try_pop(answer); }
    [[nodiscard]] bool take_answer(CacheAnswer& answer) { return cache_answers_.try_pop(answer); }
    [[nodiscard]] bool finished() const { return finished_.load(std::memory_order_acquire); }

    // For the connections.
    [[nodiscard]] ring::Loop& loop() { return loop_; }
    [[nodiscard]] BufferPool& pool() { return pool_; }
    [[nodiscard]] ring::ReceiveBuffers& receive_buffers() { return receive_buffers_; }
    [[nodiscard]] TimerWheel& timers() { return timers_; }
    [[nodiscard]] Instant now() const { return loop_.now(); }
    [[nodiscard]] WallTime wall_time() { return options_.port->wall_time(); }
    [[nodiscard]] std::uint32_t index() const { return options_.index; }
    [[nodiscard]] std::size_t workers_count() const {
        return std::max<std::size_t>(options_.wakers.size(), 1);
    }
    [[nodiscard]] const std::shared_ptr<const Snapshot>& snapshot() const { return snapshot_; }
    [[nodiscard]] observe::WorkerCounters& counters() { return *options_.counters; }
    [[nodiscard]] observe::BackendCounters& counters_of(const upstream::Lease& lease,
                                                        const Pool& pool);
    [[nodiscard]] observe::Log& log() { return *options_.log; }
    [[nodiscard]] upstream::ConnectionBook& book() { return book_; }
    [[nodiscard]] Slab<ClientConnection>& clients() { return clients_; }
    [[nodiscard]] Slab<Delivery>& deliveries() { return deliveries_; }
    // Null when it has ended.
    [[nodiscard]] Transaction* transaction(TransactionId id);
    [[nodiscard]] Exchange* exchange(ExchangeId id);
    [[nodiscard]] Slab<BackendConnection>& backends() { return backends_; }
    // Null when no listener spools.
    [[nodiscard]] MailQueue* queue() { return queue_.get(); }
    [[nodiscard]] Verification& verification() { return verification_; }
    [[nodiscard]] std::uint64_t random(); // nothing that must not be guessed
    [[nodiscard]] QueueIds& queue_ids() { return queue_ids_; }
    // Scratch for one lookup.
    [[nodiscard]] std::string& route_key() { return route_key_; }
    // Scratch for one call, so that a message allocates none of its own.
    [[nodiscard]] SliceList& outgoing() { return outgoing_; }
    [[nodiscard]] std::string& trace_field() { return trace_field_; }
    // What envelopes hold outside of the pool; part of the pressure.
    void count_envelope_bytes(std::ptrdiff_t bytes) { envelope_bytes_ += bytes; }
    // Exchange::advance() in this turn, from the turn's own stack.
    void advance_later(ExchangeId exchange) { to_advance_.push_back(exchange); }
    [[nodiscard]] bool draining() const { return phase_ != Phase::serving; }
    [[nodiscard]] Pressure pressure() const;
    // To main.
    void answer(QueueAnswer answer);
    void answer(CacheAnswer answer);
    // At most once a minute, whoever asks.
    [[nodiscard]] bool may_log_wait();

    void client_closed(ClientConnection& client);
    void delivery_ended(Delivery& delivery);
    void backend_closed(BackendConnection& backend);

  private:
    enum class Phase : std::uint8_t { serving, draining, cut };

    template <typename Answer> void hand_over(SpscRing<Answer>& answers, Answer answer);
    void dispatch(const ring::Completion& completion);
    void accepted(const ring::Completion& completion);
    void arm_accept(std::size_t position);
    void accept_failed(int error);
    void accept_again();
    void close_listener(std::size_t position);
    void timer_fired(Timer& timer);
    void read_inbox();
    void begin_drain();
    void begin_cut();
    void close_idle_backends();
    void run_grants();
    void relieve_pressure();
    void fail_one_for_memory();
    void wake_others();
    void reap();
    void check_finished();
    [[nodiscard]] Instant turn_deadline() const;

    Options options_;
    std::shared_ptr<const Snapshot> snapshot_;
    BufferPool pool_;
    ring::Loop loop_;
    ring::ReceiveBuffers receive_buffers_;
    TimerWheel timers_;
    upstream::ConnectionBook book_;
    Slab<ClientConnection> clients_;
    Slab<Delivery> deliveries_;
    Slab<BackendConnection> backends_;
    QueueIds queue_ids_;
    std::unique_ptr<MailQueue> queue_;
    std::uint64_t random_;
    Verification verification_;
    SpscRing<Inbox> inbox_;
    SpscRing<QueueAnswer> answers_;
    SpscRing<CacheAnswer> cache_answers_;
    std::vector<bool> accepting_;     // by position in options_.listeners: an accept is armed
    Instant accept_again_at_ = never; // those that aren't, after a want of descriptors
    bool accept_failing_ = false;     // since the last one that worked
    std::vector<upstream::IdleConnection> expired_; // reused between turns
    std::string route_key_;
    std::string trace_field_;
    SliceList outgoing_;
    std::vector<ExchangeId> to_advance_;
    std::ptrdiff_t envelope_bytes_ = 0;
    Instant log_wait_at_{};             // not before
    Instant relieve_at_ = never;        // the next look through everything held
    std::uint64_t seen_refusals_ = 0;   // of the pool
    std::vector<Handle> ended_clients_; // to be destroyed at the turn's end
    std::vector<Handle> ended_deliveries_;
    std::vector<Handle> ended_backends_;
    Phase phase_ = Phase::serving;
    Pressure last_pressure_ = Pressure::none;
    bool was_stuck_ = false; // at the last look nothing could be received
    bool started_ = false;
    std::atomic<bool> finished_{false};
};

} // namespace ringmx::worker
