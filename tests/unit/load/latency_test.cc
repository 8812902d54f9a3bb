#include "load/latency.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <gtest/gtest.h>
#include <random>
#include <vector>

namespace ringmx::load {
namespace {

Duration microseconds(std::uint64_t count) { return std::chrono::microseconds(count); }

// Each power of ten of the range is as likely.
std::vector<std::uint64_t> random_times(std::uint64_t seed, std::size_t count, double most) {
    std::mt19937_64 random(seed);
    std::vector<std::uint64_t> times;
    for (std::size_t index = 0; index < count; ++index) {
        const double share = static_cast<double>(random() >> 11) * 0x1p-53;
        times.push_back(static_cast<std::uint64_t>(std::pow(most, share)));
    }
    return times;
}

std::uint64_t exact_at(const std::vector<std::uint64_t>& sorted, double quantile) {
    const double rank = std::ceil(quantile * static_cast<double>(sorted.size()) - 1e-6);
    return sorted[rank < 1 ? 0 : static_cast<std::size_t>(rank) - 1];
}

constexpr double quantiles[] = {0,    0.001, 0.01, 0.1,  0.25,  0.5,    0.55,
                                0.75, 0.9,   0.95, 0.99, 0.999, 0.9999, 1};

void expect_quantiles(const Latency& latency, std::vector<std::uint64_t> times, double error_max) {
    std::ranges::sort(times);
    for (const double quantile : quantiles) {
        const auto exact = static_cast<double>(exact_at(times, quantile));
        const auto measured = static_cast<double>(latency.at(quantile));
        EXPECT_GE(measured, exact) << quantile;
        EXPECT_LE(measured, exact * (1 + error_max)) << quantile;
    }
    EXPECT_EQ(latency.count(), times.size());
    EXPECT_EQ(latency.maximum(), times.back());
    EXPECT_EQ(latency.at(1), times.back());
}

TEST(LoadLatency, QuantilesAreRightToAThousandthOverTheWholeRange) {
    for (const double most : {100.0, 3000.0, 1e5, 1e7, 3.6e9}) {
        for (const std::size_t count : {1U, 2U, 7U, 100U, 20'000U}) {
            const auto times = random_times(count, count, most);
            Latency latency;
            for (const std::uint64_t time : times) {
                latency.record(microseconds(time));
            }
            expect_quantiles(latency, times, 0.001);
        }
    }
}

TEST(LoadLatency, CoarseQuantilesAreRightToEightThousandths) {
    const auto times = random_times(3, 20'000, 3.6e9);
    Latency latency{Latency::Resolution::coarse};
    for (const std::uint64_t time : times) {
        latency.record(microseconds(time));
    }
    expect_quantiles(latency, times, 0.008);
}

TEST(LoadLatency, EveryBucketHoldsItsOwnTimesAndIsNarrow) {
    std::vector<std::uint64_t> edges;
    for (unsigned bits = 1; bits < 32; ++bits) {
        for (const std::uint64_t near : {0U, 1U, 2U, 3U}) {
            edges.push_back((std::uint64_t{1} << bits) + near - 1);
        }
    }
    edges.push_back(Latency::microseconds_max - 1);
    edges.push_back(Latency::microseconds_max);
    for (const std::uint64_t time : edges) {
        Latency latency;
        latency.record(microseconds(time));
        const auto buckets = latency.buckets();
        ASSERT_EQ(buckets.size(), 1U) << time;
        EXPECT_LE(buckets[0].least, time);
        EXPECT_GE(buckets[0].most, time);
        EXPECT_LE((buckets[0].most - buckets[0].least + 1) * 1000,
                  std::max<std::uint64_t>(time, 1000));
        EXPECT_EQ(buckets[0].count, 1U);
    }
}

TEST(LoadLatency, BucketsFollowOneAnotherWithoutGapOrOverlap) {
    Latency latency;
    for (std::uint64_t time = 1; time < 70'000; ++time) {
        latency.record(microseconds(time));
    }
    std::uint64_t next = 1;
    std::uint64_t records = 0;
    for (const Latency::Bucket& bucket : latency.buckets()) {
        EXPECT_EQ(bucket.least, next);
        next = bucket.most + 1;
        records += bucket.count;
    }
    EXPECT_EQ(records, 69'999U);
    EXPECT_EQ(latency.mean(), 35'000);
}

TEST(LoadLatency, AddingIsAsIfAllHadBeenRecorded) {
    const auto first = random_times(1, 5000, 1e6);
    const auto second = random_times(2, 300, 3.6e9);
    Latency one;
    Latency other;
    Latency both;
    for (const std::uint64_t time : first) {
        one.record(microseconds(time));
        both.record(microseconds(time));
    }
    for (const std::uint64_t time : second) {
        other.record(microseconds(time));
        both.record(microseconds(time));
    }
    Latency added;
    added.add(one);
    added.add(other);
    added.add(Latency{});
    for (const double quantile : quantiles) {
        EXPECT_EQ(added.at(quantile), both.at(quantile)) << quantile;
    }
    EXPECT_EQ(added.count(), 5300U);
    EXPECT_EQ(added.maximum(), both.maximum());
    EXPECT_NEAR(added.mean(), both.mean(), both.mean() * 1e-12);
    EXPECT_EQ(added.buckets().size(), both.buckets().size());
}

TEST(LoadLatency, FineOnesCanBeAddedToCoarseOnes) {
    const auto times = random_times(4, 5000, 1e7);
    Latency fine;
    Latency coarse{Latency::Resolution::coarse};
    Latency recorded{Latency::Resolution::coarse};
    for (const std::uint64_t time : times) {
        fine.record(microseconds(time));
        recorded.record(microseconds(time));
    }
    coarse.add(fine);
    for (const double quantile : quantiles) {
        EXPECT_EQ(coarse.at(quantile), recorded.at(quantile)) << quantile;
    }
}

TEST(LoadLatency, TimesOutOfRangeCountAsItsEnds) {
    Latency latency;
    latency.record(Duration{-1});
    latency.record(Duration{0});
    latency.record(Duration{1});
    EXPECT_EQ(latency.at(0), 1U);
    EXPECT_EQ(latency.maximum(), 1U);
    latency.record(std::chrono::hours(2));
    latency.record(Duration::max());
    EXPECT_EQ(latency.maximum(), Latency::microseconds_max);
    EXPECT_EQ(latency.at(0.99), Latency::microseconds_max);
    EXPECT_EQ(latency.count(), 5U);
}

TEST(LoadLatency, PartsOfAMicrosecondCountAsAWholeOne) {
    Latency latency;
    latency.record(Duration{5001});
    EXPECT_EQ(latency.at(0.5), 6U);
    EXPECT_DOUBLE_EQ(latency.mean(), 5.001);
    latency.clear();
    latency.record(Duration{5000});
    EXPECT_EQ(latency.at(0.5), 5U);
}

TEST(LoadLatency, AnEmptyOneIsZeroAndSoIsAClearedOne) {
    Latency latency;
    for (int round = 0; round < 2; ++round) {
        EXPECT_EQ(latency.count(), 0U);
        EXPECT_EQ(latency.at(0.5), 0U);
        EXPECT_EQ(latency.at(1), 0U);
        EXPECT_EQ(latency.maximum(), 0U);
        EXPECT_EQ(latency.mean(), 0);
        EXPECT_TRUE(latency.buckets().empty());
        latency.record(5ms);
        latency.clear();
    }
}

} // namespace
} // namespace ringmx::load
