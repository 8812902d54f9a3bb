// ASCII: whether a text is, and its letters without regard to case (names of protocols and header
// fields).
//
// Thread: any. Errors: none.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace ringmx {

[[nodiscard]] constexpr char ascii_lower(char octet) {
    return octet >= 'A' && octet <= 'Z' ? static_cast<char>(octet - 'A' + 'a') : octet;
}

[[nodiscard]] constexpr bool equal_ignoring_case(std::string_view one, std::string_view other) {
    return std::ranges::equal(one, other, {}, ascii_lower, ascii_lower);
}

[[nodiscard]] inline bool is_ascii(std::string_view text) {
    std::uint64_t any = 0;
    for (; text.size() >= sizeof any; text.remove_prefix(sizeof any)) {
        std::uint64_t word = 0;
        std::memcpy(&word, text.data(), sizeof word);
        any |= word;
    }
    for (const char octet : text) {
        any |= static_cast<unsigned char>(octet);
    }
    return (any & 0x8080'8080'8080'8080) == 0;
}

} // namespace ringmx
