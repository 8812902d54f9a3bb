#include "configuration.h"

#include <algorithm>

#include "config/config.h"
#include "spool_sizes.h"
#include "startup.h"

namespace ringmx {

namespace {

bool same_addresses(const std::vector<ListenerSettings>& one,
                    const std::vector<ListenerSettings>& other) {
    if (one.size() != other.size()) {
        return false;
    }
    for (std::size_t index = 0; index < one.size(); ++index) {
        if (one[index].address != other[index].address) {
            return false;
        }
    }
    return true;
}

// config/ tells what is wrong with single entries, and what the config itself has twice; only the
// table knows what recipients files have twice. Where config/ found nothing, a file has changed
// since, and everything is new.
void add_route_faults(const std::vector<policy::RouteFault>& found,
                      std::vector<config::Fault>& faults) {
    using Kind = policy::RouteFault::Kind;
    const bool all_are_new = faults.empty();
    for (const policy::RouteFault& fault : found) {
        const bool is_twin = fault.kind == Kind::duplicate || fault.kind == Kind::more_duplicates;
        const bool is_new =
            all_are_new || fault.kind == Kind::too_many_entries || (is_twin && fault.of_file);
        if (is_new && faults.size() < config::faults_kept_max) {
            faults.push_back({fault.pointer, fault.text()});
        }
    }
}

} // namespace

std::expected<Configuration, std::vector<config::Fault>>
read_configuration(const std::string& path, config::Purpose purpose) {
    config::Loaded loaded = config::load(path);
    const auto& readable = loaded.settings != nullptr ? loaded.settings : loaded.readable;
    if (readable == nullptr) {
        return std::unexpected(std::move(loaded.faults));
    }
    auto routes = policy::Routes::build(*readable);
    if (!routes) {
        add_route_faults(routes.error(), loaded.faults);
    }
    if (!loaded.faults.empty()) {
        return std::unexpected(std::move(loaded.faults));
    }
    Configuration configuration{std::move(loaded.settings), nullptr, std::move(loaded.warnings)};
    if (!routes->takes_postmaster()) {
        configuration.warnings.push_back(config::postmaster_warning(*configuration.settings));
    }
    for (std::string& warning : config::machine_warnings(*configuration.settings, purpose)) {
        configuration.warnings.push_back(std::move(warning));
    }
    if (spools(*configuration.settings)) {
        for (std::string& warning :
             config::unknown_users_warnings(*configuration.settings, routes->takes_domains())) {
            configuration.warnings.push_back(std::move(warning));
        }
        for (std::string& warning :
             spool_size_warnings(*configuration.settings, workers_count(*configuration.settings))) {
            configuration.warnings.push_back(std::move(warning));
        }
    }
    configuration.routes = std::make_shared<const policy::Routes>(std::move(*routes));
    return configuration;
}

bool spools(const Settings& settings) {
    return std::ranges::any_of(settings.listeners, [](const ListenerSettings& listener) {
        return listener.acknowledge != Acknowledge::backend;
    });
}

std::vector<std::string> keep_until_restart(const Settings& running, Settings& settings,
                                            bool has_spool) {
    std::vector<std::string> kept;
    if (!same_addresses(running.listeners, settings.listeners)) {
        kept.emplace_back("listeners");
        settings.listeners = running.listeners;
    }
    if (!has_spool && spools(settings)) { // it is opened at the start
        kept.emplace_back("listeners[].acknowledge");
        for (std::size_t index = 0; index < settings.listeners.size(); ++index) {
            settings.listeners[index].acknowledge = running.listeners[index].acknowledge;
        }
    }
    if (running.spool.directory != settings.spool.directory ||
        running.spool.max_size_bytes != settings.spool.max_size_bytes) {
        kept.emplace_back("spool.directory, spool.max_size");
        settings.spool.directory = running.spool.directory;
        settings.spool.max_size_bytes = running.spool.max_size_bytes;
    }
    if (running.workers != settings.workers) {
        kept.emplace_back("workers");
        settings.workers = running.workers;
    }
    if (running.user != settings.user) {
        kept.emplace_back("user");
        settings.user = running.user;
    }
    if (running.limits.memory_bytes != settings.limits.memory_bytes) {
        kept.emplace_back("limits.memory");
        settings.limits.memory_bytes = running.limits.memory_bytes;
    }
    if (running.admin.address != settings.admin.address ||
        running.admin.probe_address != settings.admin.probe_address) {
        kept.emplace_back("admin");
        settings.admin = running.admin;
    }
    return kept;
}

} // namespace ringmx
