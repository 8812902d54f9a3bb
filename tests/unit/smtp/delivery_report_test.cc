// Reports word for word (tests/golden/report, which test_reports.py reads as a
// mail program would), and what makes one differ from another.
#include "smtp/delivery_report.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <gtest/gtest.h>
#include <iterator>
#include <map>
#include <vector>

namespace ringmx::smtp {
namespace {

using std::chrono::seconds;

// 2026-11-23 09:41:22 +0000, and some time later.
WallTime at(int seconds_later = 0) { return WallTime(seconds(1795426882 + seconds_later)); }

struct Case {
    ReportSource source;
    std::vector<ReportedRecipient> recipients;
    std::string content = "Subject: Hello\r\nFrom: \"A\" <a@sender.example>\r\n"
                          "X-Folded: one\r\n\ttwo\r\n\r\nThe body.\r\n";

    Case() {
        source.hostname = "mx1.example.com";
        source.report_id = "4Zx9";
        source.random = 0x1234;
        source.made_at = at(3600);
        source.sender = "a@sender.example";
        source.queue_id = "4Zx7";
        source.arrived_at = at();
        source.original.trace_field = "Received: from client.example ([192.0.2.1])\r\n"
                                      "\tby mx1.example.com (ringmx) with ESMTP id 4Zx7; "
                                      "Mon, 23 Nov 2026 09:41:22 +0000\r\n";
        source.original.is_whole = true;
    }
    ReportedRecipient& add(std::string_view mailbox, ReportAction action = ReportAction::failed) {
        recipients.emplace_back();
        recipients.back().mailbox = mailbox;
        recipients.back().action = action;
        return recipients.back();
    }
    DeliveryReport report() {
        source.recipients = recipients;
        source.original.content = as_bytes(content);
        return make_report(source);
    }
    std::string text() { return report().message; }
};

void expect_has(const std::string& text, std::string_view part, bool has = true) {
    EXPECT_EQ(text.find(part) != std::string::npos, has) << part << "\n" << text;
}

Case failed() {
    Case made;
    made.source.envelope_id = "QQ314159+2Bx";
    ReportedRecipient& unknown = made.add("user@example.com");
    unknown.original_recipient = "rfc822;Old+2BName@example.com";
    unknown.status = {5, 1, 1};
    unknown.diagnostic = "550-5.1.1 There is no such user here. Addresses are kept for a year "
                         "after "
                         "somebody\n550 5.1.1 has left, then mail to them is refused.";
    unknown.remote_mta = "store1.example.com";
    unknown.last_attempt = at(60);
    ReportedRecipient& expired = made.add("\"two words\"@example.com");
    expired.status = {4, 4, 7};
    expired.explanation = "No server took the message within 4 days.";
    return made;
}

Case delayed() {
    Case made;
    ReportedRecipient& recipient = made.add("user@example.com", ReportAction::delayed);
    recipient.diagnostic = "451 4.3.0 Try again later";
    recipient.status = {4, 3, 0};
    recipient.retried_until = at(4 * 86400);
    return made;
}

Case mixed() {
    Case made;
    made.source.return_content = ReturnContent::full;
    made.add("relayed@example.com", ReportAction::relayed).remote_mta = "old.example.com";
    made.add("failed@example.com").diagnostic = "550 No";
    return made;
}

Case international() {
    Case made;
    made.source.smtputf8 = true;
    made.source.sender = "j\xc3\xbcrgen@b\xc3\xbc"
                         "cher.example";
    made.content = "Subject: Gr\xc3\xbc\xc3\x9f"
                   "e\r\n\r\nx\r\n";
    ReportedRecipient& recipient = made.add("r\xc3\xa9my@example.com");
    recipient.original_recipient = "utf-8;ren\xc3\xa9@example.com";
    recipient.diagnostic = "550 5.1.1 Personne de ce nom \xc3\xa0 cette adresse";
    recipient.status = {5, 1, 1};
    made.add("plain@example.com").original_recipient = "utf-8;j\\x{FC}rgen@example.com";
    return made;
}

Case hostile() {
    Case made;
    made.source.envelope_id = "a+0D+0AX-Forged:+20yes";
    made.source.return_content = ReturnContent::full;
    made.content = "Subject: x\r\n--=_ringmx-0000000000001234--\r\n\r\n"
                   "--=_ringmx-0000000000001234\r\nContent-Type: text/html\r\n\r\nforged\r\n"
                   "--=_ringmx-0000000000001235--\r\n";
    ReportedRecipient& recipient = made.add("\"a\r\n\r\nX-Forged: yes\"@example.com");
    recipient.original_recipient = "rfc822;u\r\nX-Forged: yes\r\n\r\n--=_ringmx-0000000000001234";
    recipient.diagnostic = "550 no\r\nX-Forged: "
                           "yes\r\n\r\n--=_ringmx-0000000000001234\r\n\nFinal-Recipient: "
                           "rfc822; forged@example.com\n\xff\x80\x1b[31m";
    recipient.remote_mta = "a\r\nX-Forged: yes";
    return made;
}

TEST(DeliveryReportTest, ReadsAsKept) {
    std::map<std::string, Case> cases = {{"failed", failed()},
                                         {"delayed", delayed()},
                                         {"mixed", mixed()},
                                         {"international", international()},
                                         {"hostile", hostile()}};
    for (auto& [name, made] : cases) {
        std::ifstream file(RINGMX_GOLDEN_REPORTS "/" + name + ".eml", std::ios::binary);
        const std::string kept(std::istreambuf_iterator<char>(file), {});
        EXPECT_EQ(made.text(), kept) << name;
    }
}

TEST(DeliveryReportTest, ARemoteMtaMayBeAnAddress) {
    Case made = failed();
    made.recipients[0].remote_mta = "192.0.2.1";
    EXPECT_NE(made.text().find("\r\nRemote-MTA: dns; [192.0.2.1]\r\n"), std::string::npos);
    made.recipients[0].remote_mta = "2001:db8::1";
    EXPECT_NE(made.text().find("\r\nRemote-MTA: dns; [IPv6:2001:db8::1]\r\n"), std::string::npos);
}

TEST(DeliveryReportTest, TheWholeMessageGoesBackWhereRetAsksForItAndSomethingFailed) {
    Case made = failed();
    made.source.return_content = ReturnContent::full;
    const std::string whole = made.text();
    expect_has(whole, "Content-Type: message/rfc822\r\n");
    expect_has(whole, "\r\n\r\nThe body.\r\n\r\n--=_ringmx");
    for (const ReturnContent other : {ReturnContent::unstated, ReturnContent::headers}) {
        made.source.return_content = other;
        const std::string header = made.text();
        expect_has(header, "Content-Type: text/rfc822-headers\r\n");
        expect_has(header, "\r\nX-Folded: one\r\n\ttwo\r\n\r\n--=_ringmx");
        expect_has(header, "The body.", false);
    }
    made.source.return_content = ReturnContent::full;
    for (ReportedRecipient& recipient : made.recipients) {
        recipient.action = ReportAction::relayed;
    }
    expect_has(made.text(), "The body.", false);
}

TEST(DeliveryReportTest, ALargeOrUnusableMessageIsReturnedAsItsHeader) {
    const std::string header = "Subject: x\r\n\r\n";
    const std::string lines(700, 'y');
    std::string large = header;
    while (large.size() <= returned_bytes_max) {
        large += lines + "\r\n";
    }
    for (const std::string& content :
         {large, header + std::string(999, 'y') + "\r\n", header + std::string("a\0b\r\n", 5),
          header + "a\nb\r\n", header + "a\rb\r\n"}) {
        Case made = failed();
        made.source.return_content = ReturnContent::full;
        made.content = content;
        const std::string text = made.text();
        expect_has(text, "text/rfc822-headers\r\n");
        expect_has(text, "\r\nSubject: x\r\n\r\n--=_ringmx");
    }
    Case made = failed();
    made.source.return_content = ReturnContent::full;
    made.content = header + std::string(998, 'y') + "\r\n";
    expect_has(made.text(), "message/rfc822\r\n");
    made.source.original.is_whole = false;
    expect_has(made.text(), "text/rfc822-headers\r\n");
}

TEST(DeliveryReportTest, AStuffedOriginalIsReturnedUnstuffed) {
    Case made = failed();
    made.source.return_content = ReturnContent::full;
    made.source.original.form = ContentForm::dot_stuffed;
    made.content = "Subject: x\r\n\r\n..dot\r\n...\r\n";
    expect_has(made.text(), "Subject: x\r\n\r\n.dot\r\n..\r\n\r\n--=_ringmx");
}

TEST(DeliveryReportTest, AHeaderEndsWhereItsLinesDo) {
    Case made = failed();
    for (const std::string body : {"secret", "not a field: secret", " : secret", ": secret"}) {
        made.content = "Subject: x\r\n" + body + "\r\nB: secret\r\n\r\n";
        expect_has(made.text(), "secret", body.starts_with(' '));
    }
    made.content = "no header: secret\r\n";
    expect_has(made.text(), "secret", false);
    made.content = "Old : style\r\nSubject: cut in two by what was re";
    expect_has(made.text(), "Old : style\r\nSubject: cut");
    made.source.original.is_whole = false;
    expect_has(made.text(), "Old : style\r\n\r\n--=_ringmx");
}

TEST(DeliveryReportTest, LongHeaderLinesAreFoldedAndLongHeadersCut) {
    Case made = failed();
    made.content = "A: " + std::string(2000, 'y') + "\r\nB: z\r\n\r\n";
    const std::string text = made.text();
    expect_has(text, "\r\nA: " + std::string(995, 'y') + "\r\n " + std::string(997, 'y') + "\r\n " +
                         std::string(8, 'y') + "\r\nB: z\r\n");
    made.content.clear();
    while (made.content.size() < 2 * returned_bytes_max) {
        made.content += "X: " + std::string(500, 'y') + "\r\n";
    }
    EXPECT_LT(made.text().size(), returned_bytes_max + 4096);
}

TEST(DeliveryReportTest, EightBitIsSaidWhereItIs) {
    Case made = failed();
    DeliveryReport report = made.report();
    EXPECT_FALSE(report.has_eight_bit);
    EXPECT_FALSE(report.needs_smtputf8);
    expect_has(report.message, "8bit", false);

    made.content = "Subject: \xff\r\n\r\n";
    report = made.report();
    EXPECT_TRUE(report.has_eight_bit);
    EXPECT_FALSE(report.needs_smtputf8);
    expect_has(report.message, "Content-Type: text/rfc822-headers\r\n"
                               "Content-Transfer-Encoding: 8bit\r\n");
    expect_has(report.message, "Content-Type: message/delivery-status\r\n"
                               "Content-Transfer-Encoding: 7bit\r\n");

    // SMTPUTF8 alone changes nothing: only what is there does.
    made.source.smtputf8 = true;
    made.content = "Subject: x\r\n\r\n";
    expect_has(made.text(), "global", false);
    report = international().report();
    EXPECT_TRUE(report.needs_smtputf8);
}

TEST(DeliveryReportTest, AReplyInAnotherCharacterSetDoesNotSpoilAFieldOfAscii) {
    Case made = failed();
    made.recipients[0].diagnostic = "550 5.1.1 \xc3\xa0 la carte";
    const std::string text = made.text();
    expect_has(text, "        550 5.1.1 \xc3\xa0 la carte\r\n");
    expect_has(text, "Diagnostic-Code: smtp; 550 5.1.1 ?? la carte\r\n");
}

TEST(DeliveryReportTest, ABoundaryThatIsInTheMessageIsNotTaken) {
    Case made = failed();
    made.content = "Subject: =_ringmx-0000000000001234\r\nX: "
                   "=_ringmx-0000000000001235\r\n\r\n";
    expect_has(made.text(), "boundary=\"=_ringmx-0000000000001236\"");
}

TEST(DeliveryReportTest, LongRepliesAreCutAndLongWordsFolded) {
    Case made = failed();
    const std::string reply = "550 " + std::string(5000, 'x');
    made.recipients[0].diagnostic = reply;
    for (const std::string indent : {"    ", "        "}) { // of the field, and in words
        std::string folded = "550";
        for (const std::size_t bytes : {400U, 400U, 196U}) {
            folded += "\r\n" + indent + std::string(bytes, 'x');
        }
        expect_has(made.text(), folded + "\r\n");
    }
}

TEST(DeliveryReportTest, WhoWantsAReport) {
    using enum ReportAction;
    for (const ReportAction action : {failed, delayed, relayed}) {
        EXPECT_FALSE(wants_report(action, notify_never, "a@b.example"));
        for (std::uint8_t notify = 0; notify < 16; ++notify) {
            EXPECT_FALSE(wants_report(action, notify, "")) << "the null sender";
        }
        EXPECT_TRUE(wants_report(action, 14, "a@b.example"));
    }
    EXPECT_TRUE(wants_report(failed, 0, "a@b.example"));
    EXPECT_FALSE(wants_report(delayed, 0, "a@b.example"));
    EXPECT_FALSE(wants_report(relayed, 0, "a@b.example"));
    EXPECT_TRUE(wants_report(failed, notify_failure, "a@b.example"));
    EXPECT_FALSE(wants_report(failed, notify_success | notify_delay, "a@b.example"));
    EXPECT_TRUE(wants_report(delayed, notify_delay, "a@b.example"));
    EXPECT_FALSE(wants_report(delayed, notify_success | notify_failure, "a@b.example"));
    EXPECT_TRUE(wants_report(relayed, notify_success, "a@b.example"));
    EXPECT_FALSE(wants_report(relayed, notify_failure | notify_delay, "a@b.example"));
}

} // namespace
} // namespace ringmx::smtp
