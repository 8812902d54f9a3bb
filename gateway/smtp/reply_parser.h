// Reads SMTP replies off a connection, sans I/O: octets in, one whole reply at a time out.
//
// In:   consecutive spans of the wire, split anywhere, even inside CR LF.
// Out:  each whole reply, multi-line ones joined, and how many octets of the span it took. Lines
//       end with CRLF or, as some servers do, with a bare LF. "code SP text", "code - text" and a
//       bare code are lines; anything else is not SMTP. A code's first digit is 2 to 5. All lines
//       of a reply have one code. An enhanced status code of the reply's own class is taken off
//       every line; the first one counts.
// Kept: the text's octets as they came, 8-bit and controls too: whoever shows or passes them on
//       escapes them.
//
// Bounds: line_bytes_max per line with its end, reply_bytes_max per reply; past them, as on
//         anything that is no reply: `malformed`, for good.
// Cost:   O(input) whatever the split; one copy of the text; allocates only while its text buffer
//         grows.
// Thread: one.
// Errors: `malformed` only.
// Source: RFC 5321, 4.2 and 4.2.1; RFC 2034, 4; RFC 3463, 2.
#pragma once

#include "base/bytes.h"
#include "smtp/reply.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace ringmx::smtp {

class ReplyParser {
  public:
    static constexpr std::size_t line_bytes_max =
        2048; // RFC 5321, 4.5.3.1.5 asks for 512; servers that write URLs pass it
    static constexpr std::size_t reply_bytes_max = 16 * 1024; // a long EHLO reply has about 1 KiB
    static_assert(reply_bytes_max >= line_bytes_max);

    enum class Outcome : std::uint8_t { need_input, reply, malformed };
    struct Step {
        Outcome outcome = Outcome::need_input;
        std::size_t consumed = 0;
    };

    // Consumes at most up to the end of one reply.
    [[nodiscard]] Step parse(Bytes input);

    // The last whole reply; its text is valid until the next parse().
    [[nodiscard]] const Reply& reply() const { return reply_; }
    // Gives an enhanced code to a reply that came without one.
    void supply(EnhancedCode enhanced) { reply_.enhanced = enhanced; }
    // Whether part of a reply has been read.
    [[nodiscard]] bool mid_reply() const { return is_open_; }

  private:
    enum class Line : std::uint8_t { malformed, goes_on, last };

    void begin();
    Line finish_line(std::string_view line);
    Step fail(std::size_t consumed);

    // The text of the lines so far and, from line_start_ on, the raw octets of the line that an
    // input's end cut.
    std::string text_;
    Reply reply_;
    std::uint16_t line_start_ = 0;
    std::uint16_t reply_bytes_ = 0; // of whole lines
    bool is_open_ = false;
    bool has_line_ = false;
    bool is_malformed_ = false;
};

} // namespace ringmx::smtp
