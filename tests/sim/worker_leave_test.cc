// Clients that leave, fall silent or are slow: what the backend may not see, and when they are told.
#include "sim/worker_scenes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace ringmx::sim {
namespace {

using ::testing::StartsWith;

class ClientLeaves : public ::testing::TestWithParam<std::tuple<bool, int>> {
  protected:
    static void leave(Client& client) {
        switch (std::get<1>(GetParam())) {
        case 0:
            client.socket->close();
            break;
        case 1:
            client.socket->reset();
            break;
        default:
            client.socket->end();
            break;
        }
    }
    static BackendProfile profile() {
        BackendProfile made;
        made.chunking = std::get<0>(GetParam());
        return made;
    }
};

TEST_P(ClientLeaves, MidDataTheBackendSeesNoEnd) {
    for (const std::size_t size : {std::size_t{100}, std::size_t{600} * 1024}) {
        Pair pair({}, profile());
        Client& client = pair.rig.with_recipient();
        (void)pair.rig.ask(client, "DATA\r\n");
        pair.rig.send(client, std::string(size, 'x') + "\r\n");
        pair.rig.run_for(1s);
        leave(client);
        pair.rig.run_for(1min);
        EXPECT_EQ(pair.complete_count(), 0U);
        pair.rig.finish();
        EXPECT_EQ(pair.complete_count(), 0U);
    }
}

TEST_P(ClientLeaves, MidChunkTheBackendSeesNoEnd) {
    Pair pair({}, profile());
    Client& client = pair.rig.with_recipient();
    pair.rig.send(client, "BDAT 100 LAST\r\n" + std::string(99, 'x'));
    pair.rig.run_for(1s);
    leave(client);
    pair.rig.finish();
    EXPECT_EQ(pair.complete_count(), 0U);
}

TEST_P(ClientLeaves, AfterTheEndOfDataTheMessageIsDelivered) {
    Pair pair({}, profile());
    pair.both([&pair](const std::string& command) -> Said {
        if (command == ".") {
            pair.rig.network.schedule(1s, [] {});
        }
        return std::nullopt;
    });
    Client& client = pair.rig.with_recipient();
    (void)pair.rig.ask(client, "DATA\r\n");
    pair.rig.send(client, "x\r\n.\r\n");
    (void)pair.rig.run_until([&] { return pair.complete_count() == 1; });
    leave(client);
    pair.rig.run_for(5s);
    EXPECT_EQ(pair.taken_count(), 1U);
    EXPECT_EQ(pair.rig.counters.messages_accepted_total.value(), 1U);
    pair.rig.finish();
}

INSTANTIATE_TEST_SUITE_P(Ways, ClientLeaves,
                         ::testing::Combine(::testing::Bool(), ::testing::Values(0, 1, 2)));

TEST(WorkerLeave, HalfClosedClientStillGetsItsAnswer) {
    Pair pair;
    Client& client = pair.rig.with_recipient();
    (void)pair.rig.ask(client, "DATA\r\n");
    pair.rig.send(client, "x\r\n.\r\n");
    client.socket->end();
    EXPECT_EQ(pair.rig.reply(client), taken);
    EXPECT_EQ(pair.rig.reply(client), "(closed)");
    pair.rig.finish();
}

// RSET and QUIT are commands too: without PIPELINING they may not follow an unanswered one.
TEST(WorkerLeave, BeforeTheAnswerToRcptNothingIsSentBehindItWithoutPipelining) {
    for (const bool pipelining : {false, true}) {
        BackendProfile profile;
        profile.pipelining = pipelining;
        Single single(profile);
        single.backend.answer = always("RCPT", ScriptedBackend::say_nothing);
        Client& client = single.rig.greeted();
        single.rig.send(client, "MAIL FROM:<a@b.example>\r\nRCPT TO:<user@one.example>\r\n");
        single.rig.run_for(1s);
        EXPECT_EQ(single.backend.count_of("RCPT"), 1U);
        client.socket->reset();
        single.rig.run_for(1s);
        EXPECT_EQ(single.backend.count_of("RSET"), pipelining ? 1U : 0U);
        EXPECT_EQ(single.open_now(), pipelining ? 1U : 0U);
        single.backend.answer = {};
        EXPECT_EQ(single.message(single.rig.greeted()), taken);
        single.rig.finish();
    }
}

TEST(WorkerLeave, SilentClientGivesTheConnectionBackAndTheEnvelopeIsReplayed) {
    Pair pair;
    Client& client = pair.rig.with_recipient();
    pair.rig.run_for(12s); // backend_hold is 10 s
    EXPECT_EQ(pair.count_of("RSET"), 1U);
    EXPECT_EQ(pair.send_message(client), taken);
    EXPECT_EQ(pair.count_of("MAIL"), 2U);
    EXPECT_EQ(pair.rig.counters.transactions_replayed_total.value(), 1U);
    pair.rig.finish();
}

TEST(WorkerLeave, ClientSilentInSmallDataGivesTheConnectionBackToo) {
    for (const bool chunking : {true, false}) {
        BackendProfile profile;
        profile.chunking = chunking;
        Pair pair({}, profile);
        Client& client = pair.rig.with_recipient();
        (void)pair.rig.ask(client, "DATA\r\n");
        pair.rig.send(client, "first\r\n");
        pair.rig.run_for(12s);
        EXPECT_EQ(pair.rig.ask(client, "second\r\n.\r\n"), taken);
        EXPECT_EQ(pair.count_of("MAIL"), 2U);
        EXPECT_EQ(pair.complete_count(), 1U);
        pair.rig.finish();
    }
}

TEST(WorkerLeave, EnvelopeThatChangesAfterAHoldIs451AtTheEnd) {
    Pair pair;
    Client& client = pair.rig.with_recipient();
    pair.rig.run_for(12s);
    pair.both(always("RCPT", "550 5.1.1 Nobody\r\n"));
    EXPECT_THAT(pair.send_message(client), StartsWith("451 4.4.1"));
    EXPECT_EQ(pair.complete_count(), 0U);
    pair.rig.finish();
}

TEST(WorkerLeave, SilentClientIsToldAndCutAfterTheCommandTime) {
    Pair pair;
    Client& client = pair.rig.with_recipient();
    const Instant before = pair.rig.network.now();
    EXPECT_THAT(pair.rig.reply(client), StartsWith("421 4.4.2"));
    EXPECT_GE(pair.rig.network.now() - before, 5min);
    EXPECT_LT(pair.rig.network.now() - before, 5min + 2s);
    EXPECT_EQ(pair.rig.reply(client), "(closed)");
    pair.rig.finish();
}

TEST(WorkerLeave, DrippedCommandDoesNotProlongTheCommandTime) {
    Pair pair;
    Client& client = pair.rig.greeted();
    const Instant before = pair.rig.network.now();
    std::string said;
    for (int count = 0; count < 400 && said.empty(); ++count) {
        pair.rig.send(client, "N");
        pair.rig.run_for(1s);
        said = client.take_reply();
    }
    EXPECT_THAT(said, StartsWith("421 4.4.2"));
    EXPECT_LT(pair.rig.network.now() - before, 5min + 3s);
    pair.rig.finish();
}

TEST(WorkerLeave, ClientSilentInDataIsCutAfterTheDataTime) {
    Pair pair;
    Client& client = pair.rig.with_recipient();
    (void)pair.rig.ask(client, "DATA\r\n");
    pair.rig.send(client, std::string(7000, 'x')); // fast enough for the first minute
    const Instant before = pair.rig.network.now();
    EXPECT_THAT(pair.rig.reply(client), StartsWith("421 4.4.2"));
    EXPECT_LE(pair.rig.network.now() - before, 3min + 2s);
    EXPECT_EQ(pair.complete_count(), 0U);
    pair.rig.finish();
    EXPECT_EQ(pair.complete_count(), 0U);
}

// Slow, but not too slow: no timeout of the backend's may run while the client is the one who is
// waited for.
TEST(WorkerLeave, SlowClientInALargeMessageIsNotTheBackendsFault) {
    for (const bool chunking : {true, false}) {
        BackendProfile profile;
        profile.chunking = chunking;
        Pair pair({}, profile);
        Client& client = pair.rig.with_recipient();
        (void)pair.rig.ask(client, "DATA\r\n");
        pair.rig.send(client, std::string(300 * 1024, 'x') + "\r\n");
        for (int minute = 0; minute < 20; ++minute) {
            pair.rig.run_for(1min);
            pair.rig.send(client, std::string(7000, 'y') + "\r\n");
        }
        EXPECT_EQ(pair.rig.ask(client, ".\r\n"), taken);
        EXPECT_EQ(pair.taken_count(), 1U);
        pair.rig.finish();
    }
}

} // namespace
} // namespace ringmx::sim
