// Where a text stops being JSON: simdjson says that it isn't, not where; this reads it again,
// slowly, for the line and column.
//
// In:     the whole text.
// Out:    the first place that breaks RFC 8259's grammar, or nullopt when none does. Columns count
//         characters, from 1.
// Bounds: O(input); nesting of json_depth_max, as simdjson's; no allocation but the message.
// Thread: any.
// Source: RFC 8259.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace ringmx::config {

inline constexpr std::size_t json_depth_max = 1024; // simdjson's default

struct JsonPlace {
    std::size_t line = 1;
    std::size_t column = 1;
    std::string text; // "found the end of the file, expected \"}\""

    bool operator==(const JsonPlace&) const = default;
};

[[nodiscard]] std::optional<JsonPlace> first_json_error(std::string_view json);

} // namespace ringmx::config
