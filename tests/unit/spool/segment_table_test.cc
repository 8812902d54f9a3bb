#include "spool/segment_table.h"

#include <algorithm>
#include <gtest/gtest.h>
#include <optional>
#include <random>

namespace ringmx::spool {
namespace {

class SegmentTableTest : public testing::Test {
  protected:
    SegmentTableTest() {
        for (int count = 0; count < 3; ++count) {
            (void)table.add(100 + count, 1024 * 1024);
        }
    }
    std::uint32_t begin() {
        const auto index = table.open(Nonce{});
        EXPECT_TRUE(index);
        table.opened(*index);
        return *index;
    }
    SegmentTable table{7, 2};
};

TEST_F(SegmentTableTest, ALifeHasANameOfItsOwn) {
    const std::uint32_t first = begin();
    const SegmentName name = table.at(first).name;
    EXPECT_EQ(name.generation, 7U);
    EXPECT_EQ(name.worker, 2U);
    table.close(first);
    (void)begin();
    (void)begin();
    const std::uint32_t again = begin();
    EXPECT_EQ(again, first);
    EXPECT_GT(table.at(again).name.life, name.life);
}

TEST_F(SegmentTableTest, WhatIsHeldIsNotUsedAgain) {
    const std::uint32_t held = begin();
    table.hold(held);
    table.close(held);
    EXPECT_EQ(table.spare_count(), 2U);
    table.release(held);
    EXPECT_EQ(table.spare_count(), 3U);
}

TEST_F(SegmentTableTest, OneThatIsMerelyAllocatedIsNotUsedAgain) {
    SegmentTable allocated{7, 2};
    (void)allocated.add(100, 1024 * 1024, false);
    (void)allocated.add(101, 1024 * 1024, false);
    EXPECT_FALSE(allocated.has_written_spare());
    allocated.seal_spares_not_written();
    EXPECT_EQ(allocated.spare_count(), 2U) << "they were not used yet";
    const auto first = allocated.open(Nonce{});
    ASSERT_TRUE(first);
    allocated.opened(*first);
    allocated.close(*first);
    allocated.seal_spares_not_written();
    EXPECT_EQ(allocated.next_to_discard(), first);
    EXPECT_EQ(allocated.spare_count(), 1U);
}

TEST_F(SegmentTableTest, AMarkIsKeptUntilTheHeaderOfItsHomesNextLifeIsDurable) {
    const std::uint32_t home = begin();
    const SegmentName home_name = table.at(home).name;
    table.hold(home);
    table.close(home);
    const std::uint32_t marking = begin();
    table.note_mark(marking, home_name);
    table.close(marking);
    table.release(home); // its message is delivered
    EXPECT_EQ(table.spare_count(), 2U) << "the home is spare, the mark is needed";
    const std::uint32_t third = begin();
    EXPECT_NE(third, home);
    const auto reopened = table.open(Nonce{});
    ASSERT_EQ(reopened, home);
    EXPECT_EQ(table.spare_count(), 0U) << "its old life's octets are still there";
    table.opened(home);
    EXPECT_EQ(table.spare_count(), 1U);
}

TEST_F(SegmentTableTest, AMarkInItsHomeNeedsNothing) {
    const std::uint32_t home = begin();
    table.note_mark(home, table.at(home).name);
    table.close(home);
    EXPECT_EQ(table.spare_count(), 3U);
}

TEST_F(SegmentTableTest, AMarkAboutAnEarlierRunIsKeptUntilThatSegmentIsGone) {
    const SegmentName earlier{6, 0, 12};
    const std::uint32_t marking = begin();
    table.note_mark(marking, earlier);
    table.note_mark(marking, earlier);
    table.close(marking);
    EXPECT_EQ(table.spare_count(), 2U);
    table.home_gone({6, 0, 13});
    EXPECT_EQ(table.spare_count(), 2U);
    table.home_gone(earlier);
    EXPECT_EQ(table.spare_count(), 3U);
}

// It was on its way to the disk when that was told.
TEST_F(SegmentTableTest, AMarkAboutAnEarlierRunsSegmentThatIsGoneNeedsNothing) {
    const SegmentName earlier{6, 0, 12};
    const std::uint32_t marking = begin();
    EXPECT_TRUE(table.may_be_there(earlier));
    table.home_gone(earlier);
    EXPECT_FALSE(table.may_be_there(earlier));
    table.note_mark(marking, earlier);
    table.close(marking);
    EXPECT_EQ(table.spare_count(), 3U);
}

TEST_F(SegmentTableTest, ADamagedOneIsNeverUsedAgain) {
    const std::uint32_t full = begin();
    table.hold(full);
    table.close(full);
    const std::uint32_t writing = begin();
    table.note_damage(full);
    table.note_damage(writing);
    EXPECT_EQ(table.at(full).state, Segment::State::sealed);
    EXPECT_TRUE(table.has_sealed_held());
    EXPECT_EQ(table.at(writing).state, Segment::State::writing);
    table.release(full);
    EXPECT_EQ(table.next_to_discard(), full);
    EXPECT_TRUE(table.at(full).is_damaged);
    EXPECT_EQ(table.staying_count(), 3U);
    table.leave(full);
    EXPECT_EQ(table.staying_count(), 2U);
    table.discarded(full);
    EXPECT_EQ(table.staying_count(), 2U);
    table.close(writing);
    EXPECT_EQ(table.next_to_discard(), writing);
    EXPECT_EQ(table.spare_count(), 1U);
}

TEST_F(SegmentTableTest, ADamagedOneDoesNotGoOn) {
    const std::uint32_t damaged = begin();
    table.note_damage(damaged);
    table.fail(damaged);
    EXPECT_FALSE(table.resume_last(1024UL * 1024));
}

TEST_F(SegmentTableTest, ASealedOneIsDiscardedOnceNothingInItIsNeeded) {
    const std::uint32_t sealed = begin();
    const SegmentName name = table.at(sealed).name;
    table.hold(sealed);
    table.seal(sealed);
    EXPECT_FALSE(table.next_to_discard());
    const std::uint32_t marking = begin();
    table.note_mark(marking, name);
    table.close(marking);
    table.release(sealed);
    ASSERT_EQ(table.next_to_discard(), sealed);
    EXPECT_EQ(table.spare_count(), 1U);
    table.discarded(sealed);
    EXPECT_EQ(table.spare_count(), 2U) << "the mark about it is needed no more";
    EXPECT_EQ(table.files_count(), 2U);
    EXPECT_FALSE(table.next_to_discard());
    EXPECT_EQ(table.add(200, 1024 * 1024), sealed) << "the table grows with the files alone";
    EXPECT_EQ(table.count(), 3U);
    EXPECT_EQ(table.at(sealed).name, SegmentName{});
    EXPECT_EQ(table.spare_count(), 3U);
}

constexpr std::uint64_t behind = 1024UL * 1024;

TEST_F(SegmentTableTest, TheLastLifeGoesOnIfAWriteFailedInIt) {
    EXPECT_FALSE(table.resume_last(behind));
    const std::uint32_t first = begin();
    table.hold(first);
    EXPECT_FALSE(table.resume_last(behind)) << "it is under way";
    table.fail(first);
    table.fail(first); // another write that was under way
    const std::uint32_t second = begin();
    table.hold(second);
    table.fail(second);
    const auto third = table.open(Nonce{});
    ASSERT_TRUE(third);
    table.fail(*third); // its header: nothing was written to it
    EXPECT_EQ(table.resume_last(behind), second);
    EXPECT_EQ(table.at(second).state, Segment::State::writing);
    EXPECT_FALSE(table.resume_last(behind));
    table.close(second);
    EXPECT_FALSE(table.resume_last(behind)) << "it is full";
}

// Readers don't look everywhere behind many zeros.
TEST_F(SegmentTableTest, ALifeInWhichTooMuchFailedDoesNotGoOn) {
    const std::uint32_t last = begin();
    table.use(last, 5 * block_bytes);
    table.note_durable(last, 2 * block_bytes);
    table.fail(last);
    EXPECT_FALSE(table.resume_last(4 * block_bytes - 1));
    EXPECT_EQ(table.resume_last(4 * block_bytes), last);
}

TEST_F(SegmentTableTest, WhatIsLostOrOnItsWayOutDoesNotGoOn) {
    const std::uint32_t lost = begin();
    table.hold(lost);
    table.fail(lost);
    table.seal_all();
    EXPECT_FALSE(table.resume_last(behind));
    (void)table.add(103, 1024 * 1024);
    const std::uint32_t leaving = begin();
    table.fail(leaving);
    table.leave(leaving);
    EXPECT_FALSE(table.resume_last(behind));
    table.discarded(leaving);
    EXPECT_FALSE(table.resume_last(behind));
}

TEST_F(SegmentTableTest, AMarkAboutALifeThatIsGoneNeedsNothing) {
    const std::uint32_t failed = begin();
    const SegmentName name = table.at(failed).name;
    table.seal(failed);
    ASSERT_EQ(table.next_to_discard(), failed);
    table.leave(failed);
    const std::uint32_t early = begin();
    table.note_mark(early, name);
    table.close(early);
    EXPECT_EQ(table.spare_count(), 1U) << "its file may still come back";
    table.discarded(failed);
    EXPECT_EQ(table.spare_count(), 2U);
    const std::uint32_t late = begin();
    table.note_mark(late, name);
    table.close(late);
    EXPECT_EQ(table.spare_count(), 2U) << "no home_gone() will come any more";
}

TEST_F(SegmentTableTest, ALifeIsGoneWhenTheHeaderOfTheNextOneIsDurableAndNotBefore) {
    std::vector<SegmentName> names;
    for (int count = 0; count < 3; ++count) {
        const std::uint32_t index = begin();
        names.push_back(table.at(index).name);
        table.close(index);
    }
    const auto reopened = table.open(Nonce{});
    ASSERT_TRUE(reopened);
    ASSERT_EQ(table.at(*reopened).previous, names[0]);
    const std::uint32_t marking = begin();
    table.note_mark(marking, names[0]);
    EXPECT_EQ(table.at(marking).marked.size(), 1U);
    table.opened(*reopened);
    EXPECT_EQ(table.at(marking).marked.size(), 0U);
    table.note_mark(marking, names[0]);
    EXPECT_EQ(table.at(marking).marked.size(), 0U);
    table.note_mark(marking, names[2]); // a spare one's octets are there
    EXPECT_EQ(table.at(marking).marked.size(), 1U);
}

// It may have been written all the same, or not.
TEST_F(SegmentTableTest, ALifeIsThereAsLongAsTheHeaderThatFailedToReplaceIt) {
    const std::uint32_t first = begin();
    const SegmentName name = table.at(first).name;
    table.close(first);
    const std::uint32_t marking = begin();
    (void)begin();
    ASSERT_EQ(table.open(Nonce{}), first);
    table.seal(first);
    table.note_mark(marking, name);
    table.close(marking);
    EXPECT_EQ(table.spare_count(), 0U);
    table.discarded(first);
    EXPECT_EQ(table.spare_count(), 1U);
}

TEST_F(SegmentTableTest, WhatIsOnItsWayOutIsNotDiscardedTwiceWhenTheFilesAreLost) {
    const std::uint32_t failed = begin();
    table.seal(failed);
    ASSERT_EQ(table.next_to_discard(), failed);
    table.leave(failed);
    table.seal_all();
    EXPECT_NE(table.next_to_discard(), failed);
    table.discarded(failed);
    EXPECT_EQ(table.files_count(), 2U);
}

TEST_F(SegmentTableTest, WhatWaitsForTheOneBeforeItIsReclaimableUpToTheOldestHeld) {
    const std::uint32_t first = begin();
    table.close(first); // spare: its marks are about nothing, but its life is not over
    const std::uint32_t second = begin();
    table.note_mark(second, table.at(first).name);
    table.hold(second);
    table.close(second);
    const std::uint32_t third = begin();
    table.note_mark(third, table.at(second).name);
    table.hold(third);
    table.close(third);
    EXPECT_EQ(table.reclaimable_count(), 0U);
    table.release(second);
    EXPECT_EQ(table.reclaimable_count(), 1U);
    table.release(third);
    EXPECT_EQ(table.reclaimable_count(), 2U);
    table.note_mark(third, {.generation = 0, .worker = 0, .life = 1}); // an earlier run's
    EXPECT_EQ(table.reclaimable_count(), 1U);
}

TEST_F(SegmentTableTest, TheOldestHeldIsTheFirstClosedOneThatHoldsSomething) {
    EXPECT_EQ(table.oldest_held(), std::nullopt);
    const std::uint32_t first = begin();
    table.hold(first);
    table.close(first);
    const std::uint32_t second = begin();
    table.hold(second);
    table.close(second);
    table.hold(begin());
    EXPECT_EQ(table.oldest_held(), first);
    EXPECT_EQ(table.oldest_held(table.at(first).name.life), second);
    EXPECT_EQ(table.oldest_held(table.at(second).name.life), std::nullopt);
    table.release(first);
    EXPECT_EQ(table.oldest_held(), second);
}

// What the table keeps between changes, counted anew.
struct Counted {
    static bool is_own(const SegmentName& name) { return name.generation == 7 && name.worker == 2; }
    static bool waits_for_another_run(const Segment& segment) {
        return is_own(segment.name) &&
               std::ranges::any_of(segment.marked, [](const Segment::Marked& marked) {
                   return !is_own(marked.home);
               });
    }
    explicit Counted(const SegmentTable& table) {
        using State = Segment::State;
        std::uint64_t oldest_held = UINT64_MAX;
        for (std::uint32_t index = 0; index < table.count(); ++index) {
            const Segment& segment = table.at(index);
            const bool is_sealed = segment.state == State::sealed;
            files += segment.state != State::discarded ? 1U : 0U;
            has_sealed_held = has_sealed_held || (is_sealed && segment.holds > 0);
            if (!to_discard && is_sealed && segment.holds == 0 && segment.marked.empty()) {
                to_discard = index;
            }
            if ((is_sealed || segment.state == State::full) &&
                (segment.holds > 0 || waits_for_another_run(segment))) {
                oldest_held = std::min(oldest_held, segment.name.life);
            }
        }
        for (std::uint32_t index = 0; index < table.count(); ++index) {
            const Segment& segment = table.at(index);
            const bool counts = segment.state == State::full && segment.holds == 0 &&
                                segment.name.life < oldest_held;
            reclaimable += counts ? 1U : 0U;
        }
    }
    std::uint32_t files = 0;
    std::uint32_t reclaimable = 0;
    std::optional<std::uint32_t> to_discard;
    bool has_sealed_held = false;
};

TEST_F(SegmentTableTest, WhatIsKeptBetweenChangesIsWhatIsThere) {
    std::mt19937 random(7); // NOLINT: the same in each run
    std::uint32_t discarded = 0;
    std::uint32_t reclaimable = 0;
    for (int step = 0; step < 40'000; ++step) {
        const auto index = static_cast<std::uint32_t>(random() % table.count());
        const Segment& one = table.at(index);
        const Segment& other = table.at(static_cast<std::uint32_t>(random() % table.count()));
        const bool is_writing = one.state == Segment::State::writing;
        switch (random() % 12) {
        case 0:
            if (table.files_count() < 12 && random() % 4 == 0) {
                (void)table.adopt(100 + step, {6, 1, static_cast<std::uint64_t>(step)}, 1024 * 1024,
                                  {{.home = {6, 0, 1}, .marks = 1}});
            } else if (table.files_count() < 12) {
                (void)table.add(100 + step, 1024 * 1024, random() % 2 == 0);
            }
            break;
        case 1:
            if (const auto opened = table.open(Nonce{})) {
                table.opened(*opened);
            }
            break;
        case 2:
            if (is_writing) {
                table.close(index);
            }
            break;
        case 3:
            if (is_writing && random() % 2 == 0) {
                table.fail(index);
            }
            break;
        case 4:
        case 5:
            if ((is_writing || one.name.generation == 6) && one.holds < 3 &&
                one.state != Segment::State::discarded) {
                table.hold(index);
            }
            break;
        case 6:
        case 7:
        case 8:
            if (one.holds > 0) {
                table.release(index);
            }
            break;
        case 9:
            if (is_writing && random() % 4 == 0) {
                const bool is_about_another = random() % 8 == 0 || other.name.generation == 6;
                table.note_mark(index, is_about_another ? SegmentName{6, 0, 1} : other.name);
            }
            break;
        case 10:
            if (random() % 4 == 0) {
                table.home_gone({6, 0, 1});
            }
            break;
        case 11:
            if (const auto going = table.next_to_discard()) {
                table.leave(*going);
                table.discarded(*going);
                ++discarded;
            }
            break;
        default:
            break;
        }
        const Counted counted(table);
        reclaimable += counted.reclaimable > 0 ? 1U : 0U;
        ASSERT_EQ(table.files_count(), counted.files) << "step " << step;
        ASSERT_EQ(table.reclaimable_count(), counted.reclaimable) << "step " << step;
        ASSERT_EQ(table.next_to_discard(), counted.to_discard) << "step " << step;
        ASSERT_EQ(table.has_sealed_held(), counted.has_sealed_held) << "step " << step;
    }
    EXPECT_GT(discarded, 20U) << "the walk shows too little";
    EXPECT_GT(reclaimable, 100U) << "the walk shows too little";
}

} // namespace
} // namespace ringmx::spool
