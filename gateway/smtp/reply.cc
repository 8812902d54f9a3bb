#include "smtp/reply.h"

#include "base/assert.h"
#include "base/plain_ascii.h"
#include "smtp/line_text.h"

#include <algorithm>
#include <array>

namespace ringmx::smtp {
namespace {

// "550", or the dotted form of an enhanced code: at most 3 + 1 + 5 + 1 + 5 digits and dots.
using Digits = std::array<char, 24>;

// Codes, blanks and the line's end, beside the text.
constexpr std::size_t overhead_bytes = 4 + sizeof(Digits) + 1 + 2;

// Numbers here have 16 bits, so at most five digits.
char* append_number(char* at, std::uint16_t number) {
    unsigned unit = 1;
    while (number / unit >= 10) {
        unit *= 10;
    }
    for (; unit > 0; unit /= 10) {
        *at++ = static_cast<char>('0' + number / unit % 10);
    }
    return at;
}

std::string_view enhanced_text(const EnhancedCode& code, Digits& digits) {
    if (code.class_digit == 0) {
        return {};
    }
    char* at = append_number(digits.data(), code.class_digit);
    *at++ = '.';
    at = append_number(at, code.subject);
    *at++ = '.';
    at = append_number(at, code.detail);
    return {digits.data(), static_cast<std::size_t>(at - digits.data())};
}

} // namespace

void append_reply(std::string& wire, const Reply& reply) {
    RINGMX_ASSERT_STATE(reply.code >= 200 && reply.code <= 599, "code %u", unsigned{reply.code});
    Digits code_digits;
    append_number(code_digits.data(), reply.code);
    Digits enhanced_digits;
    const std::string_view enhanced = enhanced_text(reply.enhanced, enhanced_digits);

    std::string_view rest = reply.text;
    for (bool is_last = false; !is_last;) {
        const std::size_t end = rest.find('\n');
        is_last = end == std::string_view::npos;
        std::string_view line = rest.substr(0, end);
        if (!is_last) {
            rest.remove_prefix(end + 1);
        }
        wire.reserve(wire.size() + std::min(line.size(), reply_line_bytes_max) + overhead_bytes);
        const std::size_t line_start = wire.size();
        wire.append(code_digits.data(), 3);
        // RFC 5321, 4.2: no blank stands behind the code when nothing follows it.
        if (!is_last || !enhanced.empty() || !line.empty()) {
            wire += is_last ? ' ' : '-';
        }
        wire += enhanced;
        if (!enhanced.empty() && !line.empty()) {
            wire += ' ';
        }
        line = cut_text(line, reply_line_bytes_max - 2 - (wire.size() - line_start));
        const std::size_t text_start = wire.size();
        wire += line;
        if (!is_plain_ascii(line)) {
            std::replace_if(
                wire.begin() + static_cast<std::ptrdiff_t>(text_start), wire.end(),
                [](char octet) { return !has_place_on_a_line(octet); }, '?');
        }
        wire += "\r\n";
    }
}

} // namespace ringmx::smtp
