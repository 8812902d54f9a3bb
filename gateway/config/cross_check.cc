#include "config/cross_check.h"

#include "base/route_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <set>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace ringmx::config {

namespace {

constexpr std::size_t pools_listed_max = 10; // more would hide the line's beginning

std::optional<std::uint32_t> pool_index(const Settings& settings, std::string_view name) {
    for (std::size_t index = 0; index < settings.pools.size(); ++index) {
        if (settings.pools[index].name == name) {
            return static_cast<std::uint32_t>(index);
        }
    }
    return std::nullopt;
}

std::string no_such_pool(const Settings& settings, std::string_view name) {
    std::vector<std::string_view> names;
    names.reserve(settings.pools.size());
    for (const PoolSettings& pool : settings.pools) {
        names.push_back(pool.name);
    }
    const std::string found = fmt::format("found {}, which is no pool", echoed(name));
    if (const std::string_view meant = nearest(name, names); !meant.empty()) {
        return fmt::format("{}, did you mean {}?", found, echoed(meant));
    }
    if (names.empty() || names.size() > pools_listed_max) {
        return found + ", expected a name under /pools";
    }
    return fmt::format("{}, expected {}", found, listed(names));
}

void check_pool_names(Settings& settings, const Sources& sources, Faults& faults) {
    if (!sources.pools_are_read) {
        return;
    }
    for (std::size_t index = 0; index < settings.routes.size(); ++index) {
        const auto& name = sources.routes[index].pool;
        if (!name) {
            continue;
        }
        if (const auto found = pool_index(settings, *name)) {
            settings.routes[index].pool_index = *found;
        } else {
            faults.add(fmt::format("/routes/{}/pool", index), no_such_pool(settings, *name));
        }
    }
    const std::string& bounce_pool = settings.spool.bounce_pool;
    if (!bounce_pool.empty() && !pool_index(settings, bounce_pool)) {
        faults.add("/spool/bounce_pool", no_such_pool(settings, bounce_pool));
    }
}

// The same entry twice in one route means the same; in two routes nobody can say which one is
// meant.
void check_recipients(const Settings& settings, Faults& faults) {
    struct Place {
        std::size_t route;
        std::string pointer;
    };
    std::unordered_map<std::string, Place> seen;
    RouteEntry entry;
    for (std::size_t route = 0; route < settings.routes.size(); ++route) {
        const auto& recipients = settings.routes[route].recipients;
        for (std::size_t index = 0; index < recipients.size(); ++index) {
            if (!parse_route_entry(recipients[index], entry)) {
                continue; // told already
            }
            std::string pointer = fmt::format("/routes/{}/recipients/{}", route, index);
            const std::string key = fmt::format("{} {}", static_cast<int>(entry.kind), entry.key);
            const auto [first, is_new] = seen.try_emplace(key, Place{route, pointer});
            if (!is_new && first->second.route != route) {
                faults.add(
                    std::move(pointer),
                    fmt::format("found {}, which is {} too, expected each entry in one route",
                                echoed(recipients[index]), first->second.pointer));
            }
        }
    }
}

void check_recipients_file(const std::string& path, const std::string& written,
                           const std::string& pointer, Faults& faults) {
    std::size_t fault_count = 0;
    RouteEntry entry;
    const auto read = for_each_route_line(path, [&](const RouteLine& line) {
        if (!line.too_long && parse_route_entry(line.text, entry)) {
            return true;
        }
        if (++fault_count > route_file_faults_max) {
            faults.add(pointer, fmt::format("{} has more such lines: only the first {} are shown",
                                            echoed(written), route_file_faults_max));
            return false;
        }
        const std::string found =
            line.too_long ? fmt::format("over {} octets", route_line_bytes_max) : echoed(line.text);
        faults.add(pointer, fmt::format("{} line {}: found {}, expected a domain, \"*.domain\", an "
                                        "address or \"*\"",
                                        echoed(written), line.number, found));
        return true;
    });
    if (!read) {
        const Error& error = read.error();
        faults.add(pointer,
                   fmt::format("found {}, which can't be read ({}: {}), expected a readable file",
                               echoed(written), error.operation, std::strerror(error.code)));
    }
}

// The addresses that are claimed so far. IPv6 sockets take no IPv4, so that a wildcard takes in the
// addresses of its own family only.
class Claims {
  public:
    explicit Claims(Faults& faults) : faults_(faults) {}

