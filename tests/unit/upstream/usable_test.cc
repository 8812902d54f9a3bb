#include "upstream/usable.h"

#include <chrono>
#include <gtest/gtest.h>
#include <string>
#include <vector>

namespace ringmx::upstream {
namespace {

constexpr Instant now{1000s};

PoolSettings settings_of(std::size_t backends_count) {
    PoolSettings settings;
    settings.name = "main";
    for (std::size_t number = 0; number < backends_count; ++number) {
        settings.backends.emplace_back().address = "192.0.2.1:" + std::to_string(1000 + number);
    }
    return settings;
}

TEST(Usable, TheFirstIsWhereTheRankingOfTheSlotLeadsPastThoseThatAreOut) {
    BackendRegistry registry;
    PoolSettings settings = settings_of(12);
    settings.backends[4].weight = 0;
    settings.backends[7].weight = 5;
    const Pool pool(settings, registry);
    std::uint32_t out = 0b0101'1010'1100;
    for (int round = 0; round < 200; ++round, out = (out * 29 + 13) & 0xFFFU) {
        for (std::uint32_t index = 0; index < 12; ++index) {
            pool.states[index]->set_resolved((out >> index & 1U) == 0);
        }
        const auto slot = static_cast<std::uint32_t>(round) * 327;
        std::uint32_t expected = pool.table.first(slot);
        while (expected != no_backend && !pool.states[expected]->usable(now)) {
            expected = pool.table.next(slot, expected);
        }
        EXPECT_EQ(first_usable(pool, slot, now), expected);
    }
    for (const auto& state : pool.states) {
        state->set_resolved(false);
    }
    EXPECT_EQ(first_usable(pool, 0, now), no_backend);
}

TEST(Usable, ThoseThatWereTriedAndThoseWithoutAWeightAreNotGathered) {
    BackendRegistry registry;
    PoolSettings settings = settings_of(5);
    settings.backends[1].weight = 0;
    const Pool pool(settings, registry);
    pool.states[3]->set_resolved(false);
    std::vector<std::uint16_t> usable = {77};
    gather_usable(pool, std::vector<std::uint16_t>{0}, now, usable);
    EXPECT_EQ(usable, (std::vector<std::uint16_t>{2, 4}));
}

// A pass for each that is out took seconds: the bound is far from both.
TEST(Usable, OneChoiceCostsOnePassHoweverManyAreOut) {
    BackendRegistry registry;
    const Pool pool(settings_of(1500), registry);
    for (std::size_t index = 1; index < pool.states.size(); ++index) {
        pool.states[index]->set_resolved(false);
    }
    const auto begun = std::chrono::steady_clock::now();
    for (std::uint32_t slot = 0; slot < 400; ++slot) {
        ASSERT_EQ(first_usable(pool, slot * 160, now), 0U);
    }
    EXPECT_LT(std::chrono::steady_clock::now() - begun, 1s);
}

} // namespace
} // namespace ringmx::upstream
