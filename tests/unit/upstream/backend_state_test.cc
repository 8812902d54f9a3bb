#include "upstream/backend_state.h"
#include "upstream/pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <set>
#include <thread>
#include <vector>

namespace ringmx::upstream {
namespace {

constexpr Instant start{1h};
// Comebacks are kept in ticks of 8.4 ms, rounded up.
constexpr Duration tick = 9ms;

struct BackendStateTest : testing::Test {
    HealthSettings health; // 5s, 3 failures, 1 success
    BackendState state{0, "pool", "10.0.0.1:25"};

    void fail(Instant now, int times = 1) {
        for (int i = 0; i < times; ++i) {
            state.connection_failed(false, health, now);
        }
    }
};

TEST_F(BackendStateTest, ThreeTrafficFailuresInARowTakeItOut) {
    fail(start, 2);
    EXPECT_TRUE(state.is_up());
    state.connection_succeeded(false); // not in a row any more
    fail(start, 2);
    EXPECT_TRUE(state.is_up());
    fail(start);
    EXPECT_FALSE(state.is_up());
    EXPECT_FALSE(state.usable(start + 4999ms));
    EXPECT_EQ(state.try_begin(40, start + 4999ms), Begin::down);
}

TEST_F(BackendStateTest, ProbeFailuresCountApartFromTraffics) {
    fail(start, 2);
    state.probe_result(false, health);
    state.probe_result(false, health);
    EXPECT_TRUE(state.is_up());
    state.connection_succeeded(false); // says nothing about the probes
    state.probe_result(false, health);
    EXPECT_FALSE(state.is_up());
    EXPECT_FALSE(state.usable(start + 24h)) << "only probes bring back what they took out";
    state.connection_succeeded(false);
    EXPECT_FALSE(state.is_up());
    state.probe_result(true, health);
    EXPECT_TRUE(state.is_up());
}

TEST_F(BackendStateTest, SuccessesInARowAreNeededToComeBackByProbes) {
    health.successes = 2;
    for (int i = 0; i < 3; ++i) {
        state.probe_result(false, health);
    }
    state.probe_result(true, health);
    state.probe_result(false, health);
    state.probe_result(true, health);
    EXPECT_FALSE(state.is_up());
    state.probe_result(true, health);
    EXPECT_TRUE(state.is_up());
    state.probe_result(false, health);
    state.probe_result(false, health);
    EXPECT_TRUE(state.is_up()) << "the count of failures begins anew";
}

TEST_F(BackendStateTest, ProbesDoNotBringBackWhatTrafficTookOut) {
    fail(start, 3);
    state.probe_result(true, health);
    EXPECT_FALSE(state.is_up());
    EXPECT_FALSE(state.usable(start + 1s));
}

TEST_F(BackendStateTest, OneConnectionIsTriedFirstAndItsSuccessBringsItBack) {
    fail(start, 3);
    const Instant due = start + 5s + tick;
    EXPECT_EQ(state.try_begin(40, due), Begin::trial);
    EXPECT_FALSE(state.usable(due));
    EXPECT_EQ(state.try_begin(40, due), Begin::down);
    EXPECT_EQ(state.connections_open(), 1U);
    state.connection_succeeded(true);
    EXPECT_TRUE(state.is_up());
    EXPECT_EQ(state.try_begin(40, due), Begin::ok);
}

TEST_F(BackendStateTest, TheWaitDoublesFromIntervalToFiveMinutes) {
    fail(start, 3);
    Instant now = start;
    EXPECT_FALSE(state.usable(now + 5s - 1ms)) << "the first wait is the whole interval";
    for (const Duration wait :
         std::initializer_list<Duration>{5s, 10s, 20s, 40s, 80s, 160s, 5min, 5min}) {
        EXPECT_FALSE(state.usable(now + wait * 4 / 5 - 1ms));
        now += wait + tick;
        ASSERT_EQ(state.try_begin(40, now), Begin::trial);
        state.connection_failed(true, health, now);
        (void)state.end(0);
    }
    now += 5min + tick;
    ASSERT_EQ(state.try_begin(40, now), Begin::trial);
    state.connection_succeeded(true);
    fail(now, 3);
    EXPECT_TRUE(state.usable(now + 5s + tick)) << "after a success the wait begins anew";
}

// Many gateways lose a backend at about the same time.
TEST_F(BackendStateTest, WhoLostABackendTogetherDoesNotComeBackTogether) {
    std::set<Instant> dues;
    for (int gateway = 0; gateway < 20; ++gateway) {
        BackendState its(0, "pool", "10.0.0.1:25");
        const Instant now = start + Duration{gateway * 1000};
        its.connection_failed(false, {.interval = 60s, .failures = 1, .successes = 1}, now);
        its.connection_failed(true, {.interval = 60s, .failures = 1, .successes = 1}, now);
        dues.insert(its.comeback_at().value_or(now));
    }
    EXPECT_GE(dues.size(), 15U);
    EXPECT_GE(*dues.begin(), start + 96s);
    EXPECT_LE(*dues.rbegin(), start + 120s + 1ms + tick);
    EXPECT_GE(*dues.rbegin() - *dues.begin(), 12s);
}

TEST_F(BackendStateTest, AnAbandonedTrialLetsAnotherOneTry) {
    fail(start, 3);
    const Instant due = start + 5s + tick;
    ASSERT_EQ(state.try_begin(40, due), Begin::trial);
    state.abandoned(true);
    (void)state.end(0);
    EXPECT_EQ(state.try_begin(40, due), Begin::trial);
}

TEST_F(BackendStateTest, ConnectionsFromBeforeItWentOutDecideNothing) {
    fail(start, 3);
    const auto due = state.comeback_at();
    state.connection_succeeded(false);
    EXPECT_FALSE(state.is_up());
    fail(start + 4s);
    EXPECT_EQ(state.comeback_at(), due);
}

TEST_F(BackendStateTest, FullIsSaidAtMaxConnectionsAndEndMakesRoom) {
    EXPECT_EQ(state.try_begin(2, start), Begin::ok);
    EXPECT_EQ(state.try_begin(2, start), Begin::ok);
    EXPECT_EQ(state.try_begin(2, start), Begin::full);
    EXPECT_EQ(state.end(0), std::nullopt);
    EXPECT_EQ(state.try_begin(2, start), Begin::ok);
}

TEST_F(BackendStateTest, EndNamesWaitingWorkersInTurnTheCallerLast) {
    for (int i = 0; i < 4; ++i) {
        ASSERT_EQ(state.try_begin(4, start), Begin::ok);
    }
    for (const std::uint32_t worker : {3U, 7U, 900U}) {
        state.wait_for_connection(worker);
    }
    EXPECT_TRUE(state.others_wait(3));
    EXPECT_EQ(state.end(3), 7U);
    EXPECT_EQ(state.end(3), 900U);
    EXPECT_FALSE(state.others_wait(3));
    EXPECT_EQ(state.end(3), 3U);
    EXPECT_EQ(state.end(3), std::nullopt);
}

TEST(WorkerSet, EveryWorkerIsTakenFromEveryStart) {
    for (const std::uint32_t after : {0U, 1U, 62U, 63U, 64U, 511U, 1023U}) {
        for (std::uint32_t worker = 0; worker < workers_max; ++worker) {
            WorkerSet set;
            set.insert(worker);
            set.insert(worker);
            ASSERT_EQ(set.take(after), worker);
            ASSERT_TRUE(set.empty());
        }
    }
}

TEST(BackendRegistry, StatesSurviveReloadsByPoolAndAddress) {
    BackendRegistry registry;
    PoolSettings settings;
    settings.name = "a";
    settings.backends.resize(2);
    settings.backends[0].address = "10.0.0.1:25";
    settings.backends[1].address = "10.0.0.2:25";
    auto first = std::make_unique<Pool>(settings, registry);
    const BackendState* kept = first->states[1].get();
    settings.backends.erase(settings.backends.begin());
    const Pool second(settings, registry);
    EXPECT_EQ(second.states[0].get(), kept);
    settings.name = "b";
    const Pool other(settings, registry);
    EXPECT_NE(other.states[0].get(), kept);
    EXPECT_NE(other.states[0]->id(), kept->id());
    EXPECT_EQ(registry.size(), 3U);
    first.reset();
    registry.forget_unused();
    EXPECT_EQ(registry.size(), 2U);
}

// Else a balancer that sends nothing while /readyz says 503 would wait for ever.
TEST(BackendState, OneThatTrafficTookOutIsOfferedOnceItsWaitIsOver) {
    BackendState state(0, "pool", "10.0.0.1:25");
    const HealthSettings settings{.interval = 5s, .failures = 1, .successes = 1};
    state.connection_failed(false, settings, Instant{100s});
    EXPECT_FALSE(state.is_offered(Instant{104s}));
    EXPECT_TRUE(state.is_offered(Instant{106s}));
    EXPECT_EQ(state.try_begin(1, Instant{106s}), Begin::trial);
    EXPECT_TRUE(state.is_offered(Instant{106s})) << "while it is tried";
    state.connection_failed(true, settings, Instant{106s});
    EXPECT_FALSE(state.is_offered(Instant{106s}));
    (void)state.end(0);
}

TEST(Pool, OnHoldItHasNoBackend) {
    BackendRegistry registry;
    PoolSettings settings;
    settings.backends.resize(1);
    settings.backends[0].address = "10.0.0.1:25";
    EXPECT_TRUE(has_backend(Pool(settings, registry), Instant{}));
    settings.hold = true;
    EXPECT_FALSE(has_backend(Pool(settings, registry), Instant{}));
}

TEST(Pool, HasABackendWhileSomeWeightedOneIsUp) {
    BackendRegistry registry;
    PoolSettings settings;
    settings.backends.resize(2);
    settings.backends[0].address = "10.0.0.1:25";
    settings.backends[1].address = "10.0.0.2:25";
    settings.backends[1].weight = 0;
    const Pool pool(settings, registry);
    EXPECT_TRUE(has_backend(pool, Instant{}));
    for (int i = 0; i < 3; ++i) {
        pool.states[0]->probe_result(false, settings.health);
    }
    EXPECT_FALSE(has_backend(pool, Instant{}));
}

TEST(Pool, OneClientsShareIsAQuarterAtLeastOne) {
    BackendRegistry registry;
    PoolSettings settings;
    for (const auto& [connections, share] :
         {std::pair{1U, 1U}, {3U, 1U}, {4U, 1U}, {8U, 2U}, {40U, 10U}}) {
        settings.max_connections = connections;
        EXPECT_EQ(Pool(settings, registry).client_share, share);
    }
}

TEST(BackendState, WithoutAnAddressItIsOutWhateverProbesAndTrafficSay) {
    BackendState state(0, "main", "mail.example:25");
    state.set_resolved(false);
    EXPECT_FALSE(state.is_up());
    EXPECT_FALSE(state.is_resolved());
    EXPECT_FALSE(state.usable(Instant(1h)));
    EXPECT_EQ(state.try_begin(10, Instant(1h)), Begin::down);
    EXPECT_EQ(state.connections_open(), 0U);
    state.probe_result(true, {});
    state.connection_succeeded(false);
    EXPECT_FALSE(state.is_up());
    state.set_resolved(true);
    EXPECT_TRUE(state.is_up());
    EXPECT_EQ(state.try_begin(10, Instant(1h)), Begin::ok);
}

TEST(BackendStateThreads, MaxConnectionsAndTheSingleTrialHoldOverThreads) {
    BackendState state(0, "pool", "10.0.0.1:25");
    const HealthSettings health{.interval = 100ms, .failures = 2, .successes = 1};
    constexpr std::uint32_t connections_max = 3;
    std::atomic<std::uint32_t> open{0};
    std::atomic<std::uint32_t> trials{0};
    std::atomic<bool> broken{false};
    std::vector<std::thread> threads;
    threads.reserve(4);
    for (std::uint32_t worker = 0; worker < 4; ++worker) {
        threads.emplace_back([&, worker] {
            for (int i = 0; i < 50000; ++i) {
                const Instant now = start + i * 10ms;
                const Begin begin = state.try_begin(connections_max, now);
                if (begin == Begin::full) {
                    state.wait_for_connection(worker);
                    (void)state.stop_waiting(worker);
                }
                if (begin == Begin::full || begin == Begin::down) {
                    state.probe_result(i % 3 != 0, health);
                    continue;
                }
                const bool trial = begin == Begin::trial;
                broken = broken || open.fetch_add(1) >= connections_max ||
                         (trial && trials.fetch_add(1) != 0);
                if (i % 5 == 0) {
                    std::this_thread::yield();
                }
                if (trial) {
                    trials.fetch_sub(1);
                }
                if (i % 4 == 0) {
                    state.connection_succeeded(trial);
                } else if (i % 4 == 1) {
                    state.abandoned(trial);
                } else {
                    state.connection_failed(trial, health, now);
                }
                open.fetch_sub(1);
                (void)state.end(worker);
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    EXPECT_FALSE(broken);
    EXPECT_EQ(state.connections_open(), 0U);
}

} // namespace
} // namespace ringmx::upstream
