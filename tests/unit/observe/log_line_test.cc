// Golden lines: every event in both formats, and hostile text in every field that the network can
// fill.
#include "observe/log_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <string>

namespace ringmx::observe {
namespace {

constexpr WallTime when(1'704'164'645s +
                        std::chrono::microseconds(7)); // 2024-01-02T03:04:05.000007Z
constexpr std::string_view prefix = "ringmx/smtpd[42]: ";

LogRecord of(LogEvent event) {
    LogRecord record;
    record.clear(event, default_level(event), when);
    return record;
}

LogRecord from_client(LogEvent event) {
    LogRecord record = of(event);
    record.client(IpAddress::v4(0xC0000201), 4711);
    return record;
}

std::string text(const LogRecord& record) {
    fmt::memory_buffer out;
    append_text_line(out, record, "ringmx/smtpd", 42);
    const std::string line = fmt::to_string(out);
    EXPECT_TRUE(line.starts_with(prefix)) << line;
    EXPECT_TRUE(line.ends_with('\n'));
    EXPECT_EQ(line.find('\n'), line.size() - 1);
    return line.substr(prefix.size(), line.size() - prefix.size() - 1);
}

std::string json(const LogRecord& record) {
    fmt::memory_buffer out;
    append_json_line(out, record, 42);
    std::string line = fmt::to_string(out);
    EXPECT_TRUE(line.ends_with("}\n"));
    EXPECT_EQ(line.find('\n'), line.size() - 1);
    line.pop_back();
    return line;
}

// What every JSON line of the given event begins with.
std::string head(std::string_view level, std::string_view event) {
    return fmt::format(
        "{{\"time\":\"2024-01-02T03:04:05.000007Z\",\"level\":\"{}\",\"event\":\"{}\",\"pid\":42",
        level, event);
}

const std::string client_json = ",\"client\":\"192.0.2.1\",\"client_port\":4711";

TEST(LogLine, TheProcess) {
    LogRecord record = of(LogEvent::start);
    record.detail("ringmx 0.1.0");
    EXPECT_EQ(text(record), "starting: ringmx 0.1.0");
    EXPECT_EQ(json(record), head("info", "start") + ",\"detail\":\"ringmx 0.1.0\"}");

    record = of(LogEvent::listening);
    record.address("127.0.0.1:2525").detail("smtp");
    EXPECT_EQ(text(record), "listening on 127.0.0.1:2525: smtp");
    EXPECT_EQ(json(record),
              head("info", "listening") + ",\"address\":\"127.0.0.1:2525\",\"detail\":\"smtp\"}");

    EXPECT_EQ(text(of(LogEvent::ready)), "ready");
    EXPECT_EQ(json(of(LogEvent::ready)), head("info", "ready") + "}");
    EXPECT_EQ(text(of(LogEvent::reloaded)), "configuration reloaded");
    EXPECT_EQ(json(of(LogEvent::reloaded)), head("info", "reloaded") + "}");
    EXPECT_EQ(text(of(LogEvent::drain_begin)), "draining");
    EXPECT_EQ(json(of(LogEvent::drain_begin)), head("info", "drain_begin") + "}");
    EXPECT_EQ(text(of(LogEvent::drain_end)), "drained");
    EXPECT_EQ(json(of(LogEvent::drain_end)), head("info", "drain_end") + "}");
    EXPECT_EQ(text(of(LogEvent::stopped)), "stopped");
    EXPECT_EQ(json(of(LogEvent::stopped)), head("info", "stopped") + "}");

    record = of(LogEvent::reload_failed);
    record.detail("/pools: unknown key");
    EXPECT_EQ(text(record),
              "error: configuration not reloaded, the old one stays: /pools: unknown key");
    EXPECT_EQ(json(record),
              head("error", "reload_failed") + ",\"detail\":\"/pools: unknown key\"}");

    record = of(LogEvent::notice);
    record.detail("running as root");
    EXPECT_EQ(text(record), "running as root");
    record.clear(LogEvent::notice, LogLevel::warning, when);
    record.detail("running as root");
    EXPECT_EQ(text(record), "warning: running as root");
    EXPECT_EQ(json(record), head("warning", "notice") + ",\"detail\":\"running as root\"}");
}

TEST(LogLine, ConnectionsOfClients) {
    LogRecord record = from_client(LogEvent::connect);
    EXPECT_EQ(text(record), "connect from unknown[192.0.2.1]");
    EXPECT_EQ(json(record), head("debug", "connect") + client_json + "}");

    record = from_client(LogEvent::disconnect);
    record.detail("ehlo=1 mail=1 rcpt=1 data=1 quit=1 commands=5");
    EXPECT_EQ(text(record),
              "disconnect from unknown[192.0.2.1] ehlo=1 mail=1 rcpt=1 data=1 quit=1 commands=5");
    EXPECT_EQ(json(record), head("debug", "disconnect") + client_json +
                                ",\"detail\":\"ehlo=1 mail=1 rcpt=1 data=1 quit=1 commands=5\"}");

    record = from_client(LogEvent::lost_connection);
    record.after("DATA").size(1234);
    EXPECT_EQ(text(record), "lost connection after DATA (1234 bytes) from unknown[192.0.2.1]");
    EXPECT_EQ(json(record),
              head("info", "lost_connection") + client_json + ",\"size\":1234,\"after\":\"DATA\"}");
    EXPECT_EQ(text(from_client(LogEvent::lost_connection)),
              "lost connection after CONNECT from unknown[192.0.2.1]");

    record = from_client(LogEvent::timeout);
    record.after("RCPT");
    EXPECT_EQ(text(record), "timeout after RCPT from unknown[192.0.2.1]");
    EXPECT_EQ(json(record), head("info", "timeout") + client_json + ",\"after\":\"RCPT\"}");

    record = from_client(LogEvent::too_slow);
    record.after("DATA").size(9);
    EXPECT_EQ(text(record), "too slow after DATA (9 bytes) from unknown[192.0.2.1]");
    EXPECT_EQ(json(record),
              head("info", "too_slow") + client_json + ",\"size\":9,\"after\":\"DATA\"}");

    record = from_client(LogEvent::too_many_errors);
    record.after("RCPT");
    EXPECT_EQ(text(record), "too many errors after RCPT from unknown[192.0.2.1]");
    EXPECT_EQ(json(record), head("info", "too_many_errors") + client_json + ",\"after\":\"RCPT\"}");

    record = from_client(LogEvent::early_talker);
    record.size(11);
    EXPECT_EQ(text(record), "PREGREET 11 after 0 from unknown[192.0.2.1]");
    EXPECT_EQ(json(record), head("info", "early_talker") + client_json + ",\"size\":11}");

    record = from_client(LogEvent::proxy_fault);
    record.detail("no header within 5s");
    EXPECT_EQ(text(record),
              "warning: haproxy protocol fault from unknown[192.0.2.1]: no header within 5s");
    EXPECT_EQ(json(record), head("warning", "proxy_fault") + client_json +
                                ",\"detail\":\"no header within 5s\"}");
}

TEST(LogLine, AClientOverIpv6) {
    LogRecord record = of(LogEvent::connect);
    record.client(*IpAddress::parse("2001:db8::1"), 25);
    EXPECT_EQ(text(record), "connect from unknown[2001:db8::1]");
    EXPECT_EQ(json(record),
              head("debug", "connect") + ",\"client\":\"2001:db8::1\",\"client_port\":25}");
}

TEST(LogLine, WhatNoClientSentHasNone) {
    LogRecord record = of(LogEvent::delivered);
    record.client(IpAddress{}, 0).recipient("a@b.example");
    EXPECT_EQ(json(record).find("client"), std::string::npos) << json(record);
    EXPECT_EQ(text(record).find("::"), std::string::npos) << text(record);
}

TEST(LogLine, Limits) {
    const auto check = [](LogEvent event, std::string_view words) {
        LogRecord record = from_client(event);
        record.count(61);
        EXPECT_EQ(
            text(record),
            fmt::format("warning: {} limit exceeded: 61 from unknown[192.0.2.1] for service smtp",
                        words));
        EXPECT_EQ(json(record), head("warning", name_of(event)) + client_json + ",\"count\":61}");
    };
    check(LogEvent::connections_limit, "Connection concurrency");
    check(LogEvent::connection_rate, "Connection rate");
    check(LogEvent::message_rate, "Message delivery request rate");
    check(LogEvent::recipient_rate, "Recipient address rate");
    check(LogEvent::connections_full, "Total connections");
}

LogRecord rejected(LogEvent event) {
    LogRecord record = from_client(event);
    record.sender("a@b.example")
        .recipient("user@x.example")
        .protocol("ESMTP")
        .hello("mail.example");
    return record;
}

TEST(LogLine, ARecipientWithoutARouteReadsAsPostfixsRelayAccessDenied) {
    LogRecord record = rejected(LogEvent::recipient_rejected);
    record.reason("no_route").reply({550, 5, 7, 1, "Relay access denied"});
    EXPECT_EQ(
        text(record),
        "NOQUEUE: reject: RCPT from unknown[192.0.2.1]: 550 5.7.1 <user@x.example>: Relay access "
        "denied; from=<a@b.example> to=<user@x.example> proto=ESMTP helo=<mail.example>");
    EXPECT_EQ(
        json(record),
        head("info", "recipient_rejected") + client_json +
            ",\"hello\":\"mail.example\",\"protocol\":\"ESMTP\",\"sender\":\"a@b.example\","
            "\"recipient\":\"user@x.example\",\"reply_code\":550,\"reply_enhanced\":\"5.7.1\","
            "\"reply\":\"Relay access denied\",\"reason\":\"no_route\"}");

    record = rejected(LogEvent::recipient_rejected);
    record.reason("no_route").reply({550, 5, 7, 1, "We do not take mail for it"});
    EXPECT_EQ(
        text(record),
        "NOQUEUE: reject: RCPT from unknown[192.0.2.1]: 550 5.7.1 <user@x.example>: Relay access "
        "denied: We do not take mail for it; from=<a@b.example> to=<user@x.example> "
        "proto=ESMTP helo=<mail.example>");
}

TEST(LogLine, AnUnknownRecipientReadsAsPostfixsUserUnknown) {
    LogRecord record = rejected(LogEvent::recipient_rejected);
    record.reason("unknown_recipient").reply({550, 5, 1, 1, "No such user here"});
    EXPECT_EQ(
        text(record),
        "NOQUEUE: reject: RCPT from unknown[192.0.2.1]: 550 5.1.1 <user@x.example>: Recipient "
        "address rejected: User unknown: No such user here; from=<a@b.example> "
        "to=<user@x.example> proto=ESMTP helo=<mail.example>");
}

TEST(LogLine, OtherRecipientsReadAsRecipientAddressRejected) {
    LogRecord record = rejected(LogEvent::recipient_rejected);
    record.reason("backend_unavailable").reply({451, 4, 4, 1, "No backend takes it now"});
    EXPECT_EQ(
        text(record),
        "NOQUEUE: reject: RCPT from unknown[192.0.2.1]: 451 4.4.1 <user@x.example>: Recipient "
        "address rejected: No backend takes it now; from=<a@b.example> to=<user@x.example> "
        "proto=ESMTP helo=<mail.example>");
}

TEST(LogLine, SendersAndMessagesThatAreRefused) {
    LogRecord record = from_client(LogEvent::sender_rejected);
    record.sender("a@b.example").hello("mail.example").reply({450, 4, 7, 1, "Too many messages"});
    EXPECT_EQ(text(record), "NOQUEUE: reject: MAIL from unknown[192.0.2.1]: 450 4.7.1 "
                            "Too many messages; from=<a@b.example> proto=SMTP helo=<mail.example>");
    EXPECT_EQ(json(record),
              head("info", "sender_rejected") + client_json +
                  ",\"hello\":\"mail.example\",\"sender\":\"a@b.example\",\"reply_code\":450,"
                  "\"reply_enhanced\":\"4.7.1\",\"reply\":\"Too many messages\"}");

    record = from_client(LogEvent::sender_rejected);
    record.sender("a b").reason("syntax").reply({501, 5, 1, 7, "Bad sender address syntax"});
    EXPECT_EQ(text(record), "NOQUEUE: reject: MAIL from unknown[192.0.2.1]: 501 5.1.7 <a b>: "
                            "Sender address rejected: Bad sender address syntax; from=<a b> "
                            "proto=SMTP");

    record = from_client(LogEvent::message_rejected);
    record.id("4X1").after("DATA").protocol("ESMTP").reply({451, 4, 3, 0, "Later"});
    EXPECT_EQ(text(record), "4X1: reject: DATA from unknown[192.0.2.1]: 451 4.3.0 Later; "
                            "proto=ESMTP");
    EXPECT_EQ(json(record), head("info", "message_rejected") + ",\"id\":\"4X1\"" + client_json +
                                ",\"protocol\":\"ESMTP\",\"after\":\"DATA\",\"reply_code\":451,"
                                "\"reply_enhanced\":\"4.3.0\",\"reply\":\"Later\"}");

    record = rejected(LogEvent::message_rejected);
    record.id("4X1").size(77).reason("bare_newline").reply({550, 5, 6, 0, "Bare newline"});
    EXPECT_EQ(text(record),
              "4X1: reject: END-OF-MESSAGE from unknown[192.0.2.1]: 550 5.6.0 Bare newline; "
              "from=<a@b.example> to=<user@x.example> proto=ESMTP helo=<mail.example> size=77");
    EXPECT_EQ(
        json(record),
        head("info", "message_rejected") + ",\"id\":\"4X1\"" + client_json +
            ",\"hello\":\"mail.example\",\"protocol\":\"ESMTP\",\"sender\":\"a@b.example\","
            "\"recipient\":\"user@x.example\",\"size\":77,\"reply_code\":550,"
            "\"reply_enhanced\":\"5.6.0\",\"reply\":\"Bare newline\",\"reason\":\"bare_newline\"}");
}

TEST(LogLine, AnAcceptedMessageHasAllThatTheContractAsksFor) {
    LogRecord record = from_client(LogEvent::accepted);
    record.worker(1).id("4X1").sender("a@b.example").recipients(2).size(1234).protocol("ESMTP");
    record.hello("mail.example").pool("store").backend("10.0.1.1:25");
    record.reply({250, 2, 0, 0, "Ok: queued as Z"}).duration(std::chrono::microseconds(1234));
    EXPECT_EQ(
        text(record),
        "4X1: client=unknown[192.0.2.1], from=<a@b.example>, size=1234, nrcpt=2, proto=ESMTP, "
        "helo=<mail.example>, tls=none, relay=10.0.1.1[10.0.1.1]:25, delay=0.001, "
        "reply=(250 2.0.0 Ok: queued as Z)");
    EXPECT_EQ(json(record),
              head("info", "accepted") + ",\"worker\":1,\"id\":\"4X1\"" + client_json +
                  ",\"hello\":\"mail.example\",\"protocol\":\"ESMTP\",\"tls\":\"none\","
                  "\"sender\":\"a@b.example\",\"recipients\":2,\"size\":1234,\"pool\":\"store\","
                  "\"backend\":\"10.0.1.1:25\","
                  "\"reply_code\":250,\"reply_enhanced\":\"2.0.0\",\"reply\":\"Ok: queued as Z\","
                  "\"duration_ms\":1.234}");
    record.tls("TLSv1.3");
    EXPECT_NE(text(record).find(", tls=TLSv1.3, "), std::string::npos);
}

TEST(LogLine, TheNullSenderIsAnEmptyPath) {
    LogRecord record = from_client(LogEvent::accepted);
    record.id("4X1").sender("");
    EXPECT_EQ(text(record), "4X1: client=unknown[192.0.2.1], from=<>, tls=none");
    EXPECT_EQ(json(record), head("info", "accepted") + ",\"id\":\"4X1\"" + client_json +
                                ",\"tls\":\"none\",\"sender\":\"\"}");
}

TEST(LogLine, Deliveries) {
    LogRecord record = of(LogEvent::delivered);
    record.id("4X1")
        .recipient("user@x.example")
        .backend("store1.example:25")
        .backend_address("10.0.1.1:25");
    record.duration(120ms).reply({250, 2, 0, 0, "Ok: queued as Z"});
    EXPECT_EQ(text(record),
              "4X1: to=<user@x.example>, relay=store1.example[10.0.1.1]:25, delay=0.120, "
              "delays=0/0/0/0.120, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as Z)");
    EXPECT_EQ(
        json(record),
        head("info", "delivered") +
            ",\"id\":\"4X1\",\"tls\":\"none\",\"recipient\":\"user@x.example\",\"backend\":"
            "\"store1.example:25\","
            "\"backend_address\":\"10.0.1.1:25\",\"reply_code\":250,\"reply_enhanced\":\"2.0.0\","
            "\"reply\":\"Ok: queued as Z\",\"duration_ms\":120.000}");

    record = of(LogEvent::delivered);
    record.id("4X1").recipient("user@x.example").backend("unix:/run/lmtp").duration(0s);
    record.reply({250, 0, 0, 0, "Ok"});
    EXPECT_EQ(text(record),
              "4X1: to=<user@x.example>, relay=unix:/run/lmtp, delay=0.000, delays=0/0/0/0.000, "
              "dsn=2.0.0, status=sent (250 Ok)");
}

TEST(LogLine, ADeliveryFromTheQueueTellsOfItsTimeThere) {
    LogRecord record = of(LogEvent::delivered);
    record.id("4X1").recipient("u@x").backend("h:25").duration(20ms).waited(15s);
    record.reply({250, 2, 0, 0, "Ok"});
    EXPECT_EQ(text(record), "4X1: to=<u@x>, relay=h[h]:25, delay=15.020, delays=15.000/0/0/0.020, "
                            "dsn=2.0.0, status=sent (250 2.0.0 Ok)");
    EXPECT_THAT(json(record), ::testing::HasSubstr("\"duration_ms\":20.000"));
}

TEST(LogLine, WhatWasNotDeliveredNamesTheBackendThatSaidSo) {
    LogRecord record = of(LogEvent::failed);
    record.id("4X1").recipient("u@x").duration(20ms).detail("550 5.1.1 no such user");
    EXPECT_EQ(text(record), "4X1: to=<u@x>, relay=none, delay=0.020, delays=0.020/0/0/0, "
                            "dsn=5.1.1, status=bounced (550 5.1.1 no such user)");
    record.pool("main").backend("h:25");
    EXPECT_THAT(text(record), ::testing::HasSubstr(", relay=h[h]:25, delay=0.020, "));
    EXPECT_THAT(json(record), ::testing::HasSubstr("\"backend\":\"h:25\""));
    EXPECT_THAT(json(record), ::testing::HasSubstr("\"pool\":\"main\""));
    record.reason("held");
    EXPECT_THAT(text(record), ::testing::HasSubstr(", status=held (550 5.1.1 no such user)"));
    EXPECT_THAT(json(record), ::testing::HasSubstr("\"reason\":\"held\""));
}

TEST(LogLine, ADeliveryToSeveralNamesThemAsFarAsThereIsRoom) {
    LogRecord record = from_client(LogEvent::delivered);
    record.id("4X1").sender("a@b.example").size(77).recipients(3).backend("h:25").duration(0s);
    record.reply({250, 2, 0, 0, "Ok"}).recipient("one@x");
    EXPECT_TRUE(record.add_recipient("two@x"));
    EXPECT_TRUE(record.add_recipient("\"th\xC2\x85ree\"@x"));
    EXPECT_EQ(text(record),
              "4X1: to=<one@x>, relay=h[h]:25, delay=0.000, delays=0/0/0/0.000, dsn=2.0.0, "
              "status=sent (250 2.0.0 Ok), nrcpt=3, also=<two@x>, also=<\"th\\xc2\\x85ree\"@x>");
    EXPECT_EQ(json(record), head("info", "delivered") + ",\"id\":\"4X1\"" + client_json +
                                ",\"tls\":\"none\",\"sender\":\"a@b.example\","
                                "\"recipient\":\"one@x\",\"more_recipients\":[\"two@x\","
                                "\"\\\"th\\u0085ree\\\"@x\"],\"recipients\":3,\"size\":77,"
                                "\"backend\":\"h:25\",\"reply_code\":250,\"reply_enhanced\":"
                                "\"2.0.0\",\"reply\":\"Ok\",\"duration_ms\":0.000}");
    record.recipients(1000);
    for (int number = 3; record.add_recipient("user" + std::to_string(number) + "@example.com");
         ++number) {
    }
    EXPECT_THAT(text(record), ::testing::HasSubstr(", nrcpt=1000, also=<two@x>, "));
    EXPECT_THAT(text(record), ::testing::EndsWith("@example.com>, ..."));
    EXPECT_THAT(json(record), ::testing::HasSubstr("@example.com\"],\"recipients\":1000,"));
}

TEST(LogLine, ARelayOverIpv6LosesTheBracketsOfItsAddress) {
    LogRecord record = of(LogEvent::delivered);
    record.id("4X1")
        .recipient("u@x")
        .backend("[2001:db8::1]:25")
        .duration(0s)
        .reply({250, 2, 0, 0, "Ok"});
    EXPECT_NE(text(record).find("relay=2001:db8::1[2001:db8::1]:25, "), std::string::npos)
        << text(record);
}

TEST(LogLine, Backends) {
    const auto backend = [](LogEvent event) {
        LogRecord record = of(event);
        record.pool("store").backend("10.0.1.1:25");
        return record;
    };
    const std::string where = ",\"pool\":\"store\",\"backend\":\"10.0.1.1:25\"";

    LogRecord record = backend(LogEvent::backend_up);
    EXPECT_EQ(text(record), "backend 10.0.1.1:25 of pool store is up");
    EXPECT_EQ(json(record), head("info", "backend_up") + where + "}");

    record = backend(LogEvent::backend_down);
    record.detail("connect: Connection refused");
    EXPECT_EQ(text(record),
              "warning: backend 10.0.1.1:25 of pool store is down: connect: Connection refused");
    EXPECT_EQ(json(record), head("warning", "backend_down") + where +
                                ",\"detail\":\"connect: Connection refused\"}");

    record = backend(LogEvent::backend_failure);
    record.id("4X1").after("EHLO").reply({502, 5, 0, 0, "no"});
    EXPECT_EQ(
        text(record),
        "4X1: warning: backend 10.0.1.1:25 of pool store failed: EHLO was answered 502 5.0.0 no");
    EXPECT_EQ(json(record),
              head("warning", "backend_failure") + ",\"id\":\"4X1\"" + where +
                  ",\"after\":\"EHLO\",\"reply_code\":502,\"reply_enhanced\":\"5.0.0\","
                  "\"reply\":\"no\"}");

    record = backend(LogEvent::backend_fault);
    record.after("MAIL").reply({530, 5, 7, 0, "Must issue a STARTTLS command first"});
    EXPECT_EQ(
        text(record),
        "error: backend 10.0.1.1:25 of pool store refused what ringmx sent: MAIL was answered "
        "530 5.7.0 Must issue a STARTTLS command first");
    EXPECT_EQ(json(record),
              head("error", "backend_fault") + where +
                  ",\"after\":\"MAIL\",\"reply_code\":530,\"reply_enhanced\":\"5.7.0\","
                  "\"reply\":\"Must issue a STARTTLS command first\"}");

    record = backend(LogEvent::possible_duplicate);
    record.id("4X1").client(IpAddress::v4(0xC0000201), 4711).detail("dropped after the final dot");
    EXPECT_EQ(
        text(record),
        "4X1: warning: backend 10.0.1.1:25 of pool store may have taken a message that was not "
        "acknowledged for unknown[192.0.2.1]: dropped after the final dot");
    EXPECT_EQ(json(record), head("warning", "possible_duplicate") + ",\"id\":\"4X1\"" +
                                client_json + where +
                                ",\"detail\":\"dropped after the final dot\"}");
    record.reason("queued");
    EXPECT_THAT(text(record),
                ::testing::HasSubstr("may have taken a message that is tried again from "
                                     "the queue for unknown[192.0.2.1]: "));
}

TEST(LogLine, Reports) {
    LogRecord record = of(LogEvent::reported);
    record.id("4X1").sender("a@b.example").detail("sender non-delivery notification: 4X2");
    EXPECT_EQ(text(record), "4X1: sender non-delivery notification: 4X2");
    EXPECT_EQ(json(record), head("info", "reported") +
                                ",\"id\":\"4X1\",\"sender\":\"a@b.example\","
                                "\"detail\":\"sender non-delivery notification: 4X2\"}");
}

TEST(LogLine, LostRecords) {
    LogRecord record = of(LogEvent::records_lost);
    record.count(12);
    EXPECT_EQ(
        text(record),
        "warning: 12 log records were lost: the log is written more slowly than events happen");
    EXPECT_EQ(json(record), head("warning", "records_lost") + ",\"count\":12}");
}

TEST(LogLine, AnOperatorsChangeOfTheQueueIsTold) {
    LogRecord record = of(LogEvent::queue_change);
    record.id("BBBCFBBBBBBBG").detail("removed");
    EXPECT_EQ(text(record), "BBBCFBBBBBBBG: removed");
    EXPECT_EQ(json(record),
              head("info", "queue_change") + ",\"id\":\"BBBCFBBBBBBBG\",\"detail\":\"removed\"}");
}

TEST(LogLine, WhatIsCutIsMarked) {
    LogRecord record = rejected(LogEvent::sender_rejected);
    record.sender(std::string(LogRecord::field_bytes_max + 1, 'a'));
    const std::string cut = std::string(LogRecord::field_bytes_max, 'a') + "...";
    EXPECT_NE(text(record).find("from=<" + cut + ">"), std::string::npos);
    EXPECT_NE(json(record).find("\"sender\":\"" + cut + "\""), std::string::npos);
}

TEST(LogLine, HostileTextForgesNoLineInAnyFieldOfAnyEvent) {
    static constexpr char octets[] =
        "\r\nringmx/smtpd[42]: forged\x1B[2K\xC2\x85\xE2\x80\xA8\xE2\x80"
        "\xA9\xFF\xC0\x8A\"}\\\0\x7F";
    const std::string hostile(octets, sizeof octets - 1);
    for (std::size_t index = 0; index < static_cast<std::size_t>(LogEvent::count_); ++index) {
        for (std::size_t field = 0; field < static_cast<std::size_t>(LogField::count_); ++field) {
            LogRecord record = from_client(static_cast<LogEvent>(index));
            record.reply({550, 5, 1, 1, ""});
            record.text(static_cast<LogField>(field), hostile);
            for (const std::string& line :
                 {text(record), json(record)}) { // each checks that there is one newline
                for (const char each : line) {
                    EXPECT_GE(static_cast<unsigned char>(each), 0x20);
                    EXPECT_NE(each, 0x7F);
                }
                EXPECT_EQ(line.find("\xE2\x80"), std::string::npos);
                EXPECT_EQ(line.find('\xC2'), std::string::npos);
                EXPECT_EQ(line.find('\xFF'), std::string::npos);
            }
            EXPECT_EQ(json(record).find("d\\u001b[2K\\u0085\\u2028\\u2029\\ufffd\\ufffd\\ufffd\\\"}"
                                        "\\\\\\u0000\\u007f\""),
                      json(record).find("d\\u001b"));
        }
    }
}

// The shapes that fail2ban's postfix filter (1.0) looks for in its normal and ddos modes, in words
// of our own.
TEST(LogLine, TheShapesThatFail2banBansFor) {
    const auto reject = ::testing::MatchesRegex(
        "[A-Za-z0-9_]+: reject: [A-Z]{4} from [^[]*\\[192\\.0\\.2\\.1\\]: [45][50][04] "
        "[45]\\.[0-9]\\.[0-9]+ <[^>]*>: (Recipient address rejected: User unknown|Relay access "
        "denied)[:;].*");
    LogRecord record = rejected(LogEvent::recipient_rejected);
    record.reason("no_route").reply({550, 5, 7, 1, "Relay access denied"});
    EXPECT_THAT(text(record), reject);
    record = rejected(LogEvent::recipient_rejected);
    record.reason("unknown_recipient").reply({550, 5, 1, 1, "nobody"});
    EXPECT_THAT(text(record), reject);

    const auto cut =
        ::testing::MatchesRegex("(lost connection after [A-Z]+|PREGREET [0-9]+ after [^ ]+|"
                                "too many errors after [^ ]+) from [^[]*\\[192\\.0\\.2\\.1\\]");
    record = from_client(LogEvent::lost_connection);
    record.after("EHLO");
    EXPECT_THAT(text(record), cut);
    record = from_client(LogEvent::early_talker);
    record.size(3);
    EXPECT_THAT(text(record), cut);
    record = from_client(LogEvent::too_many_errors);
    record.after("RCPT");
    EXPECT_THAT(text(record), cut);
}

} // namespace
} // namespace ringmx::observe
