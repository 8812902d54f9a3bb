// The contract's smaller promises that need a whole worker and its clock: data rate, what counts
// towards which limit, max_connections while connections end, wants of the machine, reload, drain.
#include "sim/worker_scenes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace ringmx::sim {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST(WorkerDataRate, DataBelowTheRateOverAMinuteGets421) {
    Single single;
    Client& client = single.rig.with_recipient();
    (void)single.rig.ask(client, "DATA\r\n");
    const Instant before = single.rig.network.now();
    std::string said;
    for (int count = 0; count < 300 && said.empty(); ++count) {
        single.rig.send(client, std::string(90, 'x') + "\r\n"); // a second: 92 octets, not 100
        single.rig.run_for(1s);
        said = client.take_reply();
    }
    EXPECT_THAT(said, StartsWith("421 4.4.2"));
    EXPECT_GE(single.rig.network.now() - before, 59s);
    EXPECT_LE(single.rig.network.now() - before, 63s);
    EXPECT_EQ(single.rig.reply(client), "(closed)");
    EXPECT_EQ(single.backend.taken_count(), 0U);
    single.rig.finish();
}

TEST(WorkerDataRate, DataAtTheRateGoesOn) {
    Single single;
    Client& client = single.rig.with_recipient();
    (void)single.rig.ask(client, "DATA\r\n");
    for (int count = 0; count < 600; ++count) {
        single.rig.send(client, std::string(150, 'x') + "\r\n");
        single.rig.run_for(1s);
        ASSERT_EQ(client.take_reply(), "") << "after " << count << " s";
    }
    EXPECT_EQ(single.rig.ask(client, ".\r\n"), taken);
    single.rig.finish();
}

TEST(WorkerDataRate, TimeBetweenChunksIsNotDataTime) {
    Single single;
    Client& client = single.rig.with_recipient();
    for (int count = 0; count < 3; ++count) {
        EXPECT_THAT(single.rig.ask(client, "BDAT 3\r\nx\r\n"), StartsWith("250 2.0.0"));
        single.rig.run_for(2min);
    }
    single.rig.send(client, "BDAT 5 LAST\r\nx");
    single.rig.run_for(1s);
    EXPECT_EQ(single.rig.ask(client, "yz\r\n"), taken);
    single.rig.finish();
}

TEST(WorkerDataRate, DrippedChunksAreTooSlowTogether) {
    Single single;
    Client& client = single.rig.with_recipient();
    std::string said;
    int chunks = 0;
    for (; chunks < 20; ++chunks) {
        single.rig.send(client, "BDAT 4\r\n");
        for (int count = 0; count < 4 && said.empty(); ++count) {
            single.rig.send(client, "x");
            single.rig.run_for(5s);
            said = client.take_reply();
        }
        if (said.starts_with("421")) {
            break;
        }
        said.clear();
    }
    EXPECT_THAT(said, StartsWith("421 4.4.2"));
    EXPECT_LT(chunks, 8);
    single.rig.finish();
}

TEST(WorkerContract, AnAnswerThatChangedIsToldAtTheEndOfTheData) {
    for (const bool chunking : {true, false}) {
        BackendProfile profile;
        profile.chunking = chunking;
        Single single(profile);
        Client& client = single.rig.with_recipient();
        single.rig.run_for(12s); // backend_hold is 10 s
        single.backend.answer = always("RCPT", "550 5.1.1 Nobody\r\n");
        EXPECT_THAT(single.rig.ask(client, "DATA\r\n"), StartsWith("354"));
        EXPECT_THAT(single.rig.ask(client, "MAIL FROM:<x@y.example>\r\n.\r\n"),
                    StartsWith("451 4.4.1"));
        single.backend.answer = {};
        EXPECT_EQ(single.message(client), taken);
        EXPECT_EQ(single.backend.taken_count(), 1U);
        single.rig.finish();
    }
}

TEST(WorkerContract, AnAnswerThatChangedBeforeDataIsToldAtTheEndToo) {
    Rig rig;
    ScriptedBackend& first = rig.backend(Rig::first_address);
    ScriptedBackend& second = rig.backend(Rig::second_address);
    Client& client = rig.with_recipient();
    const auto answer = [](const std::string& command) {
        if (command.starts_with("RCPT TO:<user@")) {
            return Said("550 5.1.1 Not here\r\n");
        }
        return command.starts_with("RCPT") ? Said("421 4.3.2 Bye\r\n") : std::nullopt;
    };
    first.answer = second.answer = answer;
    EXPECT_THAT(rig.ask(client, "RCPT TO:<other@one.example>\r\n"), StartsWith("451 4.4.1"));
    EXPECT_THAT(rig.ask(client, "DATA\r\n"), StartsWith("354"));
    EXPECT_THAT(rig.ask(client, "x\r\n.\r\n"), StartsWith("451 4.4.1"));
    EXPECT_EQ(first.taken_count() + second.taken_count(), 0U);
    rig.finish();
}

