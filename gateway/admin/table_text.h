// What the tables for people take out of JSON: values as text, numbers with units, pages.
//
// Thread: any.
// Errors: a key that is missing or of another kind is empty, or 0.
#pragma once

#include "admin/list_page.h"
#include "base/escape.h"

#include <algorithm>
#include <cstdint>
#include <fmt/format.h>
#include <optional>
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

// "3d 4h", "12m 5s": the two largest units are enough.
[[nodiscard]] inline std::string elapsed_text(double seconds) {
    const auto whole = static_cast<std::uint64_t>(std::clamp(seconds, 0.0, 1e12));
    const std::uint64_t minutes = whole / 60;
    const std::uint64_t hours = minutes / 60;
    if (hours >= 24) {
        return fmt::format("{}d {}h", hours / 24, hours % 24);
    }
    if (hours > 0) {
        return fmt::format("{}h {}m", hours, minutes % 60);
    }
    return minutes > 0 ? fmt::format("{}m {}s", minutes, whole % 60) : fmt::format("{}s", whole);
}

[[nodiscard]] inline std::string or_dash(const std::string& text) {
    return text.empty() ? "-" : text;
}

// The objects under `key`, each with its line, and the cursor; no value when there is no such array.
template <typename LineOf>
[[nodiscard]] std::optional<ListPage> read_list_page(std::string_view json, std::string_view key,
                                                     LineOf line_of) {
    simdjson::dom::parser parser;
    simdjson::dom::element root;
    simdjson::dom::array entries;
    if (parser.parse(json.data(), json.size()).get(root) != simdjson::SUCCESS ||
        root[key].get(entries) != simdjson::SUCCESS) {
        return std::nullopt;
    }
    ListPage page;
    for (const simdjson::dom::element& entry : entries) {
        page.entries.push_back(simdjson::minify(entry));
        page.lines += line_of(entry);
    }
    std::string_view cursor;
    if (root["cursor"].get(cursor) == simdjson::SUCCESS) {
        page.cursor = cursor;
    }
    bool is_complete = true;
    page.is_complete = root["complete"].get(is_complete) != simdjson::SUCCESS || is_complete;
    return page;
}

// {"retried":12}
[[nodiscard]] inline std::optional<std::uint64_t> read_count(std::string_view json,
                                                             std::string_view key) {
    simdjson::dom::parser parser;
    simdjson::dom::element root;
    std::uint64_t count = 0;
    if (parser.parse(json.data(), json.size()).get(root) != simdjson::SUCCESS ||
        root[key].get(count) != simdjson::SUCCESS) {
        return std::nullopt;
    }
    return count;
}

} // namespace ringmx::admin
