// What takes more than one value of the config file to judge: names that must exist, things that
// must not come twice.
//
// Runs on a Settings whose values were read one by one; also resolves each route's pool name to its
// index. Entries of recipients files are checked for their syntax only: whether they repeat one
// another is for the table that is built of them, which holds them all anyway.
// Thread: one; reads files when told to.
// Errors: into `faults`.
#pragma once

#include "base/settings/settings.h"
#include "config/fault.h"
#include "config/sources.h"

#include <cstdint>
#include <string>
#include <vector>

namespace ringmx::config {

enum class Files : std::uint8_t { are_read, are_left };

void cross_check(Settings& settings, const Sources& sources, Files files, Faults& faults);

// What an operator should know although it is no fault.
[[nodiscard]] std::vector<std::string> settings_warnings(const Settings& settings,
                                                         const Sources& sources);

} // namespace ringmx::config
