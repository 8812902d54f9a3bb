// Reads the config file's JSON into a Settings, section by section, in the order in which faults
// are told.
//
// What one value alone can tell is judged here (type, range, syntax, not built yet); what takes two
// of them is in cross_check.h, for which `sources` keeps where things stood.
//
//   schema      the root and the small sections
//   listening   listeners, TLS, local addresses
//   routing     routes and pools
//
// Thread: one.
// Errors: into `faults`; the Settings is of use only when none was added.
// Source: the interface page's section 3, key by key.
#pragma once

#include "base/settings/settings.h"
#include "config/fault.h"
#include "config/sources.h"

#include <simdjson.h>

#include <string>

namespace ringmx::config {

void read_settings(simdjson::dom::element root, Settings& settings, Sources& sources,
                   Faults& faults);

// The machine's own name; "localhost" when it has none that is a domain.
[[nodiscard]] std::string machine_name();

} // namespace ringmx::config
