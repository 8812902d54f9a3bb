#include "spool_sizes.h"

#include <gtest/gtest.h>

namespace ringmx {
namespace {

constexpr std::uint64_t mebibyte = 1024 * 1024;
constexpr std::uint64_t gibibyte = 1024 * mebibyte;

void expect(std::uint64_t max_size_bytes, std::uint32_t workers, std::uint64_t segment_mebibytes,
            std::uint32_t segments_max) {
    const SpoolSizes sizes = SpoolSizes::of(max_size_bytes, 0, workers);
    EXPECT_EQ(sizes.segment_bytes, segment_mebibytes * mebibyte) << max_size_bytes;
    EXPECT_EQ(sizes.segments_max, segments_max) << max_size_bytes;
}

TEST(SpoolSizes, ASpoolIs64SegmentsButForVerySmallAndVeryLargeOnes) {
    expect(10 * gibibyte, 1, 160, 64);
    expect(10 * gibibyte, 4, 160, 16);
    expect(1024 * gibibyte, 8, 256, 512);
    expect(64 * mebibyte, 1, 4, 16);
}

TEST(SpoolSizes, EveryWorkerHasFourSegmentsAsLongAsTheyAreLargeEnough) {
    expect(10 * gibibyte, 32, 80, 4);
    expect(64 * mebibyte, 8, 2, 4);
}

TEST(SpoolSizes, WhereThereIsTooLittleEveryWorkerHasFourSmallOnes) {
    expect(mebibyte, 1, 2, 4);
    expect(5 * mebibyte, 1, 2, 4);
    expect(64 * mebibyte, 64, 2, 4);
}

TEST(SpoolSizes, WithEarlierRunsTheyMayTakeMaxSizeOrElseTheLeast) {
    EXPECT_EQ(SpoolSizes::of(100 * mebibyte, 0, 3).bytes_max, 100 * mebibyte);
    EXPECT_EQ(SpoolSizes::of(mebibyte, 0, 3).bytes_max, 3 * 4 * 2 * mebibyte);
}

TEST(SpoolSizes, TogetherTheySeldomTakeMoreThanTheSpoolMayHave) {
    for (const std::uint64_t size : {64 * mebibyte, gibibyte, 7 * gibibyte, 1000 * gibibyte}) {
        for (const std::uint32_t workers : {1U, 2U, 3U, 7U, 8U}) {
            const SpoolSizes sizes = SpoolSizes::of(size, 0, workers);
            EXPECT_LE(sizes.segment_bytes * sizes.segments_max * workers, size);
            EXPECT_GE(sizes.segment_bytes * sizes.segments_max * workers, size / 2);
        }
    }
}

TEST(SpoolSizes, WhatFailedHasSegmentsBesideTheOthers) {
    const SpoolSizes sizes = SpoolSizes::of(1024 * mebibyte, 100 * mebibyte, 2);
    EXPECT_EQ(sizes.segments_max, SpoolSizes::of(1024 * mebibyte, 0, 2).segments_max);
    EXPECT_GE(sizes.held_segments_max * sizes.segment_bytes * 2, 100 * mebibyte);
    EXPECT_LE((sizes.held_segments_max - 1) * sizes.segment_bytes * 2, 100 * mebibyte);
    EXPECT_EQ(sizes.bytes_max, 1124 * mebibyte);
    EXPECT_EQ(SpoolSizes::of(1024 * mebibyte, 0, 2).held_segments_max, 0U);
}

} // namespace
} // namespace ringmx
