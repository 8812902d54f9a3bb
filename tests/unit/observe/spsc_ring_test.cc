#include "base/spsc_ring.h"

#include <cstdint>
#include <gtest/gtest.h>
#include <memory>
#include <thread>

namespace ringmx {
namespace {

TEST(SpscRing, IsEmptyAtFirstAndFullAtItsCapacity) {
    SpscRing<int> ring(4);
    EXPECT_EQ(ring.front(), nullptr);
    for (int value = 0; value < 4; ++value) {
        EXPECT_TRUE(ring.try_push(value));
    }
    EXPECT_FALSE(ring.try_push(4));
    EXPECT_EQ(ring.push_slot(), nullptr);
    int value = -1;
    EXPECT_TRUE(ring.try_pop(value));
    EXPECT_EQ(value, 0);
    EXPECT_TRUE(ring.try_push(4));
    EXPECT_FALSE(ring.try_push(5));
}

TEST(SpscRing, KeepsTheOrderAcrossManyLaps) {
    SpscRing<int> ring(8);
    int pushed = 0;
    int popped = 0;
    for (int lap = 0; lap < 100; ++lap) {
        for (int count = 0; count < lap % 8 + 1; ++count) {
            ASSERT_TRUE(ring.try_push(pushed++));
        }
        int value = 0;
        while (ring.try_pop(value)) {
            ASSERT_EQ(value, popped++);
        }
    }
    EXPECT_EQ(pushed, popped);
}

TEST(SpscRing, WhatIsWrittenInPlaceIsSeenOnlyOncePublished) {
    SpscRing<int> ring(2);
    *ring.push_slot() = 7;
    EXPECT_EQ(ring.front(), nullptr);
    ring.publish();
    ASSERT_NE(ring.front(), nullptr);
    EXPECT_EQ(*ring.front(), 7);
    ring.pop_front();
    EXPECT_EQ(ring.front(), nullptr);
}

TEST(SpscRing, MovesValuesThatCannotBeCopied) {
    SpscRing<std::unique_ptr<int>> ring(2);
    EXPECT_TRUE(ring.try_push(std::make_unique<int>(3)));
    std::unique_ptr<int> value;
    EXPECT_TRUE(ring.try_pop(value));
    EXPECT_EQ(*value, 3);
}

TEST(SpscRing, TwoThreadsLoseNothingAndSeeWholeValues) {
    struct Pair {
        std::uint64_t number;
        std::uint64_t twice;
    };
    constexpr std::uint64_t count = 200'000;
    SpscRing<Pair> ring(64);
    std::thread producer([&] {
        for (std::uint64_t number = 0; number < count; ++number) {
            while (!ring.try_push(Pair{number, number * 2})) {
                std::this_thread::yield();
            }
        }
    });
    for (std::uint64_t number = 0; number < count; ++number) {
        Pair pair{};
        while (!ring.try_pop(pair)) {
            std::this_thread::yield();
        }
        ASSERT_EQ(pair.number, number);
        ASSERT_EQ(pair.twice, number * 2);
    }
    producer.join();
}

} // namespace
} // namespace ringmx
