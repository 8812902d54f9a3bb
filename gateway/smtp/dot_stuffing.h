// Dot-stuffing and its removal by splitting: octets are named, never copied.
//
// In:   pieces of content, cut anywhere. Unstuffer: DATA's wire form without terminator. Stuffer:
//       raw form, as BDAT carries it.
// Out:  the sink is called in order with sub-spans of the piece; the Stuffer also gives it
//       dot_literal (static storage).
//       Removed: each dot behind a CRLF or at the very start. Added: a dot before each such dot.
//       Stuffer::terminator() is what must follow the content: CRLF first if the content does not
//       end in one.
// A bare LF or CR starts no line (messages that have one are refused, or normalised before they
// come here).
//
//       raw    "a\r\n.b"  ──▶  "a\r\n"  "."(literal)  ".b"   ──▶ wire
//       wire   "a\r\n..b" ──▶  "a\r\n"                ".b"   ──▶ raw
//
// Cost:   O(input), AVX2 at run time; one sink call per piece and per dot. No allocation.
// Thread: one.
// Errors: none.
// Source: RFC 5321, 4.5.2; RFC 3030, 2.
#pragma once

#include "base/bytes.h"

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace ringmx::smtp {

inline constexpr std::string_view dot_literal = ".";

// The offset, at or behind `from`, of the first dot right behind a CRLF that lies at or behind
// offset 0; span.size() if none.
[[nodiscard]] std::size_t find_line_dot(Bytes span, std::size_t from);
[[nodiscard]] std::size_t find_line_dot_plain(Bytes span, std::size_t from); // the definition

// Follows the end of what has passed, so that a CRLF cut in two is seen.
class LineTail {
  public:
    [[nodiscard]] bool at_line_start() const { return tail_ == Tail::crlf; }
    void pass(Bytes octets);

  private:
    enum class Tail : std::uint8_t { crlf, cr, other };
    Tail tail_ = Tail::crlf; // content starts as if behind a CRLF
};

// Calls on_dot(offset) for each dot of the piece at a line's start, in order.
template <typename OnDot> void for_each_line_dot(LineTail& tail, Bytes piece, OnDot&& on_dot) {
    std::size_t offset = 0;
    // A CRLF that began in an earlier piece reaches at most two octets into this one.
    for (; offset < 2 && offset < piece.size(); ++offset) {
        if (tail.at_line_start() && piece[offset] == std::byte{'.'}) {
            on_dot(offset);
        }
        tail.pass(piece.subspan(offset, 1));
    }
    for (offset = find_line_dot(piece, offset); offset < piece.size();
         offset = find_line_dot(piece, offset + 1)) {
        on_dot(offset);
    }
    if (piece.size() > 2) {
        tail.pass(piece.subspan(2));
    }
}

class Unstuffer {
  public:
    // sink(Bytes part): a sub-span of the piece, not empty.
    template <typename Sink> void feed(Bytes piece, Sink&& sink) {
        std::size_t given = 0;
        for_each_line_dot(tail_, piece, [&](std::size_t offset) {
            if (offset > given) {
                sink(piece.subspan(given, offset - given));
            }
            given = offset + 1;
        });
        if (given < piece.size()) {
            sink(piece.subspan(given));
        }
    }

  private:
    LineTail tail_;
};

class Stuffer {
  public:
    // sink(Bytes part, bool is_literal): a sub-span of the piece, or dot_literal; not empty.
    template <typename Sink> void feed(Bytes piece, Sink&& sink) {
        std::size_t given = 0;
        for_each_line_dot(tail_, piece, [&](std::size_t offset) {
            if (offset > given) {
                sink(piece.subspan(given, offset - given), false);
            }
            sink(as_bytes(dot_literal), true);
            given = offset;
        });
        if (given < piece.size()) {
            sink(piece.subspan(given), false);
        }
    }

    // What ends the data behind what was fed; static storage.
    [[nodiscard]] std::string_view terminator() const {
        return tail_.at_line_start() ? ".\r\n" : "\r\n.\r\n";
    }

  private:
    LineTail tail_;
};

} // namespace ringmx::smtp
