// Backends that fail: what leads to another, what the client is told, and what no backend may see.
#include "sim/worker_scenes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace ringmx::sim {
namespace {

using ::testing::StartsWith;

class LeadsToAnother : public ::testing::TestWithParam<std::pair<const char*, const char*>> {};

TEST_P(LeadsToAnother, AndTheClientSeesNothingOfIt) {
    for (const bool chunking : {true, false}) {
        for (const bool pipelining : {true, false}) {
            BackendProfile profile;
            profile.chunking = chunking;
            profile.pipelining = pipelining;
            Pair pair({}, profile);
            pair.once(GetParam().first, GetParam().second);
            Client& client = pair.rig.greeted();
            EXPECT_EQ(pair.transaction(client), taken);
            EXPECT_EQ(pair.taken_count(), 1U);
            EXPECT_EQ(pair.first.connections, 1U);
            EXPECT_EQ(pair.second.connections, 1U);
            pair.rig.finish();
        }
    }
}

INSTANTIATE_TEST_SUITE_P(
    Causes, LeadsToAnother,
    ::testing::Values(
        std::pair{"connect", "421 4.3.2 Not now\r\n"}, std::pair{"connect", "554 5.3.2 Never\r\n"},
        std::pair{"connect", ScriptedBackend::drop_now}, std::pair{"connect", "rubbish\r\n"},
        std::pair{"connect", ScriptedBackend::say_nothing},
        std::pair{"EHLO", ScriptedBackend::drop_now}, std::pair{"EHLO", "421 4.3.2 Not now\r\n"},
        std::pair{"MAIL", "421 4.3.2 Not now\r\n"}, std::pair{"MAIL", ScriptedBackend::drop_now},
        std::pair{"MAIL", ScriptedBackend::say_nothing}, std::pair{"MAIL", "25 nonsense\r\n"},
        std::pair{"RCPT", "421 4.3.2 Not now\r\n"}, std::pair{"RCPT", ScriptedBackend::drop_now}));

TEST(WorkerFailure, RefusedConnectLeadsToTheOtherBackend) {
    for (const char* address : {Rig::first_address, Rig::second_address}) {
        Rig rig;
        ScriptedBackend& only = rig.backend(address);
        for (int user = 0; user < 10; ++user) {
            Client& client = rig.with_recipient("<user" + std::to_string(user) + "@one.example>");
            (void)rig.ask(client, "DATA\r\n");
            EXPECT_EQ(rig.ask(client, "x\r\n.\r\n"), taken);
        }
        EXPECT_EQ(only.taken_count(), 10U);
        rig.finish();
    }
}

TEST(WorkerFailure, NoBackendAtAllGives451) {
    Rig rig;
    Client& client = rig.greeted();
    rig.send(client, "MAIL FROM:<a@b.example>\r\nRCPT TO:<one@one.example>\r\nRCPT "
                     "TO:<two@one.example>\r\nDATA\r\n");
    EXPECT_THAT(rig.reply(client), StartsWith("250 2.1.0"));
    EXPECT_THAT(rig.reply(client), StartsWith("451 4.4.1"));
    EXPECT_THAT(rig.reply(client), StartsWith("451 4.4.1"));
    EXPECT_THAT(rig.reply(client), StartsWith("554 5.5.1"));
    rig.finish();
}

TEST(WorkerFailure, BlackHolesGive451AfterTheConnectTime) {
    Rig rig;
    rig.network.black_hole(SocketAddress::parse(Rig::first_address).value());
    rig.network.black_hole(SocketAddress::parse(Rig::second_address).value());
    Client& client = rig.greeted();
    (void)rig.ask(client, "MAIL FROM:<a@b.example>\r\n");
    EXPECT_THAT(rig.ask(client, "RCPT TO:<one@one.example>\r\n"), StartsWith("451 4.4.1"));
    rig.finish();
}

TEST(WorkerFailure, DropAfterTheFinalDotIs451AndNeverASecondBackend) {
    for (const bool chunking : {true, false}) {
        BackendProfile profile;
        profile.chunking = chunking;
        Pair pair({}, profile);
        pair.once(".", ScriptedBackend::drop_now);
        Client& client = pair.rig.with_recipient();
        EXPECT_THAT(pair.send_message(client), StartsWith("451 4.4.1"));
        EXPECT_EQ(pair.complete_count(), 1U);
        EXPECT_EQ(pair.count_of("MAIL"), 1U);
        EXPECT_THAT(pair.rig.ask(client, "NOOP\r\n"), StartsWith("250"));
        pair.rig.finish();
    }
}

TEST(WorkerFailure, FinalRepliesArePassedOn) {
    for (const char* reply :
         {"550 5.7.1 Spam\r\n", "450 4.2.0 Later\r\n", "250 2.6.0 queued as 1\r\n"}) {
        Pair pair;
        pair.once(".", reply);
        Client& client = pair.rig.with_recipient();
        EXPECT_EQ(pair.send_message(client), reply);
        pair.rig.finish();
    }
}

TEST(WorkerFailure, RefusedDataIsPassedOn) {
    for (const bool pipelining : {true, false}) {
        BackendProfile profile;
        profile.chunking = false;
        profile.pipelining = pipelining;
        Pair pair({}, profile);
        pair.once("DATA", "452 4.3.1 No room\r\n");
        Client& client = pair.rig.with_recipient();
        EXPECT_EQ(pair.rig.ask(client, "DATA\r\n"), "452 4.3.1 No room\r\n");
        (void)pair.rig.ask(client, "RSET\r\n");
        EXPECT_EQ(pair.transaction(client), taken);
        pair.rig.finish();
    }
}

// Three backends, so that there would be a third.
TEST(WorkerFailure, AfterTwoDropsThereIsNoThird) {
    RigOptions options;
    options.settings = [](Settings& settings) {
        settings.pools[0].backends.push_back(settings.pools[1].backends[0]);
    };
    Pair pair(options);
    ScriptedBackend& third = pair.rig.backend(Rig::third_address);
    pair.both(always("RCPT", ScriptedBackend::drop_now));
    third.answer = always("RCPT", ScriptedBackend::drop_now);
    Client& client = pair.rig.greeted();
    (void)pair.rig.ask(client, "MAIL FROM:<a@b.example>\r\n");
    EXPECT_THAT(pair.rig.ask(client, "RCPT TO:<user@one.example>\r\n"), StartsWith("451 4.4.1"));
    EXPECT_EQ(pair.count_of("MAIL") + third.count_of("MAIL"), 2U);
    pair.rig.finish();
}

TEST(WorkerFailure, DropBetweenRcptAndDataReplaysElsewhere) {
    Pair pair;
    Client& client = pair.rig.with_recipient();
    pair.first.close_all();
    pair.second.close_all();
    pair.rig.run_for(1s);
    EXPECT_EQ(pair.send_message(client), taken);
    EXPECT_EQ(pair.first.connections, 1U);
    EXPECT_EQ(pair.second.connections, 1U);
    pair.rig.finish();
}

TEST(WorkerFailure, ChangedAnswerOnTheOtherBackendIs451AtTheEndOfData) {
    Pair pair;
    Client& client = pair.rig.with_recipient();
    pair.both(always("RCPT", "550 5.1.1 Nobody\r\n"));
    pair.first.close_all();
    pair.second.close_all();
    pair.rig.run_for(1s);
    EXPECT_THAT(pair.send_message(client), StartsWith("451 4.4.1"));
    EXPECT_EQ(pair.taken_count(), 0U);
    pair.rig.finish();
}

TEST(WorkerFailure, BeginningThatIsGoneCannotBeReplayed) {
    Pair pair;
    Client& client = pair.rig.with_recipient();
    (void)pair.rig.ask(client, "DATA\r\n");
    std::string line(70, 'x');
    line += "\r\n";
    for (int count = 0; count < 10000; ++count) {
        pair.rig.send(client, line);
    }
    pair.rig.run_for(5s);
    pair.first.close_all();
    pair.second.close_all();
    pair.rig.run_for(1s);
    EXPECT_THAT(pair.rig.ask(client, ".\r\n"), StartsWith("451 4.4.1"));
    EXPECT_EQ(pair.complete_count(), 0U);
    EXPECT_EQ(pair.count_of("MAIL"), 1U);
    pair.rig.finish();
}

TEST(WorkerFailure, ReusedConnectionThatDropsIsReplacedByAFreshOne) {
    for (const char* how : {ScriptedBackend::drop_now, "421 4.3.2 Idle too long\r\n"}) {
        Pair pair;
        Client& client = pair.rig.greeted();
        EXPECT_EQ(pair.transaction(client), taken);
        const std::size_t before = pair.first.connections + pair.second.connections;
        pair.once("MAIL", how);
        EXPECT_EQ(pair.transaction(client), taken);
        EXPECT_EQ(pair.first.connections + pair.second.connections, before + 1);
        EXPECT_TRUE(pair.first.connections == 0 || pair.second.connections == 0)
            << "the same backend";
        pair.rig.finish();
    }
}

TEST(WorkerFailure, IdleConnectionThatTheBackendClosedIsNotUsed) {
    Pair pair;
    Client& client = pair.rig.greeted();
    EXPECT_EQ(pair.transaction(client), taken);
    pair.first.close_all();
    pair.second.close_all();
    pair.rig.run_for(100ms);
    EXPECT_EQ(pair.transaction(client), taken);
    EXPECT_EQ(pair.first.connections + pair.second.connections, 2U);
    pair.rig.finish();
}

TEST(WorkerFailure, ConnectionsAreReusedUpToMessagesPerConnection) {
    RigOptions options;
    options.settings = [](Settings& settings) { settings.pools[0].messages_per_connection = 5; };
    Pair pair(options);
    Client& client = pair.rig.greeted();
    for (int count = 0; count < 10; ++count) {
        EXPECT_EQ(pair.transaction(client), taken);
    }
    EXPECT_EQ(pair.first.connections + pair.second.connections, 2U);
    EXPECT_EQ(pair.count_of("QUIT"), 2U);
    pair.rig.finish();
}

TEST(WorkerFailure, NoConnectionWithinBackendWaitIs451) {
    RigOptions options;
    options.settings = [](Settings& settings) {
        settings.pools[0].max_connections = 1;
        settings.timeouts.backend_hold = Duration{0};
    };
    Pair pair(options);
    (void)pair.rig.with_recipient(); // holds the only connection to its backend
    Client& other = pair.rig.greeted("192.0.2.8");
    (void)pair.rig.ask(other, "MAIL FROM:<a@b.example>\r\n");
    const Instant before = pair.rig.network.now();
    EXPECT_THAT(pair.rig.ask(other, "RCPT TO:<user@one.example>\r\n"), StartsWith("451 4.4.1"));
    EXPECT_GE(pair.rig.network.now() - before, 5s);
    EXPECT_LT(pair.rig.network.now() - before, 7s);
    pair.rig.finish();
}

TEST(WorkerFailure, WaitingTransactionGoesOnWhenAConnectionIsGivenBack) {
    RigOptions options;
    options.settings = [](Settings& settings) { settings.pools[0].max_connections = 1; };
    Pair pair(options);
    Client& holder = pair.rig.with_recipient();
    Client& other = pair.rig.greeted("192.0.2.8");
    (void)pair.rig.ask(other, "MAIL FROM:<a@b.example>\r\n");
    pair.rig.send(other, "RCPT TO:<user@one.example>\r\n");
    pair.rig.run_for(1s);
    EXPECT_EQ(pair.send_message(holder), taken);
    EXPECT_THAT(pair.rig.reply(other), StartsWith("250 2.1.5"));
    EXPECT_EQ(pair.send_message(other), taken);
    EXPECT_EQ(pair.first.connections + pair.second.connections, 1U);
    pair.rig.finish();
}

TEST(WorkerFailure, BackendSilentAfterTheFinalDotIs451AfterEightMinutes) {
    Pair pair;
    pair.both(always(".", ScriptedBackend::say_nothing));
    Client& client = pair.rig.with_recipient();
    (void)pair.rig.ask(client, "DATA\r\n");
    pair.rig.send(client, "x\r\n.\r\n");
    const Instant before = pair.rig.network.now();
    EXPECT_THAT(pair.rig.reply(client), StartsWith("451 4.4.1"));
    EXPECT_GE(pair.rig.network.now() - before, 8min);
    EXPECT_LT(pair.rig.network.now() - before, 8min + 2s);
    EXPECT_EQ(pair.complete_count(), 1U);
    pair.rig.finish();
}

TEST(WorkerFailure, BackendThatReadsNothingPausesTheClientAndMemoryStaysBounded) {
    RigOptions options;
    options.settings = [](Settings& settings) { settings.timeouts.backend_reply = 30s; };
    Pair pair(options);
    Client& client = pair.rig.with_recipient();
    (void)pair.rig.ask(client, "DATA\r\n");
    pair.first.stop_reading();
    pair.second.stop_reading();
    for (int count = 0; count < 8000; ++count) {
        pair.rig.send(client, std::string(1000, 'x') + "\r\n");
    }
    std::size_t most = 0;
    (void)pair.rig.run_until(
        [&] {
            most = std::max(most, pair.rig.worker->pool().bytes_in_use());
            return client.socket->gone();
        },
        5s);
    EXPECT_LT(most, 4UL << 20U);
    pair.rig.run_for(1min);
    pair.rig.send(client, "\r\n.\r\n");
    EXPECT_EQ(pair.rig.reply(client), taken)
        << "all is still in memory: the other backend takes it";
    EXPECT_EQ(pair.complete_count(), 1U);
    pair.rig.finish();
}

// The rest of the pipeline came in with the answers that the loss of the backend gave: DATA was
// answered before the recipient in front of it, and the gateway aborted.
TEST(LostBackend, RecipientsThatComeInWithDataAreAnsweredBeforeIt) {
    Single scene;
    scene.backend.answer = always("RCPT TO:<second@", ScriptedBackend::drop_now);
    Client& client = scene.rig.with_recipient("<first@one.example>");
    scene.rig.send(client, "RCPT TO:<second@one.example>\r\nRCPT TO:<bad\r\n"
                           "RCPT TO:<third@one.example>\r\nDATA\r\n");
    EXPECT_EQ(scene.rig.reply(client).substr(0, 9), "451 4.4.1");
    EXPECT_EQ(scene.rig.reply(client).substr(0, 9), "501 5.1.3"); // it waited for the one before
    EXPECT_EQ(scene.rig.reply(client).substr(0, 9), "451 4.4.1");
    EXPECT_EQ(scene.rig.reply(client).substr(0, 9), "451 4.4.1");
    EXPECT_EQ(scene.rig.ask(client, "RSET\r\n").substr(0, 9), "250 2.0.0");
    scene.rig.finish();
}

} // namespace
} // namespace ringmx::sim
