// One connection to a backend: dialling, greeting, the SMTP client session on it, and giving it
// back.
//
//   connecting ─▶ greeting (220, EHLO or LHLO) ─▶ busy (an exchange's) ─▶ idle (the book's) ─▶ busy …
//                                                   └▶ resetting (RSET, to be proven clean) ─▶ idle
//   any state ─▶ quitting or closing
//
// An exchange speaks through session() and send(); replies, losses and timeouts come back to it
// (Exchange::on_…). Addresses of a backend are tried in their order within one backend_connect
// time.
// A connection that an exchange leaves is kept only in a state proven clean, within messages_ and
// rejections_per_connection.
// Thread: one worker's.
// Errors: told to the exchange as ForwardFailure.
#pragma once

#include "base/slab.h"
#include "base/timer_wheel.h"
#include "observe/counters.h"
#include "ring/stream.h"
#include "smtp/client_session.h"
#include "upstream/connection_book.h"
#include "worker/exchange.h"
#include "worker/tokens.h"

#include <cstdint>
#include <memory>
#include <optional>

namespace ringmx::worker {

class Worker;
struct Pool;
struct Snapshot;

class BackendConnection {
  public:
    // `pool` belongs to `snapshot`, which the connection keeps.
    BackendConnection(Handle self, Worker& worker, std::shared_ptr<const Snapshot> snapshot,
                      const Pool& pool);

    // Connects under `lease` for `exchange`, which is told on_ready() or on_lost().
    void dial(const upstream::Lease& lease, ExchangeId exchange);
    // An idle connection that the book handed out. The exchange goes on at once: is_ready() is
    // true. From now on it belongs to the exchange's snapshot, which the lease points into.
    void reuse(const upstream::Lease& lease, ExchangeId exchange,
               std::shared_ptr<const Snapshot> snapshot, const Pool& pool);

    [[nodiscard]] Handle handle() const { return self_; }
    [[nodiscard]] bool is_ready() const { return state_ == State::busy; }
    [[nodiscard]] bool was_reused() const { return reused_; }
    [[nodiscard]] smtp::ClientSession& session() { return session_; }
    [[nodiscard]] const smtp::Capabilities& capabilities() const { return session_.capabilities(); }
    [[nodiscard]] const upstream::Lease& lease() const { return lease_; }
    [[nodiscard]] const Pool& pool() const { return *pool_; }
    [[nodiscard]] const SocketAddress& address() const { return address_; }

    // Queues what the session has put into its output, then content slices; leaves at the turn's
    // end. False: no memory.
    [[nodiscard]] bool send_commands();
    void send(Slice octets);
    [[nodiscard]] std::size_t unsent_bytes() const { return stream_.unsent_bytes(); }
    // From now on the reply (or the progress of sending) is awaited for so long; each reply and
    // each send starts it anew.
    void expect_within(Duration time);
    void expect_nothing();
    void count_rejection() { ++rejections_; }
    // Of rejections_per_connection.
    [[nodiscard]] std::uint32_t rejections_left() const;
    // A command of the transaction has its answer: the backend does its work.
    void transaction_answered();

    // The exchange has done with it. `clean`: no transaction is open and no reply outstanding;
    // `resettable`: RSET would make it so.
    enum class Leave : std::uint8_t { clean, resettable, broken };
    void leave(Leave how);
    // The same, and it was the backend's fault in the sense of the contract's health row.
    void leave_failed();
    // A reused connection that turned out dead: closes it and gives its lease to whoever dials
    // anew.
    [[nodiscard]] upstream::Lease leave_lease();

    void close_idle(); // the book let go of it: QUIT, then close
    void drain();      // nobody comes any more: one that is dialled for nobody closes
    void cut();        // at once

    void complete(ring::StreamOperation operation, const ring::Completion& completion,
                  Slice&& octets);
    bool arm_receive(); // true: it is armed again, a starved receive's turn
    void timer_fired();
    [[nodiscard]] Timer& timer() { return timer_; }

  private:
    enum class State : std::uint8_t {
        connecting,
        greeting,
        busy,
        resetting,
        idle,
        quitting,
        closing
    };

    void connect_next();
    void connect_failed();
    void received(const Slice& octets);
    void say_hello();
    void became_ready();
    void take_reply();
    void lost(observe::ForwardFailure kind, int error);
    void settle(bool failed); // ends the lease, if it is still held
    void finish_clean();
    void quit();
    void close();
    void closed();
    [[nodiscard]] bool worn_out() const;
    [[nodiscard]] Exchange* exchange();

    Handle self_;
    Worker& worker_;
    std::shared_ptr<const Snapshot> snapshot_;
    const Pool* pool_; // of snapshot_
    ring::Stream stream_;
    smtp::ClientSession session_;
    Timer timer_;
    upstream::Lease lease_;
    SocketAddress address_;
    ExchangeId exchange_;
    std::uint32_t next_address_ = 0;
    std::uint32_t messages_ = 0;
    std::uint32_t rejections_ = 0;
    Duration expected_within_{0};
    State state_ = State::connecting;
    bool lease_held_ = false;
    bool is_counted_ = false; // against max_connections: until it is closed
    bool reused_ = false;
};

} // namespace ringmx::worker
