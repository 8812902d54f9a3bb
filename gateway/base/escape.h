// Text from the network made safe for one log line, one JSON string, one Prometheus label value.
//
// Unsafe is whatever could end, forge or repaint a line: C0 controls, DEL, C1 controls (U+0080 to
// U+009F, as UTF-8 C2 80 to C2 9F), the line and paragraph separators U+2028 and U+2029, the
// bidirectional controls (U+061C, U+200E, U+200F, U+202A to U+202E, U+2066 to U+2069), the byte
// order mark U+FEFF, and every octet that is not part of well-formed UTF-8. Everything else goes
// through octet for octet.
//
//   append_log_text    \r \n \t \e \\ by name, other unsafe octets \xHH, one for each octet (so
//                      "\xC2\x85"); reversible
//   append_json_text   the inside of a JSON string: \" \\ \r \n \t, other unsafe characters \uHHHH;
//                      an octet that is no UTF-8 becomes U+FFFD
//   append_label_text  the inside of a Prometheus label value: \\ \" \n; other unsafe characters
//                      become '?' (the format has no escape for them)
//
// Out:    appended to a std::string or a fmt::memory_buffer.
// Cost:   one pass. At most escape_growth octets for each octet of the input.
// Thread: any.
// Errors: none.
// Source: RFC 3629 (UTF-8), RFC 8259, 7 (JSON strings), Prometheus text exposition format 0.0.4.
#pragma once

#include <cstddef>
#include <fmt/format.h>
#include <string>
#include <string_view>

namespace ringmx {

inline constexpr std::size_t escape_growth = 6; // one control octet in JSON: \u001b

void append_log_text(std::string& out, std::string_view text);
void append_log_text(fmt::memory_buffer& out, std::string_view text);
void append_json_text(std::string& out, std::string_view text);
void append_json_text(fmt::memory_buffer& out, std::string_view text);
void append_label_text(std::string& out, std::string_view text);

} // namespace ringmx
