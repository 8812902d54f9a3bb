#include "admin/cache_table.h"

#include <gtest/gtest.h>

namespace ringmx::admin {
namespace {

constexpr const char* positive =
    R"({"result":"exists","reply":"","remaining_seconds":21540.5,"worker":0})";
constexpr const char* negative =
    R"({"result":"unknown","reply":"550 5.1.1 <recipient> \u001b[2J","remaining_seconds":9.9,)"
    R"("worker":12,"new":1})";

TEST(CacheTable, AListHasALineForEachAnswerAndDoesNothingToATerminal) {
    const auto page = read_cache_page(std::string(R"({"answers":[)") + positive + "," + negative +
                                      R"(],"cursor":"1-0-a"})");
    ASSERT_TRUE(page.has_value());
    EXPECT_EQ(page->cursor, "1-0-a");
    ASSERT_EQ(page->entries.size(), 2U);
    EXPECT_EQ(page->entries[0], positive);
    EXPECT_EQ(cache_heading() + page->lines,
              "result   remaining  worker  reply\n"
              "exists      5h 59m       0  -\n"
              "unknown         9s      12  550 5.1.1 <recipient> \\e[2J\n");
}

TEST(CacheTable, TheLastPageHasNoCursor) {
    const auto page = read_cache_page(R"({"answers":[],"cursor":null})");
    ASSERT_TRUE(page.has_value());
    EXPECT_EQ(page->cursor, "");
    EXPECT_EQ(page->lines, "");
}

TEST(CacheTable, WhatIsNoAnswerOfOursGivesNothing) {
    for (const char* const json : {"", "{}", "[]", "null", "{\"answers\":1}", "<html>"}) {
        EXPECT_FALSE(read_cache_page(json).has_value()) << json;
        EXPECT_FALSE(read_purged(json).has_value()) << json;
    }
    EXPECT_EQ(read_purged("{\"purged\":12}\n"), 12U);
}

} // namespace
} // namespace ringmx::admin
