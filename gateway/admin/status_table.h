// The JSON of /api/status as a short table for people: what `ringmx status` prints.
//
// In:     the object that status.h makes, from this or another version of ringmx: keys that are
//         missing count as 0, unknown ones are ignored.
// Out:    lines with "\n"; text in it is escaped, so that a terminal shows it and does nothing
//         else.
// Thread: any.
// Errors: no value when it is no such object.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace ringmx::admin {

[[nodiscard]] std::optional<std::string> status_table(std::string_view json);

} // namespace ringmx::admin
