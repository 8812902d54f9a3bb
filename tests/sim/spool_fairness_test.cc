// A backend that takes a minute for each message, with a long backlog of older mail: what is due for
// others goes past it, and its own goes in order all the same.
#include "sim/fairness_scene.h"

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <string>
#include <tuple>

namespace ringmx::sim {
namespace {

class SpoolFairness : public FairnessScene {
  protected:
    SpoolFairness() : FairnessScene(made()) {}
    explicit SpoolFairness(const RigOptions& options) : FairnessScene(options) {}

    // One more pool; what is tried once is not due again by itself.
    static RigOptions made(std::uint32_t connections_max = 100) {
        RigOptions options = QueueScene::options();
        options.segments_max = 20;
        options.settings = [connections_max](Settings& settings) {
            settings.spool.retry.initial = settings.spool.retry.maximum = 8h;
            PoolSettings three = settings.pools[1];
            three.name = "three";
            three.backends[0].address = fourth_address;
            three.backends[0].host = "10.1.0.4";
            settings.pools.push_back(three);
            settings.routes.push_back(settings.routes[1]);
            settings.routes[2].recipients = {"three.example"};
            settings.routes[2].pool_index = 2;
            for (PoolSettings& pool : settings.pools) {
                pool.max_connections = connections_max;
                pool.messages_per_connection = 1'000'000;
            }
        };
        return options;
    }
    static constexpr const char* fourth_address = "10.1.0.4:25";

