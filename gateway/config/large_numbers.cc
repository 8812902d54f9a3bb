#include "config/large_numbers.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdlib>

namespace ringmx::config {

namespace {

constexpr std::string_view blunt_text = "9e307";

template <typename T> bool is_held(std::string_view number) {
    T value{};
    return std::from_chars(number.data(), number.data() + number.size(), value).ec == std::errc{};
}

bool is_too_large(std::string_view number) {
    if (number.find_first_of(".eE") == std::string_view::npos) {
        return number.starts_with('-') ? !is_held<std::int64_t>(number)
                                       : !is_held<std::uint64_t>(number);
    }
    // Not from_chars, which calls a number that is too small out of range as well.
    return std::isinf(std::strtod(std::string(number).c_str(), nullptr));
}

} // namespace

std::string with_blunt_numbers(std::string_view json) {
    std::string out(json);
    bool is_string = false;
    for (std::size_t index = 0; index < json.size(); ++index) {
        const char c = json[index];
        if (c == '\\') {
            ++index; // only strings have one
        } else if (c == '"') {
            is_string = !is_string;
        } else if (!is_string && (c == '-' || (c >= '0' && c <= '9'))) {
            const std::size_t end =
                std::min(json.find_first_not_of("0123456789+-.eE", index), json.size());
            const std::string_view number = json.substr(index, end - index);
            if (is_too_large(number)) {
                std::string blunt = c == '-' ? "-" : "";
                blunt += blunt_text;
                blunt.resize(number.size(), ' '); // "1e309" is the shortest: it always fits
                out.replace(index, number.size(), blunt);
            }
            index = end - 1;
        }
    }
    return out;
}

} // namespace ringmx::config
