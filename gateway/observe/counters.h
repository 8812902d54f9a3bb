// What each worker counts, and what it counts about each backend.
//
// Each number has one writer (its worker) and any reader: a relaxed load and a relaxed store, no
// lock prefix. Sums are made when somebody asks (exposition.h). A WorkerCounters is on cache lines
// of its own.
//
// Labels are closed enums: a metric's size never depends on what the network sends. Their names, as
// operators see them, come from name_of().
//
// Backends: a BackendRegistry keeps one BackendRow per (pool, backend) for the life of the process,
//           so that counts survive a reload; main asks it for rows when a config is taken and hands
//           workers pointers to their own BackendCounters.
// Thread:   counters as above; BackendRegistry belongs to main; a BackendCounters* is valid until
//           the registry is destroyed.
#pragma once

#include "base/assert.h"
#include "base/instant.h"
#include "base/messages/queue_messages.h"
#include "base/spsc_ring.h"
#include "observe/histogram.h"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace ringmx::observe {

class Counter {
  public:
    void add(std::uint64_t count = 1) {
        value_.store(value_.load(std::memory_order_relaxed) + count, std::memory_order_relaxed);
    }
    [[nodiscard]] std::uint64_t value() const { return value_.load(std::memory_order_relaxed); }

  private:
    std::atomic<std::uint64_t> value_{0};
};

class Gauge {
  public:
    void add(std::int64_t count = 1) { set(value() + count); }
    void subtract(std::int64_t count = 1) { set(value() - count); }
    void set(std::int64_t value) { value_.store(value, std::memory_order_relaxed); }
    [[nodiscard]] std::int64_t value() const { return value_.load(std::memory_order_relaxed); }

  private:
    std::atomic<std::int64_t> value_{0};
};

// Once set, who sees it sees everything that was counted before.
class Flag {
  public:
    void set() { is_set_.store(true, std::memory_order_release); }
    [[nodiscard]] bool is_set() const { return is_set_.load(std::memory_order_acquire); }

  private:
    std::atomic<bool> is_set_{false};
};

// Counters by a closed enum whose last enumerator is count_.
template <typename Reason> class CountersBy {
  public:
    static constexpr std::size_t size = static_cast<std::size_t>(Reason::count_);
    [[nodiscard]] Counter& operator[](Reason reason) {
        return counters_[static_cast<std::size_t>(reason)];
    }
    [[nodiscard]] const Counter& operator[](Reason reason) const {
        return counters_[static_cast<std::size_t>(reason)];
    }

  private:
    std::array<Counter, size> counters_;
};

// Why a message was not taken. Each MAIL that is not out of order ends as one accepted message or
// as one of these: the refusal of MAIL or of its data, the last recipient's when all were refused,
// else how the transaction was given up.
enum class RejectReason : std::uint8_t {
    no_route,            // 550 5.7.1: no route takes the recipient
    unknown_recipient,   // 550 by verification or by the backend's answer to RCPT
    size,                // 552 5.3.4
    syntax,              // 501, 553, 555: an address, parameter or BDAT that can't be used
    bare_newline,        // 550 5.6.0
    nul_line,            // 550 5.6.0: a lone dot among NULs
    received_loop,       // 554 5.4.6
    rate_limit,          // 450 4.7.1
    no_memory,           // 452 4.3.1
    spool_full,          // 452 4.3.1
    disk_error,          // 451 4.3.0
    backend_unavailable, // 451 4.4.1: none takes it now
    backend_tempfail,    // a backend's own 4xx
    backend_reject,      // a backend's own 5xx
    backend_fault,       // 451 4.3.5: a backend's 5xx that tells of our side
    client_gone,         // the client left before its last octet
    timeout,             // 421 4.4.2: command or data timeout
    too_slow,            // 421 4.4.2: under limits.minimum_data_rate
    too_many_errors,     // 421 4.7.0
    abandoned,           // the client itself gave the transaction up: RSET, EHLO, QUIT
    shutdown,            // 421 4.3.2
    count_,
};

