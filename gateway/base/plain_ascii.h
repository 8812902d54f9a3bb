// Whether a text is printable ASCII and blanks only (0x20 to 0x7E), eight octets at a time: the usual
// case of what is looked at octet by octet otherwise.
//
// Cost:   about an instruction an octet.
// Thread: any. Errors: none.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace ringmx {

inline constexpr std::uint64_t each_octet = 0x0101010101010101; // times an octet: eight of it

// Tests on all of them at once. Each sets the high bit of an octet that fails it; borrows and carries
// into others come only from one that fails. `more`: of the eight as a word, tests of that kind.
template <typename More> [[nodiscard]] bool are_eight_plain(const char* octets, More more) {
    std::uint64_t word = 0;
    std::memcpy(&word, octets, sizeof word);
    // Above 0x7F, below 0x20, DEL.
    const std::uint64_t failed =
        word | (word - 0x20 * each_octet) | (word + each_octet) | more(word);
    return (failed & (0x80 * each_octet)) == 0;
}

[[nodiscard]] inline bool is_plain_ascii(std::string_view text) {
    constexpr auto nothing_more = [](std::uint64_t) { return std::uint64_t{0}; };
    if (text.size() < sizeof(std::uint64_t)) {
        return std::ranges::all_of(text, [](char octet) { return octet >= 0x20 && octet < 0x7F; });
    }
    const char* const last = text.data() + text.size() - sizeof(std::uint64_t);
    for (const char* at = text.data(); at < last; at += sizeof(std::uint64_t)) {
        if (!are_eight_plain(at, nothing_more)) {
            return false;
        }
    }
    return are_eight_plain(last, nothing_more); // some of them for the second time
}

} // namespace ringmx
