// The JSON of /api/queue for people: what `ringmx queue` prints.
//
// In:     what queue_json.h makes, from this or another version of ringmx: keys that are missing
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

[[nodiscard]] std::string queue_heading(); // above the lines of all pages
[[nodiscard]] std::optional<ListPage> read_queue_page(std::string_view json);
[[nodiscard]] std::optional<std::string> queue_entry_table(std::string_view json);
// Of the answer to a retry of all.
[[nodiscard]] std::optional<std::uint64_t> read_retried(std::string_view json);

} // namespace ringmx::admin