// Why a connection was turned away before its first command.
enum class RefuseReason : std::uint8_t {
    client_connections, // limits.connections_per_client
    client_rate,        // limits.connection_rate_per_client
    connections,        // limits.connections, descriptors
    early_talker,       // spoke before the greeting
    proxy_untrusted,    // not in proxy_protocol.trusted
    proxy_header,       // a PROXY header that is late or malformed
    shutdown,
    count_,
};

// What a report to a sender is about.
enum class ReportKind : std::uint8_t {
    failed,  // somebody failed for good
    relayed, // all of it went to a backend that sends no reports of its own
    count_,
};

// Why a recipient was refused.
enum class RecipientReason : std::uint8_t {
    no_route,
    unknown_recipient,
    syntax,
    recipients_limit,
    other_pool,
    size,
    rate_limit,
    no_memory,
    backend_unavailable,
    backend_tempfail,
    backend_reject,
    backend_fault,
    count_,
};

// How an attempt to forward went wrong.
enum class ForwardFailure : std::uint8_t {
    resolve,
    connect_refused, // or any other error of connect()
    connect_timeout,
    no_backend,   // none is up or may be tried; counted for the hash's own choice
    wait_timeout, // no connection became free within timeouts.backend_wait
    greeting,     // other than 220
    hello,        // EHLO and HELO both refused
    dropped,      // the connection ended
    unavailable,  // 421
    reply_timeout,
    malformed_reply,
    tempfail,           // 4xx to the message
    reject,             // 5xx to the message
    our_fault,          // a 5xx that tells of our side: 500 to 504, 530, 535, 538, 555
    possible_duplicate, // the answer to the final dot never came: the backend may have the message
    count_,
};

// What is known of a recipient that is to be verified.
enum class VerificationResult : std::uint8_t {
    exists,
    unknown,     // a backend's 5xx to RCPT
    unavailable, // it could not be asked, or did not say
    count_,
};

// What becomes of a message whose last recipient was refused so, when none was accepted.
[[nodiscard]] RejectReason reject_reason(RecipientReason reason);

[[nodiscard]] std::string_view name_of(RejectReason reason);
[[nodiscard]] std::string_view name_of(RefuseReason reason);
[[nodiscard]] std::string_view name_of(RecipientReason reason);
[[nodiscard]] std::string_view name_of(ForwardFailure failure);
[[nodiscard]] std::string_view name_of(VerificationResult result);
[[nodiscard]] std::string_view name_of(ReportKind kind);

struct alignas(cache_line_bytes) WorkerCounters {
    // Clients.
    Counter connections_total; // accepted by the kernel, refused ones included
    Gauge connections_open;
    Counter accept_failures_total; // by the kernel: no descriptors, no memory; the client waits
    CountersBy<RefuseReason> connections_refused;
    Counter connections_lost_total; // ended without QUIT
    Counter timeouts_total;         // clients cut by a command or data timeout
    Counter commands_total;         // lines from clients, refused ones included
    Counter protocol_errors_total;  // 5xx that ringmx itself gave to a command
    Counter bytes_received_total;   // octets from clients
    Counter bytes_sent_total;       // octets to clients

    // Messages.
    Counter messages_accepted_total;
    CountersBy<RejectReason> messages_rejected;
    Counter message_bytes_accepted_total;
    Counter recipients_accepted_total;
    CountersBy<RecipientReason> recipients_rejected;
    // Recipients of routes with `verify`: answered from the cache, and questions to backends.
    CountersBy<VerificationResult> verifications_cached;
    CountersBy<VerificationResult> verifications_asked;
    Gauge verification_entries; // of the cache
    // Envelopes sent again to a backend, after a hold or on another backend.
    Counter transactions_replayed_total;
    Histogram acknowledge; // from the end of data to the reply

