// The sections that say where mail goes: `routes` and `pools`.
//
// Which pool a route names is resolved in cross_check.h.
// Thread: one.
// Errors: into `faults` or the reader's own.
#pragma once

#include "base/settings/settings.h"
#include "config/object_reader.h"
#include "config/sources.h"

#include <cstddef>
#include <optional>
#include <string_view>

namespace ringmx::config {

inline constexpr std::size_t pool_name_bytes_max =
    255; // it stands in metrics, logs and the admin's pages

void read_routes(ObjectReader& root, Settings& settings, Sources& sources, Faults& faults);
// Leaves the pools in the order of their names.
void read_pools(ObjectReader& root, Settings& settings, Sources& sources, Faults& faults);

// HOST:PORT, [V6]:PORT or unix:/path; HOST may be a name. Only the address of the result is set.
[[nodiscard]] std::optional<BackendSettings> parse_backend_address(std::string_view text);

} // namespace ringmx::config
