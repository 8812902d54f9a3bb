#include "config/routing.h"

#include "base/domain.h"
#include "base/route_file.h"

#include <algorithm>
#include <charconv>
#include <set>
#include <string>
#include <utility>

namespace ringmx::config {

namespace {

using simdjson::SUCCESS;
using simdjson::dom::element;
using simdjson::dom::object;

constexpr Choice<bool> verify_choices[] = {{"none", false}, {"backend", true}};
constexpr Choice<Protocol> protocol_choices[] = {{"smtp", Protocol::smtp},
                                                 {"lmtp", Protocol::lmtp}};
constexpr Choice<HashKey> hash_choices[] = {{"recipient", HashKey::recipient},
                                            {"recipient_domain", HashKey::recipient_domain},
                                            {"sender", HashKey::sender},
                                            {"client_address", HashKey::client_address},
                                            {"none", HashKey::none}};
constexpr Choice<Failover> failover_choices[] = {{"any", Failover::any}, {"none", Failover::none}};
constexpr Choice<BackendTls> backend_tls_choices[] = {{"opportunistic", BackendTls::opportunistic},
                                                      {"none", BackendTls::none},
                                                      {"required", BackendTls::required, false},
                                                      {"verify", BackendTls::verify, false}};
constexpr Choice<ClientInfo> client_info_choices[] = {{"none", ClientInfo::none},
                                                      {"xclient", ClientInfo::xclient, false},
                                                      {"xforward", ClientInfo::xforward, false},
                                                      {"proxy_v2", ClientInfo::proxy_v2, false}};

constexpr std::string_view expected_backend_address = "HOST:PORT, [V6]:PORT or unix:/path";
constexpr std::uint32_t weight_max = 65'535;
constexpr std::uint32_t backend_connections_max = 100'000;
constexpr std::uint32_t per_connection_max = 1'000'000;
constexpr std::uint32_t probes_max = 1000;

void read_recipients(ObjectReader& reader, RouteSettings& route, Faults& faults) {
    const auto elements = reader.array("recipients", "an array of recipients");
    if (!elements) {
        return;
    }
    RouteEntry entry;
    std::size_t index = 0;
    for (const element value : *elements) {
        std::string_view text;
        const bool is_entry = value.get(text) == SUCCESS && parse_route_entry(text, entry);
        route.recipients.emplace_back(is_entry ? text : ""); // each keeps its index
        if (!is_entry) {
            faults.add(pointer_to(reader.pointer("recipients"), index),
                       mismatch(value, "a domain, \"*.domain\", an address or \"*\""));
        }
        ++index;
    }
}

void read_route(ObjectReader& reader, Settings& settings, Sources& sources, Faults& faults) {
    constexpr std::string_view expected_pool = "a pool's name";
    RouteSettings route;
    RouteSource source;
    read_recipients(reader, route, faults);
    if (const auto text = reader.text("recipients_file", "a file's path")) {
        source.recipients_file = *text;
        reader.file("recipients_file", route.recipients_file, sources.folder);
    }
    static_cast<void>(reader.required("pool", expected_pool));
    if (const auto text = reader.text("pool", expected_pool)) {
        source.pool = *text;
    }
    reader.choice("verify", route.verify_backend, verify_choices);
    reader.finish();
    settings.routes.push_back(std::move(route));
    sources.routes.push_back(std::move(source));
}

void read_backends(ObjectReader& pool_reader, PoolSettings& pool, Faults& faults) {
    const auto elements = pool_reader.array("backends", "an array of backends");
    if (!elements) {
        return;
    }
    // The same backend twice would take twice the connections, and its keys would never move.
    std::set<std::string> seen;
    std::size_t index = 0;
    for (const element value : *elements) {
        ObjectReader reader(faults, pointer_to(pool_reader.pointer("backends"), index), value);
        BackendSettings backend;
        static_cast<void>(reader.required("address", expected_backend_address));
        if (const auto text = reader.text("address", expected_backend_address)) {
            auto parsed = parse_backend_address(*text);
            if (!parsed) {
                reader.fault("address", "found " + echoed(*text) + ", expected " +
                                            std::string(expected_backend_address));
            } else if (!seen.insert(parsed->host + ":" + std::to_string(parsed->port) +
                                    parsed->path)
                            .second) {
                reader.fault("address", "found " + echoed(*text) +
                                            " again, expected each backend once in a pool");
            }
            backend = std::move(parsed).value_or(BackendSettings{});
        }
        reader.integer<std::uint32_t>("weight", backend.weight, 0, weight_max);
        reader.finish();
        pool.backends.push_back(std::move(backend));
        ++index;
    }
}

void read_health(ObjectReader& pool_reader, HealthSettings& health, Faults& faults) {
    const auto value = pool_reader.member("health");
    if (!value) {
        return;
    }
    ObjectReader reader(faults, pool_reader.pointer("health"), *value);
    reader.duration("interval", health.interval);
    reader.integer<std::uint32_t>("failures", health.failures, 1, probes_max);
    reader.integer<std::uint32_t>("successes", health.successes, 1, probes_max);
    reader.finish();
}

PoolSettings read_pool(std::string_view name, element value, const Sources& sources,
                       Faults& faults) {
    PoolSettings pool;
    pool.name = name;
    ObjectReader reader(faults, pointer_to("/pools", name), value);
    reader.choice("protocol", pool.protocol, protocol_choices);
    reader.choice("hash", pool.hash, hash_choices);
    reader.choice("failover", pool.failover, failover_choices);
    reader.boolean("hold", pool.hold);
    read_backends(reader, pool, faults);
    reader.choice("tls", pool.tls, backend_tls_choices);
    reader.file("ca_file", pool.ca_file, sources.folder);
    reader.integer<std::uint32_t>("max_connections", pool.max_connections, 1,
                                  backend_connections_max);
    reader.integer<std::uint32_t>("messages_per_connection", pool.messages_per_connection, 1,
                                  per_connection_max);
    reader.integer<std::uint32_t>("rejections_per_connection", pool.rejections_per_connection, 1,
                                  per_connection_max);
    reader.duration("idle_timeout", pool.idle_timeout, Zero::is_off);
    read_health(reader, pool.health, faults);
    reader.choice("client_info", pool.client_info, client_info_choices);
    reader.finish();
    return pool;
}

bool is_pool_name(std::string_view name) {
    return !name.empty() && name.size() <= pool_name_bytes_max &&
           std::none_of(name.begin(), name.end(),
                        [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

// A name or an IPv4 address. What looks like a number at its end but is no address is a slip, not a
// name.
bool is_backend_host(std::string_view host) {
    if (IpAddress::parse(host)) {
        return host.find(':') == std::string_view::npos;
    }
    const std::string_view last_label = host.substr(host.rfind('.') + 1); // npos + 1 is 0
    const bool is_number = std::all_of(last_label.begin(), last_label.end(),
                                       [](char c) { return c >= '0' && c <= '9'; });
    return !is_number && !host.starts_with('[') && canonical_domain(host).has_value();
}

} // namespace

void read_routes(ObjectReader& root, Settings& settings, Sources& sources, Faults& faults) {
    static_cast<void>(root.required("routes", "an array of routes"));
    const auto elements = root.array("routes", "an array of routes");
    if (!elements) {
        return;
    }
    std::size_t index = 0;
    for (const element value : *elements) {
        ObjectReader reader(faults, pointer_to(root.pointer("routes"), index), value);
        read_route(reader, settings, sources, faults);
        ++index;
    }
}

void read_pools(ObjectReader& root, Settings& settings, Sources& sources, Faults& faults) {
    constexpr std::string_view expected = "an object of pools by name";
    const auto found = root.required("pools", expected);
    if (!found) {
        return;
    }
    object pools;
    if (found->get(pools) != SUCCESS) {
        root.fault("pools", mismatch(*found, expected));
        return;
    }
    sources.pools_are_read = true;
    std::set<std::string_view> seen;
    for (const auto& [name, value] : pools) {
        if (!seen.insert(name).second) {
            faults.add(pointer_to("/pools", name), "comes twice, expected once");
            continue;
        }
        if (!is_pool_name(name)) {
            faults.add(pointer_to("/pools", name),
                       "is no pool's name, expected 1 to 255 octets without control characters");
        }
        settings.pools.push_back(read_pool(name, value, sources, faults));
    }
    std::sort(settings.pools.begin(), settings.pools.end(),
              [](const PoolSettings& a, const PoolSettings& b) { return a.name < b.name; });
}

std::optional<BackendSettings> parse_backend_address(std::string_view text) {
    BackendSettings backend;
    backend.address = text;
    if (const auto numeric = SocketAddress::parse(text)) {
        backend.host = numeric->is_unix ? std::string() : numeric->ip.text();
        backend.port = numeric->port;
        backend.path = numeric->path;
        return numeric->is_unix || numeric->port != 0 ? std::optional(backend) : std::nullopt;
    }
    const std::size_t colon = text.rfind(':');
    if (colon == std::string_view::npos || !is_backend_host(text.substr(0, colon))) {
        return std::nullopt;
    }
    const std::string_view digits = text.substr(colon + 1);
    const auto [end, status] =
        std::from_chars(digits.data(), digits.data() + digits.size(), backend.port);
    if (status != std::errc{} || end != digits.data() + digits.size() || digits.front() == '0') {
        return std::nullopt;
    }
    backend.host = *canonical_domain(text.substr(0, colon));
    return backend;
}

} // namespace ringmx::config
