#include "upstream/slot_table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <string>
#include <vector>

namespace ringmx::upstream {
namespace {

std::vector<BackendSettings> backends(std::size_t count) {
    std::vector<BackendSettings> made(count);
    for (std::size_t i = 0; i < count; ++i) {
        made[i].address = "10.0." + std::to_string(i / 250) + "." + std::to_string(i % 250) + ":25";
    }
    return made;
}

// The names that each slot goes to: what must not depend on the order in the file.
std::vector<std::string> winners(const std::vector<BackendSettings>& given) {
    const SlotTable table(given);
    std::vector<std::string> names(slots_count);
    for (std::uint32_t slot = 0; slot < slots_count; ++slot) {
        const std::uint32_t index = table.first(slot);
        names[slot] = index == no_backend ? "" : given[index].address;
    }
    return names;
}

// Slots by backend.
std::vector<double> shares(const std::vector<BackendSettings>& given) {
    const SlotTable table(given);
    std::vector<double> slots(given.size());
    for (std::uint32_t slot = 0; slot < slots_count; ++slot) {
        slots[table.first(slot)] += 1;
    }
    return slots;
}

// These values are the mapping itself: when they change, every key of every gateway moves. Another
// machine, compiler or library must give the same.
TEST(SlotTable, TheMappingIsTheSameOnEveryGateway) {
    EXPECT_EQ(hash_key("user@example.com"), 14067532740031374766ULL);
    const SlotTable table(backends(10));
    std::uint64_t digest = 0;
    for (std::uint32_t slot = 0; slot < slots_count; ++slot) {
        digest = digest * 0x100000001B3 + table.first(slot);
    }
    EXPECT_EQ(digest, 1938845874530354571ULL);
}

TEST(SlotTable, OrderInTheFileDoesNotMatter) {
    auto given = backends(17);
    given[3].weight = 7;
    const auto before = winners(given);
    std::ranges::reverse(given);
    std::swap(given[2], given[9]);
    EXPECT_EQ(winners(given), before);
}

TEST(SlotTable, HashMovesOnlyTheRemovedBackendsKeysEachToItsNextChoice) {
    auto given = backends(10);
    const SlotTable table(given);
    const auto before = winners(given);
    auto fewer = given;
    fewer.erase(fewer.begin() + 4);
    const auto after = winners(fewer);
    std::size_t moved = 0;
    for (std::uint32_t slot = 0; slot < slots_count; ++slot) {
        if (before[slot] != given[4].address) {
            ASSERT_EQ(after[slot], before[slot]);
        } else {
            ASSERT_EQ(after[slot], given[table.next(slot, 4)].address);
            ++moved;
        }
    }
    EXPECT_NEAR(static_cast<double>(moved), slots_count / 10.0, 400);
}

TEST(SlotTable, AddingABackendTakesItsShareFromAll) {
    const auto before = winners(backends(10));
    const auto given = backends(11);
    const auto after = winners(given);
    std::size_t moved = 0;
    std::set<std::string> losers;
    for (std::uint32_t slot = 0; slot < slots_count; ++slot) {
        if (after[slot] != before[slot]) {
            ASSERT_EQ(after[slot], given[10].address);
            losers.insert(before[slot]);
            ++moved;
        }
    }
    EXPECT_NEAR(static_cast<double>(moved), slots_count / 11.0, 400);
    EXPECT_EQ(losers.size(), 10U);
}

TEST(SlotTable, AWeightChangeMovesSlotsOnlyFromOrToThatBackend) {
    auto given = backends(10);
    const auto before = winners(given);
    given[6].weight = 300;
    const auto after = winners(given);
    for (std::uint32_t slot = 0; slot < slots_count; ++slot) {
        ASSERT_TRUE(after[slot] == before[slot] || after[slot] == given[6].address);
    }
}

TEST(SlotTable, WeightsDivideTheSlots) {
    auto given = backends(3);
    given[0].weight = 50;
    given[1].weight = 100;
    given[2].weight = 250;
    const auto slots = shares(given);
    EXPECT_NEAR(slots[0] / slots_count, 0.125, 0.006);
    EXPECT_NEAR(slots[1] / slots_count, 0.25, 0.008);
    EXPECT_NEAR(slots[2] / slots_count, 0.625, 0.008);
}

// The header's table of balance: the deviation of a multinomial, within its own uncertainty.
TEST(SlotTable, BalanceIsThatOfFairDice) {
    for (const std::size_t count : {3U, 10U, 100U, 500U}) {
        const auto slots = shares(backends(count));
        const double mean = static_cast<double>(slots_count) / static_cast<double>(count);
        double squares = 0;
        for (const double share : slots) {
            squares += (share - mean) * (share - mean);
        }
        const double deviation = std::sqrt(squares / static_cast<double>(count)) / mean;
        const double expected = std::sqrt(static_cast<double>(count - 1) / slots_count);
        std::printf("%zu backends: deviation %.2f%%, expected %.2f%%, fullest %+.1f%%\n", count,
                    deviation * 100, expected * 100,
                    (*std::ranges::max_element(slots) / mean - 1) * 100);
        EXPECT_LT(deviation, expected * (1 + 4 / std::sqrt(2.0 * static_cast<double>(count))));
    }
}

TEST(SlotTable, WeightZeroIsNeverChosen) {
    auto given = backends(4);
    given[2].weight = 0;
    const SlotTable table(given);
    EXPECT_EQ(table.weighted().size(), 3U);
    for (std::uint32_t slot = 0; slot < slots_count; slot += 97) {
        std::uint32_t ranked = 0;
        for (std::uint32_t i = table.first(slot); i != no_backend; i = table.next(slot, i)) {
            ASSERT_NE(i, 2U);
            ++ranked;
        }
        ASSERT_EQ(ranked, 3U);
    }
    const std::array<std::uint16_t, 1> drained{2};
    EXPECT_EQ(table.best_of(0, drained), no_backend);
    for (BackendSettings& backend : given) {
        backend.weight = 0;
    }
    EXPECT_EQ(SlotTable(given).first(12), no_backend);
    EXPECT_EQ(SlotTable({}).first(0), no_backend);
}

TEST(SlotTable, TheRankingNamesEveryBackendOnceAndBestOfFollowsIt) {
    const SlotTable table(backends(20));
    for (std::uint32_t slot = 0; slot < slots_count; slot += 1009) {
        std::vector<std::uint16_t> order;
        for (std::uint32_t i = table.first(slot); i != no_backend; i = table.next(slot, i)) {
            order.push_back(static_cast<std::uint16_t>(i));
        }
        ASSERT_EQ(std::set(order.begin(), order.end()).size(), 20U);
        for (std::size_t from = 0; from < order.size(); ++from) {
            std::vector<std::uint16_t> left(order.begin() + static_cast<std::ptrdiff_t>(from),
                                            order.end());
            std::ranges::sort(left);
            ASSERT_EQ(table.best_of(slot, left), order[from]);
        }
    }
}

// What a backend loses spreads over all others, not to one neighbour.
TEST(SlotTable, TheNextChoicesOfALostBackendSpreadOverAllOthers) {
    const SlotTable table(backends(10));
    std::array<std::size_t, 10> next{};
    for (std::uint32_t slot = 0; slot < slots_count; ++slot) {
        if (table.first(slot) == 0) {
            ++next[table.next(slot, 0)];
        }
    }
    EXPECT_EQ(next[0], 0U);
    for (std::size_t i = 1; i < next.size(); ++i) {
        EXPECT_NEAR(static_cast<double>(next[i]), slots_count / 90.0, 130);
    }
}

TEST(SlotTable, KeysSpreadOverTheSlots) {
    std::vector<int> hits(16);
    for (int i = 0; i < 16'000; ++i) {
        const std::uint64_t hash = hash_key("user" + std::to_string(i) + "@example.com");
        ++hits[SlotTable::slot_of(hash) / (slots_count / 16)];
    }
    for (const int hit : hits) {
        EXPECT_NEAR(hit, 1000, 160);
    }
}

} // namespace
} // namespace ringmx::upstream