    // The queue.
    Flag queue_has_earlier; // what earlier runs left, as far as it is this worker's: it is counted
    Gauge queue_messages;
    Gauge queue_bytes; // as stored
    std::array<Gauge, queue_states_count> queue_messages_by_state;
    Gauge queue_oldest_accepted_at;   // seconds since 1970; 0: the queue is empty
    Counter queue_held_removed_total; // failed ones, when spool.held ran out
    Counter queue_set_aside_total;    // that could not be read
    CountersBy<ReportKind> reports;   // queued
    Counter reports_dropped_total;    // `relayed` ones: nowhere to go, or they could not be written
    Counter spool_commits_total;
    Counter spool_records_total; // in those
    Counter spool_bytes_total;   // likewise, padding included
    Counter spool_failures_total;
    Histogram spool_commit; // from handing a write to the kernel to its end
    Gauge spool_room_bytes; // what new mail may still take
    Gauge spool_error;      // why nothing can be written now, as an errno; 0: it can
    Gauge spool_takes_mail; // 0: MAIL is refused for want of room, or for that error

    // Backends, all of them.
    Counter backend_bytes_sent_total;
    Counter backend_bytes_received_total;

    // The loop.
    Counter turns_total;
    Counter operations_total;
    Counter completions_total;
    Counter receive_starved_total; // receives that found no buffer (ENOBUFS)
    Gauge memory_bytes_in_use;

    // When the worker last finished a turn.
    std::atomic<Instant::rep> heartbeat_nanoseconds{0};
    void beat(Instant now) {
        heartbeat_nanoseconds.store(now.time_since_epoch().count(), std::memory_order_relaxed);
    }
    [[nodiscard]] Instant heartbeat() const {
        return Instant(Duration(heartbeat_nanoseconds.load(std::memory_order_relaxed)));
    }
};

// The first worker whose heartbeat is older than `age_max`; nothing when all are alive.
[[nodiscard]] std::optional<std::size_t>
stalled_worker(std::span<const WorkerCounters* const> workers, Instant now, Duration age_max);

// One worker's counts about one backend.
struct alignas(cache_line_bytes) BackendCounters {
    Counter messages_forwarded_total;
    CountersBy<ForwardFailure> failures;
    Counter connections_total; // opened
    Gauge connections_open;
    Histogram forward; // from the first octet offered to a backend's connection to its final reply
};

struct BackendRow {
    BackendRow(std::string_view pool_name, std::string_view backend_name, std::size_t workers_count)
        : pool(pool_name), backend(backend_name), workers(workers_count) {}

    std::string pool;
    std::string backend;
    bool configured = false;             // in the config of now; main writes and reads it
    std::deque<BackendCounters> workers; // one per worker
};

// One worker's messages that wait for one pool.
struct alignas(cache_line_bytes) PoolCounters {
    Gauge queue_parked;
    Gauge queue_pool_hold;
};

struct PoolRow {
    PoolRow(std::string_view pool_name, std::size_t workers_count)
        : pool(pool_name), workers(workers_count) {}

    std::string pool;
    bool configured = false; // as in BackendRow
    std::deque<PoolCounters> workers;
};

class BackendRegistry {
  public:
    explicit BackendRegistry(std::size_t workers_count) : workers_count_(workers_count) {}

    // Call before the rows of a new config's backends and pools: those not asked for again count as gone
    // (they keep their counts).
    void begin_config();
    // The row of a backend, made when it is new; stays where it is.
    [[nodiscard]] BackendRow& row(std::string_view pool, std::string_view backend);

    [[nodiscard]] PoolRow& pool_row(std::string_view pool);

    [[nodiscard]] const std::deque<BackendRow>& rows() const { return rows_; }
    [[nodiscard]] const std::deque<PoolRow>& pool_rows() const { return pool_rows_; }
    [[nodiscard]] std::size_t workers_count() const { return workers_count_; }

  private:
    std::size_t workers_count_;
    std::deque<BackendRow> rows_;
    std::deque<PoolRow> pool_rows_;
};

} // namespace ringmx::observe
