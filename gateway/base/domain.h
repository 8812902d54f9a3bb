// The one spelling of a domain and of a mailbox that lookups and hashes use.
//
// In:  text from the config file or from an SMTP command (UTF-8, already past the command parser or
//      not).
// Out: the lookup key; never what is sent on, since mail passes with the address as it was given.
//
//   Bücher.Example        -> xn--bcher-kva.example     lower case, A-labels (IDNA2008 with the
//                                                      mappings of UTS 46)
//   [IPv6:2001:DB8:0::1]  -> [ipv6:2001:db8::1]        address literals in one spelling
//   "Some.Body"@Ex.org    -> some.body@ex.org          needless quotes removed, only ASCII letters
//                                                      of the local part lowered
//
// Equal keys mean the same recipient to ringmx; the key of a key is itself.
// Bounds: a domain of 253 octets in A-label form, labels of 63; a mailbox of mailbox_text_bytes_max
//         octets.
// Cost:   ASCII text allocates nothing once `out` has grown; non-ASCII domains go through libidn2,
//         which does.
// Thread: any.
// Errors: false or nullopt, "not a usable domain or mailbox"; nothing says why, the caller names
//         the text.
// Source: RFC 5890 to 5893, UTS 46, RFC 5321 2.4 and 4.1.3, RFC 6531 3.2.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace ringmx {

inline constexpr std::size_t domain_bytes_max = 253;        // RFC 1035 2.3.4: 255 on the wire
inline constexpr std::size_t domain_label_bytes_max = 63;   // RFC 1035 2.3.4
inline constexpr std::size_t mailbox_text_bytes_max = 2048; // no longer text fits in a command line

// Replaces `out`; false leaves it empty. `out` must not own `text`.
[[nodiscard]] bool canonical_domain(std::string_view text, std::string& out);
// LOCAL@DOMAIN; split at the last "@". Replaces `out`; false leaves it empty. `out` must not own
// `text`.
[[nodiscard]] bool canonical_mailbox(std::string_view text, std::string& out);

[[nodiscard]] std::optional<std::string> canonical_domain(std::string_view text);
[[nodiscard]] std::optional<std::string> canonical_mailbox(std::string_view text);

} // namespace ringmx
