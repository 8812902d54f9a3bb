#include "base/reply_table.h"

#include <gtest/gtest.h>
#include <string>

namespace ringmx {
namespace {

std::string numbered(std::size_t number) { return "450 4.2.0 id " + std::to_string(number); }

TEST(ReplyTable, TheSameTextIsKeptOnce) {
    ReplyTable table;
    const std::uint16_t first = table.take("451 4.3.0 later", "451");
    EXPECT_EQ(table.take("451 4.3.0 later", "451"), first);
    const std::uint16_t other = table.take("452 4.3.1 full", "452");
    EXPECT_NE(other, first);
    EXPECT_EQ(table.text(first), "451 4.3.0 later");
    EXPECT_EQ(table.text(other), "452 4.3.1 full");
}

TEST(ReplyTable, ATextStaysUntilItsLastUseIsGone) {
    ReplyTable table;
    const std::uint16_t index = table.take("451 a", "");
    (void)table.take("451 a", "");
    table.release(index);
    EXPECT_EQ(table.text(index), "451 a");
    table.release(index);
    EXPECT_EQ(table.take("452 b", ""), index) << "its place is used again";
    EXPECT_EQ(table.text(index), "452 b");
}

TEST(ReplyTable, NoTextIsNothing) {
    ReplyTable table;
    EXPECT_EQ(table.take("", "451"), 0U);
    EXPECT_EQ(table.text(0), "");
    table.release(0);
}

TEST(ReplyTable, KeepsTheFallbackWhenFull) {
    ReplyTable table;
    constexpr std::size_t room = ReplyTable::texts_max - ReplyTable::fallbacks_reserved;
    for (std::size_t number = 0; number < room; ++number) {
        const std::uint16_t index = table.take(numbered(number), "450");
        EXPECT_EQ(table.text(index), numbered(number));
    }
    EXPECT_EQ(table.text(table.take("450 new", "450")), "450");
    EXPECT_EQ(table.text(table.take(numbered(7), "450")), numbered(7)) << "known ones are found";
    for (std::size_t number = 1; number < ReplyTable::fallbacks_reserved; ++number) {
        EXPECT_NE(table.take("450 new", "fallback " + std::to_string(number)), 0U);
    }
    EXPECT_EQ(table.take("450 new", "one more"), 0U);
    EXPECT_EQ(table.text(table.take("450 new", "450")), "450");
}

TEST(ReplyTable, WhatIsLessWantedLeavesHalfOfThePlaces) {
    ReplyTable table;
    for (std::size_t number = 0; number < ReplyTable::lesser_max; ++number) {
        EXPECT_EQ(table.text(table.take_lesser(numbered(number), "250")), numbered(number));
    }
    EXPECT_EQ(table.text(table.take_lesser("250 2.0.0 new", "250")), "250");
    EXPECT_EQ(table.text(table.take_lesser(numbered(7), "250")), numbered(7));
    EXPECT_EQ(table.text(table.take("450 4.2.0 new", "450")), "450 4.2.0 new");
}

TEST(ReplyTable, ALongTextIsCutBetweenCharacters) {
    ReplyTable table;
    const std::string start(ReplyTable::text_bytes_max - 1, 'x');
    EXPECT_EQ(table.text(table.take(start + "yz", "")), start + "y");
    EXPECT_EQ(table.text(table.take(start + "\xC3\xA4", "")), start);
    EXPECT_EQ(table.text(table.take(start.substr(1) + "\xC3\xA4z", "")),
              start.substr(1) + "\xC3\xA4");
    // Not UTF-8: somewhere it must be cut.
    EXPECT_LE(table.text(table.take(std::string(300, '\x80'), "")).size(),
              ReplyTable::text_bytes_max);
}

TEST(ReplyTable, MemoryGoesWithTheTexts) {
    ReplyTable table;
    const std::size_t before = table.memory_bytes();
    const std::uint16_t index = table.take(std::string(200, 'x'), "");
    EXPECT_GT(table.memory_bytes(), before + 200);
    table.release(index);
    EXPECT_LT(table.memory_bytes(), before + 200);
}

} // namespace
} // namespace ringmx
