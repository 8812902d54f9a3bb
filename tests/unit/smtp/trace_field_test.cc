#include "smtp/trace_field.h"

#include <chrono>
#include <gtest/gtest.h>

namespace ringmx::smtp {
namespace {

using std::chrono::seconds;

TraceSource ordinary() {
    TraceSource source;
    source.hello_name = "client.example";
    source.client_ip = IpAddress::parse("192.0.2.1");
    source.hostname = "mx1.example.com";
    source.id = "4Zx7";
    source.recipient = "user@example.com";
    source.received_at = WallTime(seconds(1795426882)); // 2026-11-23 09:41:22
    source.esmtp = true;
    return source;
}

std::string field(const TraceSource& source) {
    std::string out;
    append_trace_field(out, source);
    return out;
}

std::string date(std::int64_t unix_seconds) {
    std::string out;
    append_date(out, WallTime(seconds(unix_seconds)));
    return out;
}

TEST(TraceFieldTest, OrdinaryField) {
    EXPECT_EQ(field(ordinary()), "Received: from client.example ([192.0.2.1])\r\n"
                                 "\tby mx1.example.com (ringmx) with ESMTP id 4Zx7\r\n"
                                 "\tfor <user@example.com>; "
                                 "Mon, 23 Nov 2026 09:41:22 +0000\r\n");
}

TEST(TraceFieldTest, WithoutRecipientTheClauseIsLeftOut) {
    TraceSource source = ordinary();
    source.recipient = {};
    EXPECT_NE(field(source).find(" id 4Zx7; Mon, "), std::string::npos);
}

TEST(TraceFieldTest, V6AndUnixClients) {
    TraceSource source = ordinary();
    source.client_ip = IpAddress::parse("2001:db8::1");
    EXPECT_TRUE(
        field(source).starts_with("Received: from client.example ([IPv6:2001:db8::1])\r\n"));
    source.client_ip.reset();
    EXPECT_TRUE(field(source).starts_with("Received: from client.example\r\n"));
}

TEST(TraceFieldTest, EmptyLineFollowsBeforeLeadingBlank) {
    TraceSource source = ordinary();
    source.content_starts_with_space = true;
    EXPECT_TRUE(field(source).ends_with(" +0000\r\n\r\n"));
}

TEST(TraceFieldTest, HelloNameCanNotForgeTheField) {
    TraceSource source = ordinary();
    source.hello_name = "a.example (b [192.0.2.9]); x\r\nX-Evil: \"y\" <z@\xc3\xbc>\x7f";
    EXPECT_TRUE(field(source).starts_with("Received: from a.example??b?[192.0.2.9]???x??X-Evil:"
                                          "??y???z?????"
                                          " ([192.0.2.1])\r\n\tby "))
        << field(source);
    source.hello_name = "[x:(evil);]";
    EXPECT_TRUE(field(source).starts_with("Received: from [x:?evil??] ([192.0.2.1])\r\n"));
    source.hello_name = {};
    EXPECT_TRUE(field(source).starts_with("Received: from unknown ([192.0.2.1])\r\n"));
}

TEST(TraceFieldTest, RecipientIsAsciiUnlessSmtputf8) {
    TraceSource source = ordinary();
    source.recipient = "\xc3\xbc@example.com";
    EXPECT_NE(field(source).find("for <??@example.com>"), std::string::npos);
    source.smtputf8 = true;
    EXPECT_NE(field(source).find("for <\xc3\xbc@example.com>"), std::string::npos);
    source.recipient = "\"a\r\nb\"@example.com";
    EXPECT_NE(field(source).find("for <\"a??b\"@example.com>"), std::string::npos);
}

TEST(TraceFieldTest, LinesStayInBounds) {
    const std::string endless(5000, 'x');
    TraceSource source = ordinary();
    source.hello_name = source.hostname = source.id = source.recipient = endless;
    const std::string out = field(source);
    EXPECT_EQ(out.find("for <"), std::string::npos);
    for (std::size_t at = 0; at < out.size();) {
        const std::size_t end = out.find("\r\n", at);
        ASSERT_NE(end, std::string::npos);
        EXPECT_LE(end - at, trace_line_bytes_max);
        at = end + 2;
    }
}

TEST(TraceFieldTest, TransmissionTypes) {
    TraceSource source;
    EXPECT_EQ(transmission_type(source), "SMTP");
    source.esmtp = true;
    EXPECT_EQ(transmission_type(source), "ESMTP");
    source.tls = true;
    EXPECT_EQ(transmission_type(source), "ESMTPS");
    source.authenticated = true;
    EXPECT_EQ(transmission_type(source), "ESMTPSA");
    source.smtputf8 = true;
    EXPECT_EQ(transmission_type(source), "UTF8SMTPSA");
    source.lmtp = true;
    source.authenticated = false;
    EXPECT_EQ(transmission_type(source), "UTF8LMTPS");
    source.smtputf8 = source.tls = false;
    EXPECT_EQ(transmission_type(source), "LMTP");
}

TEST(TraceFieldTest, Dates) {
    EXPECT_EQ(date(0), "Thu, 01 Jan 1970 00:00:00 +0000");
    EXPECT_EQ(date(951'782'399), "Mon, 28 Feb 2000 23:59:59 +0000");
    EXPECT_EQ(date(951'782'400), "Tue, 29 Feb 2000 00:00:00 +0000");
    EXPECT_EQ(date(1'767'225'599), "Wed, 31 Dec 2025 23:59:59 +0000");
    EXPECT_EQ(date(-1), "Wed, 31 Dec 1969 23:59:59 +0000");
}

} // namespace
} // namespace ringmx::smtp
