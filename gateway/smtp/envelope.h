// What MAIL and RCPT say, as the session hands it on.
//
// Mailboxes are kept as the client wrote them (local part untouched), without angle brackets and
// without source route.
// Source: RFC 5321, 4.1.1.2, 4.1.1.3, 4.1.2; RFC 1870 (SIZE), 6152 (BODY), 6531 (SMTPUTF8).
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace ringmx::smtp {

enum class BodyType : std::uint8_t { unstated, seven_bit, eight_bit_mime };

struct MailCommand {
    std::string reverse_path; // "user@example.com"; empty: the null reverse-path
    std::optional<std::uint64_t> declared_size_bytes;
    BodyType body = BodyType::unstated;
    bool smtputf8 = false;
};

struct RecipientCommand {
    std::string mailbox; // "user@example.com"; for <Postmaster> without a domain: "Postmaster"
    bool bare_postmaster = false;
};

} // namespace ringmx::smtp
