// A worker's book of backend connections: which are idle, who waits for one, and what the next
// transaction should do. It says, never dials: the worker opens, closes and speaks, and tells the
// book.
//
// acquire() answers reuse (an idle connection), dial, wait or refuse. With reuse and dial comes a
// Lease of the backend, held until exactly one of
// - give_back(): the transaction is over and the connection proven clean: it goes to a waiting
//   transaction, or idle, or is to be closed because another worker waits for it;
// - retire(): the connection is closed without a verdict on health (worn out, drained, unclean
//   end);
// - dial_failed(): the fresh connection failed before any transaction: a failure of health.
// The worker tells transaction_answered() once the backend has answered a command of the
// transaction: EHLO proves no more than a probe does.
// A reused connection that drops or says 421 is no verdict: dial again under the same Lease.
// After wait, next_grant() names the transaction, with a Lease or with refuse; cancel() when it
// gives up by itself.
//
// Choice: the slot's ranking, or smooth weighted round robin. A backend that is out, or that the
//   transaction has tried, is passed over with failover "any", and refused with "none"; one that
//   is full is waited for: it is not out, and moving its keys would scatter them.
// Share: one client holds at most Pool::client_share connections to a backend, over all workers;
//   past that it waits.
// Order: first come first served per backend, save those that their client's share holds back.
//   While another worker waits, a connection is handed on here at most handovers_max times, then
//   closed, and its place left to that worker for promise_time.
// Wakes: wakes() are the workers to wake after a call; the worker wakes them once a turn and
//   calls clear_wakes(). Once a turn, and so after each wake, it calls expire_idle(), and
//   next_grant() until that is empty.
//
// Bounds: waiting transactions and idle connections are bounded by the clients' and the backends'
//   connections; vectors keep their room, so that steady traffic allocates nothing.
// Lifetime: a Pool outlives the leases and waiting transactions that name it (the worker keeps
//   the snapshot they began under).
// Thread: one worker's; the shared states behind it are atomics.
// Errors: none.
// Source: CONTRACT 3 (max_connections, failover, backend_wait, backend_hold), 4 (backend mode).
#pragma once

#include "base/instant.h"
#include "base/shared_counters.h"
#include "upstream/pool.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace ringmx::upstream {

using ConnectionHandle = std::uint32_t;  // the worker's name for a backend connection
using TransactionHandle = std::uint64_t; // the worker's name for a transaction

// The right to one connection to a backend. Plain and copyable, but it must be settled once.
struct Lease {
    const Pool* pool = nullptr;
    std::uint32_t backend_index = no_backend; // in pool->settings.backends
    std::uint32_t share_ticket = SharedCounters::untracked_ticket;
    bool held = false;  // given, and not settled yet
    bool trial = false; // the backend was out; this connection decides

    [[nodiscard]] const BackendSettings& backend() const {
        return pool->settings.backends[backend_index];
    }
    [[nodiscard]] BackendState& state() const { return *pool->states[backend_index]; }
};

struct Request {
    const Pool* pool;
    std::uint64_t key_hash = 0;   // hash_key() of the canonical key; with HashKey::none any number
    std::uint64_t client_key = 0; // ClientTicket::client_key; 0 for exempt clients, under no share
    TransactionHandle transaction = 0;
    Instant deadline = never; // now + backend_wait
    // The backend that has the transaction already: before all others, while it is not tried.
    std::uint32_t preferred = no_backend;
};

enum class Verdict : std::uint8_t {
    reuse,  // lease and connection
    dial,   // lease
    wait,   // waiter
    refuse, // no backend takes it now: 451 4.4.1 (or the spool)
};

struct Answer {
    Verdict verdict = Verdict::refuse;
    Lease lease;
    ConnectionHandle connection = 0;
    std::uint32_t waiter = 0; // for cancel()
};

struct Grant {
    TransactionHandle transaction = 0;
    Answer answer; // reuse, dial or refuse
};

// What to do with a connection that was given back.
enum class Kept : std::uint8_t { idle, handed_over, close };
struct GiveBack {
    Kept kept;
    Grant grant; // handed_over: this transaction has the connection now (verdict reuse)
};

struct IdleConnection {
    std::uint32_t state_id; // BackendState::id()
    ConnectionHandle connection;
};

class ConnectionBook {
  public:
    static constexpr std::uint32_t handovers_max = 8;
    static constexpr Duration promise_time = 2ms; // many times what waking takes

    // `shares` counts what each client holds of each backend, over all workers.
    // `seed`: where this worker's round robin begins, so that workers don't march in step.
    ConnectionBook(std::uint32_t worker, SharedCounters& shares, std::uint64_t seed);
    ConnectionBook(const ConnectionBook&) = delete;
    ConnectionBook& operator=(const ConnectionBook&) = delete;

    // `tried`: indexes of backends that this transaction must not be offered again.
    [[nodiscard]] Answer acquire(const Request& request, std::span<const std::uint16_t> tried,
                                 Instant now);

    // All but transaction_answered settle the lease; it goes on naming its backend. A connection counts
    // against max_connections until connection_ended(): dial_failed() and retire() say that too,
    // after all others that part with a connection it is the caller's to say, once it is closed.
    void transaction_answered(Lease& lease);
    void dial_failed(Lease& lease, Instant now);
    void retire(Lease& lease);
    void let_go(Lease& lease); // the connection is about to be closed
    void connection_ended(std::uint32_t state_id);
    // On `close` the caller closes the connection and says so by connection_ended().
    [[nodiscard]] GiveBack give_back(Lease& lease, ConnectionHandle connection, Instant now);

