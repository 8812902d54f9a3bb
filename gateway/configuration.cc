#include "configuration.h"

#include "config/config.h"

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

} // namespace

std::expected<Configuration, std::vector<config::Fault>>
read_configuration(const std::string& path, config::Purpose purpose) {
    config::Loaded loaded = config::load(path);
    if (loaded.settings == nullptr) {
        return std::unexpected(std::move(loaded.faults));
    }
    auto routes = policy::Routes::build(*loaded.settings);
    if (!routes) {
        std::vector<config::Fault> faults;
        for (const policy::RouteFault& fault : routes.error()) {
            faults.push_back({fault.where, fault.text()});
        }
        return std::unexpected(std::move(faults));
    }
    Configuration configuration{std::move(loaded.settings), nullptr, std::move(loaded.warnings)};
    if (!routes->takes_postmaster()) {
        configuration.warnings.push_back(config::postmaster_warning(*configuration.settings));
    }
    for (std::string& warning : config::machine_warnings(*configuration.settings, purpose)) {
        configuration.warnings.push_back(std::move(warning));
    }
    configuration.routes = std::make_shared<const policy::Routes>(std::move(*routes));
    return configuration;
}

std::vector<std::string> keep_until_restart(const Settings& running, Settings& settings) {
    std::vector<std::string> kept;
    if (!same_addresses(running.listeners, settings.listeners)) {
        kept.emplace_back("listeners");
        settings.listeners = running.listeners;
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
