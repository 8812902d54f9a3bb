// The address grammar of MAIL and RCPT: paths, mailboxes, domains, address literals.
//
//   <@relay.example,@b.example:"Some One"@[IPv6:2001:db8::1]> SIZE=10
//    ╰───── source route ─────╯╰─ local ─╯ ╰──── domain ────╯
//             (dropped)        ╰────────── mailbox ─────────╯
//
// In:  text within one command line.
// Out: views into it; nothing is copied or unquoted.
//
// Octets from 0x80 on count as letters of a local part or a label (RFC 6531); whether they may
// stand there is the caller's to judge by is_non_ascii, once it knows about SMTPUTF8, and is_utf8()
// says whether they are characters at all.
//
// Tolerated beyond the grammar: underscores in labels, since hosts with them send mail.
// Refused as the grammar says: a path without angle brackets, a mailbox without a domain (save
// <Postmaster>), empty labels, stray dots.
//
// Bounds: domain and mailbox as the constants below. A local part may be as long as its mailbox: RFC
//         5321, 4.5.3.1.1 asks for 64 octets, and for no limit where that can be; bulk mail's
//         return paths are longer every day.
// Cost:   one pass, no allocation.
// Thread: any.
// Errors: nullopt or false.
// Source: RFC 5321, 4.1.2, 4.1.3, 4.5.1, 4.5.3.1; RFC 6531, 3.3.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

namespace ringmx::smtp {

inline constexpr std::size_t mail_domain_bytes_max = 255; // RFC 5321, 4.5.3.1.2
inline constexpr std::size_t label_bytes_max = 63;        // RFC 1035, 2.3.4; of ASCII labels
inline constexpr std::size_t mailbox_bytes_max =
    254; // RFC 5321, 4.5.3.1.3: a path of 256 with its brackets

enum class PathKind : unsigned char { reverse, forward };

struct Path {
    std::string_view mailbox;   // empty: the null reverse-path
    std::size_t text_bytes = 0; // of the whole path, brackets included
    bool is_bare_postmaster = false;
    bool is_non_ascii = false;
};

// The path at the start of `text`; nothing when there is none or it breaks the grammar or a bound.
// <> is a reverse path only, <Postmaster> (in any case) a forward path only.
[[nodiscard]] std::optional<Path> parse_path(std::string_view text, PathKind kind);

// The whole text is a domain, or an address literal in its brackets.
[[nodiscard]] bool is_mail_domain(std::string_view text);
[[nodiscard]] bool is_address_literal(std::string_view text);

[[nodiscard]] bool is_utf8(std::string_view text);
// ASCII letters in any case are the same; `lower` is in lower case.
[[nodiscard]] bool equals_ignoring_case(std::string_view text, std::string_view lower);

} // namespace ringmx::smtp
