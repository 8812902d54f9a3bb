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

char digit(unsigned number) { return static_cast<char>('0' + number % 10); }

char* put_number(char* at, std::uint16_t number) {
    if (number < 10) { // nearly every one
        *at = digit(number);
        return at + 1;
    }
    return std::to_chars(at, at + 5, number).ptr; // of 16 bits: at most five digits
}

// What stands before the text on each line: "550-5.1.1 ". Gives its end.
char* put_front(char* at, const Reply& reply) {
    *at++ = digit(reply.code / 100U);
    *at++ = digit(reply.code / 10U);
    *at++ = digit(reply.code);
    *at++ = '-';
    if (reply.enhanced.class_digit != 0) {
        at = put_number(at, reply.enhanced.class_digit);
        *at++ = '.';
        at = put_number(at, reply.enhanced.subject);
        *at++ = '.';
        at = put_number(at, reply.enhanced.detail);
        *at++ = ' ';
    }
    return at;
}

} // namespace

void append_reply(std::string& wire, const Reply& reply) {
    RINGMX_ASSERT_STATE(reply.code >= 200 && reply.code <= 599, "code %u", unsigned{reply.code});
    std::array<char, reply_line_bytes_max> built; // NOLINT: what is used of it is set
    char* const front_end = put_front(built.data(), reply);
    const auto front_size = static_cast<std::size_t>(front_end - built.data());
    const bool is_plain = is_plain_ascii(reply.text); // so it is one line
    std::string_view rest = reply.text;
    for (bool is_last = false; !is_last;) {
        const std::size_t end = is_plain ? std::string_view::npos : rest.find('\n');
        is_last = end == std::string_view::npos;
        std::string_view line = rest.substr(0, end);
        if (!is_last) {
            rest.remove_prefix(end + 1);
        }
        front_end[-1] = ' '; // which an empty line before this one has not left
        built[code_digits] = is_last ? ' ' : '-';
        // RFC 5321, 4.2: no blank stands at the end when nothing follows it.
        char* const text = front_end - (line.empty() && front_end[-1] == ' ' ? 1 : 0);
        line = cut_text(line, reply_line_bytes_max - 2 - front_size);
        // Not std::ranges::copy, which libstdc++ 12 does octet by octet.
        char* text_end = std::copy(line.begin(), line.end(), text);
        if (!is_plain) {
            std::replace_if(
                text, text_end, [](char octet) { return !has_place_on_a_line(octet); }, '?');
        }
        *text_end++ = '\r';
        *text_end++ = '\n';
        wire.append(built.data(), text_end);
    }
}

} // namespace ringmx::smtp
