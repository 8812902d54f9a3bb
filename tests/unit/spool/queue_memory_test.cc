// What the queue's index takes at a million messages, and that it takes it in small steps.
#include "spool/queue_index.h"
#include "unit/smtp/allocation_count.h"

#include <algorithm>
#include <gtest/gtest.h>
#include <numeric>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace ringmx::spool {
namespace {

constexpr std::size_t messages_count = 1'000'000;
constexpr std::size_t bytes_each_max = 96;

class QueueMemory : public testing::Test {
  protected:
    [[nodiscard]] std::size_t live_bytes() const {
        return counts_allocations() ? allocation_count().live_bytes - before_
                                    : index.memory_bytes();
    }
    // As those that are adopted after a crash: of several workers and runs.
    static std::uint64_t id(std::size_t number) {
        return (number % 3) << 44U | (number % 4) << 34U | number / 12;
    }
    void fill(std::size_t count) {
        for (std::size_t number = 0; number < count; ++number) {
            (void)index.add({.id = id(number)});
        }
    }

    std::size_t before_ = allocation_count().live_bytes;
    QueueIndex index;
};

TEST_F(QueueMemory, AMillionParkedMessagesTake96OctetsEach) {
    fill(messages_count);
    for (std::size_t number = 0; number < messages_count; ++number) {
        const QueueIndex::Slot slot = *index.find(id(number));
        index.park(slot, static_cast<std::uint16_t>(number % 2),
                   Instant{Duration{static_cast<std::int64_t>(number) << 27U}});
        const std::string text = "451 4.3.0 reply " + std::to_string(number);
        const std::string_view other = number % 3 == 0 ? "450 b" : std::string_view(text);
        const QueueIndex::LastReply replies[] = {{0, text}, {1, other}};
        index.set_last_replies(slot, replies);
    }
    EXPECT_EQ(index.sum(QueueState::parked).messages, messages_count);
    EXPECT_LE(live_bytes(), messages_count * bytes_each_max);
}

TEST_F(QueueMemory, ItSaysWhatItTakes) {
    if (!counts_allocations()) {
        GTEST_SKIP() << "a sanitizer's allocator is in place";
    }
    fill(messages_count / 8);
    for (std::size_t number = 0; number < messages_count / 8; number += 10) {
        const QueueIndex::Slot slot = *index.find(id(number));
        index.set_due(slot, Instant{1h});
        index.settle(slot, 1, RecipientState::failed, "550 " + std::to_string(number), "550");
        index.set_chunk_segments(slot, std::vector<std::uint32_t>(number % 50));
    }
    const double said = static_cast<double>(index.memory_bytes());
    const double taken = static_cast<double>(live_bytes());
    EXPECT_NEAR(said / taken, 1, 0.02);
}

TEST_F(QueueMemory, GrowthIsInStepsThatStallNobody) {
    // What is copied at most is what the largest vector of chunks has.
    constexpr std::size_t step_bytes_max = 256 * 1024;
    std::size_t largest = 0;
    std::size_t last = live_bytes();
    for (std::size_t number = 0; number < messages_count; ++number) {
        const QueueIndex::Slot slot = index.add({.id = id(number)});
        index.set_due(slot, Instant{1h});
        const std::size_t now = live_bytes();
        largest = std::max(largest, now - std::min(now, last));
        last = now;
    }
    EXPECT_LE(largest, step_bytes_max);
}

TEST_F(QueueMemory, AFewThatStayAmongManyThatGoPinLittle) {
    std::vector<std::size_t> numbers(messages_count / 16);
    std::iota(numbers.begin(), numbers.end(), std::size_t{0});
    fill(numbers.size());
    const std::size_t filled = live_bytes();
    std::mt19937_64 random(1);
    std::size_t next = numbers.size();
    for (int times = 0; times < 12; ++times) {
        std::ranges::shuffle(numbers, random);
        for (std::size_t which = 0; which < numbers.size() / 2; ++which) {
            index.erase(*index.find(id(numbers[which])));
            numbers[which] = next++;
            (void)index.add({.id = id(numbers[which])});
        }
    }
    EXPECT_LE(live_bytes(), filled * 115 / 100);
}

TEST_F(QueueMemory, GoesBackAsTheQueueDoes) {
    fill(messages_count / 4);
    const std::size_t full = live_bytes();
    for (std::size_t number = 0; number < messages_count / 4; ++number) {
        index.erase(*index.find(id(number)));
    }
    EXPECT_LE(live_bytes(), full / 50);
}

TEST_F(QueueMemory, AShortQueueFilledAndEmptiedAllocatesNothing) {
    if (!counts_allocations()) {
        GTEST_SKIP() << "a sanitizer's allocator is in place";
    }
    const auto pass = [&](std::size_t number) {
        const QueueIndex::Slot slot = index.add({.id = id(number)});
        index.set_due(slot, Instant{1h});
        (void)index.next_due(Instant{1h});
        index.set_active(slot);
        index.park(slot, 1, Instant{2h});
        index.wake(1);
        (void)index.next_due(Instant{1h});
        index.set_active(slot);
        index.erase(slot);
    };
    // At every length, since there are edges where something is made or let go.
    for (std::size_t length = 0; length < 3000; ++length) {
        (void)index.add({.id = id(length)});
        pass(1'000'000);
        const std::size_t times = allocation_count().times;
        for (std::size_t number = 1'000'001; number < 1'000'010; ++number) {
            pass(number);
        }
        ASSERT_EQ(allocation_count().times, times) << length;
    }
}

} // namespace
} // namespace ringmx::spool
