// SMTP replies: one shape for those we give, those a backend gave us, and those we pass on.
//
// text: what stands after code and enhanced status code; lines are separated by '\n', without CR.
//       A view: it points to static text, or to memory whose owner says how long it lives
//       (OwnedReply owns it).
//
// Bounds: lines on the wire are cut to reply_line_bytes_max.
// Thread: any; plain values.
// Errors: none; a code outside of 200 to 599 is our own mistake and aborts.
// Source: RFC 5321, 4.2 (replies, multi-line replies); RFC 2034 and 3463 (enhanced status codes).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace ringmx::smtp {

// RFC 5321, 4.5.3.1.5: a reply line with its code and its CRLF.
inline constexpr std::size_t reply_line_bytes_max = 512;

// "5.1.1" of RFC 3463; class 0: the reply carries none (greeting, HELO, EHLO, 354).
struct EnhancedCode {
    std::uint8_t class_digit = 0;
    std::uint16_t subject = 0;
    std::uint16_t detail = 0;
    bool operator==(const EnhancedCode&) const = default;
};

struct Reply {
    std::uint16_t code = 0;
    EnhancedCode enhanced;
    std::string_view text;

    [[nodiscard]] constexpr unsigned severity() const { return code / 100U; } // 2, 3, 4 or 5
};

// The one reply to DATA that lets the content begin.
inline constexpr Reply start_data{354, {}, "End data with <CR><LF>.<CR><LF>"};

// A reply that owns its text.
struct OwnedReply {
    std::uint16_t code = 0;
    EnhancedCode enhanced;
    std::string text;

    OwnedReply() = default;
    explicit OwnedReply(const Reply& reply)
        : code(reply.code), enhanced(reply.enhanced), text(reply.text) {}
    [[nodiscard]] Reply view() const { return {code, enhanced, text}; }
};

// Appends the reply in wire form, every line with code and enhanced code: "550-5.1.1 a\r\n550 5.1.1
// b\r\n". Octets of the text that have no place on a reply line (controls; CR) become '?', lines
// over reply_line_bytes_max are cut.
void append_reply(std::string& wire, const Reply& reply);

} // namespace ringmx::smtp
