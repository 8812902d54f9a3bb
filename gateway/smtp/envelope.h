// What MAIL and RCPT say, as the session hands it on.
//
// Mailboxes are kept as the client wrote them (local part untouched), without angle brackets and
// without source route. So are ENVID and ORCPT: in xtext, as they go on.
// Source: RFC 5321, 4.1.1.2, 4.1.1.3, 4.1.2; RFC 1870 (SIZE), 6152 (BODY), 6531 (SMTPUTF8), 3461
//         (RET, ENVID, NOTIFY, ORCPT).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ringmx::smtp {

enum class BodyType : std::uint8_t { unstated, seven_bit, eight_bit_mime };

// How much of the message a report of its failure is to carry (RET).
enum class ReturnContent : std::uint8_t { unstated, full, headers };

// What a recipient's sender wants to hear of (NOTIFY); 0: unstated.
inline constexpr std::uint8_t notify_never = 1; // alone
inline constexpr std::uint8_t notify_success = 2;
inline constexpr std::uint8_t notify_failure = 4;
inline constexpr std::uint8_t notify_delay = 8;

// What RCPT may say beside the mailbox.
struct RecipientParameters {
    std::uint8_t notify = 0;
    std::string_view original_recipient; // ORCPT: "rfc822;xtext"; empty: unstated
};

struct MailCommand {
    std::string reverse_path; // "user@example.com"; empty: the null reverse-path
    std::optional<std::uint64_t> declared_size_bytes;
    BodyType body = BodyType::unstated;
    bool smtputf8 = false;
    ReturnContent return_content = ReturnContent::unstated;
    std::string envelope_id; // ENVID's xtext; empty: unstated
};

struct RecipientCommand {
    std::string mailbox; // "user@example.com"; for <Postmaster> without a domain: "Postmaster"
    bool bare_postmaster = false;
    std::uint8_t notify = 0;
    std::string original_recipient;

    [[nodiscard]] RecipientParameters parameters() const { return {notify, original_recipient}; }
};

} // namespace ringmx::smtp
