// ASCII: whether a text is, and its letters without regard to case (names of protocols and header
// fields).
//
// Thread: any. Errors: none.
#pragma once

#include <algorithm>
#include <string_view>

namespace ringmx {

[[nodiscard]] constexpr char ascii_lower(char octet) {
    return octet >= 'A' && octet <= 'Z' ? static_cast<char>(octet - 'A' + 'a') : octet;
}

[[nodiscard]] constexpr bool equal_ignoring_case(std::string_view one, std::string_view other) {
    return std::ranges::equal(one, other, {}, ascii_lower, ascii_lower);
}

[[nodiscard]] constexpr bool is_ascii(std::string_view text) {
    return std::ranges::all_of(text,
                               [](char octet) { return static_cast<unsigned char>(octet) < 0x80; });
}

} // namespace ringmx
