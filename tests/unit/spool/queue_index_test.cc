#include "unit/spool/queue_index_scene.h"

#include <string>
#include <vector>

namespace ringmx::spool {
namespace {

using QueueIndexTest = QueueIndexScene;

TEST_F(QueueIndexTest, KeepsWhatItWasGiven) {
    const Slot slot = index.add({.id = 77,
                                 .segment = 5,
                                 .offset = (1ULL << 36U) - 64,
                                 .record_bytes = (1U << 20U) - 1,
                                 .stored_bytes = (1ULL << 41U) - 1,
                                 .recipients_count = 1'000'000,
                                 .accepted_at_s = 4'000'000'000,
                                 .expires_from_s = 4'100'000'000});
    EXPECT_EQ(index.find(77), slot);
    const QueueEntry& entry = index.at(slot);
    EXPECT_EQ(entry.id, 77U);
    EXPECT_EQ(entry.segment, 5U);
    EXPECT_EQ(entry.offset, (1ULL << 36U) - 64);
    EXPECT_EQ(entry.record_bytes, (1U << 20U) - 1);
    EXPECT_EQ(entry.stored_bytes, (1ULL << 41U) - 1);
    EXPECT_EQ(entry.recipients_count, 1'000'000U);
    EXPECT_EQ(entry.accepted_at_s, 4'000'000'000U);
    EXPECT_EQ(entry.expires_from_s, 4'100'000'000U);
    EXPECT_EQ(entry.attempts, 0U);
    EXPECT_EQ(entry.pool, no_pool);
    EXPECT_EQ(index.state(slot), QueueState::active);
    EXPECT_EQ(index.next_attempt(slot), never);
    EXPECT_EQ(index.extra(slot), nullptr);
}

TEST_F(QueueIndexTest, WhatWasErasedIsNotFound) {
    add(1);
    const Slot slot = add(2);
    add(3);
    index.erase(slot);
    EXPECT_FALSE(index.find(2));
    EXPECT_TRUE(index.find(1));
    EXPECT_TRUE(index.find(3));
    EXPECT_FALSE(index.find(4));
    EXPECT_DEATH((void)index.at(slot), "is_used");
}

TEST_F(QueueIndexTest, AnIdIsTakenOnce) {
    add(1);
    EXPECT_DEATH(adopt(1), "find");
}

TEST_F(QueueIndexTest, AdoptedMailIsOlderThanNewMail) {
    add(9);
    adopt(30);
    add(8);
    adopt(20);
    EXPECT_EQ(in_order_of_age(), (Ids{30, 20, 9, 8}));
    EXPECT_EQ(index.oldest_accepted_at_s(), 1'000'030U);
    index.erase(*index.find(30));
    EXPECT_EQ(index.oldest_accepted_at_s(), 1'000'020U);
}

TEST_F(QueueIndexTest, AnEmptyOneHasNothing) {
    EXPECT_EQ(index.first_after(0), std::nullopt);
    EXPECT_EQ(index.oldest_accepted_at_s(), std::nullopt);
    EXPECT_EQ(index.next_due(start), std::nullopt);
    EXPECT_EQ(index.next_deadline(), never);
    EXPECT_EQ(index.sum().messages, 0U);
    index.wake(5);
}

TEST_F(QueueIndexTest, APageContinuesBehindWhatIsGone) {
    for (std::uint64_t id = 1; id <= 500; ++id) {
        id <= 200 ? adopt(id) : add(id);
    }
    const std::uint64_t cursor = index.at(*index.find(190)).age;
    for (std::uint64_t id = 150; id <= 210; ++id) {
        index.erase(*index.find(id));
    }
    add(1000);
    EXPECT_EQ(index.at(*index.first_after(cursor)).id, 211U);
    index.erase(*index.find(1000));
    const std::uint64_t last = index.at(*index.find(500)).age;
    EXPECT_EQ(index.first_after(last), std::nullopt);
    index.erase(*index.find(500));
    EXPECT_EQ(index.first_after(last), std::nullopt);
    EXPECT_EQ(index.first_after(UINT64_MAX), std::nullopt);
}

TEST_F(QueueIndexTest, IsDueWhenItsTimeHasComeAndNotBefore) {
    index.set_due(add(1), start + 10s);
    EXPECT_EQ(index.next_due(start + 10s - step), std::nullopt);
    const Instant deadline = index.next_deadline();
    EXPECT_LE(deadline, start + 10s);
    EXPECT_GT(deadline, start + 10s - step);
    EXPECT_EQ(index.next_due(deadline - 1ms), std::nullopt);
    EXPECT_EQ(index.next_deadline(), deadline);
    ASSERT_TRUE(index.next_due(deadline)) << "who comes at the deadline finds it";
    EXPECT_EQ(index.next_deadline(), Instant::min());
    EXPECT_EQ(index.state(*index.find(1)), QueueState::due);
    index.set_active(*index.find(1));
    EXPECT_EQ(index.next_deadline(), never);
}

TEST_F(QueueIndexTest, ATimeBehindAllThatItCanKeepStaysATime) {
    index.set_due(add(1), Instant{24h * 365 * 100});
    EXPECT_EQ(index.next_due(start), std::nullopt);
    EXPECT_TRUE(index.next_due(Instant{24h * 365 * 100}));
}

TEST_F(QueueIndexTest, OfThoseDueTheOldestComesFirst) {
    index.set_due(add(1), start + 3s);
    index.set_due(add(2), start + 1s);
    index.set_due(adopt(3), start + 2s);
    index.set_due(add(4), start + 60s);
    EXPECT_EQ(take_due(start + 5s), (Ids{3, 1, 2}));
}

TEST_F(QueueIndexTest, ACrowdAtOneInstantComesInOrderOfAge) {
    Ids expected;
    for (std::uint64_t id = 1; id <= 1000; ++id) {
        expected.push_back(id);
        add(id);
    }
    for (std::uint64_t id = 1000; id > 0; --id) {
        index.set_due(*index.find(id), start);
    }
    EXPECT_EQ(take_due(start), expected);
}

TEST_F(QueueIndexTest, ANewTimeReplacesTheOldOne) {
    const Slot slot = add(1);
    index.set_due(slot, start + 1s);
    index.set_due(slot, start + 60s);
    EXPECT_EQ(index.next_due(start + 2s), std::nullopt);
    index.set_due(slot, start + 1s);
    EXPECT_EQ(index.next_due(start + 2s), slot);
    index.set_due(slot, start + 90s); // it was ready
    EXPECT_EQ(index.next_due(start + 61s), std::nullopt);
}

TEST_F(QueueIndexTest, WhatIsParkedWaitsForItsPoolAndThenComesOldestFirst) {
    for (std::uint64_t id = 1; id <= 5; ++id) {
        add(id);
    }
    for (const std::uint64_t id : {4U, 1U, 5U, 2U}) {
        index.park(*index.find(id), 7, start + 1h);
    }
    index.park(*index.find(3), 8, start + 1h);
    EXPECT_EQ(count(QueueState::parked), 5U);
    EXPECT_EQ(index.next_due(start), std::nullopt);
    EXPECT_TRUE(index.wake(7));
    EXPECT_FALSE(index.wake(7));
    EXPECT_FALSE(index.wake(1000));
    EXPECT_EQ(index.next_deadline(), Instant::min());
    EXPECT_EQ(count(QueueState::parked), 1U);
    EXPECT_EQ(count(QueueState::due), 4U);
    EXPECT_EQ(index.state(*index.find(4)), QueueState::due);
    EXPECT_EQ(index.state(*index.find(3)), QueueState::parked);
    EXPECT_EQ(take_due(start), (Ids{1, 2, 4, 5}));
    EXPECT_EQ(take_due(start + 2h), (Ids{3}));
}

TEST_F(QueueIndexTest, APoolThatIsLostAgainKeepsTheRestParked) {
    for (std::uint64_t id = 1; id <= 3; ++id) {
        index.park(add(id), 0, never);
    }
    index.wake(0);
    const Slot first = *index.next_due(start);
    index.set_active(first);
    index.park(first, 0, never);
    EXPECT_EQ(count(QueueState::parked), 3U);
    EXPECT_EQ(count(QueueState::due), 0U);
    EXPECT_EQ(index.next_due(start), std::nullopt);
    EXPECT_EQ(index.next_deadline(), never);
    index.wake(0);
    EXPECT_EQ(take_due(start), (Ids{1, 2, 3}));
}

TEST_F(QueueIndexTest, ParkingAgainstAnEmptiedPoolDoesNotFindItAwake) {
    index.park(add(1), 0, never);
    index.wake(0);
    EXPECT_EQ(take_due(start), (Ids{1}));
    index.park(*index.find(1), 0, never);
    EXPECT_EQ(index.next_due(start), std::nullopt);
}

TEST_F(QueueIndexTest, TheSecondLineTakesWhatNobodyWoke) {
    index.park(add(1), 0, start + 20s);
    index.park(add(2), 0, start + 10s);
    index.park(add(3), 0, never);
    EXPECT_EQ(take_due(start + 11s), (Ids{2}));
    EXPECT_EQ(count(QueueState::parked), 2U);
    const auto slot = index.next_due(start + 21s);
    ASSERT_TRUE(slot);
    EXPECT_EQ(index.at(*slot).id, 1U);
    EXPECT_EQ(index.state(*slot), QueueState::due);
    index.park(*index.find(2), 0, never);
    EXPECT_EQ(index.next_due(start + 21s), slot) << "its time has come, whatever the pool does";
}

TEST_F(QueueIndexTest, APoolOnHoldIsAKindOfItsOwnAndHasNoTime) {
    const Slot slot = add(1);
    index.hold_for_pool(slot, 2);
    EXPECT_EQ(index.state(slot), QueueState::pool_hold);
    EXPECT_EQ(index.next_attempt(slot), never);
    EXPECT_EQ(index.next_due(start + 1000h), std::nullopt);
    EXPECT_EQ(index.held().messages, 0U) << "no budget of held mail for it";
    index.wake(2);
    EXPECT_EQ(count(QueueState::pool_hold), 0U);
    EXPECT_EQ(take_due(start), (Ids{1}));
}

TEST_F(QueueIndexTest, APoolIsNamedAsLongAsAMessageNamesIt) {
    const Slot first = add(1);
    const Slot second = add(2);
    EXPECT_FALSE(index.is_named(3));
    index.set_pool(first, 3);
    index.park(second, 3, never);
    index.set_due(second, start);
    EXPECT_TRUE(index.is_named(3)) << "as a hint";
    index.set_pool(second, no_pool);
    EXPECT_TRUE(index.is_named(3));
    index.hold_for_pool(first, 4);
    EXPECT_FALSE(index.is_named(3));
    EXPECT_TRUE(index.is_named(4));
    index.erase(first);
    EXPECT_FALSE(index.is_named(4));
    EXPECT_FALSE(index.is_named(no_pool));
}

TEST_F(QueueIndexTest, WhatIsHeldOrFailedIsNotDue) {
    const Slot held = add(10);
    const Slot failed = add(20);
    index.set_due(held, start);
    index.park(failed, 1, start);
    index.hold(held);
    index.fail(failed);
    index.wake(1);
    EXPECT_EQ(index.next_due(start + 1h), std::nullopt);
    EXPECT_EQ(index.next_deadline(), never);
    EXPECT_EQ(count(QueueState::on_hold), 1U);
    EXPECT_EQ(count(QueueState::failed), 1U);
    EXPECT_EQ(index.held().messages, 2U);
    EXPECT_EQ(index.held().stored_bytes, 30U);
}

TEST_F(QueueIndexTest, WhatIsErasedWhileItWaitsIsNotDue) {
    index.set_due(add(1), start + 1s);
    index.park(add(2), 1, start + 1s);
    index.set_due(add(3), start);
    EXPECT_TRUE(index.next_due(start)); // 3 is ready
    index.wake(1);
    for (const std::uint64_t id : {1U, 2U, 3U}) {
        index.erase(*index.find(id));
    }
    EXPECT_EQ(index.next_due(start + 1h), std::nullopt);
    EXPECT_EQ(index.sum().messages, 0U);
    EXPECT_EQ(index.sum().stored_bytes, 0U);
}

TEST_F(QueueIndexTest, SumsFollowTheStoredSize) {
    const Slot slot = add(100);
    index.park(slot, 3, never);
    index.set_stored_bytes(slot, 5000);
    EXPECT_EQ(index.sum(QueueState::parked).stored_bytes, 5000U);
    index.wake(3);
    EXPECT_EQ(index.sum(QueueState::due).stored_bytes, 5000U);
    EXPECT_EQ(index.sum(QueueState::parked).stored_bytes, 0U);
    index.set_stored_bytes(slot, 70);
    EXPECT_EQ(index.sum(QueueState::due).stored_bytes, 70U);
    EXPECT_EQ(index.sum().stored_bytes, 70U);
}

TEST_F(QueueIndexTest, AttemptsStopCountingAtTheLast) {
    QueueEntry& entry = index.at(add(1));
    entry.attempts = 0xFFFE;
    entry.answered = 0x3E;
    entry.count_attempt(true);
    EXPECT_EQ(entry.attempts, 0xFFFFU);
    EXPECT_EQ(entry.answered, 0x3FU);
    entry.count_attempt(true);
    EXPECT_EQ(entry.attempts, 0xFFFFU);
    EXPECT_EQ(entry.answered, 0x3FU);
}

TEST_F(QueueIndexTest, TheLastReplyIsTheLatest) {
    const Slot slot = add(1);
    EXPECT_EQ(index.last_reply(slot, 0), "");
    set_last_replies(slot, {{0, "451 4.3.0 first"}});
    set_last_replies(slot, {{0, "452 4.3.1 second"}});
    EXPECT_EQ(index.last_reply(slot, 0), "452 4.3.1 second");
    const std::size_t with_one = index.memory_bytes();
    for (int times = 0; times < 10'000; ++times) {
        const std::string text = "450 " + std::to_string(times);
        set_last_replies(slot, {{0, text}});
        EXPECT_EQ(index.last_reply(slot, 0), text);
    }
    EXPECT_LE(index.memory_bytes(), with_one + 100) << "earlier ones are let go";
}

TEST_F(QueueIndexTest, EachRecipientHasHisOwnLastReplyAndWhoWasNotTriedKeepsIt) {
    const Slot slot = index.add({.id = 1, .recipients_count = 4});
    set_last_replies(slot, {{0, "450 a"}, {1, "450 a"}, {2, "451 b"}, {3, "450 a"}});
    set_last_replies(slot, {{0, "452 c"}, {1, {}}, {2, {}}, {3, {}}});
    EXPECT_EQ(index.last_reply(slot, 0), "452 c");
    EXPECT_EQ(index.last_reply(slot, 1), "450 a");
    EXPECT_EQ(index.last_reply(slot, 2), "451 b");
    EXPECT_EQ(index.last_reply(slot, 3), "450 a");
    index.settle(slot, 1, RecipientState::failed, "550 d", "550");
    set_last_replies(slot, {{0, "452 c"}, {2, "452 c"}, {3, "452 c"}});
    index.unsettle_failed(slot);
    EXPECT_EQ(index.last_reply(slot, 0), "452 c");
    EXPECT_EQ(index.last_reply(slot, 1), "550 d");
    EXPECT_EQ(index.last_reply(slot, 2), "452 c");
    EXPECT_EQ(index.last_reply(slot, 3), "452 c");
}

// Each with an id of its own in it: they are cut, and in the end unknown, but never another's.
TEST_F(QueueIndexTest, ManyDifferentLastRepliesAreNeverTakenForOneAnother) {
    constexpr std::uint32_t count = 20'000;
    std::vector<Slot> slots;
    for (std::uint32_t number = 0; number < count; ++number) {
        const Slot slot = index.add({.id = number + 1, .recipients_count = number + 2});
        const std::string text = "451 4.3.0 " + std::to_string(number);
        set_last_replies(slot, {{0, "450 4.2.0 busy"}, {number + 1, text}});
        slots.push_back(slot);
    }
    std::uint32_t known = 0;
    for (std::uint32_t number = 0; number < count; ++number) {
        const std::string_view first = index.last_reply(slots[number], 0);
        const std::string_view second = index.last_reply(slots[number], number + 1);
        ASSERT_TRUE(first.empty() || first == "450" || first == "450 4.2.0 busy") << first;
        ASSERT_TRUE(second.empty() || second == "451" ||
                    second == "451 4.3.0 " + std::to_string(number))
            << second;
        known += second.empty() ? 0U : 1U;
    }
    EXPECT_GE(known, 4000U);
    EXPECT_LE(index.memory_bytes(), count * std::size_t{128} + (2U << 20U));
}

TEST_F(QueueIndexTest, SettledRecipientsAreKeptInOrderAndTheLaterCounts) {
    const Slot slot = add(1);
    const std::size_t before = index.memory_bytes();
    index.settle(slot, 7, RecipientState::failed, "550 5.1.1 no", "550");
    index.settle(slot, 2, RecipientState::delivered, "", "");
    index.settle(slot, 7, RecipientState::bounced, "551 other", "551");
    index.set_chunk_segments(slot, {4, 4, 9});
    const QueueExtra* const extra = index.extra(slot);
    ASSERT_NE(extra, nullptr);
    ASSERT_EQ(extra->settled.size(), 2U);
    EXPECT_EQ(extra->settled[0].recipient, 2U);
    EXPECT_EQ(extra->settled[0].state, RecipientState::delivered);
    EXPECT_EQ(extra->settled[1].recipient, 7U);
    EXPECT_EQ(extra->settled[1].state, RecipientState::bounced);
    EXPECT_EQ(index.reply(extra->settled[1].reply), "551 other");
    EXPECT_EQ(extra->chunk_segments, (std::vector<std::uint32_t>{4, 4, 9}));
    EXPECT_GE(index.memory_bytes(), before + 2 * sizeof(QueueExtra::Settled) + 12);
    index.erase(slot);
    const Slot again = add(2);
    EXPECT_EQ(index.extra(again), nullptr) << "whoever gets its slot";
    index.settle(again, 0, RecipientState::delivered, "", "");
    EXPECT_EQ(index.extra(again)->settled.size(), 1U);
}

TEST_F(QueueIndexTest, RepliesOfThoseThatWereDeliveredLeaveRoomForTheOthers) {
    const Slot slot = add(1);
    for (std::uint32_t number = 0; number < ReplyTable::texts_max; ++number) {
        const std::string text = "250 2.0.0 taken as " + std::to_string(number);
        index.settle(slot, number, RecipientState::delivered, text, "250");
    }
    const std::uint32_t last = ReplyTable::texts_max;
    index.settle(slot, last, RecipientState::failed, "550 5.1.1 no", "550");
    const std::vector<QueueExtra::Settled>& settled = index.extra(slot)->settled;
    EXPECT_EQ(index.reply(settled[0].reply), "250 2.0.0 taken as 0");
    EXPECT_EQ(index.reply(settled[last - 1].reply), "250");
    EXPECT_EQ(index.reply(settled[last].reply), "550 5.1.1 no");
}

TEST_F(QueueIndexTest, AReleaseMakesFailedRecipientsPendAgain) {
    const Slot slot = add(1);
    index.unsettle_failed(slot);
    index.settle(slot, 0, RecipientState::failed, "550 5.1.1 no", "550");
    index.settle(slot, 1, RecipientState::delivered, "250 ok", "250");
    index.settle(slot, 2, RecipientState::failed, "550 5.1.1 no", "550");
    index.unsettle_failed(slot);
    ASSERT_EQ(index.extra(slot)->settled.size(), 1U);
    EXPECT_EQ(index.extra(slot)->settled[0].recipient, 1U);
    EXPECT_EQ(index.reply(index.extra(slot)->settled[0].reply), "250 ok");
}

} // namespace
} // namespace ringmx::spool
