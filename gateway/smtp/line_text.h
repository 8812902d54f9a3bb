// Text from the network on a line of ours: which octets may stand there, and where it may be cut.
//
// Thread: any. Errors: none.
#pragma once

#include <cstddef>
#include <string_view>

namespace ringmx::smtp {

// No control but TAB.
[[nodiscard]] constexpr bool has_place_on_a_line(char octet) {
    const auto value = static_cast<unsigned char>(octet);
    return (value >= 0x20 && value != 0x7f) || octet == '\t';
}

// The beginning of `text`: no more than `room` octets, and no UTF-8 character cut in two.
[[nodiscard]] constexpr std::string_view cut_text(std::string_view text, std::size_t room) {
    if (text.size() <= room) {
        return text;
    }
    const auto continues = [&text](std::size_t at) {
        return (static_cast<unsigned char>(text[at]) & 0xC0U) == 0x80U;
    };
    std::size_t end = room;
    while (end > 0 && room - end < 3 && continues(end)) { // a character has four octets at most
        --end;
    }
    return text.substr(0, continues(end) ? room : end); // no UTF-8 at all: anywhere
}

} // namespace ringmx::smtp