    void claim(const SocketAddress& address, const std::string& pointer) {
        if (address.port == 0) {
            return; // it was faulty, and told
        }
        const auto [twin, is_new] = bound_.try_emplace(address.text(), pointer);
        if (!is_new) {
            faults_.add(pointer,
                        fmt::format("found {}, which is {} too, expected an address of its own",
                                    echoed(address.text()), twin->second));
            return;
        }
        Port& port = ports_[{address.ip.is_v4(), address.port}];
        const bool is_wildcard = address.ip == IpAddress{} || address.ip == IpAddress::v4(0);
        const std::string& other = is_wildcard ? port.specific : port.wildcard;
        if (!other.empty()) {
            faults_.add(pointer,
                        fmt::format("found {}, which clashes with {} ({} takes in every address of "
                                    "its port), expected a port of its own",
                                    echoed(address.text()), other, is_wildcard ? "it" : "that"));
        }
        (is_wildcard ? port.wildcard : port.specific) = pointer;
    }

  private:
    struct Port {
        std::string specific; // pointers; of several the last one will do
        std::string wildcard;
    };
    Faults& faults_;
    std::map<std::string, std::string> bound_; // address to the pointer that asks for it
    std::map<std::pair<bool, std::uint16_t>, Port> ports_;
};

void check_addresses(const Settings& settings, const Sources& sources, Faults& faults) {
    Claims claims(faults);
    for (std::size_t index = 0; index < settings.listeners.size(); ++index) {
        const bool is_default = sources.listener_indices.empty();
        claims.claim(settings.listeners[index].address,
                     is_default
                         ? "/listeners"
                         : fmt::format("/listeners/{}/address", sources.listener_indices[index]));
    }
    claims.claim(settings.admin.address, "/admin/address");
    if (settings.admin.probe_address) {
        claims.claim(*settings.admin.probe_address, "/admin/probe_address");
    }
}

bool has_backend_listener(const Settings& settings) {
    return std::any_of(
        settings.listeners.begin(), settings.listeners.end(),
        [](const auto& listener) { return listener.acknowledge == Acknowledge::backend; });
}

void warn_of_backend_mode(const Settings& settings, const Sources& sources,
                          std::vector<std::string>& warnings) {
    if (!has_backend_listener(settings)) {
        return;
    }
    std::set<std::uint32_t> reachable;
    for (const RouteSettings& route : settings.routes) {
        reachable.insert(route.pool_index);
    }
    for (const std::uint32_t index : reachable) {
        if (settings.pools[index].protocol == Protocol::lmtp) {
            warnings.push_back(
                fmt::format("{}: a \"backend\" listener reaches this LMTP pool: it takes one "
                            "recipient a message "
                            "from there, the others get 452 4.5.3 and are sent again",
                            pointer_to("/pools", settings.pools[index].name)));
        }
    }
    if (reachable.size() > 1) {
        warnings.push_back(fmt::format("/routes: a \"backend\" listener reaches {} pools: a "
                                       "message goes to one, recipients of "
                                       "another pool get 452 4.5.3 and are sent again",
                                       reachable.size()));
    }
    const TimeoutSettings& timeouts = settings.timeouts;
    const Duration longest = timeouts.end_of_data_wait(Acknowledge::backend);
    if (sources.end_of_data_is_given && timeouts.backend_end_of_data > longest) {
        warnings.push_back(
            "/timeouts/backend_end_of_data: for a \"backend\" listener it is at most "
            "\"8m\", so that the client is answered before its own 10 minutes");
    }
}

// Whom a spool listener takes on a domain's word alone, it may have to hold or to report later.
void warn_of_retries(const Settings& settings, std::vector<std::string>& warnings) {
    const RetrySettings& retry = settings.spool.retry;
    if (retry.initial > retry.maximum) {
        warnings.emplace_back("/spool/retry/initial: above maximum, which counts");
    }
    if (retry.expire < std::min(retry.initial, retry.maximum)) {
        warnings.emplace_back("/spool/retry/expire: before the first retry is due: mail that a "
                              "backend puts off is tried once more, when it expires");
    }
}

// What differs from its default is asked for, and must not be passed over in silence.
void warn_of_what_is_not_built(const Settings& settings, const Sources& sources,
                               std::vector<std::string>& warnings) {
    const auto warn = [&](bool is_asked_for, std::string_view pointer, std::string_view what) {
        if (is_asked_for) {
            warnings.push_back(
                fmt::format("{}: has no effect yet: {} is not built", pointer, what));
        }
    };
    for (std::size_t index = 0; index < settings.listeners.size(); ++index) {
        warn(settings.listeners[index].handoff != ListenerSettings{}.handoff,
             fmt::format("/listeners/{}/handoff", sources.listener_indices[index]),
             "\"backend_or_spool\"");
    }
    warn(settings.tls.minimum_version != TlsSettings{}.minimum_version, "/tls/minimum_version",
         "TLS");
    warn(!settings.tls.ciphers.empty(), "/tls/ciphers", "TLS");
    for (const PoolSettings& pool : settings.pools) {
        warn(!pool.ca_file.empty(), pointer_to(pointer_to("/pools", pool.name), "ca_file"),
             "TLS to backends");
    }
}

} // namespace

