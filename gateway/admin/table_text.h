// What the tables for people take out of JSON: values as text, numbers with units.
//
// Thread: any.
// Errors: a key that is missing or of another kind is empty, or 0.
#pragma once

#include "base/escape.h"

#include <cstdint>
#include <fmt/format.h>
#include <simdjson.h>
#include <string>
#include <string_view>

namespace ringmx::admin {

// Escaped, so that a terminal shows it and does nothing else.
[[nodiscard]] inline std::string text_at(const simdjson::dom::element& object,
                                         std::string_view key) {
    std::string_view value;
    std::string escaped;
    if (object[key].get(value) == simdjson::SUCCESS) {
        append_log_text(escaped, value);
    }
    return escaped;
}

[[nodiscard]] inline double number_at(const simdjson::dom::element& object, std::string_view key) {
    double value = 0;
    return object[key].get(value) == simdjson::SUCCESS ? value : 0;
}

[[nodiscard]] inline std::uint64_t count_at(const simdjson::dom::element& object,
                                            std::string_view key) {
    std::uint64_t value = 0;
    return object[key].get(value) == simdjson::SUCCESS ? value : 0;
}

[[nodiscard]] inline bool flag_at(const simdjson::dom::element& object, std::string_view key) {
    bool value = false;
    return object[key].get(value) == simdjson::SUCCESS && value;
}

// "4096 B", "12.5 KiB", "1.0 GiB"
[[nodiscard]] inline std::string size_text(double bytes) {
    static constexpr std::string_view units[] = {"KiB", "MiB", "GiB", "TiB"};
    if (bytes < 1024) {
        return fmt::format("{:.0f} B", bytes);
    }
    std::size_t unit = 0;
    for (bytes /= 1024; bytes >= 1024 && unit + 1 < std::size(units); bytes /= 1024) {
        ++unit;
    }
    return fmt::format("{:.1f} {}", bytes, units[unit]);
}

} // namespace ringmx::admin
