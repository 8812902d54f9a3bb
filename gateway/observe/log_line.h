// How an event reads: one line of text in Postfix's shapes, or one JSON object.
//
// text: `PREFIX[PID]: ` and then what Postfix would print for the like event, since fail2ban's
//       postfix filter and people's parsers look for that. There is no timestamp: journald or
//       syslog puts its own before the line.
// json: fixed keys in a fixed order, only those that are set: time (RFC 3339, UTC, µs), level,
//       event, pid, worker, id, client, client_port, hello, protocol, tls, sender, recipient,
//       recipients, size, pool, backend, backend_address, address, after, reply_code,
//       reply_enhanced, reply, reason, count, duration_ms, detail.
//
// Text from the network is escaped (base/escape.h); one record is one line whatever it holds.
// Out:    appended to `out`, with its "\n".
// Thread: any.
// Errors: none.
// Source: Postfix's smtpd(8) and smtp(8) log lines; fail2ban's filter.d/postfix.conf; RFC 3339; RFC
//         8259.
#pragma once

#include "observe/log_record.h"

#include <cstdint>
#include <fmt/format.h>
#include <string_view>

namespace ringmx::observe {

void append_text_line(fmt::memory_buffer& out, const LogRecord& record, std::string_view prefix,
                      std::int64_t pid);
void append_json_line(fmt::memory_buffer& out, const LogRecord& record, std::int64_t pid);

} // namespace ringmx::observe
