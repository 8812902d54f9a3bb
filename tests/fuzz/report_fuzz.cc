// A report of anything at all holds together: four boundaries where they belong and nowhere else,
// only the fields that it may have, no line too long and none without its CRLF.
//
// The input is cut at its zero octets into sender, recipients' addresses and replies, and the
// original; the first octet chooses the form, RET, SMTPUTF8, and the actions.
#include "base/assert.h"
#include "smtp/delivery_report.h"

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace ringmx::smtp;

std::string_view take(std::string_view& input) {
    const std::size_t end = std::min(input.find('\0'), input.size());
    const std::string_view part = input.substr(0, end);
    input.remove_prefix(std::min(end + 1, input.size()));
    return part;
}

// The lines of a text that consists of whole lines.
std::vector<std::string_view> lines_of(std::string_view text) {
    std::vector<std::string_view> lines;
    while (!text.empty()) {
        const std::size_t end = text.find("\r\n");
        RINGMX_ASSERT(end != std::string_view::npos);
        const std::string_view line = text.substr(0, end);
        RINGMX_ASSERT(line.size() <= report_line_bytes_max);
        RINGMX_ASSERT(line.find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos);
        lines.push_back(line);
        text.remove_prefix(end + 2);
    }
    return lines;
}

void check_fields(std::string_view text, const std::set<std::string_view>& known) {
    for (const std::string_view line : lines_of(text)) {
        RINGMX_ASSERT(line.empty() || line.starts_with(' ') ||
                      known.contains(line.substr(0, line.find(':'))));
    }
}

std::size_t count(std::string_view text, std::string_view part) {
    std::size_t found = 0;
    for (std::size_t at = text.find(part); at != std::string_view::npos;
         at = text.find(part, at + 1)) {
        ++found;
    }
    return found;
}

void check(const DeliveryReport& report) {
    (void)lines_of(report.message);
    constexpr std::string_view mark = "boundary=\"";
    const std::string_view message = report.message;
    const std::size_t start = message.find(mark) + mark.size();
    const std::string boundary =
        "--" + std::string(message.substr(start, message.find('"', start) - start));
    RINGMX_ASSERT(count(message, boundary.substr(2)) == 5); // and in the header
    RINGMX_ASSERT(count(message, "\r\n" + boundary + "\r\n") == 3);
    RINGMX_ASSERT(message.ends_with("\r\n" + boundary + "--\r\n"));
    check_fields(message.substr(0, message.find("\r\n\r\n") + 2),
                 {"Date", "From", "To", "Subject", "Message-ID", "Auto-Submitted", "MIME-Version",
                  "Content-Type", "Content-Transfer-Encoding"});
    std::size_t at = message.find("\r\n" + boundary + "\r\n");
    at = message.find("\r\n" + boundary + "\r\n", at + 1); // behind the words
    const std::size_t end = message.find("\r\n" + boundary + "\r\n", at + 1);
    at += boundary.size() + 4;
    check_fields(message.substr(at, end - at),
                 {"Content-Type", "Content-Transfer-Encoding", "Reporting-MTA",
                  "Original-Envelope-Id", "Arrival-Date", "Original-Recipient", "Final-Recipient",
                  "Action", "Status", "Remote-MTA", "Diagnostic-Code", "Last-Attempt-Date",
                  "Will-Retry-Until"});
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 1) {
        return 0;
    }
    const unsigned choice = data[0];
    std::string_view input(reinterpret_cast<const char*>(data + 1), size - 1);
    ReportSource source;
    source.hostname = "mx.example";
    source.report_id = "R1";
    source.queue_id = "Q1";
    source.random = choice;
    source.smtputf8 = (choice & 1U) != 0;
    source.return_content = (choice & 2U) != 0 ? ReturnContent::full : ReturnContent::headers;
    source.sender = take(input);
    source.envelope_id = take(input);
    std::vector<ReportedRecipient> recipients((choice >> 5U) % 4 + 1);
    for (std::size_t index = 0; index < recipients.size(); ++index) {
        ReportedRecipient& recipient = recipients[index];
        recipient.mailbox = take(input).substr(0, 254);
        recipient.original_recipient = take(input).substr(0, 500);
        recipient.diagnostic = take(input);
        recipient.explanation = take(input);
        recipient.remote_mta = take(input);
        recipient.action = static_cast<ReportAction>((choice + index) % 3);
        recipient.retried_until = ringmx::WallTime();
    }
    source.recipients = recipients;
    source.original.trace_field = "Received: from x\r\n\tby y; date\r\n";
    source.original.content = ringmx::as_bytes(input);
    source.original.form = (choice & 4U) != 0 ? ContentForm::dot_stuffed : ContentForm::raw;
    source.original.is_whole = (choice & 8U) != 0;
    if (!source.sender.empty() && source.sender.size() <= 254 && source.envelope_id.size() <= 100) {
        check(make_report(source));
    }
    return 0;
}
