#include "smtp/mailbox.h"

#include "base/address.h"
#include "base/ascii.h"

#include <algorithm>
#include <array>
#include <cstdint>

namespace ringmx::smtp {
namespace {

constexpr auto npos = std::string_view::npos;

constexpr std::uint8_t value_of(char octet) { return static_cast<std::uint8_t>(octet); }
// An object, as below: an algorithm that is given a function's address calls it for each octet.
constexpr auto is_high = [](char octet) { return value_of(octet) >= 0x80; };
constexpr bool is_digit(char octet) { return octet >= '0' && octet <= '9'; }
constexpr bool is_letter(char octet) {
    return (octet >= 'a' && octet <= 'z') || (octet >= 'A' && octet <= 'Z');
}
constexpr bool is_letter_or_digit(char octet) { return is_letter(octet) || is_digit(octet); }
constexpr bool is_printable(char octet) { return octet >= 0x20 && octet <= 0x7e; }

// By octet: may it stand in an atom (RFC 5322, 3.2.3, with RFC 6531's UTF-8), in a label, in a
// domain?
struct OctetKinds {
    std::array<bool, 256> atom{};
    std::array<bool, 256> label{};
    std::array<bool, 256> domain{};
};

constexpr OctetKinds make_octet_kinds() {
    OctetKinds kinds;
    for (std::size_t index = 0; index < 256; ++index) {
        const char octet = static_cast<char>(index);
        const bool is_common = is_letter_or_digit(octet) || is_high(octet);
        kinds.atom[index] =
            is_common || std::string_view("!#$%&'*+-/=?^_`{|}~").find(octet) != npos;
        kinds.label[index] = is_common || octet == '_' || octet == '-';
        kinds.domain[index] = kinds.label[index] || octet == '.';
    }
    return kinds;
}

constexpr OctetKinds octet_kinds = make_octet_kinds();

constexpr bool is_atom_octet(char octet) { return octet_kinds.atom[value_of(octet)]; }
constexpr auto is_label_octet = [](char octet) { return octet_kinds.label[value_of(octet)]; };
constexpr bool is_domain_octet(char octet) { return octet_kinds.domain[value_of(octet)]; }

// How many octets the dot-string at the start of the text has; 0: none.
std::size_t dot_string_bytes(std::string_view text) {
    std::size_t position = 0;
    for (;;) {
        const std::size_t atom_start = position;
        while (position < text.size() && is_atom_octet(text[position])) {
            ++position;
        }
        if (position == atom_start) {
            return 0;
        }
        if (position == text.size() || text[position] != '.') {
            return position;
        }
        ++position;
    }
}

// The same of a quoted string, quotes included.
std::size_t quoted_string_bytes(std::string_view text) {
    for (std::size_t position = 1; position < text.size(); ++position) {
        const char octet = text[position];
        if (octet == '"') {
            return position + 1;
        }
        if (octet == '\\') {
            ++position;
            if (position == text.size() || !is_printable(text[position])) {
                return 0;
            }
        } else if (!is_printable(octet) && !is_high(octet)) {
            return 0;
        }
    }
    return 0;
}

std::size_t local_part_bytes(std::string_view text) {
    const bool is_quoted = text.starts_with('"');
    return is_quoted ? quoted_string_bytes(text) : dot_string_bytes(text);
}

bool is_label(std::string_view label) {
    if (label.empty() || label.front() == '-' || label.back() == '-' ||
        !std::all_of(label.begin(), label.end(), is_label_octet)) {
        return false;
    }
    // A U-label's length is that of its A-label, which whoever looks it up makes.
    return label.size() <= label_bytes_max || std::any_of(label.begin(), label.end(), is_high);
}

bool is_v4_literal(std::string_view text) {
    for (int part = 0; part < 4; ++part) {
        const std::size_t end = part < 3 ? text.find('.') : text.size();
        if (end == npos || end == 0 || end > 3) {
            return false;
        }
        unsigned value = 0;
        for (const char octet : text.substr(0, end)) {
            if (!is_digit(octet)) {
                return false;
            }
            value = value * 10 + static_cast<unsigned>(octet - '0');
        }
        if (value > 255) {
            return false;
        }
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return text.empty();
}

// Standardized-tag ":" 1*dcontent
bool is_general_literal(std::string_view text) {
    const std::size_t colon = text.find(':');
    if (colon == npos || colon == 0 || colon + 1 == text.size()) {
        return false;
    }
    const std::string_view tag = text.substr(0, colon);
    const std::string_view content = text.substr(colon + 1);
    return is_letter_or_digit(tag.back()) &&
           std::all_of(tag.begin(), tag.end(),
                       [](char octet) { return is_letter_or_digit(octet) || octet == '-'; }) &&
           std::all_of(content.begin(), content.end(), [](char octet) {
               return octet > 0x20 && octet <= 0x7e && octet != '[' && octet != '\\' &&
                      octet != ']';
           });
}

// Where the domain or literal at the start of the text ends, by its looks only.
std::size_t domain_text_bytes(std::string_view text) {
    if (text.starts_with('[')) {
        const std::size_t end = text.find(']');
        return end == npos ? 0 : end + 1;
    }
    std::size_t bytes = 0;
    while (bytes < text.size() && is_domain_octet(text[bytes])) {
        ++bytes;
    }
    return bytes;
}

// "@a.example,@b.example:" at the start of the text; 0: none, npos: a broken one.
std::size_t source_route_bytes(std::string_view text) {
    std::size_t position = 0;
    while (position < text.size() && text[position] == '@') {
        const std::size_t bytes = domain_text_bytes(text.substr(position + 1));
        const std::string_view domain = text.substr(position + 1, bytes);
        position += 1 + bytes;
        if ((!is_mail_domain(domain) && !is_address_literal(domain)) || position == text.size()) {
            return npos;
        }
        const char separator = text[position++];
        if (separator == ':') {
            return position;
        }
        if (separator != ',' || position == text.size() || text[position] != '@') {
            return npos;
        }
    }
    return 0;
}

// How many octets the mailbox at the start of the text has; 0: none.
std::size_t mailbox_bytes(std::string_view text) {
    const std::size_t local_bytes = local_part_bytes(text);
    if (local_bytes == 0 || local_bytes == text.size() || text[local_bytes] != '@') {
        return 0;
    }
    const std::string_view behind = text.substr(local_bytes + 1);
    const std::string_view domain = behind.substr(0, domain_text_bytes(behind));
    const std::size_t bytes = local_bytes + 1 + domain.size();
    if ((!is_mail_domain(domain) && !is_address_literal(domain)) || bytes > mailbox_bytes_max) {
        return 0;
    }
    return bytes;
}

} // namespace

std::optional<Path> parse_path(std::string_view text, PathKind kind) {
    if (!text.starts_with('<')) {
        return std::nullopt;
    }
    const std::string_view inside = text.substr(1);
    if (inside.starts_with('>')) {
        Path null_path;
        null_path.text_bytes = 2;
        return kind == PathKind::reverse ? std::optional(null_path) : std::nullopt;
    }
    constexpr std::string_view postmaster = "postmaster";
    if (kind == PathKind::forward && inside.size() > postmaster.size() &&
        inside[postmaster.size()] == '>' &&
        equals_ignoring_case(inside.substr(0, postmaster.size()), postmaster)) {
        return Path{inside.substr(0, postmaster.size()), postmaster.size() + 2, true, false};
    }
    const std::size_t route_bytes = source_route_bytes(inside);
    if (route_bytes == npos) {
        return std::nullopt;
    }
    const std::string_view behind_route = inside.substr(route_bytes);
    const std::size_t bytes = mailbox_bytes(behind_route);
    if (bytes == 0 || bytes == behind_route.size() || behind_route[bytes] != '>') {
        return std::nullopt;
    }
    const std::string_view mailbox = behind_route.substr(0, bytes);
    // A route is dropped, but it was sent: without SMTPUTF8 it must be ASCII too.
    const std::string_view sent = inside.substr(0, route_bytes + bytes);
    return Path{mailbox, sent.size() + 2, false, !is_ascii(sent)};
}

bool is_mail_domain(std::string_view text) {
    if (text.empty() || text.size() > mail_domain_bytes_max) {
        return false;
    }
    for (;;) {
        const std::size_t dot = text.find('.');
        if (!is_label(text.substr(0, dot))) {
            return false;
        }
        if (dot == npos) {
            return true;
        }
        text.remove_prefix(dot + 1);
    }
}

bool is_address_literal(std::string_view text) {
    if (text.size() < 3 || text.size() > mail_domain_bytes_max || text.front() != '[' ||
        text.back() != ']') {
        return false;
    }
    const std::string_view inside = text.substr(1, text.size() - 2);
    constexpr std::string_view v6_tag = "ipv6:";
    if (equals_ignoring_case(inside.substr(0, v6_tag.size()), v6_tag)) {
        const std::string_view address = inside.substr(v6_tag.size());
        return address.find(':') != npos && IpAddress::parse(address).has_value();
    }
    return is_v4_literal(inside) || is_general_literal(inside);
}

bool is_utf8(std::string_view text) {
    for (std::size_t position = 0; position < text.size();) {
        const std::uint8_t lead = value_of(text[position]);
        if (lead < 0x80) {
            ++position;
            continue;
        }
        // RFC 3629, 4: the second octet's range depends on the first, which keeps out overlong
        // forms and surrogates.
        std::size_t count = 0;
        std::uint8_t second_min = 0x80;
        std::uint8_t second_max = 0xbf;
        if (lead >= 0xc2 && lead <= 0xdf) {
            count = 2;
        } else if (lead >= 0xe0 && lead <= 0xef) {
            count = 3;
            second_min = lead == 0xe0 ? 0xa0 : second_min;
            second_max = lead == 0xed ? 0x9f : second_max;
        } else if (lead >= 0xf0 && lead <= 0xf4) {
            count = 4;
            second_min = lead == 0xf0 ? 0x90 : second_min;
            second_max = lead == 0xf4 ? 0x8f : second_max;
        }
        if (count == 0 || text.size() - position < count) {
            return false;
        }
        for (std::size_t index = 1; index < count; ++index) {
            const std::uint8_t octet = value_of(text[position + index]);
            if (octet < (index == 1 ? second_min : 0x80) ||
                octet > (index == 1 ? second_max : 0xbf)) {
                return false;
            }
        }
        position += count;
    }
    return true;
}

bool equals_ignoring_case(std::string_view text, std::string_view lower) {
    return text.size() == lower.size() &&
           std::equal(text.begin(), text.end(), lower.begin(), [](char left, char right) {
               return (left >= 'A' && left <= 'Z' ? static_cast<char>(left + ('a' - 'A')) : left) ==
                      right;
           });
}

} // namespace ringmx::smtp
