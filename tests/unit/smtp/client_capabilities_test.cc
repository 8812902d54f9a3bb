#include "smtp/client_session.h"

#include <gtest/gtest.h>
#include <string>

namespace ringmx::smtp {
namespace {

// A session that has been greeted and got this reply to its EHLO.
ClientSession session_after(const std::string& ehlo_reply) {
    ClientSession session("mx1.example", false);
    const std::string greeting = "220 backend\r\n";
    EXPECT_EQ(session.receive(as_bytes(greeting)).event, ClientEvent::need_input);
    EXPECT_EQ(session.receive(as_bytes(ehlo_reply)).event, ClientEvent::ready);
    session.output().clear();
    return session;
}

TEST(ClientCapabilities, EveryKnownKeywordIsFoundWhateverItsCase) {
    const ClientSession session = session_after("250-backend greets you\r\n"
                                                "250-PIPELINING\r\n"
                                                "250-chunking\r\n"
                                                "250-8bitMIME\r\n"
                                                "250-smtputf8\r\n"
                                                "250-SIZE 52428800\r\n"
                                                "250-EnhancedStatusCodes\r\n"
                                                "250-STARTTLS\r\n"
                                                "250-XCLIENT NAME ADDR\r\n"
                                                "250-XFORWARD NAME ADDR\r\n"
                                                "250-AUTH=PLAIN\r\n"
                                                "250 DSN\r\n");
    const Capabilities& offered = session.capabilities();
    EXPECT_TRUE(offered.esmtp);
    EXPECT_TRUE(offered.pipelining);
    EXPECT_TRUE(offered.chunking);
    EXPECT_TRUE(offered.eight_bit_mime);
    EXPECT_TRUE(offered.smtputf8);
    EXPECT_TRUE(offered.size);
    EXPECT_EQ(offered.size_bytes_max, 52428800U);
    EXPECT_TRUE(offered.enhanced_status_codes);
    EXPECT_TRUE(offered.starttls);
    EXPECT_TRUE(offered.xclient);
    EXPECT_TRUE(offered.xforward);
    EXPECT_TRUE(offered.dsn);
}

TEST(ClientCapabilities, TheGreetingLineIsNoKeyword) {
    const ClientSession session = session_after("250 PIPELINING\r\n");
    EXPECT_TRUE(session.capabilities().esmtp);
    EXPECT_FALSE(session.capabilities().pipelining);
}

TEST(ClientCapabilities, AKeywordIsTakenWholeOnly) {
    const ClientSession session =
        session_after("250-b\r\n250-PIPELINING2\r\n250-XCHUNKING\r\n250- DSN\r\n250 SIZ\r\n");
    EXPECT_FALSE(session.capabilities().pipelining);
    EXPECT_FALSE(session.capabilities().chunking);
    EXPECT_FALSE(session.capabilities().dsn);
    EXPECT_FALSE(session.capabilities().size);
}

TEST(ClientCapabilities, ASizeThatCannotBeReadStatesNone) {
    for (const std::string value : {"SIZE", "SIZE ", "SIZE x", "SIZE 12x", "SIZE -1",
                                    "SIZE 99999999999999999999", "SIZE 0"}) {
        const ClientSession session = session_after("250-b\r\n250 " + value + "\r\n");
        EXPECT_TRUE(session.capabilities().size) << value;
        EXPECT_EQ(session.capabilities().size_bytes_max, 0U) << value;
    }
    const ClientSession session = session_after("250-b\r\n250 size 18446744073709551615 x\r\n");
    EXPECT_EQ(session.capabilities().size_bytes_max, 18446744073709551615U);
}

TEST(ClientCapabilities, MailParametersGoOutOnlyWhereOffered) {
    MailCommand command;
    command.reverse_path = "a@b.example";
    command.declared_size_bytes = 10;
    command.body = BodyType::eight_bit_mime;
    command.smtputf8 = true;
    ClientSession bare = session_after("250 b\r\n");
    bare.mail(command, 1234);
    EXPECT_EQ(bare.output(), "MAIL FROM:<a@b.example>\r\n");

    ClientSession full = session_after("250-b\r\n250-SIZE\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n");
    full.mail(command, 1234);
    EXPECT_EQ(full.output(), "MAIL FROM:<a@b.example> SIZE=1234 BODY=8BITMIME SMTPUTF8\r\n");
}

TEST(ClientCapabilities, ReportParametersGoOutOnlyWhereOffered) {
    MailCommand mail;
    mail.return_content = ReturnContent::full;
    mail.envelope_id = "QQ+2B1";
    const RecipientParameters all{notify_success | notify_failure | notify_delay,
                                  "rfc822;a+2B@b.example"};
    ClientSession bare = session_after("250 b\r\n");
    bare.mail(mail, 0);
    bare.recipient("a@b.example", all);
    EXPECT_EQ(bare.output(), "MAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\n");

    ClientSession full = session_after("250-b\r\n250 DSN\r\n");
    full.mail(mail, 0);
    mail.return_content = ReturnContent::headers;
    mail.envelope_id.clear();
    full.mail(mail, 0);
    full.recipient("a@b.example", all);
    full.recipient("a@b.example", {notify_never, {}});
    full.recipient("a@b.example", {notify_delay, {}});
    full.recipient("a@b.example", {0, "rfc822;x"});
    full.recipient("a@b.example");
    EXPECT_EQ(full.output(), "MAIL FROM:<> RET=FULL ENVID=QQ+2B1\r\n"
                             "MAIL FROM:<> RET=HDRS\r\n"
                             "RCPT TO:<a@b.example> NOTIFY=SUCCESS,FAILURE,DELAY "
                             "ORCPT=rfc822;a+2B@b.example\r\n"
                             "RCPT TO:<a@b.example> NOTIFY=NEVER\r\n"
                             "RCPT TO:<a@b.example> NOTIFY=DELAY\r\n"
                             "RCPT TO:<a@b.example> ORCPT=rfc822;x\r\n"
                             "RCPT TO:<a@b.example>\r\n");
}

TEST(ClientCapabilities, AnOriginalRecipientInUtf8GoesOutInAsciiWhereTheBackendLacksSmtputf8) {
    ClientSession without = session_after("250-b\r\n250 DSN\r\n");
    without.recipient("a@b.example", {0, "utf-8;\xc3\xbc"});
    EXPECT_EQ(without.output(), "RCPT TO:<a@b.example> ORCPT=utf-8;\\x{FC}\r\n");
    ClientSession with = session_after("250-b\r\n250-SMTPUTF8\r\n250 DSN\r\n");
    with.recipient("a@b.example", {0, "utf-8;\xc3\xbc"});
    EXPECT_EQ(with.output(), "RCPT TO:<a@b.example> ORCPT=utf-8;\xc3\xbc\r\n");

    std::string longest = "utf-8;";
    while (longest.size() < 500) {
        longest += "\xc3\xbc";
    }
    without.output().clear();
    without.recipient("a@b.example", {notify_delay, longest});
    EXPECT_EQ(without.output(), "RCPT TO:<a@b.example> NOTIFY=DELAY\r\n");
}

TEST(ClientCapabilities, WhatTheClientDidNotSayIsNotSaid) {
    ClientSession session =
        session_after("250-b\r\n250-SIZE 1\r\n250-8BITMIME\r\n250-DSN\r\n250 SMTPUTF8\r\n");
    MailCommand command;
    session.mail(command, 0);
    command.body = BodyType::seven_bit;
    session.mail(command, 18446744073709551615U);
    EXPECT_EQ(session.output(), "MAIL FROM:<>\r\nMAIL FROM:<> SIZE=18446744073709551615\r\n");
}

} // namespace
} // namespace ringmx::smtp
