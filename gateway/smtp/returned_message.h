// What a report gives back of the message that it is about: its header, or all of it.
//
// In:   the trace field and the content, or its beginning, in either form.
// Out:  octets for the body of a MIME part: lines of at most report_line_bytes_max, each with its
//       CRLF.
//
// All of it is given only where it is asked for, small, and such that it can stand in a report as it
// is: no line too long, no NUL, no bare CR or LF. Else it is the header: its lines up to the first
// one that is none of a header, longer lines folded, octets that have no place on a line as '?'.
//
// Bounds: returned_bytes_max, of a header too.
// Thread: any.
// Errors: none.
// Source: RFC 3461, 4.3 and 6.2; RFC 3462, 2 and 3; RFC 5322, 2.1.1, 2.2.3 (folding).
#pragma once

#include "base/bytes.h"
#include "smtp/content_form.h"

#include <cstddef>
#include <string>
#include <string_view>

namespace ringmx::smtp {

inline constexpr std::size_t returned_bytes_max = 64 * 1024;
inline constexpr std::size_t report_line_bytes_max = 998; // RFC 5322, 2.1.1, without the CRLF

struct OriginalMessage {
    std::string_view trace_field; // that stands before the content
    Bytes content;                // from its first octet on
    ContentForm form = ContentForm::raw;
    bool is_whole = false; // else there is more, which is not needed
};

struct ReturnedMessage {
    std::string octets;
    bool is_whole = false;
    bool has_eight_bit = false;
    bool has_eight_bit_header = false;
};

[[nodiscard]] ReturnedMessage returned_message(const OriginalMessage& original, bool wants_whole);

} // namespace ringmx::smtp
