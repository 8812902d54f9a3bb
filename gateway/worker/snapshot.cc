#include "worker/snapshot.h"

#include <algorithm>

namespace ringmx::worker {
namespace {

Listener make_listener(const Settings& settings, const ListenerSettings& listener) {
    smtp::ServerSettings smtp;
    smtp.hostname = settings.hostname;
    smtp.message_size_bytes_max = settings.limits.message_size_bytes;
    smtp.recipients_max = settings.limits.recipients;
    smtp.errors_max = settings.limits.errors_per_connection;
    smtp.unknown_recipients_max = settings.limits.unknown_recipients_per_connection;
    smtp.received_fields_max = settings.limits.received_headers;
    Listener made;
    made.settings = listener;
    for (const bool smtputf8 : {false, true}) {
        for (const bool dsn : {false, true}) {
            smtp.offer_smtputf8 = smtputf8;
            smtp.offer_dsn = dsn;
            made.smtp[std::size_t{smtputf8}][std::size_t{dsn}] = smtp;
        }
    }
    return made;
}

using Known = BackendTraits::Known;

bool some_backend_may_have(const Snapshot& snapshot, std::atomic<Known> BackendTraits::* what) {
    return std::ranges::any_of(
        snapshot.pools, [what](const std::unique_ptr<Pool>& pool) { return pool->may_have(what); });
}

} // namespace

bool Pool::may_have(std::atomic<Known> BackendTraits::* what) const {
    return std::ranges::any_of(traits, [what](const std::shared_ptr<BackendTraits>& known) {
        return ((*known).*what).load(std::memory_order_relaxed) != Known::no;
    });
}

bool Pool::may_take(std::uint64_t message_bytes) const {
    return std::ranges::any_of(traits, [=](const std::shared_ptr<BackendTraits>& known) {
        const std::uint64_t bytes_max = known->size_bytes_max.load(std::memory_order_relaxed);
        return bytes_max == 0 || message_bytes <= bytes_max;
    });
}

const smtp::ServerSettings& Snapshot::smtp_settings(std::uint32_t listener_index) const {
    const bool smtputf8 = some_backend_may_have(*this, &BackendTraits::smtputf8);
    const bool dsn = some_backend_may_have(*this, &BackendTraits::dsn);
    return listeners[listener_index].smtp[std::size_t{smtputf8}][std::size_t{dsn}];
}

std::optional<std::uint32_t> Snapshot::pool_for(std::string_view mailbox, bool is_report,
                                                std::string& key) const {
    if (const auto target = routes->find_mailbox(mailbox, key)) {
        return target->pool_index;
    }
    const std::string& bounce_pool = settings->spool.bounce_pool;
    if (!is_report || bounce_pool.empty() || key.empty()) {
        return std::nullopt;
    }
    const auto found = std::ranges::find(settings->pools, bounce_pool, &PoolSettings::name) -
                       settings->pools.begin();
    return static_cast<std::uint32_t>(found);
}

bool Snapshot::takes_bare_newlines(const IpAddress& client) const {
    return settings->smtp.bare_newline == BareNewline::normalize ||
           is_in(settings->smtp.bare_newline_exempt, client);
}

std::vector<SocketAddress> LiteralAddresses::of(const BackendSettings& backend) {
    SocketAddress address;
    if (!backend.path.empty()) {
        address.is_unix = true;
        address.path = backend.path;
        return {address};
    }
    if (const auto ip = IpAddress::parse(backend.host)) {
        address.ip = *ip;
        address.port = backend.port;
        return {address};
    }
    return {};
}

std::shared_ptr<const Snapshot> build_snapshot(std::shared_ptr<const Settings> settings,
                                               std::shared_ptr<const policy::Routes> routes,
                                               Lasting& lasting, Addresses& addresses) {
    auto snapshot = std::make_shared<Snapshot>();
    lasting.counters.begin_config();
    for (const PoolSettings& pool_settings : settings->pools) {
        auto pool = std::make_unique<Pool>(pool_settings, lasting.states);
        pool->row = &lasting.counters.pool_row(pool_settings.name);
        for (const BackendSettings& backend : pool_settings.backends) {
            const auto& known = pool->addresses.emplace_back(addresses.of(backend));
            pool->upstream.states[pool->addresses.size() - 1]->set_resolved(!known.empty());
            observe::BackendRow& row = lasting.counters.row(pool_settings.name, backend.address);
            row.configured = true;
            pool->rows.push_back(&row);
            auto& traits = lasting.traits[{pool_settings.name, backend.address}];
            if (traits == nullptr) {
                traits = std::make_shared<BackendTraits>();
            }
            pool->traits.push_back(traits);
        }
        snapshot->pools.push_back(std::move(pool));
    }
    for (const ListenerSettings& listener : settings->listeners) {
        snapshot->listeners.push_back(make_listener(*settings, listener));
    }
    snapshot->limits = std::make_unique<policy::ClientLimits>(settings->limits, lasting.clients);
    snapshot->settings = std::move(settings);
    snapshot->routes = std::move(routes);
    return snapshot;
}

} // namespace ringmx::worker