TEST(WorkerContract, AMessageThatMadeTwoBackendsDropIsOfferedToNoneAnyMore) {
    RigOptions options;
    options.settings = [](Settings& settings) {
        settings.pools[0].backends.push_back(settings.pools[1].backends[0]);
    };
    Rig rig(options);
    std::vector<ScriptedBackend*> all;
    for (const char* address : {Rig::first_address, Rig::second_address, Rig::third_address}) {
        all.push_back(&rig.backend(address));
        all.back()->answer = always("RCPT", ScriptedBackend::drop_now);
    }
    const auto asked = [&] {
        std::size_t count = 0;
        for (const ScriptedBackend* backend : all) {
            count += backend->count_of("RCPT");
        }
        return count;
    };
    Client& client = rig.greeted();
    (void)rig.ask(client, "MAIL FROM:<a@b.example>\r\n");
    for (int user = 0; user < 5; ++user) {
        EXPECT_THAT(rig.ask(client, "RCPT TO:<u" + std::to_string(user) + "@one.example>\r\n"),
                    StartsWith("451 4.4.1"));
    }
    EXPECT_EQ(asked(), 2U);
    EXPECT_THAT(rig.ask(client, "DATA\r\n"), StartsWith("554 5.5.1"));
    EXPECT_THAT(rig.ask(client, "RSET\r\n"), StartsWith("250"));
    // All at once, with DATA behind them.
    rig.send(client, "MAIL FROM:<a@b.example>\r\nRCPT TO:<u1@one.example>\r\n"
                     "RCPT TO:<u2@one.example>\r\nDATA\r\nNOOP\r\n");
    EXPECT_THAT(rig.reply(client), StartsWith("250 2.1.0"));
    EXPECT_THAT(rig.reply(client), StartsWith("451 4.4.1"));
    EXPECT_THAT(rig.reply(client), StartsWith("451 4.4.1"));
    EXPECT_THAT(rig.reply(client), StartsWith("554 5.5.1"));
    EXPECT_THAT(rig.reply(client), StartsWith("250 2.0.0"));
    rig.finish();
}

TEST(WorkerContract, AConnectionCountsAgainstMaxConnectionsUntilItIsClosed) {
    Single single([](Settings& settings) {
        settings.pools[0].max_connections = 1;
        settings.pools[0].messages_per_connection = 1;
    });
    single.backend.answer = always("QUIT", ScriptedBackend::say_nothing);
    std::size_t most = 0;
    for (int count = 0; count < 3; ++count) {
        Client& client = single.rig.greeted();
        single.rig.send(client, "MAIL FROM:<a@b.example>\r\nRCPT TO:<user@one.example>\r\n"
                                "DATA\r\nx\r\n.\r\nQUIT\r\n");
        (void)single.rig.run_until([&] {
            most = std::max(most, single.open_now());
            return client.socket->gone();
        });
    }
    EXPECT_EQ(most, 1U);
    EXPECT_EQ(single.backend.connections, 3U);
    single.rig.finish();
}

TEST(WorkerContract, EachRefusalCountsOnceTowardsRejectionsPerConnection) {
    for (const char* verb : {"MAIL", "RCPT", "."}) {
        for (const bool chunking : {true, false}) {
            BackendProfile profile;
            profile.chunking = chunking;
            Single single(
                [](Settings& settings) { settings.pools[0].rejections_per_connection = 2; },
                profile);
            single.backend.answer = [verb](const std::string& command) {
                // What follows a refused MAIL is refused too, as a real server does.
                const bool follows = *verb == 'M' && command.starts_with("RCPT");
                return command.starts_with(verb) || follows ? Said("550 5.7.1 No\r\n")
                                                            : std::nullopt;
            };
            Client& client = single.rig.greeted();
            for (int count = 0; count < 6; ++count) {
                EXPECT_THAT(single.message(client), StartsWith("550 5.7.1"));
                EXPECT_THAT(single.rig.ask(client, "RSET\r\n"), StartsWith("250"));
                single.rig.run_for(1s);
            }
            EXPECT_EQ(single.backend.connections, 3U) << verb;
            single.rig.finish();
        }
    }
}

TEST(WorkerContract, AWantOfDescriptorsIsNoFaultOfTheBackend) {
    Single single;
    Client& client = single.rig.greeted();
    single.rig.port.bound_descriptors(single.rig.port.open_descriptors());
    for (int count = 0; count < 10; ++count) {
        EXPECT_THAT(single.begin(client), StartsWith("451 4.4.1"));
        (void)single.rig.ask(client, "RSET\r\n");
    }
    EXPECT_TRUE(single.rig.lasting->states.state_of("one", Rig::first_address)->is_up());
    single.rig.port.bound_descriptors(SIZE_MAX);
    EXPECT_EQ(single.message(client), taken);
    single.rig.finish();
}

