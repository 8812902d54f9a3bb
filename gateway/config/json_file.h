// A JSON file read and parsed whole, or the one line that says why it can't be.
//
// In:     a file or a pipe of config_bytes_max octets at most; RFC 8259 JSON in UTF-8 (a byte order
//         mark is skipped).
// Out:    the root, valid as long as `parser` is and until it parses again; what stands in it is
//         for ObjectReader.
// Thread: any, one call at a time for each parser; blocks on the disk.
// Errors: text that names what was found (with line and column) and what was expected.
#pragma once

#include <simdjson.h>

#include <cstddef>
#include <expected>
#include <filesystem>
#include <string>
#include <string_view>

namespace ringmx::config {

// Millions of recipients belong into a recipients_file, which is read in one pass; this is held in
// memory several times.
inline constexpr std::size_t config_bytes_max = 64 * 1024 * 1024;

[[nodiscard]] std::expected<std::string, std::string> read_whole(const std::filesystem::path& file);
// `expected`: what an empty file should have held.
[[nodiscard]] std::expected<simdjson::dom::element, std::string>
parse_json(simdjson::dom::parser& parser, std::string_view json, std::string_view expected);

} // namespace ringmx::config
