// What a route may take, as the config and recipients files write it, and a reader for files of
// millions of lines.
//
// Entry: a domain, "*.domain" (any subdomain, not the domain itself), a mailbox, or "*".
// File:  one entry a line; LF or CRLF; blank lines and "#" comments (at the start of a line or
//        after a blank) are skipped; a UTF-8 byte order mark at the start is skipped. A "#" inside
//        a word belongs to it: it is legal in a local part.
//
// Bounds: lines of route_line_bytes_max octets (a longer one comes as an empty `text` marked too
//         long); memory is one fixed buffer, whatever the file's size.
// Thread: any; blocks on the disk, so for start-up, reload and `check` only.
// Errors: an Error when the file can't be opened or read or is not a regular file (a FIFO would
//         block for ever).
#pragma once

#include "base/error.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace ringmx {

inline constexpr std::size_t route_line_bytes_max =
    4096; // a mailbox's bound twice, room for a comment
inline constexpr std::size_t route_file_faults_max =
    10; // told of one kind in one list; a wrong file has millions

enum class RouteEntryKind : std::uint8_t {
    mailbox,
    domain,
    wildcard,
    any
}; // the most specific first

struct RouteEntry {
    RouteEntryKind kind = RouteEntryKind::any;
    std::string key; // canonical: the mailbox, the domain, or the domain behind "*."; empty for "*"

    bool operator==(const RouteEntry&) const = default;
};

// Reuses `out.key`'s memory; false when the text is no entry.
[[nodiscard]] bool parse_route_entry(std::string_view text, RouteEntry& out);
[[nodiscard]] std::optional<RouteEntry> parse_route_entry(std::string_view text);

struct RouteLine {
    std::uint64_t number = 0; // from 1
    std::string_view text;    // trimmed, never a comment; valid until the callback returns
    bool too_long = false;    // the line is over route_line_bytes_max; `text` is empty
};

// Calls `each` for every line with an entry, in order, until it returns false. Returns how many
// lines were given to it.
[[nodiscard]] Expected<std::uint64_t>
for_each_route_line(const std::string& path, const std::function<bool(const RouteLine&)>& each);

} // namespace ringmx
