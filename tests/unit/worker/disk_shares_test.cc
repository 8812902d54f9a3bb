#include "worker/disk_shares.h"

#include "worker/mail_queue.h"
#include "worker/snapshot.h"

#include <algorithm>
#include <gtest/gtest.h>
#include <memory>
#include <string>
#include <vector>

namespace ringmx::worker {
namespace {

constexpr std::uint32_t all = MailQueue::disk_dispatches_max;

struct DiskSharesTest : testing::Test {
    Lasting lasting{1, 100, 1};
    Settings settings;
    spool::QueueIndex index;
    WaitingPlaces places;
    std::shared_ptr<const Snapshot> snapshot;
    DiskShares shares{places, index, all};
    std::vector<std::uint16_t> numbers;       // of the pools
    std::vector<spool::QueueIndex::Slot> due; // a message for each
    Instant now{1000s};

    void use_pools(std::size_t count, std::size_t backends = 1) {
        for (std::size_t number = 0; number < count; ++number) {
            PoolSettings& pool = settings.pools.emplace_back();
            pool.name = "pool" + std::to_string(number);
            for (std::size_t backend = 0; backend < backends; ++backend) {
                pool.backends.emplace_back().address = "192.0.2.1:" + std::to_string(backend);
            }
        }
        RouteSettings route;
        route.recipients = {"one.example"};
        settings.routes = {route};
        use();
        for (const std::uint16_t place : numbers) {
            due.push_back(index.add({.id = due.size() + 1, .recipients_count = 1}));
            index.set_pool(due.back(), place);
            index.set_due(due.back(), now);
        }
    }
    void use() {
        LiteralAddresses addresses;
        snapshot = build_snapshot(
            std::make_shared<const Settings>(settings),
            std::make_shared<const policy::Routes>(policy::Routes::build(settings).value()),
            lasting, addresses);
        for (const auto& pool : snapshot->pools) {
            for (const auto& state : pool->upstream.states) {
                state->set_resolved(true);
            }
        }
        places.use(*snapshot, index);
        shares.places_changed();
        numbers.clear();
        for (const auto& pool : snapshot->pools) {
            numbers.push_back(places.of(*pool));
        }
    }
    // As many as it may have, and there are; how many that are.
    std::uint32_t fill(std::uint16_t place, std::uint32_t count_max = all) {
        std::uint32_t count = 0;
        while (count < count_max && shares.may_have(place)) {
            (void)shares.take(place);
            ++count;
        }
        return count;
    }
    std::uint16_t backend_of(std::size_t pool, std::uint32_t backend, bool is_stand_in = false) {
        return places.of(*snapshot->pools[pool], backend, is_stand_in);
    }
    // Of these, and of the pool.
    void give_back(std::uint16_t place) {
        shares.give_back({.place = place, .pool = places.pool_of(place)});
    }
    // Whether the message for the first pool is offered.
    bool is_offered() { return index.next_due(now) == due[0]; }
};

TEST_F(DiskSharesTest, ABacklogAloneHasThreeQuartersAndTheNextOnesPartsOfTheRest) {
    use_pools(4);
    EXPECT_EQ(fill(numbers[0]), 24U);
    EXPECT_EQ(fill(numbers[1]), 6U);
    EXPECT_EQ(fill(numbers[2]), 2U);
}

TEST_F(DiskSharesTest, BacklogsThatLastHaveTheSameInTheEnd) {
    use_pools(4);
    std::vector<std::uint32_t> counts(4);
    for (std::size_t which = 0; which < 3; ++which) {
        counts[which] = fill(numbers[which]);
    }
    // Each time one of whoever has most ends, the others come first.
    for (int times = 0; times < 200; ++times) {
        const auto most =
            static_cast<std::size_t>(std::ranges::max_element(counts) - counts.begin());
        shares.give_back({.place = numbers[most]});
        --counts[most];
        for (const std::size_t which : {2U, 1U, 0U}) {
            counts[which] += fill(numbers[which]);
        }
    }
    for (std::size_t which = 0; which < 3; ++which) {
        EXPECT_GE(counts[which], 8U) << which;
        EXPECT_LE(counts[which], 11U) << which;
    }
    EXPECT_GE(fill(numbers[3]), 1U);
}

TEST_F(DiskSharesTest, TheIndexPassesOverWhoHasHisShareUntilOneEnds) {
    use_pools(2);
    EXPECT_TRUE(is_offered());
    EXPECT_EQ(fill(numbers[0]), 24U);
    EXPECT_FALSE(is_offered());
    EXPECT_EQ(index.next_due(now), due[1]);
    shares.give_back({.place = numbers[0]});
    EXPECT_TRUE(is_offered());
    (void)shares.take(numbers[0]);
    EXPECT_FALSE(is_offered());
}

TEST_F(DiskSharesTest, WhatOthersTakeCountsToo) {
    use_pools(2);
    for (int times = 0; times < 16; ++times) {
        (void)shares.take(spool::no_pool);
    }
    EXPECT_EQ(fill(numbers[0]), 12U);
    EXPECT_FALSE(is_offered());
    shares.give_back({});
    EXPECT_TRUE(is_offered());
    EXPECT_TRUE(shares.may_have(spool::no_pool));
}

TEST_F(DiskSharesTest, WhereThereIsOnePlaceItMayHaveAll) {
    use_pools(1);
    DiskShare share = shares.take(numbers[0]);
    shares.note_wait(share);
    shares.rest(numbers[0]);
    EXPECT_EQ(fill(numbers[0], all - 1), all - 1);
    EXPECT_TRUE(is_offered());
}

TEST_F(DiskSharesTest, WhileOneWaitsForAConnectionOthersWouldOnlyWaitToo) {
    use_pools(2);
    DiskShare first = shares.take(numbers[0]);
    DiskShare second = shares.take(numbers[0]);
    EXPECT_TRUE(is_offered());
    shares.note_wait(first);
    shares.note_wait(second);
    EXPECT_FALSE(is_offered());
    EXPECT_FALSE(shares.may_have(numbers[0]));
    shares.note_begin(first, false);
    EXPECT_FALSE(is_offered());
    shares.note_begin(second, false);
    EXPECT_TRUE(is_offered());
    EXPECT_EQ(fill(numbers[0]), 1U) << "one at a time";
    DiskShare nobodys;
    shares.note_wait(nobodys);
}

TEST_F(DiskSharesTest, EachThatFindsAConnectionAtOnceDoublesHowManyMayBeWithoutOne) {
    use_pools(2);
    DiskShare share = shares.take(numbers[0]);
    shares.note_wait(share);
    shares.give_back(share); // in vain
    for (std::uint32_t window = 1; window < 16; window *= 2) {
        share = shares.take(numbers[0]);
        EXPECT_EQ(fill(numbers[0]), window - 1);
        shares.note_begin(share, true);
        shares.note_begin(share, true);
        shares.give_back(share);
        for (std::uint32_t times = 1; times < window; ++times) {
            shares.give_back({.place = numbers[0]});
        }
    }
}

TEST_F(DiskSharesTest, WhoRestsIsPassedOverUntilTheEndOfRests) {
    use_pools(2);
    shares.rest(numbers[0]);
    shares.rest(numbers[0]);
    EXPECT_TRUE(shares.need_watch());
    EXPECT_FALSE(is_offered());
    (void)shares.take(numbers[0]);
    shares.give_back({.place = numbers[0]});
    EXPECT_FALSE(is_offered());
    shares.end_rests();
    EXPECT_FALSE(shares.need_watch());
    EXPECT_TRUE(is_offered());
}

TEST_F(DiskSharesTest, TheEndOfARestWithoutAnythingFreeKeepsNobodyBackForEver) {
    use_pools(2);
    shares.rest(numbers[0]);
    for (std::uint32_t times = 0; times < all; ++times) {
        (void)shares.take(spool::no_pool);
    }
    shares.end_rests();
    for (std::uint32_t times = 0; times < all; ++times) {
        shares.give_back({});
    }
    EXPECT_TRUE(is_offered());
}

TEST_F(DiskSharesTest, APlaceOfPastRoutesIsNotCrowded) {
    use_pools(2);
    const std::uint16_t past = numbers[0];
    EXPECT_EQ(fill(past), 24U);
    shares.rest(past);
    EXPECT_FALSE(is_offered());
    settings.routes[0].recipients = {"two.example"};
    use();
    EXPECT_NE(numbers[0], past);
    EXPECT_TRUE(is_offered()) << "to be routed anew";
    EXPECT_TRUE(shares.may_have(past));
    index.set_pool(due[1], numbers[0]);
    EXPECT_EQ(fill(numbers[0]), 6U) << "what is under way counts";
}

TEST_F(DiskSharesTest, ABackendsBacklogLeavesSomethingForItsSiblings) {
    use_pools(1, 3);
    EXPECT_EQ(fill(backend_of(0, 0)), 24U);
    EXPECT_EQ(fill(backend_of(0, 1)), 6U);
    EXPECT_EQ(fill(backend_of(0, 2)), 2U);
}

TEST_F(DiskSharesTest, BackendsOfAPoolTogetherHaveWhatAPoolMayHave) {
    use_pools(2, 40);
    EXPECT_EQ(fill(backend_of(0, 0)), 18U);
    EXPECT_EQ(fill(backend_of(0, 1)), 5U);
    for (std::uint32_t backend = 2; backend < 40; ++backend) {
        (void)fill(backend_of(0, backend));
    }
    EXPECT_FALSE(shares.may_have(numbers[0]));
    EXPECT_FALSE(shares.may_have(backend_of(0, 39)));
    EXPECT_EQ(fill(backend_of(1, 0)), 5U) << "of 8 that are free";
}

// A part that has none itself is passed over too, and no longer when its pool may have one more.
TEST_F(DiskSharesTest, TheIndexPassesOverAllPartsOfAPoolThatHasItsShare) {
    use_pools(2, 3);
    index.set_pool(due[1], numbers[1]);
    index.set_active(due[0]);
    index.set_pool(due[0], backend_of(0, 2));
    index.set_due(due[0], now);
    EXPECT_TRUE(is_offered());
    while (shares.may_have(numbers[0])) {
        for (const std::uint32_t backend : {0U, 1U}) {
            if (shares.may_have(backend_of(0, backend))) {
                (void)shares.take(backend_of(0, backend));
            }
        }
        if (!shares.may_have(backend_of(0, 0)) && !shares.may_have(backend_of(0, 1))) {
            (void)shares.take(backend_of(0, 2, true));
        }
    }
    EXPECT_FALSE(is_offered());
    give_back(backend_of(0, 0));
    EXPECT_TRUE(is_offered());
}

TEST_F(DiskSharesTest, ABackendThatKeepsOneWaitingKeepsNobodyElsesMail) {
    use_pools(1, 2);
    DiskShare share = shares.take(backend_of(0, 0));
    shares.note_wait(share);
    EXPECT_FALSE(shares.may_have(backend_of(0, 0)));
    for (const std::uint16_t other :
         {backend_of(0, 0, true), backend_of(0, 1), backend_of(0, 1, true), numbers[0]}) {
        EXPECT_TRUE(shares.may_have(other));
    }
    shares.give_back(share);
    shares.rest(share.place);
    EXPECT_FALSE(shares.may_have(backend_of(0, 0)));
    EXPECT_TRUE(shares.may_have(backend_of(0, 1)));
}

// One of its backends may have a connection meanwhile, so others are tried all the same.
TEST_F(DiskSharesTest, MailForSeveralBackendsWaitsForNoneOfItsKind) {
    use_pools(1, 3);
    const std::uint16_t several = places.together(backend_of(0, 0), backend_of(0, 1));
    DiskShare share = shares.take(several);
    shares.note_wait(share);
    EXPECT_EQ(fill(several), 23U) << "it has a share like a backend";
    EXPECT_TRUE(shares.may_have(backend_of(0, 0)));
}

// What hangs there is no reason to keep its mail from those that stand in.
TEST_F(DiskSharesTest, ABackendThatIsOutIsNotCrowded) {
    use_pools(1, 2);
    const std::uint16_t first = backend_of(0, 0);
    EXPECT_EQ(fill(first), 24U);
    shares.rest(first);
    EXPECT_FALSE(shares.may_have(first));
    EXPECT_TRUE(shares.need_watch());
    snapshot->pools[0]->upstream.states[0]->set_resolved(false);
    EXPECT_TRUE(shares.may_have(first));
    index.set_active(due[0]);
    index.set_pool(due[0], first);
    index.set_due(due[0], now);
    shares.end_rests();
    EXPECT_TRUE(is_offered());
    snapshot->pools[0]->upstream.states[0]->set_resolved(true);
    shares.end_rests();
    EXPECT_FALSE(is_offered());
}

// However many wait in vain again and again: half is others', and who has rested longest is next.
TEST_F(DiskSharesTest, ManyFullBackendsTakeTurnsAtHalf) {
    constexpr std::uint32_t full = 28;
    use_pools(1, full + 1);
    std::vector<DiskShare> waiting;
    std::vector<std::uint32_t> turns(full);
    const auto begin = [&](std::uint32_t backend) {
        DiskShare& share = waiting.emplace_back(shares.take(backend_of(0, backend)));
        shares.note_wait(share);
        ++turns[backend];
    };
    const auto end_all = [&] {
        for (const DiskShare& share : std::exchange(waiting, {})) {
            shares.give_back(share);
            shares.rest(share.place);
        }
        shares.end_rests();
    };
    for (std::uint32_t backend = 0; backend < full; ++backend) { // nobody knows yet
        begin(backend);
    }
    end_all();
    for (int round = 0; round < 40; ++round) {
        for (std::uint32_t backend = 0; backend < full; ++backend) {
            if (shares.may_have(backend_of(0, backend))) {
                begin(backend);
            }
        }
        EXPECT_LE(waiting.size(), all / 2);
        EXPECT_TRUE(shares.may_have(backend_of(0, full)));
        shares.end_rests();
        EXPECT_LE(waiting.size(), all / 2);
        end_all();
    }
    for (std::uint32_t backend = 0; backend < full; ++backend) {
        EXPECT_GE(turns[backend], 20U) << backend;
    }
}

} // namespace
} // namespace ringmx::worker
