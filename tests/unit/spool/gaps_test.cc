#include "spool/gaps.h"

#include <algorithm>
#include <gtest/gtest.h>

namespace ringmx::spool {
namespace {

// Commits of one record in one block each, numbered from 0; those of `missing` are not there.
std::uint64_t lost_of(int commits, std::initializer_list<int> missing) {
    SegmentGaps gaps;
    for (int number = 0; number < commits; ++number) {
        if (std::ranges::find(missing, number) == missing.end()) {
            const auto count = static_cast<std::uint64_t>(number);
            gaps.record({.record_bytes = 100,
                         .offset = block_bytes * (1 + count),
                         .sequence = 500 + count});
        }
    }
    return gaps.lost();
}

TEST(SegmentGaps, HolesAmongTheLastCommitsAreACrashs) {
    EXPECT_EQ(lost_of(20, {}), 0U);
    EXPECT_EQ(lost_of(20, {19}), 0U);
    EXPECT_EQ(lost_of(20, {16}), 0U);
    EXPECT_EQ(lost_of(20, {16, 18}), 0U);
}

TEST(SegmentGaps, AHoleWithAsManyCommitsBehindItAsCanBeUnderWayIsDamage) {
    static_assert(writes_max == 4);
    EXPECT_EQ(lost_of(20, {15}), 1U);
    EXPECT_EQ(lost_of(20, {3, 4, 9, 17}), 3U);
    EXPECT_EQ(lost_of(20, {0}), 1U);
    EXPECT_EQ(lost_of(4, {0}), 0U);
}

TEST(SegmentGaps, RecordsOfOneCommitCountOnce) {
    SegmentGaps gaps;
    std::uint64_t sequence = 1;
    std::uint64_t offset = block_bytes;
    gaps.record({.record_bytes = 100, .offset = offset, .sequence = sequence});
    offset += block_bytes * 2; // a hole, and then one commit of many records
    sequence += 3;
    for (int count = 0; count < 50; ++count) {
        gaps.record({.record_bytes = 100, .offset = offset, .sequence = sequence++});
        offset = round_up(offset + 100, record_alignment);
    }
    EXPECT_EQ(gaps.lost(), 0U);
    for (std::size_t count = 0; count + 1 < writes_max; ++count) {
        offset = round_up(offset, block_bytes);
        gaps.record({.record_bytes = 100, .offset = offset, .sequence = sequence++});
        offset += 100;
    }
    EXPECT_EQ(gaps.lost(), 2U);
}

} // namespace
} // namespace ringmx::spool
