#include "base/timer_wheel.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <random>
#include <vector>

namespace ringmx {
namespace {

constexpr Duration place = Duration(1 << 24);
const Instant start = Instant(std::chrono::hours(1000));

std::vector<std::uint32_t> fired_at(TimerWheel& wheel, Instant now) {
    std::vector<std::uint32_t> slots;
    wheel.advance(now, [&](Timer& timer) { slots.push_back(timer.slot()); });
    return slots;
}

TEST(TimerWheel, NothingIsDueWhenNothingIsSet) {
    TimerWheel wheel(start);
    EXPECT_EQ(wheel.next_due(), never);
    EXPECT_TRUE(fired_at(wheel, start + 1000h).empty());
}

TEST(TimerWheel, TimerFiresWithinAPlaceOfItsDeadlineAndNeverEarly) {
    for (const Duration wait :
         {Duration(0), Duration(1), Duration(1ms), Duration(17ms), Duration(1s), Duration(65s),
          Duration(70s), Duration(1h), Duration(80h), Duration(5000h)}) {
        TimerWheel wheel(start);
        Timer timer(0, 7);
        wheel.set(timer, start + wait);
        Instant now = start;
        int steps = 0;
        while (true) {
            ASSERT_LT(++steps, 100) << "a sleep wakes up too often";
            ASSERT_NE(wheel.next_due(), never);
            now = std::max(now, wheel.next_due());
            if (!fired_at(wheel, now).empty()) {
                break;
            }
        }
        EXPECT_GE(now, start + wait);
        EXPECT_LE(now, start + wait + place);
        EXPECT_EQ(timer.deadline(), never);
        EXPECT_EQ(wheel.next_due(), never);
    }
}

TEST(TimerWheel, DeadlineMovedLaterAndEarlierIsKept) {
    TimerWheel wheel(start);
    Timer timer(0, 7);
    wheel.set(timer, start + 1s);
    wheel.set(timer, start + 100s);
    EXPECT_TRUE(fired_at(wheel, start + 99s).empty());
    wheel.set(timer, start + 99s + 100ms);
    EXPECT_EQ(fired_at(wheel, start + 99s + 100ms + place).size(), 1U);
}

TEST(TimerWheel, CancelledTimerNeverFires) {
    TimerWheel wheel(start);
    Timer timer(0, 7);
    wheel.set(timer, start + 1s);
    timer.cancel();
    EXPECT_TRUE(fired_at(wheel, start + 10s).empty());
    wheel.set(timer, start + 20s);
    wheel.set(timer, never);
    EXPECT_TRUE(fired_at(wheel, start + 1000s).empty());
}

TEST(TimerWheel, CallbackMayDestroyCancelAndSetOtherTimers) {
    TimerWheel wheel(start);
    std::vector<std::unique_ptr<Timer>> timers;
    for (std::uint32_t slot = 0; slot < 10; ++slot) {
        timers.push_back(std::make_unique<Timer>(0, slot));
        wheel.set(*timers.back(), start + 1s);
    }
    int fired = 0;
    wheel.advance(start + 2s, [&](Timer& timer) {
        ++fired;
        const std::uint32_t slot = timer.slot();
        const std::uint32_t other = slot ^ 1U;
        timers[slot].reset();
        if (slot < 6) {
            timers[other].reset();
        } else if (timers[other] != nullptr) {
            wheel.set(*timers[other], start + 50s);
        }
    });
    EXPECT_EQ(fired, 5);
    EXPECT_EQ(fired_at(wheel, start + 51s).size(), 2U);
}

TEST(TimerWheel, TimerSetAgainInItsOwnCallbackFiresLater) {
    TimerWheel wheel(start);
    Timer timer(0, 7);
    wheel.set(timer, start + 1s);
    int fired = 0;
    for (Instant now = start; now < start + 10s; now += 10ms) {
        wheel.advance(now, [&](Timer& due) {
            ++fired;
            wheel.set(due, now + 1s);
        });
    }
    EXPECT_EQ(fired, 9);
}

// Against a map: after each step exactly those have fired whose deadline is past by more than a
// place, and none whose is not.
TEST(TimerWheel, BehavesAsASortedMapDoes) {
    for (unsigned seed = 1; seed <= 20; ++seed) {
        SCOPED_TRACE(seed);
        std::mt19937_64 random(seed);
        TimerWheel wheel(start);
        std::vector<std::unique_ptr<Timer>> timers;
        timers.reserve(100);
        std::map<std::uint32_t, Instant> model;
        for (std::uint32_t slot = 0; slot < 100; ++slot) {
            timers.push_back(std::make_unique<Timer>(0, slot));
        }
        Instant now = start;
        for (int step = 0; step < 3000; ++step) {
            const auto slot = static_cast<std::uint32_t>(random() % timers.size());
            if (random() % 4 != 0) {
                const Duration wait(static_cast<std::int64_t>(
                    random() % (std::uint64_t{1} << (20 + random() % 28))));
                wheel.set(*timers[slot], now + wait);
                model[slot] = now + wait;
            } else {
                timers[slot]->cancel();
                model.erase(slot);
            }
            if (random() % 3 == 0) {
                now += Duration(static_cast<std::int64_t>(
                    random() % (std::uint64_t{1} << (20 + random() % 26))));
                wheel.advance(now, [&](Timer& timer) {
                    const auto found = model.find(timer.slot());
                    ASSERT_NE(found, model.end());
                    EXPECT_LE(found->second, now);
                    model.erase(found);
                });
                for (const auto& [left, deadline] : model) {
                    ASSERT_GT(deadline + place, now) << "timer " << left << " is late";
                    ASSERT_LE(wheel.next_due(), deadline + place);
                }
            }
        }
    }
}

} // namespace
} // namespace ringmx
