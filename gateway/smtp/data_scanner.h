// Finds the end of the message in the octets behind DATA, and judges its newlines, without copying
// or changing anything.
//
// In:   consecutive spans of the wire, cut anywhere, even inside CR LF. The stream starts as if
//       behind a CRLF.
// Out:  per span: which of its front octets are content (wire form, dot-stuffed, the CRLF before
//       the terminating dot included, the terminator excluded), and how many are consumed once the
//       end was found (the rest is the next command).
//
//        span 1            span 2                 span 1: content "…text\r\n", the dot is held back
//   …text\r\n.│\r\nQUIT\r\n                       span 2: ended, content "", consumed 2
//   …text\r\n.│.\r\n…                             span 2: held ".", content ".\r\n…"
//
// Held: at a cut a "." or ".\r" at a line's start may be the terminator or content. It is held back
//       (not content of its span); if it turns out to be content, the next scan gives it back as
//       `held`, a literal to be emitted before that span's content.
//
// Only CRLF.CRLF, or .CRLF at the very start, ends a message. A bare CR or LF never does, nor does
// it start a line: it is counted, and the scan goes on to the true end, so that both sides stay in
// step. Counted means: known bare. A CR at the end of a span is not until the next octet comes. NUL
// is content like any other, but a line of one dot and otherwise only NULs sets
// suspicious_nul_dot(): a backend that drops NULs would see the end of data there.
//
// Cost:   O(input); AVX2 at run time, where only lines with NULs are walked octet by octet.
//         scan_plain is the definition.
// State:  a few words, no allocation.
// Thread: one.
// Errors: none.
// Source: RFC 5321, 2.3.8 (line ends), 4.1.1.4 (end of data), 4.5.2 (transparency).
#pragma once

#include "base/bytes.h"

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace ringmx::smtp {

struct DataScan {
    std::string_view held; // "", "." or ".\r": held back before, content after all; static storage
    std::size_t content_bytes = 0; // this many octets at the span's front are content
    std::size_t consumed = 0;      // the whole span, or up to and with the terminator
    bool ended = false;
    bool operator==(const DataScan&) const = default;
};

struct DataCounts {
    std::uint64_t wire_bytes = 0;         // content given out so far, in wire form
    std::uint64_t stuffed_dots_count = 0; // those of them that unstuffing removes
    std::uint64_t bare_cr_count = 0;
    std::uint64_t bare_lf_count = 0;
    bool suspicious_nul_dot = false;
    bool operator==(const DataCounts&) const = default;
};

class DataScanner {
  public:
    // After `ended` the scanner takes nothing more until reset().
    [[nodiscard]] DataScan scan(Bytes span);

    [[nodiscard]] const DataCounts& counts() const { return counts_; }
    [[nodiscard]] std::uint64_t content_bytes() const { // after unstuffing
        return counts_.wire_bytes - counts_.stuffed_dots_count;
    }
    [[nodiscard]] bool has_bare_newline() const {
        return (counts_.bare_cr_count | counts_.bare_lf_count) != 0;
    }
    [[nodiscard]] bool suspicious_nul_dot() const { return counts_.suspicious_nul_dot; }
    [[nodiscard]] bool ended() const { return state_ == State::ended; }
    void reset() { *this = DataScanner(); }

    // The two ways of scanning, for tests and benchmarks; scan_fast is plain on machines without
    // AVX2.
    [[nodiscard]] DataScan scan_plain(Bytes span);
    [[nodiscard]] DataScan scan_fast(Bytes span);

  private:
    // What the octets since the last true CRLF (or the start) are.
    enum class State : std::uint8_t {
        line_start, // nothing
        dot,        // "."
        dot_cr,     // ".\r"
        nuls,       // NULs only
        nuls_cr,    // NULs, CR
        nul_dot,    // one dot, one NUL or more
        nul_dot_cr, // that, and CR
        text,       // anything else
        text_cr,    // anything else, CR
        ended,
    };

    // Runs the octets [from, until) of the span through the machine; stops behind the terminator.
    // Returns where it stopped.
    std::size_t walk(Bytes span, std::size_t from, std::size_t until);
    std::size_t walk_avx2(Bytes span, std::size_t from);
    void take(std::uint8_t octet);
    [[nodiscard]] static State state_behind(const std::byte* position);
    DataScan result(Bytes span, std::size_t walked, State before);

    State state_ = State::line_start;
    DataCounts counts_;
};

} // namespace ringmx::smtp
