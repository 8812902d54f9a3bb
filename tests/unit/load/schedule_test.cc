#include "load/schedule.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <gtest/gtest.h>
#include <vector>

namespace ringmx::load {
namespace {

using std::chrono::seconds;

const Instant start{Duration{1'234'567'890'123}};

Rate constant(double per_second) { return {.from_per_second = 0, .to_per_second = per_second}; }

// Nanoseconds from the start.
std::vector<std::int64_t> times_until(Schedule schedule, Duration end) {
    std::vector<std::int64_t> times;
    for (; schedule.next() < start + end; schedule.advance()) {
        times.push_back((schedule.next() - start).count());
    }
    return times;
}

std::vector<std::int64_t> times_of_all(const Rate& rate, Arrivals arrivals, unsigned shares,
                                       Duration end) {
    std::vector<std::int64_t> times;
    for (unsigned share = 0; share < shares; ++share) {
        const auto own = times_until({rate, arrivals, start, share, shares, 7}, end);
        times.insert(times.end(), own.begin(), own.end());
    }
    std::ranges::sort(times);
    return times;
}

std::size_t count_until(const std::vector<std::int64_t>& times, Duration end) {
    return static_cast<std::size_t>(std::ranges::lower_bound(times, end.count()) - times.begin());
}

TEST(LoadSchedule, EvenArrivalsAreExactToTheNanosecondHoweverLongItRuns) {
    for (const std::int64_t per_second : {1, 3, 7, 999, 1'000'000}) {
        Schedule schedule(constant(static_cast<double>(per_second)), Arrivals::even, start, 0, 1,
                          1);
        for (std::int64_t number = 0; number < 3'000'000; ++number) {
            const auto due = number / per_second * 1'000'000'000 +
                             (number % per_second * 2'000'000'000 + per_second) /
                                 (2 * per_second); // the nearest
            ASSERT_EQ((schedule.next() - start).count(), due) << per_second << " " << number;
            schedule.advance();
        }
    }
}

TEST(LoadSchedule, EvenArrivalsAreDealtInTurn) {
    const auto whole = times_of_all(constant(700), Arrivals::even, 1, seconds(20));
    ASSERT_EQ(whole.size(), 14'000U);
    for (const unsigned shares : {2U, 3U, 8U}) {
        for (unsigned share = 0; share < shares; ++share) {
            Schedule schedule(constant(700), Arrivals::even, start, share, shares, 1);
            for (std::size_t number = share; number < whole.size(); number += shares) {
                ASSERT_EQ((schedule.next() - start).count(), whole[number]);
                schedule.advance();
            }
        }
    }
}

TEST(LoadSchedule, ATenthOfAMessageASecondIsOneEachTenSeconds) {
    const auto times = times_of_all(constant(0.1), Arrivals::even, 1, seconds(100'000));
    ASSERT_EQ(times.size(), 10'000U);
    for (std::size_t number = 0; number < times.size(); ++number) {
        ASSERT_EQ(times[number], static_cast<std::int64_t>(number) * 10'000'000'000);
    }
    const auto poisson = times_of_all(constant(0.1), Arrivals::poisson, 4, seconds(100'000));
    EXPECT_NEAR(static_cast<double>(poisson.size()), 10'000, 400); // 4 standard deviations
}

// Counts in windows of a Poisson process: mean and variance are both rate times window.
void expect_poisson(double per_second, unsigned shares, Duration window, std::size_t windows) {
    const auto times = times_of_all(constant(per_second), Arrivals::poisson, shares,
                                    window * static_cast<std::int64_t>(windows));
    std::vector<double> counts(windows);
    for (const std::int64_t time : times) {
        counts[static_cast<std::size_t>(time / window.count())] += 1;
    }
    double sum = 0;
    for (const double count : counts) {
        sum += count;
    }
    const double mean = sum / static_cast<double>(windows);
    double squares = 0;
    for (const double count : counts) {
        squares += (count - mean) * (count - mean);
    }
    const double variance = squares / static_cast<double>(windows - 1);
    const double expected = per_second * std::chrono::duration<double>(window).count();
    const auto number = static_cast<double>(windows);
    EXPECT_NEAR(mean, expected, 4 * std::sqrt(expected / number)) << per_second << "/" << shares;
    EXPECT_NEAR(variance, expected, 4 * std::sqrt((2 + 1 / expected) / number) * expected)
        << per_second << "/" << shares;
}

TEST(LoadSchedule, PoissonCountsHaveTheMeanAndTheVariance) {
    expect_poisson(1000, 1, 10ms, 10'000);
    expect_poisson(1000, 5, 10ms, 10'000);
    expect_poisson(20, 3, seconds(1), 3000);
    expect_poisson(1e6, 2, Duration{2'000}, 500'000);
}

TEST(LoadSchedule, PoissonGapsAreExponential) {
    const auto times = times_of_all(constant(1000), Arrivals::poisson, 1, seconds(100));
    std::size_t longer[3] = {}; // than 1, 3 and 5 mean gaps
    for (std::size_t number = 1; number < times.size(); ++number) {
        for (std::size_t length = 0; length < 3; ++length) {
            if (times[number] - times[number - 1] >
                static_cast<std::int64_t>(2 * length + 1) * 1'000'000) {
                ++longer[length];
            }
        }
    }
    const auto gaps = static_cast<double>(times.size() - 1);
    for (std::size_t length = 0; length < 3; ++length) {
        const double share = std::exp(-(1.0 + 2.0 * static_cast<double>(length)));
        EXPECT_NEAR(static_cast<double>(longer[length]) / gaps, share, 4 * std::sqrt(share / gaps));
    }
}

TEST(LoadSchedule, SharesAndSeedsAreIndependentAndASeedGivesTheSameTimes) {
    const auto of = [](unsigned share, std::uint64_t seed) {
        return times_until({constant(100), Arrivals::poisson, start, share, 4, seed}, seconds(40));
    };
    EXPECT_EQ(of(0, 1), of(0, 1));
    EXPECT_EQ(of(3, 9), of(3, 9));
    std::vector<std::int64_t> all;
    for (const std::uint64_t seed : {0U, 1U, 2U}) {
        for (unsigned share = 0; share < 4; ++share) {
            const auto own = of(share, seed);
            all.insert(all.end(), own.begin(), own.end());
        }
    }
    std::ranges::sort(all);
    EXPECT_LE(all.end() - std::ranges::unique(all).begin(), 3); // chance, not one stream twice
}

// Fixed for good: runs of different versions of the program are comparable by their seed.
TEST(LoadSchedule, TheTimesOfASeedNeverChange) {
    Schedule schedule(constant(1000), Arrivals::poisson, start, 0, 1, 1);
    std::vector<std::int64_t> times;
    for (int number = 0; number < 4; ++number, schedule.advance()) {
        times.push_back((schedule.next() - start).count());
    }
    EXPECT_EQ(times, (std::vector<std::int64_t>{583218, 1040343, 1599211, 2395944}));
}

// How many are due by a time, by the definition.
double due_by(const Rate& rate, double time) {
    const double ramp = std::chrono::duration<double>(rate.ramp).count();
    const double within = std::min(time, ramp);
    const double slope = ramp > 0 ? (rate.to_per_second - rate.from_per_second) / ramp : 0;
    return rate.from_per_second * within + slope * within * within / 2 +
           rate.to_per_second * std::max(time - ramp, 0.0);
}

const Rate ramps[] = {
    {.from_per_second = 100, .to_per_second = 5000, .ramp = seconds(60)},
    {.from_per_second = 0, .to_per_second = 2000, .ramp = seconds(30)},
    {.from_per_second = 5000, .to_per_second = 100, .ramp = seconds(60)},
    {.from_per_second = 3000, .to_per_second = 0, .ramp = seconds(50)},
    {.from_per_second = 400, .to_per_second = 400, .ramp = seconds(50)},
    {.from_per_second = 0.1, .to_per_second = 1, .ramp = seconds(50)},
};

TEST(LoadSchedule, RampsHaveTheCumulativeCountAtEveryTime) {
    for (const Rate& rate : ramps) {
        const auto even = times_of_all(rate, Arrivals::even, 3, seconds(90));
        const auto poisson = times_of_all(rate, Arrivals::poisson, 3, seconds(90));
        for (const int time : {1, 2, 10, 29, 30, 31, 45, 50, 60, 61, 89}) {
            const double due = due_by(rate, time);
            // The first is due at 0.
            EXPECT_NEAR(static_cast<double>(count_until(even, seconds(time))), due, 1.01)
                << rate.from_per_second << "-" << rate.to_per_second << " at " << time;
            EXPECT_NEAR(static_cast<double>(count_until(poisson, seconds(time))), due,
                        4 * std::sqrt(due) + 4)
                << rate.from_per_second << "-" << rate.to_per_second << " at " << time;
        }
    }
}

TEST(LoadSchedule, ARampToNothingEndsForGood) {
    for (const Arrivals arrivals : {Arrivals::even, Arrivals::poisson}) {
        Schedule schedule({.from_per_second = 1000, .to_per_second = 0, .ramp = seconds(10)},
                          arrivals, start, 0, 1, 1);
        int count = 0;
        for (; schedule.next() != never && count < 10'000; schedule.advance()) {
            ++count;
        }
        EXPECT_NEAR(count, 5000, arrivals == Arrivals::even ? 1 : 300);
        schedule.advance();
        EXPECT_EQ(schedule.next(), never);
    }
}

TEST(LoadSchedule, NoRateAtAllMeansNever) {
    for (const Arrivals arrivals : {Arrivals::even, Arrivals::poisson}) {
        EXPECT_EQ(Schedule(constant(0), arrivals, start, 0, 1, 1).next(), never);
        EXPECT_EQ(Schedule(constant(1e-12), arrivals, start, 1, 2, 1).next(), never);
    }
}

TEST(LoadSchedule, TimeNeverGoesBack) {
    const Rate fast{.from_per_second = 1e9, .to_per_second = 1, .ramp = 1ms};
    for (const Arrivals arrivals : {Arrivals::even, Arrivals::poisson}) {
        for (const Rate& rate : {fast, constant(1e9), ramps[2]}) {
            Schedule schedule(rate, arrivals, start, 0, 1, 3);
            Instant last = start;
            for (int number = 0; number < 600'000; ++number, schedule.advance()) {
                ASSERT_GE(schedule.next(), last);
                last = schedule.next();
            }
        }
    }
}

} // namespace
} // namespace ringmx::load
