// The config file: one JSON text to an immutable Settings, or every fault in it at once.
//
//   const config::Loaded loaded = config::load("ringmx.json");
//   if (!loaded.settings) { stderr << config::report("ringmx.json", loaded.faults); exit 2 }
//
// In:     a file as json_file.h takes it, keys as the interface page's section 3 has them. Relative paths inside are
//         relative to the file's folder.
// Out:    settings, or faults (never both), so that nobody runs what is faulty; warnings are for the operator and stop nothing.
// Thread: any, one call at a time each; reads the file and the recipients files, so it blocks on
//         the disk.
// Errors: faults; nothing throws for what a file may hold.
#pragma once

#include "base/settings/settings.h"
#include "config/cross_check.h"
#include "config/fault.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace ringmx::config {

struct Loaded {
    std::shared_ptr<const Settings> settings; // null when there are faults
    // With faults: what could be read, for those who look for more of them. Null: nothing could.
    std::shared_ptr<const Settings> readable;
    std::vector<Fault> faults;
    std::vector<std::string> warnings; // each one line, "POINTER: what"
};

[[nodiscard]] Loaded load(const std::filesystem::path& file);
// `folder` is where relative paths start; Files::are_left looks at no file at all.
[[nodiscard]] Loaded parse(std::string_view json, const std::filesystem::path& folder,
                           Files files = Files::are_read);

// The warning for when no route takes postmaster@HOSTNAME nor `postmaster` (RFC 5321, 4.5.1);
// whoever holds the table of routes asks it.
[[nodiscard]] std::string postmaster_warning(const Settings& settings);

// For settings with a listener that spools: where a route takes whoever is in a domain, not verified.
// `takes_domains`, by route, is what the table says of its entries, those of its file too.
[[nodiscard]] std::vector<std::string>
unknown_users_warnings(const Settings& settings, const std::vector<bool>& takes_domains);

enum class Purpose : std::uint8_t { check, serve };

// What the machine says to the settings. The default reads it from the process and the user
// database.
struct Machine {
    bool is_root = false;
    std::uint64_t descriptors_max = 0; // RLIMIT_NOFILE's hard limit
    std::function<bool(const std::string&)> has_user;

    [[nodiscard]] static Machine here();
};

// Too few descriptors for limits.connections (check only); a user that doesn't exist; root without
// `user`.
[[nodiscard]] std::vector<std::string> machine_warnings(const Settings& settings, Purpose purpose,
                                                        const Machine& machine = Machine::here());

} // namespace ringmx::config
