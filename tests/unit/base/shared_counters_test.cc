#include "base/shared_counters.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace ringmx {
namespace {

constexpr Instant start{1h};
constexpr std::uint64_t key = 0x1234'5678'9ABC'DEF0;
using Taken = SharedCounters::Taken;

TEST(SharedCounters, AKeyHoldsAtMostItsLimit) {
    SharedCounters counters(64);
    const auto first = counters.take(key, 2, start);
    const auto second = counters.take(key, 2, start);
    EXPECT_EQ(first.outcome, Taken::yes);
    EXPECT_EQ(second.ticket, first.ticket);
    EXPECT_EQ(counters.held(first.ticket), 2U);
    EXPECT_EQ(counters.take(key, 2, start).outcome, Taken::at_limit);
    EXPECT_EQ(counters.release(first.ticket), 2U);
    EXPECT_EQ(counters.take(key, 2, start).outcome, Taken::yes);
}

TEST(SharedCounters, KeysThatDifferOnlyInTheirTagsAreCountedApart) {
    SharedCounters counters(16);
    const std::uint64_t other = key ^ (std::uint64_t{1} << 63U);
    const auto one = counters.take(key, 1, start);
    const auto two = counters.take(other, 1, start);
    EXPECT_EQ(two.outcome, Taken::yes);
    EXPECT_NE(one.ticket, two.ticket);
}

TEST(SharedCounters, AFullTableLetsThroughAndCounts) {
    SharedCounters counters(SharedCounters::probe_entries);
    for (std::uint64_t i = 1; i <= SharedCounters::probe_entries; ++i) {
        ASSERT_EQ(counters.take(i << 24U, 1, start).outcome, Taken::yes);
    }
    const auto past = counters.take(std::uint64_t{99} << 24U, 1, start);
    EXPECT_EQ(past.outcome, Taken::untracked);
    EXPECT_EQ(counters.untracked_total(), 1U);
    EXPECT_TRUE(counters.admit(past.ticket, 0, TokenBucket::of({1, 1h}), start));
    EXPECT_EQ(counters.release(past.ticket), 0U);
}

TEST(SharedCounters, AnEntryIsTakenOverOnlyWhenNothingIsHeldAndItsMetersRefilled) {
    SharedCounters counters(SharedCounters::probe_entries);
    const TokenBucket bucket = TokenBucket::of({1, 1s});
    std::vector<std::uint32_t> tickets;
    for (std::uint64_t i = 1; i <= SharedCounters::probe_entries; ++i) {
        tickets.push_back(counters.take(i << 24U, 1, start).ticket);
        ASSERT_TRUE(counters.admit(tickets.back(), 1, bucket, start));
    }
    counters.release(tickets[5]);
    const std::uint64_t other = std::uint64_t{99} << 24U;
    EXPECT_EQ(counters.take(other, 1, start + 999ms).outcome, Taken::untracked);
    const auto taken = counters.take(other, 1, start + 1s);
    EXPECT_EQ(taken.outcome, Taken::yes);
    EXPECT_EQ(taken.ticket, tickets[5]);
    EXPECT_TRUE(counters.admit(taken.ticket, 1, bucket, start + 1s)) << "a bucket like new";
}

TEST(SharedCounters, TheMetersOfAKeySurviveItsAbsence) {
    SharedCounters counters(64);
    const TokenBucket bucket = TokenBucket::of({2, 1min});
    for (int i = 0; i < 2; ++i) {
        const auto taken = counters.take(key, 1, start);
        EXPECT_TRUE(counters.admit(taken.ticket, 0, bucket, start));
        counters.release(taken.ticket);
    }
    const auto taken = counters.take(key, 1, start);
    EXPECT_FALSE(counters.admit(taken.ticket, 0, bucket, start));
}

TEST(TokenBucket, TheWholeCountGoesAtOnceThenRefillsLinearly) {
    SharedCounters counters(64);
    const TokenBucket bucket = TokenBucket::of({1000, 1min});
    const auto ticket = counters.take(key, 1, start).ticket;
    for (int i = 0; i < 1000; ++i) {
        ASSERT_TRUE(counters.admit(ticket, 0, bucket, start)) << i;
    }
    EXPECT_FALSE(counters.admit(ticket, 0, bucket, start));
    EXPECT_FALSE(counters.admit(ticket, 0, bucket, start + 59ms));
    EXPECT_TRUE(counters.admit(ticket, 0, bucket, start + 60ms));
    EXPECT_FALSE(counters.admit(ticket, 0, bucket, start + 60ms));
    int admitted = 0;
    while (counters.admit(ticket, 0, bucket, start + 2min)) {
        ++admitted;
    }
    EXPECT_EQ(admitted, 1000) << "no more than the count is ever saved up";
}

TEST(TokenBucket, CountsThatDoNotDividePeriodsGiveTheirFullCount) {
    for (const std::uint64_t count : {3ULL, 7ULL, 60'000'001ULL}) {
        const TokenBucket bucket = TokenBucket::of({count, 100ms});
        EXPECT_EQ(bucket.depth_ns / bucket.interval_ns, static_cast<std::int64_t>(count));
    }
}

TEST(TokenBucket, NoneAdmitsEverything) {
    SharedCounters counters(64);
    const TokenBucket bucket = TokenBucket::of({0, 1s});
    const auto ticket = counters.take(key, 1, start).ticket;
    for (int i = 0; i < 10'000; ++i) {
        ASSERT_TRUE(counters.admit(ticket, 2, bucket, start));
    }
}

TEST(SharedCounters, LimitsHoldOverThreads) {
    SharedCounters counters(64);
    constexpr std::uint32_t limit = 3;
    std::atomic<std::uint32_t> holding{0};
    std::atomic<std::uint32_t> most{0};
    std::atomic<std::uint64_t> admitted{0};
    const TokenBucket bucket = TokenBucket::of({500, 1h});
    std::vector<std::thread> threads;
    threads.reserve(4);
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&] {
            for (int i = 0; i < 50000; ++i) {
                const auto taken = counters.take(key, limit, start);
                if (taken.outcome != Taken::yes) {
                    std::this_thread::yield();
                    continue;
                }
                const std::uint32_t now = holding.fetch_add(1) + 1;
                std::uint32_t known = most.load();
                while (known < now && !most.compare_exchange_weak(known, now)) {
                }
                admitted += counters.admit(taken.ticket, 0, bucket, start) ? 1 : 0;
                holding.fetch_sub(1);
                counters.release(taken.ticket);
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    EXPECT_LE(most.load(), limit);
    EXPECT_EQ(admitted.load(), 500U);
    const auto left = counters.take(key, limit, start);
    EXPECT_EQ(counters.held(left.ticket), 1U);
    EXPECT_EQ(counters.untracked_total(), 0U);
}

} // namespace
} // namespace ringmx
