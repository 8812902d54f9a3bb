// The values of DSN parameters that stand for text: ENVID and ORCPT.
//
//   ENVID=QQ314159+2Bx                 xtext: printable ASCII, "+2B" for what may not stand there
//   ORCPT=rfc822;Bob+2BTag@example.com an address type, then the address in xtext
//   ORCPT=utf-8;j\x{FC}rgen@b.example  … or, for this one type, with code points in braces
//
// In:  a parameter's value, as it stands on the command line.
// Out: whether it may be taken, and what it says.
//
// Only what a strict backend takes too is taken, since values go on as they came: hexadecimal digits
// in upper case, as the grammar has them. What is encoded is printable as well (RFC 3461, 4.2 and
// 4.4): a value that was taken can't put a line end, or any other control, into a report's field.
//
// Cost:   one pass, no allocation to judge.
// Thread: any.
// Errors: false.
// Source: RFC 3461, 4 (xtext), 4.2, 4.4, 5.4 (bounds); RFC 6533, 3 (the type utf-8).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace ringmx::smtp {

inline constexpr std::size_t envelope_id_bytes_max = 100;
inline constexpr std::size_t original_recipient_bytes_max = 500;

[[nodiscard]] bool is_envelope_id(std::string_view value);
// `takes_utf8`: the transaction has SMTPUTF8, so that an address of type utf-8 may be in UTF-8.
[[nodiscard]] bool is_original_recipient(std::string_view value, bool takes_utf8);

// What the xtext of a taken value says: printable ASCII.
[[nodiscard]] std::string decode_xtext(std::string_view xtext);
// A taken ORCPT in ASCII: characters beyond it as "\x{FC}".
[[nodiscard]] std::string ascii_original_recipient(std::string_view value);

} // namespace ringmx::smtp
