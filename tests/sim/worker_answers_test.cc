// Whose answer a backend's reply is, which backend is asked, and when one counts as failed: each case
// is something that once went wrong.
#include "sim/worker_scenes.h"
#include "upstream/slot_table.h"

#include <gmock/gmock.h>

namespace ringmx::sim {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::StartsWith;

const std::string extensions = "250-backend\r\n250-PIPELINING\r\n";

TEST(WorkerAnswers, AReplyTooManyIsNoAnswerToWhatIsSentAfterIt) {
    for (const std::string content : {"BDAT 3 LAST\r\nx\r\n", "DATA\r\n"}) {
        Single single(BackendProfile{.chunking = content.starts_with("BDAT")});
        single.backend.answer = [](const std::string& command) -> Said {
            if (command.starts_with("RCPT")) {
                return "250 2.1.5 Ok\r\n250 2.0.0 One more\r\n";
            }
            return command == "." ? Said("452 4.3.1 Not taken\r\n") : std::nullopt;
        };
        Client& client = single.rig.greeted();
        single.rig.send(client,
                        "MAIL FROM:<a@b.example>\r\nRCPT TO:<user@one.example>\r\n" + content);
        EXPECT_THAT(single.rig.reply(client), StartsWith("250 2.1.0"));
        (void)single.rig.reply(client);
        EXPECT_THAT(single.rig.reply(client), StartsWith("451 4.4.1"))
            << "the backend has no message";
        single.rig.finish();
    }
}

// "250 " where "250-" belongs, in the middle of the answer to EHLO.
TEST(WorkerAnswers, TheRestOfABrokenHelloIsNoAnswerToTheEnvelope) {
    Single single;
    single.backend.answer = [](const std::string& command) -> Said {
        if (command.starts_with("EHLO")) {
            return extensions + "250 CHUNKING\r\n250 8BITMIME\r\n";
        }
        return std::nullopt;
    };
    Client& client = single.rig.greeted();
    EXPECT_THAT(single.message(client), StartsWith("451 4.4.1"));
    EXPECT_EQ(single.backend.taken_count(), 0U);
    single.rig.finish();
}

TEST(WorkerAnswers, AHelloThatCameWithTheGreetingIsMalformed) {
    Single single;
    single.backend.answer = [](const std::string& command) -> Said {
        return command == "connect" ? Said("220 backend\r\n" + extensions + "250 CHUNKING\r\n")
                                    : std::nullopt;
    };
    EXPECT_THAT(single.begin(single.rig.greeted()), StartsWith("451 4.4.1"));
    single.rig.finish();
}

TEST(WorkerAnswers, ARefusalWhileTheDataStreamsIsPassedOn) {
    Single single(BackendProfile{.chunking = false});
    Client& client = single.rig.with_recipient();
    ASSERT_THAT(single.rig.ask(client, "DATA\r\n"), StartsWith("354"));
    std::string line(998, 'x');
    line += "\r\n";
    for (int count = 0; count < 600; ++count) { // beyond what is held back until the end
        single.rig.send(client, line);
    }
    single.rig.run_for(1s);
    ASSERT_EQ(single.backend.messages.size(), 1U);
    single.backend.interject("552 5.3.4 Too big\r\n");
    single.rig.run_for(1s);
    single.rig.send(client, line + ".\r\n");
    EXPECT_EQ(single.rig.reply(client), "552 5.3.4 Too big\r\n");
    EXPECT_EQ(single.backend.taken_count(), 0U);
    single.rig.finish();
}

class TakesOut : public testing::TestWithParam<const char*> {};

// Each connection is greeted well and its EHLO taken: only mail shows that the backend does nothing.
TEST_P(TakesOut, ABackendThatFailsAtItsWorkAgainAndAgain) {
    Single single([](Settings& settings) {
        settings.pools[0].health = {.interval = 60s, .failures = 2, .successes = 1};
        settings.timeouts.backend_reply = 1s;
        settings.timeouts.backend_end_of_data = 1s;
    });
    const auto state = single.rig.lasting->states.state_of("one", Rig::first_address);
    single.backend.answer = [](const std::string& command) -> Said {
        const bool is_work = command.starts_with("MAIL") || command.starts_with("RCPT");
        return is_work ? Said(GetParam()) : std::nullopt;
    };
    for (int count = 0; count < 2; ++count) {
        EXPECT_TRUE(state->is_up()) << "after " << count;
        EXPECT_THAT(single.message(single.rig.greeted()), StartsWith("451 4.4.1"));
    }
    EXPECT_FALSE(state->is_up());
    EXPECT_THAT(single.message(single.rig.greeted()), StartsWith("451 4.4.1"));
    EXPECT_EQ(single.backend.connections, 2U) << "it is not asked while it is out";
    single.backend.answer = {};
    single.rig.run_for(61s);
    EXPECT_EQ(single.message(single.rig.greeted()), taken);
    EXPECT_TRUE(state->is_up());
    single.rig.finish();
}
INSTANTIATE_TEST_SUITE_P(WorkerAnswers, TakesOut,
                         testing::Values(ScriptedBackend::say_nothing, ScriptedBackend::drop_now,
                                         "421 4.3.2 Closing\r\n"));

TEST(WorkerAnswers, AnAnswerBetweenTwoFailuresBeginsTheCountAnew) {
    Single single([](Settings& settings) {
        settings.pools[0].health = {.interval = 60s, .failures = 2, .successes = 1};
        settings.pools[0].messages_per_connection = 1;
    });
    for (int count = 0; count < 4; ++count) {
        single.backend.answer = always("MAIL", ScriptedBackend::drop_now);
        EXPECT_THAT(single.message(single.rig.greeted()), StartsWith("451 4.4.1"));
        single.backend.answer = {};
        EXPECT_EQ(single.message(single.rig.greeted()), taken);
    }
    single.rig.finish();
}

TEST(WorkerAnswers, AnotherBackendIsNotSentWhatItDoesNotOffer) {
    Pair pair({}, BackendProfile{.chunking = false});
    bool has_dropped = false;
    pair.both([&](const std::string& command) -> Said {
        if (command == "DATA" && !std::exchange(has_dropped, true)) {
            pair.first.profile.utf8 = pair.second.profile.utf8 = false;
            return ScriptedBackend::drop_now;
        }
        return std::nullopt;
    });
    Client& client = pair.rig.greeted();
    ASSERT_THAT(pair.rig.ask(client, "MAIL FROM:<a@b.example> SMTPUTF8\r\n"), StartsWith("250"));
    ASSERT_THAT(pair.rig.ask(client, "RCPT TO:<\xC3\xBC@one.example>\r\n"), StartsWith("250"));
    EXPECT_THAT(pair.send_message(client), StartsWith("451 4.4.1"));
    EXPECT_TRUE(has_dropped);
    EXPECT_EQ(pair.count_of("RCPT"), 1U);
    pair.rig.finish();
}

TEST(WorkerAnswers, WhatReportsAreWishedForIsToldToBackendsThatOfferDsn) {
    for (const bool dsn : {true, false}) {
        Single single(BackendProfile{.dsn = dsn});
        Client& client = single.rig.greeted();
        ASSERT_THAT(single.rig.ask(client, "MAIL FROM:<a@b.example> RET=HDRS ENVID=QQ+2B1\r\n"),
                    StartsWith("250"));
        ASSERT_THAT(single.rig.ask(client, "RCPT TO:<u@one.example> NOTIFY=DELAY,SUCCESS "
                                           "ORCPT=rfc822;Old+2B@one.example\r\n"),
                    StartsWith("250"));
        ASSERT_THAT(single.rig.ask(client, "RCPT TO:<u@one.example> NOTIFY=NEVER\r\n"),
                    StartsWith("250"));
        ASSERT_THAT(single.rig.ask(client, "RCPT TO:<u@one.example>\r\n"), StartsWith("250"));
        ASSERT_THAT(single.rig.ask(client, "DATA\r\n"), StartsWith("354"));
        EXPECT_EQ(single.rig.ask(client, "x\r\n.\r\n"), taken);
        ASSERT_EQ(single.backend.messages.size(), 1U);
        const BackendMessage& message = *single.backend.messages.front();
        EXPECT_EQ(message.mail, dsn ? "MAIL FROM:<a@b.example> RET=HDRS ENVID=QQ+2B1"
                                    : "MAIL FROM:<a@b.example>");
        EXPECT_THAT(
            message.recipients,
            ElementsAre(dsn ? "RCPT TO:<u@one.example> NOTIFY=SUCCESS,DELAY "
                              "ORCPT=rfc822;Old+2B@one.example"
                            : "RCPT TO:<u@one.example>",
                        dsn ? "RCPT TO:<u@one.example> NOTIFY=NEVER" : "RCPT TO:<u@one.example>",
                        "RCPT TO:<u@one.example>"));
        single.rig.finish();
    }
}

TEST(WorkerAnswers, ReportWishesAreSaidAgainToTheNextBackend) {
    Pair pair({}, BackendProfile{.chunking = false});
    pair.once("DATA", ScriptedBackend::drop_now);
    Client& client = pair.rig.greeted();
    ASSERT_THAT(pair.rig.ask(client, "MAIL FROM:<a@b.example> RET=FULL\r\n"), StartsWith("250"));
    ASSERT_THAT(pair.rig.ask(client, "RCPT TO:<u@one.example> NOTIFY=FAILURE ORCPT=x;y\r\n"),
                StartsWith("250"));
    EXPECT_EQ(pair.send_message(client), taken);
    const std::string asked = "RCPT TO:<u@one.example> NOTIFY=FAILURE ORCPT=x;y";
    EXPECT_EQ(pair.count_of("RCPT"), 2U);
    EXPECT_THAT(pair.first.commands, Contains(asked));
    EXPECT_THAT(pair.second.commands, Contains(asked));
    pair.rig.finish();
}

TEST(WorkerAnswers, WhoIsRefusedInTurnIsFollowedByTheNextBackend) {
    RigOptions options;
    options.settings = [](Settings& settings) { settings.pools[0].hash = HashKey::none; };
    for (const bool pipelining : {true, false}) {
        Pair pair(options, BackendProfile{.pipelining = pipelining});
        pair.first.answer = always("RCPT", "550 5.1.1 No\r\n");
        std::size_t refused = 0;
        for (int count = 0; count < 4; ++count) {
            Client& client = pair.rig.greeted();
            (void)pair.rig.ask(client, "MAIL FROM:<a@b.example>\r\n");
            std::string answer = pair.rig.ask(client, "RCPT TO:<u@one.example>\r\n");
            if (answer.starts_with("550")) {
                ++refused;
                answer = pair.rig.ask(client, "RCPT TO:<v@one.example>\r\n");
            }
            EXPECT_THAT(answer, StartsWith("250"));
            EXPECT_EQ(pair.send_message(client), taken);
        }
        EXPECT_GT(refused, 0U);
        EXPECT_LE(pair.first.connections + pair.second.connections, 8U);
        pair.rig.finish();
    }
}

// Three backends, the first choice of both recipients out: each has a next choice of its own.
TEST(WorkerAnswers, WithTheFirstChoiceOutTheNextRecipientChoosesByItself) {
    RigOptions options;
    options.settings = [](Settings& settings) {
        BackendSettings third = settings.pools[0].backends[0];
        third.address = Rig::third_address;
        settings.pools[0].backends.push_back(third);
    };
    options.addresses[Rig::third_address] = {*SocketAddress::parse(Rig::third_address)};
    Rig rig(options);
    std::vector<ScriptedBackend*> backends = {&rig.backend(Rig::first_address),
                                              &rig.backend(Rig::second_address),
                                              &rig.backend(Rig::third_address)};
    const upstream::SlotTable table(rig.settings().pools[0].backends);
    const auto choices = [&](const std::string& mailbox) {
        const std::uint32_t slot = upstream::SlotTable::slot_of(upstream::hash_key(mailbox));
        const std::uint32_t first = table.first(slot);
        return std::pair(first, table.next(slot, first));
    };
    const std::string refused = "u0@one.example";
    const auto [out, next] = choices(refused);
    std::string other;
    for (int number = 1; other.empty(); ++number) {
        const std::string mailbox = "u" + std::to_string(number) + "@one.example";
        if (choices(mailbox).first == out && choices(mailbox).second != next) {
            other = mailbox;
        }
    }
    const std::string& address = rig.settings().pools[0].backends[out].address;
    const HealthSettings& health = rig.settings().pools[0].health;
    for (std::uint32_t count = 0; count < health.failures; ++count) {
        rig.lasting->states.state_of("one", address)->probe_result(false, health);
    }
    for (ScriptedBackend* const backend : backends) {
        backend->answer = always("RCPT TO:<" + refused, "550 5.1.1 No\r\n");
    }
    Client& client = rig.greeted();
    (void)rig.ask(client, "MAIL FROM:<a@b.example>\r\n");
    EXPECT_THAT(rig.ask(client, "RCPT TO:<" + refused + ">\r\n"), StartsWith("550"));
    EXPECT_THAT(rig.ask(client, "RCPT TO:<" + other + ">\r\n"), StartsWith("250"));
    EXPECT_EQ(backends[choices(other).second]->count_of("RCPT"), 1U);
    rig.finish();
}

TEST(WorkerAnswers, AnEnvelopeThatWasGivenBackGoesOnAtTheSameBackend) {
    RigOptions options;
    options.settings = [](Settings& settings) {
        settings.pools[0].hash = HashKey::none;
        settings.timeouts.backend_hold = 1s;
    };
    Pair pair(options);
    for (int count = 0; count < 6; ++count) {
        const std::size_t before = pair.first.count_of("RCPT");
        Client& client = pair.rig.with_recipient();
        const bool is_first = pair.first.count_of("RCPT") > before;
        pair.rig.run_for(3s); // given back
        const std::size_t taken_before = pair.first.taken_count();
        EXPECT_EQ(pair.send_message(client), taken);
        EXPECT_EQ(pair.first.taken_count() > taken_before, is_first);
    }
    pair.rig.finish();
}

TEST(WorkerAnswers, BackendReplyIsATimeForEachReply) {
    Single single([](Settings& settings) { settings.timeouts.backend_reply = 2s; });
    single.backend.hold();
    Client& client = single.rig.greeted();
    (void)single.rig.ask(client, "MAIL FROM:<a@b.example>\r\n");
    single.rig.send(client, "RCPT TO:<user@one.example>\r\n");
    for (int replies = 0; replies < 3; ++replies) { // the greeting, EHLO's, the envelope's
        single.rig.run_for(1500ms);
        single.backend.go_on();
        single.rig.run_for(100ms);
        single.backend.hold();
    }
    single.backend.go_on();
    EXPECT_THAT(single.rig.reply(client), StartsWith("250"));
    EXPECT_EQ(single.backend.connections, 1U);
    single.rig.finish();
}

// Servers close after too many refusals: those of one transaction count too.
TEST(WorkerAnswers, RejectionsPerConnectionHoldWithinATransaction) {
    Single single([](Settings& settings) { settings.pools[0].rejections_per_connection = 3; });
    std::size_t refused_here = 0;
    std::size_t most = 0;
    single.backend.answer = [&](const std::string& command) -> Said {
        if (command.starts_with("EHLO")) {
            refused_here = 0;
        }
        if (command.starts_with("RCPT TO:<bad")) {
            most = std::max(most, ++refused_here);
            return "550 5.1.1 No\r\n";
        }
        return std::nullopt;
    };
    Client& client = single.rig.with_recipient();
    std::string commands;
    for (int number = 0; number < 10; ++number) {
        commands += "RCPT TO:<bad" + std::to_string(number) + "@one.example>\r\n";
    }
    single.rig.send(client, commands);
    for (int number = 0; number < 10; ++number) {
        EXPECT_THAT(single.rig.reply(client), StartsWith("550 5.1.1"));
    }
    ASSERT_THAT(single.rig.ask(client, "DATA\r\n"), StartsWith("354"));
    EXPECT_EQ(single.rig.ask(client, "x\r\n.\r\n"), taken);
    EXPECT_EQ(most, 3U);
    ASSERT_EQ(single.backend.messages.size(), 1U);
    EXPECT_EQ(single.backend.messages[0]->recipients.size(), 1U);
    single.rig.finish();
}

TEST(WorkerAnswers, AnAttemptThatFailedIsCountedOnce) {
    Single single(BackendProfile{});
    single.backend.answer = always("connect", ScriptedBackend::drop_now);
    EXPECT_THAT(single.begin(single.rig.greeted()), StartsWith("451 4.4.1"));
    const auto& failures = single.rig.worker->snapshot()->pools[0]->rows[0]->workers[0].failures;
    EXPECT_EQ(failures[observe::ForwardFailure::dropped].value(), 1U);
    EXPECT_EQ(failures[observe::ForwardFailure::no_backend].value(), 0U);
    single.rig.finish();
}

} // namespace
} // namespace ringmx::sim
