// The JSON of /api/cache for people: what `ringmx cache` prints.
//
// In:     what cache_desk.h makes, from this or another version of ringmx: keys that are missing
//         count as empty, unknown ones are ignored.
// Out:    lines with "\n"; text in them is escaped, so that a terminal shows it and does nothing
//         else.
// Thread: any.
// Errors: no value when it is no such object.
#pragma once

#include "admin/list_page.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ringmx::admin {

[[nodiscard]] std::string cache_heading(); // above the lines of all pages
[[nodiscard]] std::optional<ListPage> read_cache_page(std::string_view json);
// Of the answer to a purge.
[[nodiscard]] std::optional<std::uint64_t> read_purged(std::string_view json);

} // namespace ringmx::admin
