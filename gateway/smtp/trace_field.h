// The Received field that is put before every message that passes.
//
//   Received: from client.example ([192.0.2.1])
//   ⇥by mx1.example.com (ringmx) with ESMTP id 4Zx7
//   ⇥for <user@example.com>; Mon, 23 Nov 2026 09:41:22 +0000
//
// In:   what the session and its owner know; hello name and recipient come from the client.
// Out:  the field's octets, appended, each line with its CRLF; with an empty line behind it when
//       the message begins with SP or TAB, which would else continue the field.
//
// Nothing that a client said can forge the field: in the hello name every octet that has no place
// in a domain or an IP literal becomes '?' (parentheses, semicolons, quotes, blanks, controls,
// non-ASCII); in the recipient every control does, and every non-ASCII octet unless the message
// came with SMTPUTF8.
//
// Bounds: every line stays under trace_line_bytes_max; longer hello names and ids are cut, a longer
//         recipient leaves its clause out.
// Cost:   no allocation once `out` has grown, save for the text of an IPv6 address.
// Thread: any.
// Errors: none.
// Source: RFC 5321, 4.4 and 4.1.3; RFC 5322, 3.3 and 3.6.7; RFC 3848 and RFC 6531, 4.3 (with).
#pragma once

#include "base/address.h"
#include "base/instant.h"

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace ringmx::smtp {

inline constexpr std::size_t trace_line_bytes_max = 998; // RFC 5322, 2.1.1, without the CRLF

struct TraceSource {
    std::string_view hello_name;        // empty: none was given
    std::optional<IpAddress> client_ip; // none: a Unix socket
    std::string_view hostname;
    std::string_view id;
    std::string_view recipient; // empty: several, the clause is left out
    WallTime received_at{};
    bool esmtp = false;
    bool lmtp = false;
    bool smtputf8 = false; // the message's MAIL said so
    bool tls = false;
    bool authenticated = false;
    bool content_starts_with_space = false;
};

void append_trace_field(std::string& out, const TraceSource& source);

// "ESMTPS" and its kin: the value of the with clause.
[[nodiscard]] std::string_view transmission_type(const TraceSource& source);

// "Mon, 23 Nov 2026 09:41:22 +0000": RFC 5322, 3.3, in UTC whatever the locale.
void append_date(std::string& out, WallTime time);

} // namespace ringmx::smtp
