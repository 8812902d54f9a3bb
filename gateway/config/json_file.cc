#include "config/json_file.h"

#include "config/json_place.h"
#include "config/large_numbers.h"

#include <fmt/format.h>

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>

namespace ringmx::config {

namespace {

constexpr std::string_view blanks = " \t\r\n";

std::string syntax_fault(const std::optional<JsonPlace>& place, simdjson::error_code code) {
    if (place) {
        return fmt::format("line {}, column {}: {}", place->line, place->column, place->text);
    }
    return fmt::format("can't be read as JSON: {}", simdjson::error_message(code));
}

} // namespace

// A pipe is welcome: the bound is on what is read, not on what stat says.
std::expected<std::string, std::string> read_whole(const std::filesystem::path& file) {
    const auto failed = [] {
        return std::unexpected(
            fmt::format("can't be read ({}), expected a readable JSON file", std::strerror(errno)));
    };
    const int descriptor = open(file.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) {
        return failed();
    }
    constexpr std::size_t step_bytes = 64 * 1024;
    std::string content;
    while (content.size() <= config_bytes_max) {
        const std::size_t held_bytes = content.size();
        content.resize(held_bytes + step_bytes);
        const ssize_t got = read(descriptor, content.data() + held_bytes, step_bytes);
        content.resize(held_bytes + (got > 0 ? static_cast<std::size_t>(got) : 0));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            const auto fault = failed();
            close(descriptor);
            return fault;
        }
        if (got == 0) {
            close(descriptor);
            return content;
        }
    }
    close(descriptor);
    return std::unexpected(fmt::format(
        "is over {} MiB, expected less (long lists of recipients belong in a recipients_file)",
        config_bytes_max >> 20U));
}

std::expected<simdjson::dom::element, std::string>
parse_json(simdjson::dom::parser& parser, std::string_view json, std::string_view expected) {
    constexpr std::string_view byte_order_mark = "\xef\xbb\xbf";
    if (json.starts_with(byte_order_mark)) {
        json.remove_prefix(byte_order_mark.size());
    }
    if (json.size() > config_bytes_max) {
        return std::unexpected("is too large, expected less");
    }
    if (json.find_first_not_of(blanks) == std::string_view::npos) {
        return std::unexpected(fmt::format("is empty, expected {}", expected));
    }
    simdjson::dom::element root;
    auto code = parser.parse(json.data(), json.size()).get(root);
    std::optional<JsonPlace> place;
    if (code != simdjson::SUCCESS) {
        place = first_json_error(json);
        if (!place) { // it is JSON, with a number that no type holds
            code = parser.parse(with_blunt_numbers(json)).get(root);
        }
    }
    if (code != simdjson::SUCCESS) {
        return std::unexpected(syntax_fault(place, code));
    }
    return root;
}

} // namespace ringmx::config
