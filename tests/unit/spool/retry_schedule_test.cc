#include "spool/retry_schedule.h"

#include <gtest/gtest.h>

namespace ringmx::spool {
namespace {

constexpr std::uint64_t lowest = 0;
constexpr std::uint64_t middle = 1ULL << 63U;
constexpr std::uint64_t highest = UINT64_MAX;
constexpr Instant now{100h};

TEST(RetrySchedule, WaitsTwiceAsLongEachTimeUpToTheMaximum) {
    const RetrySettings settings;
    EXPECT_EQ(retry_wait(settings, 1, middle), 30s);
    EXPECT_EQ(retry_wait(settings, 2, middle), 60s);
    EXPECT_EQ(retry_wait(settings, 3, middle), 120s);
    EXPECT_EQ(retry_wait(settings, 7, middle), 1920s);
    EXPECT_EQ(retry_wait(settings, 8, middle), 1h);
    EXPECT_EQ(retry_wait(settings, 9, middle), 1h);
    EXPECT_EQ(retry_wait(settings, UINT32_MAX, middle), 1h);
}

TEST(RetrySchedule, WhoWasNotTriedYetWaitsAsAfterTheFirstTime) {
    EXPECT_EQ(retry_wait(RetrySettings{}, 0, middle), 30s);
}

TEST(RetrySchedule, AttemptsInATimeAreThoseOfTheScheduleUntilItsWaitsAreTheMaximum) {
    RetrySettings settings;
    EXPECT_EQ(attempts_in(settings, 0s), 1U);
    EXPECT_EQ(attempts_in(settings, 29s), 1U);
    EXPECT_EQ(attempts_in(settings, 30s), 2U);
    EXPECT_EQ(attempts_in(settings, 89s), 2U);
    EXPECT_EQ(attempts_in(settings, 90s), 3U);
    EXPECT_EQ(retry_wait(settings, attempts_in(settings, 96h), middle), 1h);
    settings.factor = 1;
    EXPECT_EQ(retry_wait(settings, attempts_in(settings, 96h), middle), 30s);
    EXPECT_EQ(attempts_in(settings, -1h), 1U);
}

TEST(RetrySchedule, TheFactorMayBeABrokenNumberOrOne) {
    RetrySettings settings;
    settings.factor = 1.5;
    EXPECT_EQ(retry_wait(settings, 3, middle), 67'500ms);
    settings.factor = 1;
    EXPECT_EQ(retry_wait(settings, 50, middle), 30s);
}

TEST(RetrySchedule, AMaximumBelowTheInitialWaitHolds) {
    RetrySettings settings;
    settings.maximum = 10s;
    EXPECT_EQ(retry_wait(settings, 1, middle), 10s);
}

TEST(RetrySchedule, IsSpreadByAFifthToBothSides) {
    const RetrySettings settings;
    EXPECT_EQ(retry_wait(settings, 1, lowest), 24s);
    EXPECT_EQ(retry_wait(settings, 1, 1ULL << 62U), 27s);
    EXPECT_EQ(retry_wait(settings, 1, highest), 36s);
    EXPECT_EQ(retry_wait(settings, 8, lowest), 48min);
    EXPECT_EQ(retry_wait(settings, 8, highest), 72min);
}

TEST(RetrySchedule, NoAttemptIsPlannedBehindTheExpiry) {
    const RetrySettings settings;
    EXPECT_EQ(next_attempt(settings, 1, middle, now, 1h), now + 30s);
    EXPECT_EQ(next_attempt(settings, 1, middle, now, 30s), now + 30s);
    EXPECT_EQ(next_attempt(settings, 1, middle, now, 20s), now + 20s);
    EXPECT_EQ(next_attempt(settings, 1, middle, now, 0s), now);
    EXPECT_EQ(next_attempt(settings, 1, middle, now, Duration{-1h}), now);
}

TEST(RetrySchedule, ALotOfTimeIsLeftOrNone) {
    const RetrySettings settings;
    constexpr WallTime accepted{500'000h};
    EXPECT_EQ(time_left(settings, accepted, accepted), 96h);
    EXPECT_EQ(time_left(settings, accepted, accepted + 95h), 1h);
    EXPECT_EQ(time_left(settings, accepted, accepted + 97h), Duration{-1h});
}

} // namespace
} // namespace ringmx::spool
