#include "smtp/delivery_report.h"

#include "base/address.h"
#include "base/ascii.h"
#include "base/assert.h"
#include "smtp/line_text.h"
#include "smtp/mailbox.h"
#include "smtp/trace_field.h"
#include "smtp/xtext.h"

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <iterator>
#include <utility>

namespace ringmx::smtp {
namespace {

constexpr std::size_t folded_line_bytes = 76; // as mail is read
constexpr std::size_t word_bytes_max = 400;   // longer ones are cut in two by a fold

constexpr std::size_t name_bytes_max = 255; // RFC 1035, 2.3.4
constexpr std::array actions = {ReportAction::failed, ReportAction::delayed, ReportAction::relayed};

struct ActionText {
    std::string_view name; // RFC 3464, 2.3.3
    std::string_view subject;
    std::string_view sentence;
    std::uint8_t status_class;
};

constexpr ActionText text_of(ReportAction action) {
    switch (action) {
    case ReportAction::failed:
        return {"failed", "Undelivered Mail Returned to Sender",
                "Your message could not be delivered to:", 5};
    case ReportAction::delayed:
        return {"delayed", "Delayed Mail (still being retried)",
                "Your message could not be delivered yet. It need not be sent again: it is tried "
                "on for:",
                4};
    case ReportAction::relayed:
        return {"relayed", "Successful Mail Delivery Report",
                "Your message was handed to a server that sends no reports of its own, for:", 2};
    }
    return {};
}

struct Part {
    std::string_view type;
    std::string octets;
    bool has_eight_bit = false;
};

// Text from the network, harmless on one line; octets beyond ASCII only as UTF-8, and only where it
// may stand.
std::string clean(std::string_view text, bool takes_utf8) {
    const bool keeps_high = takes_utf8 && is_utf8(text);
    std::string cleaned(text);
    for (char& octet : cleaned) {
        const bool is_high = static_cast<unsigned char>(octet) >= 0x80;
        if (octet == '\t') {
            octet = ' ';
        } else if (is_high ? !keeps_high : !has_place_on_a_line(octet)) {
            octet = '?';
        }
    }
    return cleaned;
}

// Words on lines of about folded_line_bytes, the first behind `begin`, the others behind `indent`:
// blanks, and in a field some.
void append_folded(std::string& out, std::string_view begin, std::string_view indent,
                   std::string_view words) {
    out += begin;
    std::size_t line_bytes = begin.size();
    for (bool is_first = true; !words.empty();) {
        words.remove_prefix(std::min(words.find_first_not_of(' '), words.size()));
        const std::string_view word = cut_text(words.substr(0, words.find(' ')), word_bytes_max);
        words.remove_prefix(word.size());
        if (word.empty()) {
            break;
        }
        if (!is_first && line_bytes + 1 + word.size() > folded_line_bytes) {
            out += "\r\n";
            out += indent;
            line_bytes = indent.size();
        } else if (!is_first) {
            out += ' ';
            ++line_bytes;
        }
        out += word;
        line_bytes += word.size();
        is_first = false;
    }
    out += "\r\n";
}

void append_field(std::string& out, std::string_view name, std::string_view value) {
    fmt::format_to(std::back_inserter(out), "{}: {}\r\n", name, value);
}

void append_date_field(std::string& out, std::string_view name, WallTime time) {
    std::string date;
    append_date(date, time);
    append_field(out, name, date);
}

std::string_view diagnostic_of(const ReportedRecipient& recipient) {
    return cut_text(recipient.diagnostic, diagnostic_bytes_max);
}

// What is said about one recipient in words.
void append_words(std::string& out, const ReportedRecipient& recipient) {
    fmt::format_to(std::back_inserter(out), "    <{}>\r\n", clean(recipient.mailbox, true));
    if (!recipient.explanation.empty()) {
        append_folded(out, "        ", "        ", clean(recipient.explanation, true));
    }
    for (std::string_view rest = diagnostic_of(recipient); !rest.empty();) {
        const std::size_t end = std::min(rest.find('\n'), rest.size());
        if (end > 0) {
            append_folded(out, "        ", "        ", clean(rest.substr(0, end), true));
        }
        rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    if (recipient.action == ReportAction::delayed && recipient.retried_until) {
        out += "        It is tried until ";
        append_date(out, *recipient.retried_until);
        out += ".\r\n";
    }
}

Part words_part(const ReportSource& source, bool is_whole) {
    Part part;
    fmt::format_to(std::back_inserter(part.octets), "This is the mail system at {}.\r\n",
                   source.hostname);
    for (const ReportAction action : actions) {
        const auto concerned = [action](const ReportedRecipient& recipient) {
            return recipient.action == action;
        };
        if (std::ranges::none_of(source.recipients, concerned)) {
            continue;
        }
        part.octets += "\r\n";
        append_folded(part.octets, "", "", text_of(action).sentence);
        for (const ReportedRecipient& recipient : source.recipients) {
            if (concerned(recipient)) {
                part.octets += "\r\n";
                append_words(part.octets, recipient);
            }
        }
    }
    fmt::format_to(std::back_inserter(part.octets),
                   "\r\nThe message had the queue id {} here. {}\r\n", source.queue_id,
                   is_whole ? "It follows below." : "Its header follows below.");
    part.has_eight_bit = !is_ascii(part.octets);
    part.type = "text/plain; charset=utf-8";
    return part;
}

// "rfc822; user@example.com"
std::string typed_address(std::string_view mailbox, bool takes_utf8) {
    return fmt::format("{}; {}", takes_utf8 && !is_ascii(mailbox) ? "utf-8" : "rfc822",
                       clean(mailbox, takes_utf8));
}

// ORCPT's value as a field has it: without xtext's encoding, which the type utf-8 does not have.
std::string typed_original(std::string_view original, bool takes_utf8) {
    const std::size_t semicolon = std::min(original.find(';'), original.size());
    const std::string_view type = original.substr(0, semicolon);
    const std::string_view address = original.substr(std::min(semicolon + 1, original.size()));
    std::string text;
    if (!equal_ignoring_case(type, "utf-8")) {
        text = decode_xtext(address);
    } else if (takes_utf8 || !is_utf8(address)) {
        text = address;
    } else {
        text = ascii_original_recipient(address);
    }
    return fmt::format("{}; {}", clean(type, false), clean(text, takes_utf8));
}

void append_status(std::string& out, const ReportedRecipient& recipient, bool takes_utf8) {
    if (!recipient.original_recipient.empty()) {
        append_field(out, "Original-Recipient",
                     typed_original(recipient.original_recipient, takes_utf8));
    }
    append_field(out, "Final-Recipient", typed_address(recipient.mailbox, takes_utf8));
    const ActionText action = text_of(recipient.action);
    append_field(out, "Action", action.name);
    EnhancedCode status = recipient.status;
    if (status.class_digit == 0) {
        status = {action.status_class, 0, 0};
    }
    append_field(
        out, "Status",
        fmt::format("{}.{}.{}", unsigned{status.class_digit}, status.subject, status.detail));
    if (const auto ip = IpAddress::parse(recipient.remote_mta)) {
        append_field(out, "Remote-MTA",
                     fmt::format("dns; [{}{}]", ip->is_v4() ? "" : "IPv6:", recipient.remote_mta));
    } else if (!recipient.remote_mta.empty()) {
        append_field(
            out, "Remote-MTA",
            fmt::format("dns; {}", clean(cut_text(recipient.remote_mta, name_bytes_max), false)));
    }
    if (!recipient.diagnostic.empty()) {
        std::string reply(diagnostic_of(recipient));
        std::ranges::replace(reply, '\n', ' ');
        append_folded(out, "Diagnostic-Code: smtp; ", "    ", clean(reply, takes_utf8));
    }
    if (recipient.last_attempt) {
        append_date_field(out, "Last-Attempt-Date", *recipient.last_attempt);
    }
    if (recipient.action == ReportAction::delayed && recipient.retried_until) {
        append_date_field(out, "Will-Retry-Until", *recipient.retried_until);
    }
}

Part status_part(const ReportSource& source) {
    const bool takes_utf8 =
        source.smtputf8 && std::ranges::any_of(source.recipients, [](const auto& recipient) {
            return !is_ascii(recipient.mailbox) || !is_ascii(recipient.original_recipient);
        });
    Part part;
    part.type = takes_utf8 ? "message/global-delivery-status" : "message/delivery-status";
    append_field(part.octets, "Reporting-MTA", fmt::format("dns; {}", source.hostname));
    if (!source.envelope_id.empty()) {
        append_field(part.octets, "Original-Envelope-Id",
                     clean(decode_xtext(source.envelope_id), false));
    }
    append_date_field(part.octets, "Arrival-Date", source.arrived_at);
    for (const ReportedRecipient& recipient : source.recipients) {
        part.octets += "\r\n";
        append_status(part.octets, recipient, takes_utf8);
    }
    part.has_eight_bit = !is_ascii(part.octets);
    return part;
}

Part original_part(ReturnedMessage&& returned, bool smtputf8) {
    const bool is_global = smtputf8 && returned.has_eight_bit_header;
    Part part;
    if (returned.is_whole) {
        part.type = is_global ? "message/global" : "message/rfc822";
    } else {
        part.type = is_global ? "message/global-headers" : "text/rfc822-headers";
    }
    part.has_eight_bit = returned.has_eight_bit;
    part.octets = std::move(returned.octets);
    return part;
}

// One that is in none of the parts.
std::string boundary_for(std::span<const Part> parts, std::uint64_t random) {
    for (;; ++random) {
        std::string boundary = fmt::format("=_ringmx-{:016x}", random);
        if (std::ranges::none_of(parts, [&](const Part& part) {
                return part.octets.find(boundary) != std::string::npos;
            })) {
            return boundary;
        }
    }
}

void append_header(std::string& out, const ReportSource& source, std::string_view boundary,
                   bool has_eight_bit) {
    const auto worst = std::ranges::min_element(source.recipients, {}, &ReportedRecipient::action);
    append_date_field(out, "Date", source.made_at);
    append_field(out, "From",
                 fmt::format("Mail Delivery System <MAILER-DAEMON@{}>", source.hostname));
    append_field(out, "To", fmt::format("<{}>", clean(source.sender, source.smtputf8)));
    append_field(out, "Subject", text_of(worst->action).subject);
    append_field(out, "Message-ID", fmt::format("<{}@{}>", source.report_id, source.hostname));
    append_field(out, "Auto-Submitted", "auto-replied");
    append_field(out, "MIME-Version", "1.0");
    append_field(out, "Content-Type",
                 fmt::format("multipart/report; report-type=delivery-status;\r\n"
                             "    boundary=\"{}\"",
                             boundary));
    append_field(out, "Content-Transfer-Encoding", has_eight_bit ? "8bit" : "7bit");
}

} // namespace

bool wants_report(ReportAction action, std::uint8_t notify, std::string_view reverse_path) {
    if (reverse_path.empty()) {
        return false; // RFC 5321, 4.5.5: a report about a report would go round for ever
    }
    switch (action) {
    case ReportAction::failed:
        return notify == 0 || (notify & notify_failure) != 0;
    case ReportAction::delayed:
        return (notify & notify_delay) != 0;
    case ReportAction::relayed:
        return (notify & notify_success) != 0;
    }
    return false;
}

DeliveryReport make_report(const ReportSource& source) {
    RINGMX_ASSERT(!source.sender.empty() && !source.recipients.empty());
    // RFC 3461, 6.2: all of the message only where something failed.
    const bool has_failure =
        std::ranges::find(source.recipients, ReportAction::failed, &ReportedRecipient::action) !=
        source.recipients.end();
    ReturnedMessage returned = returned_message(
        source.original, source.return_content == ReturnContent::full && has_failure);
    const bool is_whole = returned.is_whole;
    const std::array<Part, 3> parts = {words_part(source, is_whole), status_part(source),
                                       original_part(std::move(returned), source.smtputf8)};
    const std::string boundary = boundary_for(parts, source.random);

    DeliveryReport report;
    const bool has_eight_bit = std::ranges::any_of(parts, &Part::has_eight_bit);
    append_header(report.message, source, boundary, has_eight_bit);
    report.needs_smtputf8 = !is_ascii(report.message);
    report.has_eight_bit = has_eight_bit || report.needs_smtputf8;
    for (const Part& part : parts) {
        fmt::format_to(std::back_inserter(report.message),
                       "\r\n--{}\r\nContent-Type: {}\r\nContent-Transfer-Encoding: {}\r\n\r\n",
                       boundary, part.type, part.has_eight_bit ? "8bit" : "7bit");
        report.message += part.octets;
    }
    fmt::format_to(std::back_inserter(report.message), "\r\n--{}--\r\n", boundary);
    return report;
}

} // namespace ringmx::smtp
