// Pools that are crowded: what names one is due, and next_due() passes it over.
#include "unit/spool/queue_index_scene.h"

namespace ringmx::spool {
namespace {

using QueueCrowd = QueueIndexScene;

TEST_F(QueueCrowd, WhatNamesACrowdedPoolIsDueAndPassedOver) {
    for (std::uint64_t id = 1; id <= 6; ++id) {
        add_due(id, id % 2 == 0 ? 4 : 7);
    }
    index.crowd(7);
    EXPECT_EQ(take_due(start), (Ids{2, 4, 6}));
    EXPECT_EQ(index.next_deadline(), never) << "there is nothing to do";
    EXPECT_EQ(count(QueueState::due), 3U);
    EXPECT_EQ(index.sum(QueueState::due).stored_bytes, 1U + 3U + 5U);
    EXPECT_EQ(index.sum(QueueState::parked, 7).messages, 0U);
    EXPECT_EQ(index.state(*index.find(3)), QueueState::due);
    EXPECT_NE(index.next_attempt(*index.find(3)), never);
    index.set_stored_bytes(*index.find(3), 300);
    EXPECT_EQ(index.sum(QueueState::due).stored_bytes, 1U + 300U + 5U);
    index.uncrowd(7);
    EXPECT_EQ(index.next_deadline(), Instant::min());
    EXPECT_EQ(take_due(start), (Ids{1, 3, 5}));
    EXPECT_EQ(index.next_deadline(), never);
    index.uncrowd(1000);
}

TEST_F(QueueCrowd, WhatWasPassedOverGoesInOrderOfAgeWithAllOthers) {
    add_due(1, 7);
    add_due(2, 7);
    index.crowd(7);
    EXPECT_EQ(index.next_due(start), std::nullopt);
    add_due(3, 7);
    add_due(4, no_pool);
    add_due(5, 7);
    EXPECT_EQ(index.at(*index.next_due(start)).id, 4U);
    index.set_due(adopt(6), start); // older than all of them
    index.uncrowd(7);
    add_due(7, 7);
    EXPECT_EQ(index.at(*index.next_due(start)).id, 6U);
    EXPECT_EQ(take_due(start), (Ids{6, 1, 2, 3, 4, 5, 7}));
}

TEST_F(QueueCrowd, OneAfterTheOtherGoesWhereAPoolIsCrowdedAgainAtOnce) {
    for (std::uint64_t id = 1; id <= 4; ++id) {
        add_due(id, 7);
    }
    index.crowd(7);
    for (std::uint64_t id = 1; id <= 4; ++id) {
        EXPECT_EQ(index.next_due(start), std::nullopt);
        index.uncrowd(7);
        const auto slot = index.next_due(start);
        ASSERT_TRUE(slot);
        EXPECT_EQ(index.at(*slot).id, id);
        index.set_active(*slot);
        index.crowd(7);
    }
    index.uncrowd(7);
    EXPECT_EQ(index.next_deadline(), never);
}

// More than one call looks at. It has nothing to give meanwhile, and says that it has something to do.
TEST_F(QueueCrowd, ALongBacklogOfACrowdedPoolIsPassedOverInParts) {
    constexpr std::uint64_t backlog = 1000;
    for (std::uint64_t id = 1; id <= backlog; ++id) {
        add_due(id, 7);
    }
    add_due(backlog + 1, 4);
    for (std::uint64_t calls = 0; calls < backlog; ++calls) { // all of them are seen to be due
        EXPECT_EQ(index.at(*index.next_due(start)).id, 1U);
    }
    index.crowd(7);
    std::uint64_t calls = 1;
    while (!index.next_due(start)) {
        ASSERT_EQ(index.next_deadline(), Instant::min());
        ASSERT_LT(++calls, backlog);
    }
    EXPECT_GT(calls, 10U);
    EXPECT_EQ(take_due(start), (Ids{backlog + 1}));
    EXPECT_EQ(index.next_due(start), std::nullopt);
    EXPECT_EQ(index.next_deadline(), never);
    index.uncrowd(7);
    EXPECT_EQ(take_due(start).size(), backlog);
}

TEST_F(QueueCrowd, WhatIsParkedAndWokenIsPassedOverWhereItsPoolIsCrowded) {
    index.park(add(1), 7, start + 1h);
    index.hold_for_pool(add(2), 7);
    add_due(3, 7);
    index.crowd(7);
    index.wake(7);
    EXPECT_EQ(index.next_due(start), std::nullopt);
    EXPECT_EQ(index.next_deadline(), index.next_attempt(*index.find(1)));
    EXPECT_EQ(count(QueueState::due), 3U);
    EXPECT_EQ(index.next_due(start + 2h), std::nullopt) << "its time has come, and it is aside";
    EXPECT_EQ(index.next_deadline(), never);
    index.uncrowd(7);
    EXPECT_EQ(take_due(start), (Ids{1, 2, 3}));
}

TEST_F(QueueCrowd, ACrowdedPoolThatIsAsleepKeepsOnlyWhatIsParked) {
    index.park(add(1), 7, never);
    add_due(2, 7);
    index.crowd(7);
    EXPECT_EQ(index.next_due(start), std::nullopt);
    index.uncrowd(7);
    EXPECT_EQ(take_due(start), (Ids{2}));
    EXPECT_EQ(index.next_deadline(), never);
    EXPECT_EQ(count(QueueState::parked), 1U);
}

TEST_F(QueueCrowd, WhetherAnOlderOneOfAPoolStandsAsideIsKnown) {
    const Slot first = add(1);
    add_due(2, 7);
    index.park(add(3), 4, never);
    const Slot last = add(4);
    EXPECT_FALSE(index.has_older(7, last)) << "it does not stand aside yet";
    index.crowd(7);
    EXPECT_EQ(index.next_due(start), std::nullopt);
    EXPECT_TRUE(index.has_older(7, last));
    EXPECT_FALSE(index.has_older(7, first));
    EXPECT_FALSE(index.has_older(4, last)) << "it is not due";
    index.wake(4);
    EXPECT_TRUE(index.has_older(4, last));
    EXPECT_FALSE(index.has_older(4, first));
    EXPECT_FALSE(index.has_older(1000, last));
}

TEST_F(QueueCrowd, WhatStandsAsideLeavesLikeAnyOther) {
    for (std::uint64_t id = 1; id <= 8; ++id) {
        add_due(id, 7);
    }
    index.crowd(7);
    EXPECT_EQ(index.next_due(start), std::nullopt);
    index.erase(*index.find(1));
    index.hold(*index.find(2));
    index.fail(*index.find(3));
    index.set_due(*index.find(4), start + 1h);
    index.set_active(*index.find(5));
    index.park(*index.find(6), 4, never);
    index.set_due(*index.find(7), start); // an operator's retry
    EXPECT_EQ(count(QueueState::due), 3U);
    EXPECT_EQ(index.next_due(start), std::nullopt);
    index.uncrowd(7);
    EXPECT_EQ(take_due(start), (Ids{7, 8}));
    EXPECT_EQ(index.next_due(start), std::nullopt);
    EXPECT_EQ(take_due(start + 2h), (Ids{4}));
    index.wake(4);
    EXPECT_EQ(take_due(start), (Ids{6}));
}

TEST_F(QueueCrowd, ThePoolOfWhatStandsAsideIsNotChanged) {
    const Slot slot = add_due(1, 7);
    index.crowd(7);
    index.set_pool(slot, 4);
    index.set_pool(slot, 7);
    EXPECT_EQ(index.next_due(start), std::nullopt);
    EXPECT_DEATH(index.set_pool(slot, 4), "is_aside");
}

} // namespace
} // namespace ringmx::spool