    // An idle connection that the backend closed. False: it is not idle here.
    bool remove_idle(const BackendState& state, ConnectionHandle connection);
    // These append idle connections that are out of the book: close them, then
    // connection_ended().
    // Past their idle_timeout, oldest first, and one of each backend that another worker waits for.
    void expire_idle(Instant now, std::vector<IdleConnection>& closing);
    // All, for drain and for reloads.
    void take_all_idle(std::vector<IdleConnection>& closing);

    // The next waiting transaction that can go on now, or must give up (deadline passed, no backend
    // left).
    [[nodiscard]] std::optional<Grant> next_grant(Instant now);
    void cancel(std::uint32_t waiter);
    [[nodiscard]] bool has_waiting() const { return waiting_count_ != 0; }

    // When expire_idle() or next_grant() has something to do without being woken; `never` for
    // nothing. May be early, never late.
    [[nodiscard]] Instant next_deadline() const {
        return idle_deadline_ < wait_deadline_ ? idle_deadline_ : wait_deadline_;
    }

    [[nodiscard]] std::span<const std::uint32_t> wakes() const { return wakes_; }
    void clear_wakes() { wakes_.clear(); }

    [[nodiscard]] std::size_t idle_count() const { return idle_count_; }
    [[nodiscard]] std::size_t waiting_count() const { return waiting_count_; }

  private:
    static constexpr std::uint32_t no_waiter = UINT32_MAX;
    // Why a backend didn't answer with a lease.
    enum class Step : std::uint8_t { taken, passed_over, full, share_full };
    struct Idle {
        ConnectionHandle connection;
        Instant expires;
        std::uint64_t kind;
    };
    // Keeps its state alive for as long as the book: the ends of connections may come after a
    // reload dropped the backend.
    struct Lane {
        std::shared_ptr<BackendState> state;
        std::vector<Idle> idle; // newest last: the warmest connection is reused first
        std::uint32_t first_waiter = no_waiter;
        std::uint32_t last_waiter = no_waiter;
        std::uint32_t full_waiting = 0;  // those that wait for a connection, not for their share
        std::uint32_t handovers = 0;     // in a row, while another worker waited
        std::uint32_t ending = 0;        // let go of, but not yet closed
        bool has_promised = false;       // the place of one that ended is another worker's,
        Instant promised_until{};        // until then
        std::int64_t current_weight = 0; // of smooth weighted round robin
        bool flagged = false; // this worker is in the state's waiting set, or was taken out
    };
    struct Waiter {
        Request request;
        std::vector<std::uint16_t> tried;
        std::uint32_t lane = 0;
        std::uint32_t previous = no_waiter;
        std::uint32_t next = no_waiter; // in the lane, or in the free list
        Step blocked = Step::full;
        bool in_use = false;
    };

    Lane& lane_at(const Pool& pool, std::uint32_t index);
    Step try_backend(const Request& request, std::uint32_t index, bool queued, Answer& answer,
                     Instant now);
    [[nodiscard]] bool has_room(const Pool& pool, Lane& lane, Instant now);
    Step begin_dial(const Request& request, Lane& lane, Answer& answer, Instant now);
    bool take_share(const Request& request, BackendState& state, std::uint32_t& ticket,
                    Instant now);
    void release_share(const Pool& pool, BackendState& state, std::uint32_t ticket);

    // Verdict wait means: at answer.lease.backend_index, and `blocked` says for what.
    Answer choose(const Request& request, std::span<const std::uint16_t> tried, bool queued,
                  Step& blocked, Instant now);
    Answer choose_by_slot(const Request& request, std::span<const std::uint16_t> tried, bool queued,
                          Step& blocked, Instant now);
    Answer choose_in_turn(const Request& request, std::span<const std::uint16_t> tried, bool queued,
                          Step& blocked, Instant now);
    void gather_candidates(const Pool& pool, std::span<const std::uint16_t> tried, Instant now);
    void count_turn(const Pool& pool, std::uint32_t chosen);

    std::uint32_t new_waiter(const Request& request, std::span<const std::uint16_t> tried);
    void link(std::uint32_t waiter, Lane& lane, Step blocked);
    void unlink(std::uint32_t waiter);
    void free_waiter(std::uint32_t waiter);
    void settle_flag(Lane& lane);
    std::optional<Grant> overdue_grant(Instant now);
    std::optional<Grant> grant_in_lane(std::uint32_t lane, Instant now);
    std::optional<Grant> hand_over(Lane& lane, const Lease& from, ConnectionHandle connection,
                                   Instant now);

    void yield_idle(std::vector<IdleConnection>& closing);
    // Another worker waits for a connection, and none of ours is on its way to it.
    [[nodiscard]] bool is_wanted_elsewhere(const Lane& lane) const;
    void remember_idle(Lane& lane, const Idle& idle);
    void forget_idle(Lane& lane, std::size_t position);
    void wake(std::optional<std::uint32_t> worker);

    std::uint32_t worker_;
    SharedCounters& shares_;
    std::uint64_t seed_;
    std::vector<Lane> lanes_; // by BackendState::id()
    std::vector<Waiter> waiters_;
    std::vector<std::uint16_t> candidates_; // while choosing
    std::uint32_t free_waiter_ = no_waiter;
    std::uint32_t grant_lane_ = 0; // where next_grant() goes on
    std::size_t waiting_count_ = 0;
    std::size_t idle_count_ = 0;
    Instant idle_deadline_ = never;
    Instant wait_deadline_ = never;
    std::vector<std::uint32_t> wakes_;
};

} // namespace ringmx::upstream
