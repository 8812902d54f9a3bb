// What all threads know of one backend: open connections, who waits for one, and whether it is
// up.
//
// Health (CONTRACT, pools.*.health). Three causes, counted apart; up is while none has it out:
// - its name: it has no address until that has resolved for the first time;
// - probes: `failures` failed probes in a row take it out, `successes` good ones in a row bring
//   it back;
// - traffic: `failures` failed connections in a row take it out. After a wait (interval, then
//   doubled up to 5m, and up to a fifth less of what was doubled, so that not all who lost the
//   backend together come back together) one connection is tried: the trial. If it succeeds the backend is back, if
//   it fails the doubled wait begins. Probes don't shorten that. What counts as a failure is the
//   caller's judgement; what ringmx aborts itself is abandoned(). A success is a transaction's
//   first answer.
//
// Connections: try_begin() takes one of max_connections, end() gives it back and names a worker
//   that waits for one. A worker that is told `full` sets its flag by wait_for_connection() and
//   then asks try_begin() once more: so a connection given back in between is never missed. A
//   flag that end() or take_waiting() returns is cleared; who is named and has no use for it
//   passes it on.
//
// Layout: health is one 64-bit word, changed by compare-and-swap; no lock anywhere. States
//   outlive reloads, so no settings are kept in them: they come with each call.
// Bounds: workers_max workers; failures and successes up to 4,095.
// Thread: any.
// Errors: none.
#pragma once

#include "base/instant.h"
#include "base/settings/settings.h"

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace ringmx::upstream {

inline constexpr std::uint32_t workers_max = 1024;
inline constexpr Duration comeback_wait_max = 5min;

enum class Begin : std::uint8_t {
    ok,
    trial, // ok, and it is the one connection that decides whether the backend is back
    full,  // max_connections are open: wait
    down,  // out by probes or by traffic
};

// A set of workers that wait for something, one bit each.
class WorkerSet {
  public:
    void insert(std::uint32_t worker);
    bool erase(std::uint32_t worker); // whether it was in
    [[nodiscard]] bool empty() const { return count_.load() == 0; }
    [[nodiscard]] bool contains(std::uint32_t worker) const;
    [[nodiscard]] bool contains_another(std::uint32_t worker) const;
    // Takes one out, searching upward from `after` + 1 round to `after` itself.
    [[nodiscard]] std::optional<std::uint32_t> take(std::uint32_t after);

  private:
    // Sequentially consistent throughout: "set my flag, then look" against "give back, then look".
    std::array<std::atomic<std::uint64_t>, workers_max / 64> words_{};
    // Bits set; for moments one too few or too many (a bit changes first), so only 0 or not tells.
    std::atomic<std::int32_t> count_{0};
};

class alignas(64) BackendState {
  public:
    BackendState(std::uint32_t id, std::string pool, std::string address);

    // Small and dense, never used again in this process.
    [[nodiscard]] std::uint32_t id() const { return id_; }
    [[nodiscard]] const std::string& pool() const { return pool_; }
    [[nodiscard]] const std::string& address() const { return address_; }

    // Whether a connection may be begun or reused now (a due trial counts as usable).
    [[nodiscard]] bool usable(Instant now) const;
    // No cause has it out.
    [[nodiscard]] bool is_up() const;
    // For metrics and /readyz: up, or its wait is over and the next transaction tries it. A balancer
    // that sends nothing until it is told "ready" would else wait for ever.
    [[nodiscard]] bool is_offered(Instant now) const;

    // `ok` and `trial` hold a connection until end(). A trial must be settled by exactly one of
    // connection_succeeded, connection_failed, abandoned.
    [[nodiscard]] Begin try_begin(std::uint32_t max_connections, Instant now);
    // The same judgement for a connection that is open already: ok, trial or down.
    [[nodiscard]] Begin try_reuse(Instant now);
    void connection_succeeded(bool trial);
    void connection_failed(bool trial, const HealthSettings& settings, Instant now);
    void abandoned(bool trial); // closed by us before it could show anything
    // The connection is closed. Returns a worker that waits for one, `worker` (the caller) only
    // when nobody else does; its flag is cleared: wake it.
    [[nodiscard]] std::optional<std::uint32_t> end(std::uint32_t worker);
    void probe_result(bool ok, const HealthSettings& settings);
    // Whether there is an address to connect to.
    void set_resolved(bool resolved);
    [[nodiscard]] bool is_resolved() const;

    void wait_for_connection(std::uint32_t worker) { waiting_.insert(worker); }
    bool stop_waiting(std::uint32_t worker) { return waiting_.erase(worker); }
    [[nodiscard]] bool others_wait(std::uint32_t worker) const {
        return waiting_.contains_another(worker);
    }
    [[nodiscard]] std::optional<std::uint32_t> take_waiting(std::uint32_t worker) {
        return waiting_.take(worker);
    }
    // Workers that wait because a client has its share of the backend in use already.
    [[nodiscard]] WorkerSet& share_waiting() { return share_waiting_; }
    // Workers with idle connections, which one that waits may ask to close one.
    [[nodiscard]] WorkerSet& idle_holders() { return idle_holders_; }

    [[nodiscard]] std::uint32_t connections_open() const { return open_.load(); }
    // When a trial is due; nullopt unless traffic has it out. For status and tests.
    [[nodiscard]] std::optional<Instant> comeback_at() const;

  private:
    [[nodiscard]] bool take_trial(Instant now);

    alignas(64) std::atomic<std::uint64_t> health_{0};
    std::atomic<std::uint32_t> open_{0};
    alignas(64) WorkerSet waiting_;
    WorkerSet share_waiting_;
    WorkerSet idle_holders_;
    std::uint32_t id_;
    std::string pool_;
    std::string address_;
};

// Every backend's state by pool name and address, so that states survive reloads.
// Thread: main's only.
class BackendRegistry {
  public:
    [[nodiscard]] std::shared_ptr<BackendState> state_of(const std::string& pool,
                                                         const std::string& address);
    // Drops states that nobody else holds any more.
    void forget_unused();
    [[nodiscard]] std::size_t size() const { return states_.size(); }

  private:
    std::map<std::pair<std::string, std::string>, std::shared_ptr<BackendState>> states_;
    std::uint32_t next_id_ = 0;
};

} // namespace ringmx::upstream