TEST(WorkerContract, WithoutDescriptorsAcceptingRestsAndGoesOnLater) {
    Single single;
    Client& served = single.rig.greeted();
    single.rig.port.bound_descriptors(single.rig.port.open_descriptors());
    Client& waiting = single.rig.connect(); // takes the accept that is armed, or finds none
    Client& another = single.rig.connect();
    single.rig.run_for(1s);
    const std::uint64_t turns = single.rig.counters.turns_total.value();
    single.rig.run_for(10s);
    EXPECT_LT(single.rig.counters.turns_total.value() - turns, 500U);
    EXPECT_THAT(single.rig.ask(served, "NOOP\r\n"), StartsWith("250"));
    single.rig.port.bound_descriptors(SIZE_MAX);
    EXPECT_THAT(single.rig.reply(waiting), StartsWith("220"));
    EXPECT_THAT(single.rig.reply(another), StartsWith("220"));
    single.rig.finish();
}

TEST(WorkerContract, AReloadTakesEffectForAClientWhenItsTransactionEnds) {
    Single single;
    Client& client = single.rig.with_recipient();
    single.rig.reload([](Settings& settings) {
        settings.hostname = "new.example";
        settings.limits.message_size_bytes = 1000;
        settings.smtp.bare_newline = BareNewline::normalize;
    });
    (void)single.rig.ask(client, "DATA\r\n");
    EXPECT_THAT(single.rig.ask(client, std::string(2000, 'x') + "\r\n.\r\n"), StartsWith("250"));
    const std::string hello = single.rig.ask(client, "EHLO client.example\r\n");
    EXPECT_THAT(hello, StartsWith("250-new.example"));
    EXPECT_THAT(hello, HasSubstr("SIZE 1000\r\n"));
    (void)single.begin(client);
    (void)single.rig.ask(client, "DATA\r\n");
    EXPECT_EQ(single.rig.ask(client, "a\nb\r\n.\r\n"), taken);
    EXPECT_THAT(single.backend.messages.back()->octets, HasSubstr("by new.example "));
    EXPECT_THAT(single.backend.messages.back()->octets, ::testing::EndsWith("a\r\nb\r\n"));
    single.rig.finish();
}

TEST(WorkerContract, ADrainTakesNoFurtherMessageThatIsAlreadyInThePipeline) {
    Single single;
    Client& client = single.rig.with_recipient();
    (void)single.rig.ask(client, "DATA\r\n");
    single.backend.answer = [&](const std::string& command) -> Said {
        if (command == ".") {
            single.rig.post(Inbox::Kind::drain);
        }
        return std::nullopt;
    };
    single.rig.send(client, "x\r\n.\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<user@one.example>\r\n"
                            "DATA\r\ny\r\n.\r\n");
    EXPECT_EQ(single.rig.reply(client), taken);
    EXPECT_THAT(single.rig.reply(client), StartsWith("421 4.3.2"));
    EXPECT_EQ(single.backend.count_of("MAIL"), 1U);
    single.rig.finish();
}

TEST(WorkerContract, AHeldPoolTakesNothingUntilItIsTurnedOff) {
    Single single([](Settings& settings) { settings.pools[0].hold = true; });
    Client& client = single.rig.greeted();
    EXPECT_THAT(single.begin(client), StartsWith("451 4.4.1"));
    EXPECT_EQ(single.backend.connections, 0U);
    single.rig.reload([](Settings& settings) { settings.pools[0].hold = false; });
    (void)single.rig.ask(client, "RSET\r\n");
    EXPECT_EQ(single.message(client), taken);
    single.rig.finish();
}

TEST(WorkerContract, UnknownRecipientsOfTheBackendGet421InPlaceOfTheirAnswer) {
    for (const bool pipelined : {true, false}) {
        Single single(
            [](Settings& settings) { settings.limits.unknown_recipients_per_connection = 3; });
        single.backend.answer = always("RCPT", "550 5.1.1 Nobody\r\n");
        Client& client = single.rig.greeted();
        (void)single.rig.ask(client, "MAIL FROM:<a@b.example>\r\n");
        for (int count = 0; count < 6 && pipelined; ++count) {
            single.rig.send(client, "RCPT TO:<user@one.example>\r\n");
        }
        for (int count = 0; count < 3; ++count) {
            EXPECT_THAT(pipelined ? single.rig.reply(client)
                                  : single.rig.ask(client, "RCPT TO:<user@one.example>\r\n"),
                        StartsWith("550 5.1.1"));
        }
        EXPECT_THAT(pipelined ? single.rig.reply(client)
                              : single.rig.ask(client, "RCPT TO:<user@one.example>\r\n"),
                    StartsWith("421 4.7.0"));
        EXPECT_EQ(single.rig.reply(client), "(closed)");
        single.rig.finish();
    }
}

} // namespace
} // namespace ringmx::sim
