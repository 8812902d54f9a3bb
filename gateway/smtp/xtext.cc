#include "smtp/xtext.h"

#include "base/ascii.h"
#include "smtp/mailbox.h"

#include <algorithm>
#include <cstdint>
#include <optional>

namespace ringmx::smtp {
namespace {

constexpr auto npos = std::string_view::npos;
constexpr std::size_t hex_point_digits_min = 2; // RFC 6533, 3: HEXPOINT
constexpr std::size_t hex_point_digits_max = 6;

// Upper case only.
std::optional<unsigned> hex_digit(char octet) {
    if (octet >= '0' && octet <= '9') {
        return static_cast<unsigned>(octet - '0');
    }
    if (octet >= 'A' && octet <= 'F') {
        return static_cast<unsigned>(octet - 'A' + 10);
    }
    return std::nullopt;
}

constexpr bool is_printable(std::uint32_t point) { return point >= 0x20 && point != 0x7f; }
constexpr bool is_graphic_ascii(char octet) { return octet > 0x20 && octet < 0x7f; }
constexpr bool is_high(char octet) { return static_cast<unsigned char>(octet) >= 0x80; }

// RFC 5321, 4.1.2.
bool is_atom(std::string_view text) {
    return !text.empty() && std::ranges::all_of(text, [](char octet) {
        return is_graphic_ascii(octet) &&
               std::string_view("()<>@,;:\\\"/[]?=.").find(octet) == npos;
    });
}

// The octet that "+2B" at the start of the text stands for.
std::optional<char> hex_octet(std::string_view text) {
    if (text.size() < 3) {
        return std::nullopt;
    }
    const auto high = hex_digit(text[1]);
    const auto low = hex_digit(text[2]);
    return high && low ? std::optional(static_cast<char>(*high * 16 + *low)) : std::nullopt;
}

bool is_xtext(std::string_view text) {
    for (std::size_t position = 0; position < text.size(); ++position) {
        if (!is_graphic_ascii(text[position]) || text[position] == '=') {
            return false;
        }
        if (text[position] == '+') {
            const auto octet = hex_octet(text.substr(position));
            if (!octet || is_high(*octet) || !is_printable(static_cast<unsigned char>(*octet))) {
                return false;
            }
            position += 2;
        }
    }
    return true;
}

// How long the "\x{FC}" at the start of the text is; 0: there is none of a printable character.
std::size_t hex_point_bytes(std::string_view text) {
    constexpr std::string_view begin = "\\x{";
    const std::size_t end = text.find('}');
    if (!text.starts_with(begin) || end == npos || end < begin.size() + hex_point_digits_min ||
        end > begin.size() + hex_point_digits_max) {
        return 0;
    }
    std::uint32_t point = 0;
    for (const char octet : text.substr(begin.size(), end - begin.size())) {
        const auto digit = hex_digit(octet);
        if (!digit) {
            return 0;
        }
        point = point * 16 + *digit;
    }
    const bool is_surrogate = point >= 0xd800 && point <= 0xdfff;
    return is_printable(point) && !is_surrogate && point <= 0x10ffff ? end + 1 : 0;
}

// RFC 6533, 3: utf-8-addr-xtext, or utf-8-addr-unitext where UTF-8 may stand.
bool is_utf8_address(std::string_view text, bool takes_utf8) {
    for (std::size_t position = 0; position < text.size(); ++position) {
        const char octet = text[position];
        if (octet == '\\') {
            const std::size_t bytes = hex_point_bytes(text.substr(position));
            if (bytes == 0) {
                return false;
            }
            position += bytes - 1;
        } else if (octet == '+' || octet == '=' ||
                   !(is_high(octet) ? takes_utf8 : is_graphic_ascii(octet))) {
            return false;
        }
    }
    return is_utf8(text);
}

// The code point at the start of valid UTF-8; the text becomes what follows it.
std::uint32_t take_point(std::string_view& text) {
    const auto lead = static_cast<unsigned char>(text.front());
    const std::size_t bytes = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    std::uint32_t point = bytes == 1 ? lead : lead & (0xffU >> (bytes + 1));
    for (const char octet : text.substr(1, bytes - 1)) {
        point = point << 6U | (static_cast<unsigned char>(octet) & 0x3fU);
    }
    text.remove_prefix(bytes);
    return point;
}

void append_hex_point(std::string& out, std::uint32_t point) {
    out += "\\x{";
    unsigned shift = 4; // at least two digits
    while (point >> shift >= 16) {
        shift += 4;
    }
    for (;; shift -= 4) {
        out += "0123456789ABCDEF"[point >> shift & 15U];
        if (shift == 0) {
            break;
        }
    }
    out += '}';
}

} // namespace

bool is_envelope_id(std::string_view value) {
    return !value.empty() && value.size() <= envelope_id_bytes_max && is_xtext(value);
}

bool is_original_recipient(std::string_view value, bool takes_utf8) {
    const std::size_t semicolon = value.find(';');
    if (value.size() > original_recipient_bytes_max || semicolon == npos ||
        semicolon + 1 == value.size() || !is_atom(value.substr(0, semicolon))) {
        return false;
    }
    const std::string_view address = value.substr(semicolon + 1);
    return equal_ignoring_case(value.substr(0, semicolon), "utf-8")
               ? is_utf8_address(address, takes_utf8)
               : is_xtext(address);
}

std::string decode_xtext(std::string_view xtext) {
    std::string text;
    for (std::size_t position = 0; position < xtext.size(); ++position) {
        const auto octet =
            xtext[position] == '+' ? hex_octet(xtext.substr(position)) : std::nullopt;
        text += octet.value_or(xtext[position]);
        position += octet ? 2 : 0;
    }
    return text;
}

std::string ascii_original_recipient(std::string_view value) {
    std::string text;
    while (!value.empty()) {
        if (!is_high(value.front())) {
            text += value.front();
            value.remove_prefix(1);
        } else {
            append_hex_point(text, take_point(value));
        }
    }
    return text;
}

} // namespace ringmx::smtp
