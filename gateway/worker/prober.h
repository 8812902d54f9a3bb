// Health probes of backends: every interval one connection to each, opened as traffic would.
//
//   due ─▶ connect (each address in turn) ─▶ greeting, EHLO or LHLO ─▶ told ─▶ QUIT ─▶ closed
//
// A probe fails when no address takes the connection within backend_connect, on a bad or late
// greeting or hello reply, and on a drop before them. One whose name has no address is not probed.
// Replies are awaited for backend_reply, but at most reply_wait_max: a mute backend must not look healthy for minutes.
// A good one also tells what the backend offers (BackendTraits).
//
// Bounds: probes_max at a time, one of each backend; the others wait for their turn.
// Thread: main's, on its own loop.
// Tokens: operations from probe_operations on.
// Errors: none but the results; a want of our own descriptors or memory tells nothing.
// Source: the contract's pools.*.health; RFC 5321, 3.1.
#pragma once

#include "base/slab.h"
#include "ring/stream.h"
#include "smtp/client_session.h"
#include "worker/snapshot.h"

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace ringmx::worker {

inline constexpr std::uint8_t probe_operations = 0x40;

class Prober {
  public:
    static constexpr std::uint32_t probes_max = 256;
    static constexpr Duration reply_wait_max = 30s;
    static constexpr Duration quit_wait = 2s;

    explicit Prober(ring::Loop& loop) : loop_(loop), probes_(probes_max) {}
    Prober(const Prober&) = delete;
    Prober& operator=(const Prober&) = delete;

    // Probes the backends of this snapshot from now on. Those that were probed before keep their
    // rhythm.
    void use(std::shared_ptr<const Snapshot> snapshot);
    void run_timers();
    [[nodiscard]] Instant next_deadline();
    // Whether the completion is a probe's. `octets`: what a receive brought.
    bool handle(const ring::Completion& completion, const Slice& octets);
    // No new probes; those under way end.
    void stop();
    [[nodiscard]] bool is_stopped() const { return probes_.used() == 0; }

  private:
    struct Target {
        const Pool* pool = nullptr; // of snapshot_
        std::size_t backend_index = 0;
        Instant due;
        bool is_probed = false; // a probe is under way
    };
    struct Probe {
        Probe(Handle self, std::uint32_t target_id, const Pool& pool, std::size_t backend_index,
              std::shared_ptr<const Snapshot> used);

        Handle handle;
        std::uint32_t target; // BackendState::id()
        std::shared_ptr<const Snapshot> snapshot;
        std::shared_ptr<upstream::BackendState> state;
        std::shared_ptr<BackendTraits> traits;
        HealthSettings health;
        std::vector<SocketAddress> addresses;
        ring::Stream stream;
        smtp::ClientSession session;
        Instant deadline = never;
        Instant connect_deadline = never;
        std::size_t next_address = 0;
        bool is_told = false;     // the result is settled; what follows is courtesy
        bool wants_retry = false; // once closed, the next address is tried
    };

    void begin(std::uint32_t id, Target& target);
    void connect_next(Probe& probe);
    void received(Probe& probe, Bytes octets);
    void attempt_failed(Probe& probe); // of one address
    void tell(Probe& probe, bool ok);
    void close(Probe& probe);
    void closed(Probe& probe);

    ring::Loop& loop_;
    std::shared_ptr<const Snapshot> snapshot_;
    std::map<std::uint32_t, Target> targets_; // by BackendState::id()
    std::uint32_t last_begun_ = 0;            // the target that was probed last
    Slab<Probe> probes_;
    bool is_stopping_ = false;
};

} // namespace ringmx::worker