void cross_check(Settings& settings, const Sources& sources, Files files, Faults& faults) {
    check_pool_names(settings, sources, faults);
    check_recipients(settings, faults);
    check_addresses(settings, sources, faults);
    if (files == Files::are_left) {
        return;
    }
    for (std::size_t index = 0; index < settings.routes.size(); ++index) {
        const std::string& path = settings.routes[index].recipients_file;
        if (!path.empty()) {
            check_recipients_file(path, sources.routes[index].recipients_file,
                                  fmt::format("/routes/{}/recipients_file", index), faults);
        }
    }
}

std::vector<std::string> settings_warnings(const Settings& settings, const Sources& sources) {
    std::vector<std::string> warnings;
    for (std::size_t index = 0; index < settings.listeners.size(); ++index) {
        const auto& proxy = settings.listeners[index].proxy_protocol;
        if (proxy && proxy->trusted.empty()) {
            warnings.push_back(fmt::format("/listeners/{}/proxy_protocol/trusted: no network is "
                                           "trusted, so every peer is refused",
                                           sources.listener_indices[index]));
        }
    }
    for (std::size_t index = 0; index < settings.routes.size(); ++index) {
        const RouteSettings& route = settings.routes[index];
        if (route.recipients.empty() && route.recipients_file.empty()) {
            warnings.push_back(fmt::format(
                "/routes/{}: neither recipients nor recipients_file, so it takes nothing", index));
        }
    }
    for (const PoolSettings& pool : settings.pools) {
        const std::string pointer = pointer_to(pointer_to("/pools", pool.name), "backends");
        const bool is_drained =
            std::all_of(pool.backends.begin(), pool.backends.end(),
                        [](const BackendSettings& backend) { return backend.weight == 0; });
        if (pool.backends.empty()) {
            warnings.push_back(pointer + ": the pool has no backend, so it takes no mail");
        } else if (is_drained) {
            warnings.push_back(pointer + ": every weight is 0, so the pool takes no mail");
        }
    }
    warn_of_retries(settings, warnings);
    warn_of_backend_mode(settings, sources, warnings);
    warn_of_what_is_not_built(settings, sources, warnings);
    return warnings;
}

} // namespace ringmx::config
