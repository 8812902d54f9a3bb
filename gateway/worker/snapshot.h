// Everything a worker takes from the configuration, compiled once by the main thread and never
// changed after.
//
// A reload, or a backend name that resolves to other addresses, makes a new Snapshot and sends it
// to every worker; transactions under way keep theirs. What must outlive reloads is shared by
// reference: health and connection counts (upstream::BackendState), what was learnt about backends
// (BackendTraits), counters (observe), per-client counters (policy::ClientCounters).
//
// Thread: built by main; then immutable (its shared parts are atomics); any.
// Errors: build() gives every fault at once.
#pragma once

#include "base/address.h"
#include "base/settings/settings.h"
#include "observe/counters.h"
#include "policy/client_limits.h"
#include "policy/routes.h"
#include "smtp/client_session.h"
#include "smtp/server_session.h"
#include "upstream/pool.h"

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ringmx::worker {

// What connections and probes have learnt about a backend. Written by whoever sees an EHLO reply,
// read by all: relaxed atomics.
struct BackendTraits {
    enum class Known : std::uint8_t { unknown, no, yes };
    std::atomic<Known> smtputf8{Known::unknown};
    std::atomic<Known> dsn{Known::unknown};
    std::atomic<std::uint64_t> size_bytes_max{0}; // 0: unknown, or none

    void learn(const smtp::Capabilities& offered) {
        smtputf8.store(offered.smtputf8 ? Known::yes : Known::no, std::memory_order_relaxed);
        dsn.store(offered.dsn ? Known::yes : Known::no, std::memory_order_relaxed);
        size_bytes_max.store(offered.size ? offered.size_bytes_max : 0, std::memory_order_relaxed);
    }
};

struct Pool {
    Pool(const PoolSettings& settings, upstream::BackendRegistry& registry)
        : upstream(settings, registry) {}

    upstream::Pool upstream;
    std::vector<std::vector<SocketAddress>>
        addresses; // of each backend; empty while its name has not resolved
    std::vector<observe::BackendRow*> rows;
    observe::PoolRow* row = nullptr;
    std::vector<std::shared_ptr<BackendTraits>> traits;

    [[nodiscard]] const PoolSettings& settings() const { return upstream.settings; }
    // Some backend of it; unknown counts as yes.
    [[nodiscard]] bool may_have(std::atomic<BackendTraits::Known> BackendTraits::* what) const;
    // The same of a message of that size.
    [[nodiscard]] bool may_take(std::uint64_t message_bytes) const;
};

struct Listener {
    ListenerSettings settings;
    // [SMTPUTF8][DSN]: whether each is offered.
    std::array<std::array<smtp::ServerSettings, 2>, 2> smtp;
};

struct Snapshot {
    std::shared_ptr<const Settings> settings;
    std::shared_ptr<const policy::Routes> routes;
    std::vector<std::unique_ptr<Pool>> pools; // as Settings::pools
    std::vector<Listener> listeners;          // as Settings::listeners
    std::unique_ptr<policy::ClientLimits> limits;

    // A listener's, with what some backend may have: what is not known yet counts as there.
    [[nodiscard]] const smtp::ServerSettings& smtp_settings(std::uint32_t listener_index) const;
    [[nodiscard]] bool takes_bare_newlines(const IpAddress& client) const;
    // The pool that mail for this mailbox goes to; `key` is as of Routes::find_mailbox(). For a
    // report that no route takes it is `spool.bounce_pool`.
    [[nodiscard]] std::optional<std::uint32_t> pool_for(std::string_view mailbox, bool is_report,
                                                        std::string& key) const;
};

// What outlives snapshots; main's.
struct Lasting {
    Lasting(std::size_t workers_count, std::uint32_t connections_max, std::uint64_t seed)
        : counters(workers_count), clients(connections_max, seed) {}

    upstream::BackendRegistry states;
    observe::BackendRegistry counters;
    policy::ClientCounters clients;
    std::map<std::pair<std::string, std::string>, std::shared_ptr<BackendTraits>> traits;
};

// The addresses of a backend as the resolver knows them now.
class Addresses {
  public:
    virtual ~Addresses() = default;
    [[nodiscard]] virtual std::vector<SocketAddress> of(const BackendSettings& backend) = 0;
};

// Addresses of backends that are given by IP address or path; names have none.
class LiteralAddresses final : public Addresses {
  public:
    [[nodiscard]] std::vector<SocketAddress> of(const BackendSettings& backend) override;
};

[[nodiscard]] std::shared_ptr<const Snapshot>
build_snapshot(std::shared_ptr<const Settings> settings,
               std::shared_ptr<const policy::Routes> routes, Lasting& lasting,
               Addresses& addresses);

} // namespace ringmx::worker
