// The config file as serve and check take it: settings, the compiled routes, and what the operator
// should know.
// Thread: main; reads files.
// Errors: every fault at once, for config::report().
#pragma once

#include "base/settings/settings.h"
#include "config/config.h"
#include "policy/routes.h"

#include <expected>
#include <memory>
#include <string>
#include <vector>

namespace ringmx {

struct Configuration {
    std::shared_ptr<const Settings> settings;
    std::shared_ptr<const policy::Routes> routes;
    std::vector<std::string> warnings; // each a line without its end
};

[[nodiscard]] std::expected<Configuration, std::vector<config::Fault>>
read_configuration(const std::string& path, config::Purpose purpose);

// Some listener acknowledges from the spool.
[[nodiscard]] bool spools(const Settings& settings);

// What a new configuration changes that takes effect at the next start only; empty: nothing.
// `settings` becomes what may be used now. `has_spool`: it was opened at the start.
[[nodiscard]] std::vector<std::string> keep_until_restart(const Settings& running,
                                                          Settings& settings, bool has_spool);

} // namespace ringmx
