// Messages of several recipients on their way from a spool: who goes with whom, and over which
// connection.
#include "sim/spool_scenes.h"

#include <gtest/gtest.h>
#include <optional>
#include <set>
#include <utility>

namespace ringmx::sim {
namespace {

TEST(SpoolRecipients, EachBackendOfTheRecipientsGetsOneCopy) {
    Rig rig(spooling());
    ScriptedBackend& first = rig.backend(Rig::first_address);
    ScriptedBackend& second = rig.backend(Rig::second_address);
    ScriptedBackend& third = rig.backend(Rig::third_address);
    Client& client = rig.with_recipient("<a@two.example>");
    std::set<std::string> recipients = {"<a@two.example>"};
    for (int count = 0; count < 20; ++count) {
        const std::string recipient = "<u" + std::to_string(count) + "@one.example>";
        recipients.insert(recipient);
        EXPECT_EQ(rig.ask(client, "RCPT TO:" + recipient + "\r\n"), "250 2.1.5 Ok\r\n");
    }
    EXPECT_TRUE(rig.ask(client, "DATA\r\n").starts_with("354"));
    EXPECT_TRUE(rig.ask(client, "x: y\r\n\r\nz\r\n.\r\n").starts_with("250"));
    ASSERT_TRUE(rig.run_until([&] { return rig.queued() == 0; }));
    std::size_t found = 0;
    for (const ScriptedBackend* backend : {&first, &second, &third}) {
        ASSERT_EQ(backend->messages.size(), 1U);
        found += backend->messages[0]->recipients.size();
    }
    EXPECT_EQ(found, recipients.size());
    rig.finish();
}

// For as long as that one likes: should this run end meanwhile, nobody gets it twice.
TEST(SpoolRecipients, WhoHasTheMessageIsNotedWhileAnotherBackendTakesItsTime) {
    Rig rig(spooling());
    ScriptedBackend& fast = rig.backend(Rig::third_address);
    ScriptedBackend& slow = rig.backend(Rig::first_address);
    ScriptedBackend& slow_too = rig.backend(Rig::second_address);
    slow.hold();
    slow_too.hold();
    Client& client = rig.with_recipient("<a@two.example>");
    EXPECT_EQ(rig.ask(client, "RCPT TO:<a@one.example>\r\n"), "250 2.1.5 Ok\r\n");
    EXPECT_TRUE(rig.ask(client, "DATA\r\n").starts_with("354"));
    EXPECT_TRUE(rig.ask(client, "x: y\r\n\r\nz\r\n.\r\n").starts_with("250"));
    rig.run_for(5s);
    EXPECT_EQ(taken(fast).size(), 1U);
    rig.restart(1, true);
    slow.go_on();
    slow_too.go_on();
    EXPECT_TRUE(rig.run_until([&] { return rig.queued() == 1; }, 1min));
    EXPECT_TRUE(rig.run_until([&] { return rig.queued() == 0; }, 10h));
    EXPECT_EQ(taken(fast).size(), 1U);
    EXPECT_EQ(taken(slow).size() + taken(slow_too).size(), 1U);
    rig.finish();
}

// More refusals than one connection may have: nobody waits for them, and who was not asked goes over
// another connection.
TEST(SpoolRecipients, ManyRefusedRecipientsLeaveTheOthersTheirMail) {
    for (const bool lmtp : {false, true}) {
        for (const auto& [pipelining, chunking] :
             {std::pair(true, true), std::pair(true, false), std::pair(false, true),
              std::pair(false, false)}) {
            RigOptions options = spooling();
            options.settings = [lmtp = lmtp](Settings& settings) {
                settings.pools[1].rejections_per_connection = 3;
                settings.pools[1].protocol = lmtp ? Protocol::lmtp : Protocol::smtp;
            };
            Rig rig(options);
            BackendProfile profile;
            profile.lmtp = lmtp;
            profile.pipelining = pipelining;
            profile.chunking = chunking;
            ScriptedBackend& backend = rig.backend(Rig::third_address, profile);
            backend.answer = [](const std::string& command) -> std::optional<std::string> {
                return command.starts_with("RCPT TO:<bad") ? std::optional("550 5.1.1 no\r\n")
                                                           : std::nullopt;
            };
            Client& client = rig.with_recipient("<good@two.example>");
            for (int number = 0; number < 8; ++number) {
                const std::string bad = "RCPT TO:<bad" + std::to_string(number);
                EXPECT_TRUE(rig.ask(client, bad + "@two.example>\r\n").starts_with("250"));
            }
            EXPECT_TRUE(rig.ask(client, "RCPT TO:<last@two.example>\r\n").starts_with("250"));
            EXPECT_TRUE(rig.ask(client, "DATA\r\n").starts_with("354"));
            EXPECT_TRUE(rig.ask(client, "x: y\r\n\r\nz\r\n.\r\n").starts_with("250"));
            rig.run_for(5s); // at once
            EXPECT_EQ(taken(backend).size(), 2U) << lmtp << pipelining << chunking;
            EXPECT_EQ(backend.connections, 3U);
            EXPECT_EQ(rig.queued(), 1); // those who failed
            rig.finish();
        }
    }
}

// As servers do that take so many recipients a transaction.
TEST(SpoolRecipients, RecipientsAreTakenByAndByWhereATransactionMayHaveFew) {
    RigOptions options = spooling();
    options.settings = [](Settings& settings) { settings.pools[1].rejections_per_connection = 3; };
    Rig rig(options);
    ScriptedBackend& backend = rig.backend(Rig::third_address);
    std::size_t asked = 0;
    backend.answer = [&](const std::string& command) -> std::optional<std::string> {
        asked = command.starts_with("RCPT") ? asked + 1 : 0;
        return asked > 5 ? std::optional("452 4.5.3 too many\r\n") : std::nullopt;
    };
    Client& client = rig.with_recipient("<u@two.example>");
    for (int number = 0; number < 30; ++number) {
        const std::string other = "RCPT TO:<u" + std::to_string(number);
        EXPECT_TRUE(rig.ask(client, other + "@two.example>\r\n").starts_with("250"));
    }
    EXPECT_TRUE(rig.ask(client, "DATA\r\n").starts_with("354"));
    EXPECT_TRUE(rig.ask(client, content_of_100_kb() + ".\r\n").starts_with("250"));
    ASSERT_TRUE(rig.run_until([&] { return rig.queued() == 0; }, 1h));
    std::size_t found = 0;
    for (const auto& message : backend.messages) {
        found += message->taken ? message->recipients.size() : 0;
    }
    EXPECT_EQ(found, 31U);
    rig.finish();
}

// LMTP: a reply to the content for each recipient, in their order.
TEST(SpoolRecipients, EachHasItsOwnReplyToTheContentFromAnLmtpBackend) {
    for (const bool chunking : {true, false}) {
        RigOptions options = spooling();
        options.settings = [](Settings& settings) { settings.pools[1].protocol = Protocol::lmtp; };
        Rig rig(options);
        BackendProfile profile;
        profile.lmtp = true;
        profile.chunking = chunking;
        ScriptedBackend& backend = rig.backend(Rig::third_address, profile);
        backend.answer = [&](const std::string& command) -> std::optional<std::string> {
            return command == "." && backend.messages.size() == 1
                       ? std::optional("250 2.0.0 ok\r\n550 5.2.1 gone\r\n450 4.2.2 full\r\n")
                       : std::nullopt;
        };
        Client& client = rig.with_recipient("<good@two.example>");
        EXPECT_TRUE(rig.ask(client, "RCPT TO:<gone@two.example>\r\n").starts_with("250"));
        EXPECT_TRUE(rig.ask(client, "RCPT TO:<full@two.example>\r\n").starts_with("250"));
        EXPECT_TRUE(rig.ask(client, "DATA\r\n").starts_with("354"));
        EXPECT_TRUE(rig.ask(client, "x: y\r\n\r\nz\r\n.\r\n").starts_with("250"));
        rig.run_for(1h);
        ASSERT_EQ(backend.messages.size(), 2U) << chunking;
        ASSERT_EQ(backend.messages[1]->recipients.size(), 1U);
        EXPECT_TRUE(backend.messages[1]->recipients[0].starts_with("RCPT TO:<full@two.example>"));
        EXPECT_EQ(rig.queued(), 1) << "who is gone";
        rig.finish();
    }
}

// From memory, and after a restart from the disk.
TEST(SpoolRecipients, WhatReportsAreWishedForIsToldToBackendsThatOfferDsn) {
    for (const bool restarts : {false, true}) {
        for (const bool dsn : {true, false}) {
            Rig rig(spooling());
            BackendProfile profile;
            profile.dsn = dsn;
            ScriptedBackend& backend = rig.backend(Rig::third_address, profile);
            backend.refuse_connections(restarts);
            Client& client = rig.greeted();
            EXPECT_TRUE(rig.ask(client, "MAIL FROM:<a@b.example> RET=HDRS ENVID=QQ+2B1\r\n")
                            .starts_with("250"));
            EXPECT_TRUE(rig.ask(client, "RCPT TO:<u@two.example> NOTIFY=DELAY,FAILURE "
                                        "ORCPT=rfc822;Old+2B@two.example\r\n")
                            .starts_with("250"));
            EXPECT_TRUE(rig.ask(client, "DATA\r\n").starts_with("354"));
            EXPECT_TRUE(rig.ask(client, "x: y\r\n\r\nz\r\n.\r\n").starts_with("250"));
            if (restarts) {
                rig.restart(1, true);
                backend.refuse_connections(false);
            }
            ASSERT_TRUE(rig.run_until([&] { return taken(backend).size() == 1; }, 1h));
            const BackendMessage& message = *backend.messages.front();
            EXPECT_EQ(message.mail.ends_with(" RET=HDRS ENVID=QQ+2B1"), dsn) << message.mail;
            EXPECT_EQ(message.recipients[0], dsn ? "RCPT TO:<u@two.example> NOTIFY=FAILURE,DELAY "
                                                   "ORCPT=rfc822;Old+2B@two.example"
                                                 : "RCPT TO:<u@two.example>");
            rig.finish();
        }
    }
}

} // namespace
} // namespace ringmx::sim
