// An exchange's access to the backends of a pool: the connection it has or waits for, and whom it
// has tried.
//
//   choose() ─▶ acquire() ─▶ a connection, idle until now (it is ready) or being dialled
//                            (Exchange::on_ready() follows)
//                         ─▶ none is free: Exchange::granted() or handed_over() comes, and is passed
//                            on to grant() or take_over()
//                         ─▶ a Refusal
//   lose(): the connection can't go on; leave(): the exchange has done with it. acquire() comes
//   again as often as the exchange likes, and meets no backend twice.
//
// Redial: a reused connection that drops or says 421 may have been closed while it was idle. That
//         says nothing about the backend: it is dialled anew, under the same lease.
// Calls:  grant() and dial() may fail at once, and then come back as Exchange::on_lost() from inside:
//         whoever calls has put its own state in order before.
// Cost:   it is a part of its exchange; nothing is allocated until a backend has failed.
// Thread: one worker's.
// Errors: Refusal, the exchange's to act on.
// Source: CONTRACT 3 (pools: failover, max_connections, health), 4 (backend mode).
#pragma once

#include "base/address.h"
#include "base/slab.h"
#include "observe/counters.h"
#include "smtp/reply.h"
#include "upstream/connection_book.h"
#include "worker/backend_connection.h"
#include "worker/exchange.h"
#include "worker/snapshot.h"

#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace ringmx::worker {

class Worker;

class BackendAccess {
  public:
    using Leave = BackendConnection::Leave;
    // No backend takes it now, and what that counts as: nothing when some were tried, since each of
    // them has been counted.
    using Refusal = std::optional<observe::ForwardFailure>;
    using Result = std::expected<void, Refusal>;
    static constexpr std::uint64_t no_share = 0; // a client_key that is under none

    // `client_key`: whose share of the connections it takes (upstream::Request).
    BackendAccess(Worker& worker, ExchangeId exchange, std::shared_ptr<const Snapshot> snapshot,
                  std::uint64_t client_key)
        : worker_(worker), exchange_(exchange), snapshot_(std::move(snapshot)),
          client_key_(client_key) {}
    BackendAccess(const BackendAccess&) = delete;
    BackendAccess& operator=(const BackendAccess&) = delete;

    [[nodiscard]] const std::shared_ptr<const Snapshot>& snapshot() const { return snapshot_; }
    [[nodiscard]] const Settings& settings() const { return *snapshot_->settings; }
    [[nodiscard]] const Pool& pool() const { return *snapshot_->pools[pool_index_]; }
    [[nodiscard]] std::uint32_t pool_index() const { return pool_index_; }
    [[nodiscard]] std::uint64_t key_hash() const { return key_hash_; }
    // Null when there is none, or it is gone.
    [[nodiscard]] BackendConnection* connection() const;
    [[nodiscard]] bool has_connection() const { return connection_ != Handle{}; }
    // For a connection, without one until it is granted.
    [[nodiscard]] bool is_waiting() const { return is_waiting_; }
    // Of the last connection; upstream::no_backend before the first one of a choice.
    [[nodiscard]] std::uint32_t backend_index() const { return backend_index_; }
    [[nodiscard]] const std::string& backend_address() const {
        return pool().settings().backends[backend_index_].address;
    }
    // Of the hash; upstream::no_backend: none.
    [[nodiscard]] std::uint32_t first_choice() const;
    [[nodiscard]] std::size_t tried_count() const { return tried_.size(); }

    // Before acquire(). Another choice than the last one forgets whom that has tried.
    void choose(std::uint32_t pool_index, std::uint64_t key_hash);
    // The backend stays, by this key from now on.
    void keep_backend_for(std::uint64_t key_hash) { key_hash_ = key_hash; }
    void forget_tried() { tried_.clear(); }

    // `goes_back`: to the last backend, before all others.
    [[nodiscard]] Result acquire(bool goes_back = false);
    [[nodiscard]] Result grant(const upstream::Answer& answer);
    void take_over(const upstream::Answer& answer); // the exchange goes on later in this turn
    [[nodiscard]] Result dial(const upstream::Lease& lease);

    // Sends what the session has put out, and expects its answer. False: there was no memory, and the
    // connection is left.
    [[nodiscard]] bool send_commands();
    // A reply has come.
    void heard(BackendConnection& from);
    [[nodiscard]] bool has_heard() const { return has_heard_; }
    // Closes the connection, with the verdict on its backend. A lease: the backend is to be dialled
    // anew; only where `may_redial`.
    [[nodiscard]] std::optional<upstream::Lease>
    lose(BackendConnection& lost, observe::ForwardFailure kind, bool may_redial);
    void leave(Leave how); // the connection, if there is one
    void stop_waiting();

    // Of the last backend, else of the first choice.
    void count_failure(observe::ForwardFailure kind);
    // These are counted and logged. `id`: the message's.
    void note_loss(std::string_view id, observe::ForwardFailure kind);
    void note_fault(std::string_view id, std::string_view after, const smtp::Reply& reply);
    // `is_queued`: its client has a 250 already.
    void note_duplicate(std::string_view id, const IpAddress& client_ip, std::uint16_t client_port,
                        bool is_queued);

  private:
    Result take(const upstream::Answer& answer);

    Worker& worker_;
    ExchangeId exchange_;
    std::shared_ptr<const Snapshot> snapshot_;
    std::uint64_t client_key_;
    std::uint64_t key_hash_ = 0;
    Handle connection_;
    std::uint32_t pool_index_ = 0;
    std::uint32_t backend_index_ = upstream::no_backend;
    std::uint32_t waiter_ = 0;
    bool is_waiting_ = false;
    bool has_heard_ = false; // a reply, on this connection
    std::vector<std::uint16_t> tried_;
};

} // namespace ringmx::worker
