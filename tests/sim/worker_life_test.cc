// The worker's own ends: drain, cut and reload with transactions under way.
#include "sim/worker_scenes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace ringmx::sim {
namespace {

using ::testing::StartsWith;

TEST(WorkerLife, DrainTellsIdleClientsAndLetsTransactionsFinish) {
    Pair pair;
    Client& idle = pair.rig.greeted();
    Client& busy = pair.rig.with_recipient();
    pair.rig.post(Inbox::Kind::drain);
    EXPECT_THAT(pair.rig.reply(idle), StartsWith("421 4.3.2"));
    EXPECT_EQ(pair.send_message(busy), taken);
    EXPECT_THAT(pair.rig.reply(busy), StartsWith("421 4.3.2"));
    EXPECT_TRUE(pair.rig.run_until([&] { return pair.rig.worker->finished(); }, 20s));
}

// The backend takes the connection and says nothing: with nobody to serve it is not waited for.
TEST(WorkerLife, ADrainDoesNotWaitForABackendThatIsDialledForNobody) {
    for (const bool leaves_first : {true, false}) {
        Single single;
        single.backend.answer = always("connect", ScriptedBackend::say_nothing);
        Client& client = single.rig.greeted();
        single.rig.send(client, "MAIL FROM:<a@b.example>\r\nRCPT TO:<user@one.example>\r\n");
        single.rig.run_for(1s);
        ASSERT_EQ(single.open_now(), 1U);
        if (leaves_first) {
            client.socket->reset();
            single.rig.run_for(1s);
        }
        single.rig.post(Inbox::Kind::drain);
        single.rig.run_for(1s);
        client.socket->reset();
        EXPECT_TRUE(single.rig.run_until([&] { return single.rig.finished(); }, 5s))
            << (leaves_first ? "left before the drain" : "left in the drain");
        single.rig.finish();
    }
}

TEST(WorkerLife, CutTellsEachClientOnceAndEndsEverything) {
    Pair pair;
    pair.both(always(".", ScriptedBackend::say_nothing));
    Client& waiting = pair.rig.with_recipient("<waiting@one.example>");
    (void)pair.rig.ask(waiting, "DATA\r\n");
    pair.rig.send(waiting, "x\r\n.\r\n");
    Client& in_data = pair.rig.with_recipient("<data@one.example>");
    (void)pair.rig.ask(in_data, "DATA\r\n");
    Client& in_envelope = pair.rig.with_recipient("<envelope@one.example>");
    pair.rig.run_for(1s);
    pair.rig.finish(2s);
    for (Client* client : {&waiting, &in_data, &in_envelope}) {
        EXPECT_THAT(client->take_reply(), StartsWith("421 4.3.2"));
        EXPECT_EQ(client->take_reply(), "");
    }
    EXPECT_EQ(pair.complete_count(), 1U);
}

TEST(WorkerLife, ReloadKeepsTransactionsUnderWay) {
    Pair pair;
    Client& client = pair.rig.with_recipient();
    Client& idle = pair.rig.greeted();
    pair.rig.reload([](Settings& settings) { settings.hostname = "new.example"; });
    EXPECT_EQ(pair.send_message(client), taken);
    EXPECT_EQ(pair.transaction(idle), taken);
    pair.rig.finish();
}

// The connection that comes back after the reload is used by transactions of the new configuration.
TEST(WorkerLife, ConnectionFromBeforeAReloadServesTheNewPool) {
    Pair pair;
    Client& client = pair.rig.with_recipient();
    pair.rig.reload([](Settings& settings) {
        // The order of the backends changes, and there are more of them.
        std::vector<BackendSettings>& backends = settings.pools[0].backends;
        for (std::uint16_t number = 0; number < 40; ++number) {
            BackendSettings drained = backends[0];
            drained.port = static_cast<std::uint16_t>(2000 + number);
            drained.address = drained.host + ":" + std::to_string(drained.port);
            drained.weight = 0;
            backends.insert(backends.begin(), drained);
        }
    });
    EXPECT_EQ(pair.send_message(client), taken);
    const std::size_t connections = pair.first.connections + pair.second.connections;
    for (int count = 0; count < 3; ++count) {
        EXPECT_EQ(pair.transaction(client), taken);
    }
    EXPECT_EQ(pair.first.connections + pair.second.connections, connections);
    pair.rig.reload([](Settings& settings) { settings.hostname = "newer.example"; });
    pair.rig.reload([](Settings& settings) { settings.hostname = "newest.example"; });
    EXPECT_EQ(pair.transaction(client), taken);
    pair.rig.run_for(40s); // past idle_timeout
    EXPECT_EQ(pair.transaction(client), taken);
    pair.rig.finish();
}

TEST(WorkerLife, ReloadedBackendOrderCountsForTheRightBackend) {
    Pair pair;
    Client& client = pair.rig.with_recipient();
    pair.rig.reload([](Settings& settings) {
        std::swap(settings.pools[0].backends[0], settings.pools[0].backends[1]);
    });
    EXPECT_EQ(pair.send_message(client), taken);
    EXPECT_EQ(pair.transaction(client), taken);
    const bool is_first = pair.first.taken_count() == 2;
    observe::BackendRow& row =
        pair.rig.lasting->counters.row("one", is_first ? Rig::first_address : Rig::second_address);
    EXPECT_EQ(row.workers[0].messages_forwarded_total.value(), 2U);
    pair.rig.finish();
}

} // namespace
} // namespace ringmx::sim
