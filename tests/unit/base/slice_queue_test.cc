#include "base/slice_queue.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <string>

namespace ringmx {
namespace {

constexpr std::size_t buffer_bytes = 64 * 1024;

// A receive buffer that octets come into one after the other, as the kernel fills it.
class Arrivals {
  public:
    explicit Arrivals(BufferPool& pool) : pool_(pool) {}
    Arrivals(const Arrivals&) = delete;
    Arrivals& operator=(const Arrivals&) = delete;
    ~Arrivals() { leave(); }

    // `gap`: octets of somebody else that came in between.
    Slice next(std::string_view octets, std::size_t gap = 0) {
        if (block_ == nullptr || used_ + gap + octets.size() > block_->size_bytes) {
            leave();
            block_ = pool_.take_buffer();
            used_ = 0;
        }
        used_ += gap;
        std::memcpy(block_->memory + used_, octets.data(), octets.size());
        Slice slice(block_, {block_->memory + used_, octets.size()});
        used_ += octets.size();
        return slice;
    }
    void leave() {
        if (block_ != nullptr) {
            pool_.release(block_);
            block_ = nullptr;
        }
    }

  private:
    BufferPool& pool_;
    Block* block_ = nullptr;
    std::size_t used_ = 0;
};

struct Drained {
    std::string octets;
    std::size_t slices = 0;
};

Drained drain(SliceQueue& queue) {
    Drained drained;
    while (!queue.empty()) {
        drained.octets += queue.front().text();
        queue.consume(queue.front().size());
        ++drained.slices;
    }
    return drained;
}

TEST(SliceQueue, OctetsComeOutInTheOrderInWhichTheyCame) {
    std::mt19937 random(1);
    for (int round = 0; round < 200; ++round) {
        BufferPool pool({.bytes_max = 16 * buffer_bytes});
        Arrivals arrivals(pool);
        SliceQueue queue;
        std::string pushed;
        std::string taken;
        for (int step = 0; step < 60; ++step) {
            if (random() % 3 != 0) {
                const std::string octets(1 + random() % (random() % 2 == 0 ? 20 : 3000),
                                         static_cast<char>('a' + step % 26));
                queue.push(pool, arrivals.next(octets, random() % 3));
                pushed += octets;
            } else if (!queue.empty()) {
                const std::size_t count = random() % (queue.front().size() + 1);
                taken += queue.front().text().substr(0, count);
                queue.consume(count);
            }
            if (random() % 7 == 0) {
                queue.unpin(pool, random() % 2 == 0 ? SIZE_MAX : 1000);
            }
            ASSERT_EQ(queue.bytes(), pushed.size() - taken.size());
            ASSERT_EQ(queue.empty(), queue.bytes() == 0);
        }
        EXPECT_EQ(taken + drain(queue).octets, pushed) << "round " << round;
        arrivals.leave();
        EXPECT_EQ(pool.bytes_in_use(), 0U);
    }
}

TEST(SliceQueue, ASliceThatLiesBehindTheLastOneBecomesPartOfIt) {
    BufferPool pool({.bytes_max = 4 * buffer_bytes});
    Arrivals arrivals(pool);
    SliceQueue queue;
    for (const char* const octets : {"one", "two", "three"}) {
        queue.push(pool, arrivals.next(octets));
    }
    EXPECT_EQ(queue.front().text(), "onetwothree");
    EXPECT_EQ(pool.bytes_in_use(), buffer_bytes) << "nothing was copied";
}

TEST(SliceQueue, ASliceThatIsPartlyTakenStillGrows) {
    BufferPool pool({.bytes_max = 4 * buffer_bytes});
    Arrivals arrivals(pool);
    SliceQueue queue;
    queue.push(pool, arrivals.next("first"));
    queue.consume(3);
    queue.push(pool, arrivals.next("second"));
    EXPECT_EQ(queue.front().text(), "stsecond");
    queue.consume(7);
    queue.push(pool, arrivals.next("third"));
    EXPECT_EQ(queue.front().text(), "dthird");
    EXPECT_EQ(drain(queue).slices, 1U);
}

// What waits may never be nothing for as long as a connection lasts.
TEST(SliceQueue, AQueueThatIsNeverEmptyDoesNotGrow) {
    BufferPool pool({.bytes_max = 4 * buffer_bytes});
    SliceQueue queue;
    Arrivals arrivals(pool);
    queue.push(pool, arrivals.next("x"));
    const auto pass = [&] {
        queue.push(pool, arrivals.next(std::string(600, 'x'), 1));
        queue.consume(queue.front().size());
        return &queue.front();
    };
    const Slice* lowest = nullptr;
    for (int count = 0; count < 100; ++count) {
        lowest = pass(); // by then it has all the room that it will need
    }
    const Slice* highest = lowest;
    for (int count = 0; count < 10000; ++count) {
        const Slice* const front = pass();
        lowest = std::min(lowest, front);
        highest = std::max(highest, front);
    }
    EXPECT_LT(highest - lowest, 100);
}

TEST(SliceQueue, OneOctetSlicesAreGatheredIntoFewAndPinNoMoreThanTheirSize) {
    BufferPool pool({.bytes_max = 64 * buffer_bytes});
    SliceQueue queue;
    constexpr std::size_t count = 60000;
    for (std::size_t octet = 0; octet < count; ++octet) {
        Arrivals one(pool); // each in a buffer of its own: the worst that can come
        queue.push(pool, one.next("x"));
    }
    queue.unpin(pool, 4096);
    EXPECT_EQ(queue.bytes(), count);
    EXPECT_LE(pool.bytes_in_use(), 3 * count);
    const Drained drained = drain(queue);
    EXPECT_EQ(drained.octets, std::string(count, 'x'));
    EXPECT_LE(drained.slices, 2 * count / SliceQueue::gathered_bytes_max + 2);
    EXPECT_EQ(pool.bytes_in_use(), 0U);
}

TEST(SliceQueue, SmallSlicesInOneBufferAreGatheredWhenOthersLieInBetween) {
    BufferPool pool({.bytes_max = 16 * buffer_bytes});
    Arrivals arrivals(pool);
    SliceQueue queue;
    constexpr std::size_t count = 20000;
    for (std::size_t octet = 0; octet < count; ++octet) {
        queue.push(pool, arrivals.next("x", 1));
    }
    EXPECT_LE(drain(queue).slices, 2 * count / SliceQueue::gathered_bytes_max + 2);
}

TEST(SliceQueue, LargeSlicesAreKeptWhereTheyLieUntilTheyAreUnpinned) {
    BufferPool pool({.bytes_max = 16 * buffer_bytes});
    Arrivals arrivals(pool);
    SliceQueue queue;
    queue.push(pool, arrivals.next(std::string(3000, 'a')));
    queue.push(pool, arrivals.next(std::string(3000, 'b'), 1));
    arrivals.leave();
    EXPECT_EQ(pool.bytes_in_use(), buffer_bytes);
    queue.unpin(pool, 3000);
    EXPECT_EQ(pool.bytes_in_use(), buffer_bytes) << "large enough for their buffer";
    queue.unpin(pool, SIZE_MAX);
    EXPECT_LT(pool.bytes_in_use(), buffer_bytes / 4);
    EXPECT_EQ(drain(queue).octets, std::string(3000, 'a') + std::string(3000, 'b'));
}

// What was unpinned with a small bound must still be found by a larger one, and a slice that has
// become small by being consumed too.
TEST(SliceQueue, UnpinLooksAgainAtWhatItLeft) {
    BufferPool pool({.bytes_max = 16 * buffer_bytes});
    SliceQueue queue;
    for (const std::size_t size : {5000U, 5000U, 5000U}) {
        Arrivals one(pool);
        queue.push(pool, one.next(std::string(size, 'x')));
    }
    EXPECT_EQ(pool.bytes_in_use(), 3 * buffer_bytes);
    queue.unpin(pool, 4096);
    EXPECT_EQ(pool.bytes_in_use(), 3 * buffer_bytes);
    queue.unpin(pool, SIZE_MAX);
    EXPECT_LT(pool.bytes_in_use(), buffer_bytes);
    EXPECT_EQ(drain(queue).octets, std::string(15000, 'x'));
}

TEST(SliceQueue, ASliceOfWhichLittleIsLeftIsUnpinned) {
    BufferPool pool({.bytes_max = 16 * buffer_bytes});
    SliceQueue queue;
    for (int count = 0; count < 2; ++count) {
        Arrivals one(pool);
        queue.push(pool, one.next(std::string(5000, 'x')));
    }
    queue.unpin(pool, 4096);
    queue.consume(4990);
    queue.unpin(pool, 4096);
    EXPECT_LE(pool.bytes_in_use(), buffer_bytes + 128);
    EXPECT_EQ(drain(queue).octets, std::string(5010, 'x'));
}

TEST(SliceQueue, WithoutMemoryToCopyIntoSlicesAreKeptAsTheyCame) {
    BufferPool pool({.bytes_max = 2 * buffer_bytes});
    Arrivals arrivals(pool);
    SliceQueue queue;
    queue.push(pool, arrivals.next("a"));
    Block* const last = pool.take_buffer();
    ASSERT_NE(last, nullptr);
    for (int count = 0; count < 100; ++count) {
        queue.push(pool, arrivals.next("b", 1));
    }
    queue.unpin(pool, SIZE_MAX);
    EXPECT_EQ(queue.bytes(), 101U);
    pool.release(last);
    queue.unpin(pool, SIZE_MAX);
    arrivals.leave();
    EXPECT_EQ(drain(queue).octets, "a" + std::string(100, 'b'));
    EXPECT_EQ(pool.bytes_in_use(), 0U);
}

TEST(SliceQueue, ClearGivesEverythingBack) {
    BufferPool pool({.bytes_max = 16 * buffer_bytes});
    SliceQueue queue;
    for (int count = 0; count < 100; ++count) {
        Arrivals one(pool);
        queue.push(pool, one.next("x"));
    }
    queue.consume(1);
    queue.clear();
    EXPECT_TRUE(queue.empty());
    EXPECT_EQ(queue.bytes(), 0U);
    EXPECT_EQ(pool.bytes_in_use(), 0U);
}

} // namespace
} // namespace ringmx
