#include "worker/waiting_places.h"

#include "worker/snapshot.h"

#include <gtest/gtest.h>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace ringmx::worker {
namespace {

struct WaitingPlacesTest : testing::Test {
    Lasting lasting{1, 100, 1};
    Settings settings;
    spool::QueueIndex index;
    WaitingPlaces places;

    WaitingPlacesTest() {
        for (const char* name : {"one", "two"}) {
            PoolSettings pool;
            pool.name = name;
            for (const char* address : {"192.0.2.1:25", "192.0.2.2:25"}) {
                BackendSettings& backend = pool.backends.emplace_back();
                backend.address = address;
            }
            settings.pools.push_back(pool);
        }
        RouteSettings route;
        route.recipients = {"one.example"};
        settings.routes = {route};
    }

    std::shared_ptr<const policy::Routes> routes() {
        return std::make_shared<const policy::Routes>(policy::Routes::build(settings).value());
    }
    std::shared_ptr<const Snapshot> use() {
        LiteralAddresses addresses;
        auto snapshot = build_snapshot(std::make_shared<const Settings>(settings), routes(),
                                       lasting, addresses);
        for (const auto& pool : snapshot->pools) {
            for (const auto& state : pool->upstream.states) {
                state->set_resolved(true);
            }
        }
        places.use(*snapshot, index);
        return snapshot;
    }
};

TEST_F(WaitingPlacesTest, NumbersStayWhileRoutesDo) {
    const auto before = use();
    const std::uint16_t one = places.of(*before->pools[0]);
    const std::uint16_t two = places.of(*before->pools[1]);
    EXPECT_NE(one, two);
    PoolSettings added = settings.pools[0];
    added.name = "zero";
    settings.pools.insert(settings.pools.begin(), added);
    settings.routes[0].pool_index = 1;
    const auto after = use();
    EXPECT_EQ(places.of(*after->pools[1]), one);
    EXPECT_EQ(places.of(*before->pools[1]), two);
    EXPECT_EQ(places.pool_index(two), 2U);
    EXPECT_EQ(places.pool_name(two), "two");
}

TEST_F(WaitingPlacesTest, OtherRoutesOrAnotherHoldAreOtherNumbersAndTheOldTakeMail) {
    settings.pools[1].hold = true;
    auto snapshot = use();
    const std::uint16_t held = places.of(*snapshot->pools[1]);
    EXPECT_FALSE(places.takes_mail(held, *snapshot, Instant{}));
    EXPECT_TRUE(places.is_on_hold(held, *snapshot));
    index.set_pool(index.add({.id = 1, .recipients_count = 1}), held);
    settings.routes[0].recipients = {"two.example"};
    snapshot = use();
    EXPECT_NE(places.of(*snapshot->pools[1]), held);
    EXPECT_TRUE(places.takes_mail(held, *snapshot, Instant{}));
    EXPECT_FALSE(places.is_on_hold(held, *snapshot));
    EXPECT_EQ(places.pool_name(held), "two") << "a name for those who look";
}

TEST_F(WaitingPlacesTest, NumbersThatNobodyNamesAreGivenAgain) {
    for (int reload = 0; reload < 100; ++reload) {
        settings.routes[0].recipients = {"a" + std::to_string(reload) + ".example"};
        (void)use();
    }
    EXPECT_EQ(places.count(), 2U * 6U)
        << "of each pool, each backend, each that stands in, several";
}

TEST_F(WaitingPlacesTest, WithoutFailoverEachBackendIsAPlace) {
    settings.pools[0].failover = Failover::none;
    auto snapshot = use();
    const Pool& lone = *snapshot->pools[0];
    const Pool& other = *snapshot->pools[1];
    const std::set<std::uint16_t> numbers = {places.of(lone), places.of(lone, 0),
                                             places.of(lone, 1), places.of(other)};
    EXPECT_EQ(numbers.size(), 4U);
    EXPECT_EQ(places.of(lone, upstream::no_backend), places.of(lone));
    EXPECT_EQ(places.pool_name(places.of(lone, 1)), "one");
    EXPECT_EQ(places.together(places.of(lone, 0), places.of(lone, 1)), spool::no_pool);
    const std::uint16_t gone = places.of(lone, 1);
    settings.pools[0].backends.pop_back();
    snapshot = use();
    EXPECT_TRUE(places.takes_mail(gone, *snapshot, Instant{})) << "to be routed anew";
}

TEST_F(WaitingPlacesTest, WithFailoverEachBackendIsOneForItsOwnMailAndOneForOthers) {
    const auto snapshot = use();
    const Pool& pool = *snapshot->pools[0];
    const std::uint16_t both = places.together(places.of(pool, 0), places.of(pool, 1));
    const std::set<std::uint16_t> numbers = {places.of(pool),
                                             places.of(pool, 0),
                                             places.of(pool, 1),
                                             both,
                                             places.of(pool, 0, true),
                                             places.of(pool, 1, true),
                                             places.of(*snapshot->pools[1])};
    EXPECT_EQ(numbers.size(), 7U);
    EXPECT_EQ(places.together(both, places.of(pool, 1)), both);
    EXPECT_EQ(places.together(both, both), both);
    EXPECT_EQ(places.together(both, places.of(*snapshot->pools[1])), spool::no_pool);
    EXPECT_EQ(places.together(both, spool::no_pool), spool::no_pool);
    for (const std::uint16_t number : numbers) {
        if (places.pool_index(number) == 0) {
            EXPECT_EQ(places.pool_of(number), places.of(pool));
            EXPECT_EQ(places.pool_name(number), "one");
        }
    }
    EXPECT_EQ(places.parts_of(places.of(pool)).size(), 5U);
}

// Others take it: nothing waits for one that is out, but for all of them.
TEST_F(WaitingPlacesTest, WithFailoverAPlaceTakesMailWhileAnyBackendDoes) {
    const auto snapshot = use();
    const upstream::Pool& pool = snapshot->pools[0]->upstream;
    const std::uint16_t first = places.of(*snapshot->pools[0], 0);
    EXPECT_FALSE(places.is_out(first));
    pool.states[1]->set_resolved(false);
    EXPECT_TRUE(places.takes_mail(first, *snapshot, Instant{}));
    pool.states[0]->set_resolved(false);
    EXPECT_TRUE(places.is_out(first));
    EXPECT_FALSE(places.takes_mail(first, *snapshot, Instant{}));
    pool.states[1]->set_resolved(true);
    EXPECT_TRUE(places.is_out(first));
    EXPECT_TRUE(places.takes_mail(first, *snapshot, Instant{}));
    EXPECT_FALSE(places.is_out(places.of(*snapshot->pools[0])));
    EXPECT_FALSE(places.is_out(places.of(*snapshot->pools[0], 1, true)));
}

TEST_F(WaitingPlacesTest, APoolWithOneBackendOrWithoutAHashIsOne) {
    settings.pools[0].backends.pop_back();
    settings.pools[1].hash = HashKey::none;
    const auto snapshot = use();
    for (const auto& pool : snapshot->pools) {
        EXPECT_EQ(places.of(*pool, 0), places.of(*pool));
    }
    EXPECT_EQ(places.count(), 2U);
}

// An operator who adds a backend does not have to wait for those that are full.
TEST_F(WaitingPlacesTest, AnotherWeightIsOtherNumbersForTheBackendsOfThatPool) {
    auto snapshot = use();
    const std::uint16_t pool = places.of(*snapshot->pools[0]);
    const std::uint16_t backend = places.of(*snapshot->pools[0], 0);
    const std::uint16_t other = places.of(*snapshot->pools[1], 0);
    index.set_pool(index.add({.id = 1, .recipients_count = 1}), backend);
    settings.pools[0].backends[1].weight = 2;
    snapshot = use();
    EXPECT_EQ(places.of(*snapshot->pools[0]), pool);
    EXPECT_NE(places.of(*snapshot->pools[0], 0), backend);
    EXPECT_EQ(places.of(*snapshot->pools[1], 0), other);
    EXPECT_EQ(places.pool_index(backend), WaitingPlaces::none);
    EXPECT_TRUE(places.takes_mail(backend, *snapshot, Instant{})) << "to be routed anew";
}

TEST_F(WaitingPlacesTest, WhereNumbersRunOutBackendsHaveTheirPools) {
    for (int number = 2; number < 300; ++number) {
        settings.pools[0].backends.emplace_back().address =
            "192.0.2.1:" + std::to_string(1000 + number);
    }
    const auto snapshot = std::const_pointer_cast<Snapshot>(use());
    const Pool& pool = *snapshot->pools[0];
    // All are named, so that other routes need as many others.
    std::uint16_t named = 0;
    for (std::uint64_t id = 1; places.of(pool, 299, true) != places.of(pool);) {
        for (; named < places.count(); ++named) {
            index.set_pool(index.add({.id = id++, .recipients_count = 1}), named);
        }
        settings.routes[0].recipients = {"a" + std::to_string(id) + ".example"};
        snapshot->routes = routes();
        places.use(*snapshot, index);
        ASSERT_NE(places.of(pool), spool::no_pool);
    }
    EXPECT_EQ(places.count(), spool::no_pool);
    const Pool& last = *snapshot->pools[1];
    EXPECT_NE(places.of(last), spool::no_pool);
    EXPECT_EQ(places.of(last, 0), places.of(last));
    EXPECT_EQ(places.together(places.of(last, 0), places.of(last, 1)), places.of(last));
}

} // namespace
} // namespace ringmx::worker