    // The backend has as many as it may.
    Ids send_backlog_slowly(ScriptedBackend& slow) {
        Ids ids = send_backlog("<u@two.example>");
        rig.run_for(10s);
        slow.judge = slowly;
        make_all_due(false);
        rig.run_for(5s);
        return ids;
    }
    // And costs nothing meanwhile.
    void expect_that_it_waits_as_what_is_due() {
        EXPECT_EQ(count(QueueState::active), 24U);
        EXPECT_EQ(count(QueueState::parked), 0U);
        EXPECT_EQ(list({.state = QueueState::due}).size(), backlog - 24U);
        EXPECT_EQ(list({.state = QueueState::parked}).size(), 0U);
        const std::uint64_t reads = rig.disk.reads;
        rig.run_for(10s);
        EXPECT_LT(turns_in(30s), 200U);
        EXPECT_EQ(rig.disk.reads, reads);
    }
};

class SpoolFairnessCases : public SpoolFairness,
                           public ::testing::WithParamInterface<std::tuple<bool, std::uint32_t>> {
  protected:
    SpoolFairnessCases() : SpoolFairness(made(std::get<1>(GetParam()))) {}
};

TEST_P(SpoolFairnessCases, OthersMailPassesABacklogThatIsSlowAndItsOwnGoesInOrder) {
    const auto [by_restart, connections_max] = GetParam();
    ScriptedBackend& slow = deferring(Rig::third_address);
    ScriptedBackend& other = deferring(fourth_address);
    send_backlog("<u@two.example>");
    for (int sent = 0; sent < 3; ++sent) {
        (void)send_numbered(sent, "<u@three.example>");
    }
    const std::uint64_t reads = reads_until_others_have_theirs(slow, other, by_restart);
    if (connections_max >= backlog / 2) {
        EXPECT_LE(reads, by_restart ? backlog + 30U : 30U);
        expect_that_it_waits_as_what_is_due();
    } else {
        expect_that_few_are_read_again();
    }
    EXPECT_TRUE(rig.run_until([&] { return rig.queued() == 0; }, 4h));
    expect_in_order(slow);
    rig.finish();
}

INSTANTIATE_TEST_SUITE_P(Ways, SpoolFairnessCases,
                         ::testing::Combine(::testing::Bool(), ::testing::Values(100U, 2U)));

class SpoolFairnessWays : public SpoolFairness, public ::testing::WithParamInterface<bool> {};

// The second finds what the first has left, and the third what the two have.
TEST_P(SpoolFairnessWays, TwoSlowBacklogsLeaveSomethingForAThirdPool) {
    ScriptedBackend& slow = deferring(Rig::third_address);
    ScriptedBackend& slow_too = deferring(fourth_address);
    ScriptedBackend& other = deferring(Rig::first_address);
    ScriptedBackend& other_too = deferring(Rig::second_address);
    send_backlog("<u@two.example>");
    send_backlog("<u@three.example>");
    (void)send_numbered(backlog, "<u@one.example>");
    rig.run_for(10s);
    slow.judge = slow_too.judge = slowly;
    other.judge = other_too.judge = nullptr;
    make_all_due(GetParam());
    EXPECT_TRUE(rig.run_until([&] { return taken(other) + taken(other_too) == 1; }, 5s));
    EXPECT_GE(slow_too.connections - slow_too.connections_gone, 4U);
    EXPECT_TRUE(rig.run_until([&] { return rig.queued() == 0; }, 4h));
    expect_in_order(slow);
    expect_in_order(slow_too);
    rig.finish();
}

INSTANTIATE_TEST_SUITE_P(Ways, SpoolFairnessWays, ::testing::Bool());

class SpoolFairnessSeeds
    : public SpoolFairness,
      public ::testing::WithParamInterface<std::tuple<std::uint64_t, std::uint32_t>> {
  protected:
    SpoolFairnessSeeds() : SpoolFairness(seeded()) {}
    static RigOptions seeded() {
        RigOptions options = made(std::get<1>(GetParam()));
        options.network.seed = std::get<0>(GetParam());
        return options;
    }
};

// What is looked at beside it, to find others' mail, is far ahead of what goes.
TEST_P(SpoolFairnessSeeds, WhatIsReadAheadAfterARestartDoesNotOvertakeWhatIsOlder) {
    ScriptedBackend& backend = deferring(Rig::third_address);
    constexpr int messages = 500;
    for (int sent = 0; sent < messages; ++sent) {
        (void)send_numbered(sent, "<u@two.example>");
    }
    rig.run_for(10s);
    backend.judge = nullptr;
    make_all_due(true);
    EXPECT_TRUE(rig.run_until([&] { return taken(backend) == messages; }, 1h));
    int place = 0;
    for (const int number_taken : numbers_taken(backend)) {
        EXPECT_LE(std::abs(number_taken - place++), static_cast<int>(2 * read_at_once));
    }
    rig.finish();
}

INSTANTIATE_TEST_SUITE_P(Seeds, SpoolFairnessSeeds,
                         ::testing::Combine(::testing::Range<std::uint64_t>(1, 5),
                                            ::testing::Values(1U, 4U)));

TEST_F(SpoolFairness, OperatorsReachWhatIsPassedOver) {
    ScriptedBackend& slow = deferring(Rig::third_address);
    const Ids ids = send_backlog_slowly(slow);
    const std::uint64_t held = ids[100];
    const std::uint64_t removed = ids[101];
    const std::uint64_t released = ids[102];
    for (const std::uint64_t id : {held, removed, released}) {
        EXPECT_EQ(show(id).state, QueueState::due);
    }
    EXPECT_EQ(change(Kind::hold, held), Result::done);
    EXPECT_EQ(change(Kind::remove, removed), Result::done);
    EXPECT_EQ(change(Kind::hold, released), Result::done);
    EXPECT_EQ(change(Kind::release, released), Result::done);
    EXPECT_EQ(change(Kind::retry, ids[103]), Result::done);
    EXPECT_EQ(ask({.kind = Kind::retry_all}).changed, backlog - 24U - 2U);
    EXPECT_EQ(count(QueueState::active), 24U);
    EXPECT_TRUE(rig.run_until([&] { return rig.queued() == 1; }, 4h));
    EXPECT_EQ(taken(slow), backlog - 2U);
    EXPECT_EQ(change(Kind::release, held), Result::done);
    EXPECT_TRUE(rig.run_until([&] { return rig.queued() == 0; }, 5min));
    rig.finish();
}

TEST_F(SpoolFairness, ADrainWaitsForNothingThatIsPassedOver) {
    ScriptedBackend& slow = deferring(Rig::third_address);
    (void)send_backlog_slowly(slow);
    rig.post(worker::Inbox::Kind::drain);
    EXPECT_TRUE(rig.run_until([&] { return rig.finished(); }, 2 * slow_reply));
    EXPECT_EQ(taken(slow), 24U);
    rig.restart(1, false);
    EXPECT_TRUE(rig.run_until([&] { return rig.queued() == backlog - 24; }, 1min));
    EXPECT_TRUE(rig.run_until([&] { return rig.queued() == 0; }, 4h));
    expect_in_order(slow);
    rig.finish();
}

// An operator who sends them elsewhere does not have to wait for the backend that is slow.
TEST_F(SpoolFairness, WhatIsPassedOverGoesAtOnceWhereANewRouteSendsIt) {
    ScriptedBackend& slow = deferring(Rig::third_address);
    (void)send_backlog_slowly(slow);
    ScriptedBackend& other = rig.backend(fourth_address);
    rig.reload([](Settings& settings) { settings.routes[1].pool_index = 2; });
    EXPECT_TRUE(rig.run_until([&] { return taken(other) == backlog - 24U; }, 10s));
    EXPECT_TRUE(rig.run_until([&] { return rig.queued() == 0; }, 2 * slow_reply));
    rig.finish();
}

TEST_F(SpoolFairness, WhereThereIsOnePoolItHasEverythingAndNothingIsReadTwice) {
    rig.reload([](Settings& settings) {
        settings.pools.resize(1);
        settings.routes.resize(1);
        settings.pools[0].hash = HashKey::none; // no backend has mail of its own
    });
    ScriptedBackend& slow = deferring(Rig::first_address);
    ScriptedBackend& slow_too = deferring(Rig::second_address);
    (void)send_backlog("<u@one.example>");
    rig.run_for(10s);
    slow.judge = slow_too.judge = slowly;
    const std::uint64_t reads = rig.disk.reads;
    make_all_due(true);
    rig.run_for(5s);
    EXPECT_EQ(count(QueueState::active), read_at_once);
    EXPECT_TRUE(rig.run_until([&] { return rig.queued() == 0; }, 4h));
    EXPECT_LE(rig.disk.reads - reads, backlog + 30U); // some by the start
    rig.finish();
}

} // namespace
} // namespace ringmx::sim
