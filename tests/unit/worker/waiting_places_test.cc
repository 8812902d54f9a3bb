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

    std::shared_ptr<const Snapshot> use() {
        LiteralAddresses addresses;
        auto snapshot = build_snapshot(
            std::make_shared<const Settings>(settings),
            std::make_shared<const policy::Routes>(policy::Routes::build(settings).value()),
            lasting, addresses);
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
    EXPECT_EQ(places.count(), 2U);
}

TEST_F(WaitingPlacesTest, WithoutFailoverEachBackendIsAPlace) {
    settings.pools[0].failover = Failover::none;
    auto snapshot = use();
    const Pool& lone = *snapshot->pools[0];
    const Pool& other = *snapshot->pools[1];
    const std::set<std::uint16_t> numbers = {places.of(lone), places.of(lone, 0),
                                             places.of(lone, 1), places.of(other)};
    EXPECT_EQ(numbers.size(), 4U);
    EXPECT_EQ(places.of(other, 1), places.of(other));
    EXPECT_EQ(places.of(lone, upstream::no_backend), places.of(lone));
    EXPECT_EQ(places.pool_name(places.of(lone, 1)), "one");
    const std::uint16_t gone = places.of(lone, 1);
    settings.pools[0].backends.pop_back();
    snapshot = use();
    EXPECT_TRUE(places.takes_mail(gone, *snapshot, Instant{})) << "to be routed anew";
}

} // namespace
} // namespace ringmx::worker
