#include "smtp/reply.h"

#include "base/assert.h"
#include "base/plain_ascii.h"
#include "smtp/line_text.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace ringmx::smtp {
namespace {

constexpr std::size_t code_digits = 3;
// A code with its three digits, or a dotted one with at most 3 + 1 + 5 + 1 + 5 digits and dots.
using Digits = std::array<char, 24>;

char* append_number(char* at, std::uint16_t number) {
    return std::to_chars(at, at + 5, number).ptr; // of 16 bits: at most five digits
}

char* append_text(char* at, std::string_view text) { return std::ranges::copy(text, at).out; }

// What stands before the text on each line: "550-5.1.1 ", with a blank for the hyphen on the last.
struct Front {
    Digits octets;
    std::size_t size = 0;
};

Front front_of(const Reply& reply) {
    Front front; // NOLINT: what is used of it is set
    char* at = append_number(front.octets.data(), reply.code);
    *at++ = '-';
    if (reply.enhanced.class_digit != 0) {
        at = append_number(at, reply.enhanced.class_digit);
        *at++ = '.';
        at = append_number(at, reply.enhanced.subject);
        *at++ = '.';
        at = append_number(at, reply.enhanced.detail);
        *at++ = ' ';
    }
    front.size = static_cast<std::size_t>(at - front.octets.data());
    return front;
}

} // namespace

void append_reply(std::string& wire, const Reply& reply) {
    RINGMX_ASSERT_STATE(reply.code >= 200 && reply.code <= 599, "code %u", unsigned{reply.code});
    Front front = front_of(reply);
    std::string_view rest = reply.text;
    for (bool is_last = false; !is_last;) {
        const std::size_t end = rest.find('\n');
        is_last = end == std::string_view::npos;
        std::string_view line = rest.substr(0, end);
        if (is_last) {
            front.octets[code_digits] = ' ';
        } else {
            rest.remove_prefix(end + 1);
        }
        // RFC 5321, 4.2: no blank stands at the end when nothing follows it.
        const bool ends_with_blank = is_last || front.size > code_digits + 1;
        const std::size_t front_size = front.size - (line.empty() && ends_with_blank ? 1 : 0);
        line = cut_text(line, reply_line_bytes_max - 2 - front.size);
        std::array<char, reply_line_bytes_max> built; // NOLINT: what is used of it is set
        char* const text = append_text(built.data(), {front.octets.data(), front_size});
        char* const text_end = append_text(text, line);
        if (!is_plain_ascii(line)) {
            std::replace_if(
                text, text_end, [](char octet) { return !has_place_on_a_line(octet); }, '?');
        }
        wire.append(built.data(), append_text(text_end, "\r\n"));
    }
}

} // namespace ringmx::smtp
