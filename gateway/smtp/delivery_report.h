// The report that tells a sender what became of a message: a multipart/report of three parts.
//
//   text/plain               in words
//   message/delivery-status  for programs: fields of the message, then of each recipient
//   text/rfc822-headers      the message's header; or message/rfc822, all of it, for RET=FULL
//
// In:   what is known of the message, views that are needed during the call only.
// Out:  a whole message with CRLF line ends, not dot-stuffed, to be sent from <> to the sender.
//
// Where SMTPUTF8 was used and a part needs it, the part has the form of RFC 6533: addresses of type
// utf-8 in message/global-delivery-status, message/global-headers, message/global.
//
// Nothing from the network forges a field, a part or the end of one: controls in addresses and
// replies become '?', as does what is no UTF-8 (what is no ASCII, where only that may stand); lines
// are folded so that what continues begins with a blank; the boundary is made of a random number
// and looked for in the parts before it is taken.
//
// Bounds: lines of report_line_bytes_max; of each reply diagnostic_bytes_max; of the message
//         returned_bytes_max.
// Thread: any.
// Errors: none. A report for a null sender, or about nobody, is our own mistake and aborts.
// Source: RFC 3461, 6; RFC 3462; RFC 3464; RFC 3834, 5 (Auto-Submitted); RFC 6533; RFC 5321, 4.5.5.
#pragma once

#include "base/instant.h"
#include "smtp/envelope.h"
#include "smtp/reply.h"
#include "smtp/returned_message.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace ringmx::smtp {

inline constexpr std::size_t diagnostic_bytes_max = 1000;

enum class ReportAction : std::uint8_t {
    failed,
    delayed, // and still tried
    relayed, // to a server that sends no reports of its own
};

// Whether the sender is to hear of this, by the recipient's NOTIFY. Unstated, it is failures.
[[nodiscard]] bool wants_report(ReportAction action, std::uint8_t notify,
                                std::string_view reverse_path);

struct ReportedRecipient {
    std::string_view mailbox;
    std::string_view original_recipient; // ORCPT as given
    ReportAction action = ReportAction::failed;
    EnhancedCode status; // class 0: X.0.0 of the action
    // The backend's last reply, "550 5.1.1 No such user", lines separated by '\n'; empty: none came.
    std::string_view diagnostic;
    std::string_view explanation; // of ours, a sentence; empty: the reply says it
    std::string_view remote_mta;  // a host name or an IP address; empty: not to be told
    std::optional<WallTime> last_attempt;
    std::optional<WallTime> retried_until; // of a delayed one
};

struct ReportSource {
    std::string_view hostname;  // ours
    std::string_view report_id; // of the report, unique: its Message-ID's left side
    std::uint64_t random = 0;   // for the boundary
    WallTime made_at{};

    std::string_view sender; // the message's reverse-path, to whom the report goes
    std::string_view queue_id;
    std::string_view envelope_id; // ENVID's xtext
    ReturnContent return_content = ReturnContent::unstated;
    bool smtputf8 = false;
    WallTime arrived_at{};
    std::span<const ReportedRecipient> recipients;
    OriginalMessage original;
};

struct DeliveryReport {
    std::string message;
    bool has_eight_bit = false;  // wants BODY=8BITMIME
    bool needs_smtputf8 = false; // its own header has more than ASCII
};

[[nodiscard]] DeliveryReport make_report(const ReportSource& source);

} // namespace ringmx::smtp
