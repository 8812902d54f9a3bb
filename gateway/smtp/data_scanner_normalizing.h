// Message content whose bare newlines are made whole: each bare CR and each bare LF leaves as CRLF,
// and can never end the data.
//
// In:   consecutive spans of the wire, cut anywhere. DATA: until its terminator; chunks (BDAT): all
//       of it is content.
// Out:  pieces of content, one per next(): a view into the span, or a literal with static storage.
//       The caller goes on with the rest of the span until it is consumed:
//
//           while (!rest.empty()) {
//               const auto piece = scanner.next(rest);
//               rest = rest.subspan(piece.consumed);       // may be 0 beside a literal
//               if (!piece.content.empty()) emit(piece.content, piece.is_literal);
//               if (piece.ended) break;
//           }
//
//       Chunks only: at the end of the last one finish() gives the literal (or nothing) that
//       completes a CR that came last.
//
// What is added: "\n" behind a bare CR, "\r" before a bare LF. DATA only: "." before a dot that
// follows a normalised newline, and beside a lone dot on a true line that a bare newline follows,
// so that no backend sees an end of data that the client's octets did not have; chunks need no
// stuffing. A true end of data is CRLF.CRLF of which both CRLFs are true ones, or .CRLF at the very
// start. NUL: a DATA line of one dot and otherwise only NULs, ended by any newline, sets
// suspicious_nul_dot().
//
// Cost:   O(input), octet by octet; a piece reaches as far as nothing must be added. No allocation.
// Thread: one.
// Errors: none.
// Source: RFC 5321, 2.3.8 and 4.5.2; the contract's smtp.bare_newline.
#pragma once

#include "base/bytes.h"
#include "smtp/content_form.h"
#include "smtp/data_scanner.h"

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace ringmx::smtp {

class NormalizingScanner {
  public:
    struct Piece {
        Bytes content;
        bool is_literal = false;
        std::size_t consumed =
            0; // octets of the span given to next() that are done with; 0 only beside a literal
        bool ended = false; // DATA: the terminator is consumed; comes without content
    };

    explicit NormalizingScanner(ContentForm form) : form_(form) {}

    // The span must not be empty. After `ended` nothing more is taken.
    [[nodiscard]] Piece next(Bytes span);
    // The raw form only: the content is over. A CR that came last was bare; its LF is the literal
    // content of the piece.
    [[nodiscard]] Piece finish();

    // As of the content given out, so with what was added. bare_cr_count and bare_lf_count say how
    // many were normalised.
    [[nodiscard]] const DataCounts& counts() const { return counts_; }
    [[nodiscard]] std::uint64_t content_bytes() const { // after unstuffing
        return counts_.wire_bytes - counts_.stuffed_dots_count;
    }
    [[nodiscard]] bool suspicious_nul_dot() const { return counts_.suspicious_nul_dot; }

  private:
    enum class State : std::uint8_t {
        line_start,       // behind a true CRLF, or at the very start
        normalized_start, // behind a newline that was made whole
        dot,              // a dot at a true line's start, not yet given out
        dot_cr,           // that and CR, neither given out
        text,
        text_cr, // the CR is given out
        ended,
    };
    // For suspicious_nul_dot: what the line so far consists of.
    enum class Line : std::uint8_t { empty, dot, nuls, nul_dot, other };

    Piece next_behind_dot(std::uint8_t octet);
    Piece next_behind_dot_cr(std::uint8_t octet);
    std::size_t pass_text(Bytes span);
    Piece give_literal(std::string_view text, std::size_t consumed, State state);
    void note(std::uint8_t octet);
    void end_line();

    ContentForm form_;
    State state_ = State::line_start;
    Line line_ = Line::empty;
    DataCounts counts_;
};

} // namespace ringmx::smtp
