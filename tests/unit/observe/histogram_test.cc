#include "observe/histogram.h"

#include <gtest/gtest.h>

namespace ringmx::observe {
namespace {

// The definition that the table look-up has to agree with.
std::size_t plain_index(std::uint64_t value) {
    std::size_t index = 0;
    while (index < Histogram::bounds.size() && value > Histogram::bounds[index]) {
        ++index;
    }
    return index;
}

TEST(Histogram, EveryValueAroundABoundFallsWhereThePlainSearchPutsIt) {
    for (const std::uint64_t bound : Histogram::bounds) {
        for (const std::uint64_t value : {bound - 1, bound, bound + 1}) {
            EXPECT_EQ(Histogram::bucket_index(value), plain_index(value)) << value;
        }
    }
    for (unsigned bit = 0; bit < 64; ++bit) {
        const std::uint64_t value = std::uint64_t{1} << bit;
        for (const std::uint64_t near : {value - 1, value, value + 1}) {
            EXPECT_EQ(Histogram::bucket_index(near), plain_index(near)) << near;
        }
    }
    EXPECT_EQ(Histogram::bucket_index(~std::uint64_t{0}), Histogram::bounds.size());
}

TEST(Histogram, ABoundBelongsToItsOwnBucket) {
    Histogram histogram;
    histogram.record(std::chrono::microseconds(100));
    histogram.record(std::chrono::nanoseconds(100'001));
    histogram.record(11min);
    EXPECT_EQ(histogram.bucket(0), 1U);
    EXPECT_EQ(histogram.bucket(1), 1U);
    EXPECT_EQ(histogram.bucket(Histogram::buckets_count - 1), 1U);
    EXPECT_EQ(histogram.sum_nanoseconds(), 100'000U + 100'001U + 660'000'000'000U);
}

TEST(Histogram, ANegativeDurationCountsAsNothing) {
    Histogram histogram;
    histogram.record(Duration(-5));
    EXPECT_EQ(histogram.bucket(0), 1U);
    EXPECT_EQ(histogram.sum_nanoseconds(), 0U);
}

} // namespace
} // namespace ringmx::observe
