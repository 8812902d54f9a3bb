#include "spool/gaps.h"

#include <gtest/gtest.h>
#include <initializer_list>
#include <utility>

namespace ringmx::spool {
namespace {

constexpr SegmentName name(std::uint64_t life) { return {1, 0, life}; }

// A record in a block of its own.
RecordHeader record(std::uint64_t block, std::uint64_t sequence, std::uint32_t in_doubt) {
    return {.record_bytes = 100,
            .offset = block_bytes * block,
            .sequence = sequence,
            .in_doubt = in_doubt};
}

// By sequence number, and how many were in doubt, from the first block on.
using Records = std::initializer_list<std::pair<std::uint64_t, std::uint32_t>>;

SegmentGaps gaps_of(const Records& records, std::uint64_t first_block = 1) {
    SegmentGaps gaps;
    for (const auto& [sequence, in_doubt] : records) {
        gaps.record(record(first_block++, sequence, in_doubt));
    }
    return gaps;
}

TEST(SegmentGaps, HolesThatWereUnderWayAreACrashs) {
    EXPECT_EQ(gaps_of({}).lost(), 0U);
    EXPECT_EQ(gaps_of({{10, 1}, {11, 1}, {12, 1}}).lost(), 0U);
    EXPECT_EQ(gaps_of({{10, 1}, {12, 2}, {13, 3}}).lost(), 0U);
    EXPECT_EQ(gaps_of({{10, 1}, {13, 3}, {15, 5}}).lost(), 0U);
}

TEST(SegmentGaps, HolesThatWereDurableWhenALaterRecordWasWrittenAreDamage) {
    EXPECT_EQ(gaps_of({{10, 1}, {12, 1}}).lost(), 1U);
    EXPECT_EQ(gaps_of({{10, 1}, {15, 5}, {16, 3}}).lost(), 3U) << "11 to 13; 14 is in doubt";
    EXPECT_EQ(gaps_of({{10, 1}, {12, 2}, {14, 4}, {15, 3}}).lost(), 1U);
    EXPECT_EQ(gaps_of({{10, 1}, {12, 0}}).lost(), 0U) << "nothing is said";
}

TEST(SegmentGaps, TheFirstRecordsMayBeMissingToo) {
    EXPECT_EQ(gaps_of({{12, 1}}, 3).lost(), 1U) << "at least";
    EXPECT_EQ(gaps_of({{12, 2}}, 3).lost(), 0U);
    EXPECT_EQ(gaps_of({{sequence_stretch, 1}}, 3).lost(), 0U) << "those that failed";
}

TEST(SegmentGaps, BehindAWriteThatFailedALifeGoesOnWithoutDamage) {
    EXPECT_EQ(gaps_of({{10, 1}, {sequence_stretch, 1}, {sequence_stretch + 1, 1}}).lost(), 0U);
    // What was under way with it did not fail.
    EXPECT_EQ(gaps_of({{10, 1}, {12, 2}, {sequence_stretch, 1}}).lost(), 0U);
    EXPECT_EQ(gaps_of({{10, 1}, {sequence_stretch, 1}, {sequence_stretch + 2, 1}}).lost(), 1U);
    EXPECT_EQ(gaps_of({{10, 1}, {sequence_stretch + 2, 1}}).lost(), 2U);
}

class RunGapsTest : public testing::Test {
  protected:
    void add(std::uint64_t life, const Records& records, std::uint64_t first_block = 1) {
        runs.add(name(life), gaps_of(records, first_block));
    }
    [[nodiscard]] std::uint64_t lost(std::uint64_t life) const {
        return runs.lost_beside(name(life));
    }

    RunGaps runs;
};

TEST_F(RunGapsTest, WhatIsMissingAtALifesEndIsSeenByTheNext) {
    add(1, {{10, 1}, {11, 1}}); // then 12, 13
    add(2, {{14, 2}});
    EXPECT_EQ(lost(1), 1U);
    EXPECT_EQ(lost(2), 0U);
    EXPECT_EQ(lost(3), 0U) << "there is no such life";
    add(2, {{14, 2}, {15, 2}});
    EXPECT_EQ(lost(1), 2U);
}

TEST_F(RunGapsTest, AHoleInALifeIsJudgedByTheOthersToo) {
    add(1, {{10, 1}, {12, 2}});
    add(2, {{13, 3}});
    EXPECT_EQ(lost(1), 0U);
    add(3, {{14, 1}});
    EXPECT_EQ(lost(1), 1U);
}

TEST_F(RunGapsTest, WhatALifeTellsItselfIsNotCountedTwice) {
    add(1, {{10, 1}, {12, 1}});
    add(2, {{13, 1}});
    EXPECT_EQ(lost(1), 0U);
}

TEST_F(RunGapsTest, BehindAFailedWriteNothingIsKnown) {
    add(1, {{10, 1}, {12, 2}});
    add(2, {{sequence_stretch, 1}, {sequence_stretch + 1, 1}});
    EXPECT_EQ(lost(1), 0U);
}

TEST_F(RunGapsTest, ALifeThatIsGoneOrLacksItsBeginningTellsNothingOfTheEndBeforeIt) {
    add(1, {{10, 1}});
    add(3, {{17, 1}});
    EXPECT_EQ(lost(1), 0U);
    add(2, {{14, 1}}, 3);
    EXPECT_EQ(lost(1), 0U);
}

} // namespace
} // namespace ringmx::spool
