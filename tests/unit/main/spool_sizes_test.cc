#include "spool_sizes.h"

#include "spool/journal.h"

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
    EXPECT_GE(SpoolSizes::of(16 * mebibyte, gibibyte, 1).held_segments_max, 256U)
        << "however small the spool";
}

std::vector<std::string> warnings(std::uint64_t max_size_bytes, std::uint64_t message_size_bytes,
                                  std::uint32_t workers) {
    Settings settings;
    settings.spool.max_size_bytes = max_size_bytes;
    settings.limits.message_size_bytes = message_size_bytes;
    return spool_size_warnings(settings, workers);
}

TEST(SpoolSizes, AnOrdinarySpoolHasNoWarning) {
    EXPECT_EQ(warnings(10 * gibibyte, 50 * mebibyte, 1), std::vector<std::string>());
    EXPECT_EQ(warnings(10 * gibibyte, 50 * mebibyte, 16), std::vector<std::string>());
}

TEST(SpoolSizes, AMessageThatCanNeverBeTakenOrHardlyIsWarnedOf) {
    const SpoolSizes sizes = SpoolSizes::of(64 * mebibyte, gibibyte, 2);
    EXPECT_EQ(sizes.room_bytes(), 7 * (4 * mebibyte - 4096) - 2 * spool::commit_bytes_max);
    const std::uint64_t largest = sizes.room_bytes() - spool::room_overhead_bytes;
    const std::vector<std::string> never = warnings(64 * mebibyte, largest + 1, 2);
    ASSERT_EQ(never.size(), 1U);
    EXPECT_TRUE(never[0].starts_with("/limits/message_size: a message of ")) << never[0];
    EXPECT_NE(never[0].find("can never be taken, it gets 452: a worker's part of /spool/max_size "
                            "(there are 2 workers) takes "),
              std::string::npos)
        << never[0];
    const std::vector<std::string> hardly = warnings(64 * mebibyte, largest, 2);
    ASSERT_EQ(hardly.size(), 1U);
    EXPECT_TRUE(hardly[0].starts_with("/limits/message_size: one message of ")) << hardly[0];
    EXPECT_EQ(warnings(64 * mebibyte, sizes.room_bytes() / 3 - spool::room_overhead_bytes, 2),
              std::vector<std::string>());
}

TEST(SpoolSizes, FailedMailOfWhichAWorkerCanHardlyKeepOneIsWarnedOf) {
    EXPECT_EQ(
        warnings(10 * gibibyte, 50 * mebibyte, 32),
        (std::vector<std::string>{
            "/spool/held/max_size: a worker's part of it (there are 32 workers) takes 32.0 MiB: "
            "a message of 50.0 MiB that fails is removed at once"}));
}

TEST(SpoolSizes, ASpoolThatIsTooSmallForItsWorkersIsWarnedOf) {
    EXPECT_EQ(
        warnings(16 * mebibyte, mebibyte, 4),
        (std::vector<std::string>{"/spool/max_size: too little for 4 workers: 32 MiB counts"}));
}

} // namespace
} // namespace ringmx
