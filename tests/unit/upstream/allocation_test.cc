// The hot path of a worker's book allocates nothing once its vectors have their room.
#include "upstream/connection_book.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <new>

namespace {
thread_local std::size_t allocations = 0;
}

[[gnu::noinline]] void* operator new(std::size_t size) {
    ++allocations;
    void* memory = std::malloc(size == 0 ? 1 : size);
    if (memory == nullptr) {
        std::abort();
    }
    return memory;
}
// The analyzer takes these for the operators themselves.
[[gnu::noinline]] void operator delete(void* memory) noexcept {
    std::free(memory); // NOLINT(clang-analyzer-cplusplus.NewDelete)
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept {
    std::free(memory); // NOLINT(clang-analyzer-cplusplus.NewDelete)
}

namespace ringmx::upstream {
namespace {

TEST(ConnectionBookAllocation, SteadyTrafficAllocatesNothing) {
    constexpr Instant start{1h};
    PoolSettings settings;
    settings.max_connections = 2;
    settings.backends.resize(3);
    for (std::size_t i = 0; i < settings.backends.size(); ++i) {
        settings.backends[i].address = "10.0.0." + std::to_string(i) + ":25";
    }
    BackendRegistry registry;
    SharedCounters shares(64);
    const Pool pool(settings, registry);
    ConnectionBook book(0, shares, 0);
    const auto turn = [&](Instant now) {
        Request request{&pool, 0, 0, 1, now + 5s};
        Answer one = book.acquire(request, {}, now);
        Answer two = book.acquire(request, {}, now);
        const Answer three = book.acquire(request, {}, now);
        ASSERT_EQ(three.verdict, Verdict::wait);
        ASSERT_FALSE(book.next_grant(now));
        GiveBack back = book.give_back(one.lease, 1, now);
        ASSERT_EQ(back.kept, Kept::handed_over);
        ASSERT_EQ(book.give_back(back.grant.answer.lease, 1, now).kept, Kept::idle);
        ASSERT_EQ(book.give_back(two.lease, 2, now).kept, Kept::idle);
    };
    turn(start);
    turn(start + 1s);
    const std::size_t before = allocations;
    for (int i = 0; i < 100; ++i) {
        turn(start + 2s);
    }
    EXPECT_EQ(allocations, before);
}

} // namespace
} // namespace ringmx::upstream
