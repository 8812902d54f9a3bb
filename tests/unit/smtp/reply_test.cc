#include "smtp/reply.h"

#include <gtest/gtest.h>

namespace ringmx::smtp {
namespace {

std::string wire(const Reply& reply) {
    std::string out = "before\r\n";
    append_reply(out, reply);
    EXPECT_TRUE(out.starts_with("before\r\n"));
    return out.substr(8);
}

TEST(ReplyTest, EveryLineCarriesCodeAndEnhancedCode) {
    EXPECT_EQ(wire({550, {5, 1, 1}, "a\nb\n\nc"}),
              "550-5.1.1 a\r\n550-5.1.1 b\r\n550-5.1.1\r\n550 5.1.1 c\r\n");
}

TEST(ReplyTest, WithoutEnhancedCodeOnlyTheTextStands) {
    EXPECT_EQ(wire({354, {}, "go on"}), "354 go on\r\n");
    EXPECT_EQ(wire({250, {}, "a\nb"}), "250-a\r\n250 b\r\n");
}

TEST(ReplyTest, WithoutTextNoBlankIsLeftOver) {
    EXPECT_EQ(wire({250, {2, 0, 0}, ""}), "250 2.0.0\r\n");
    EXPECT_EQ(wire({250, {}, ""}), "250\r\n");
}

TEST(ReplyTest, LargeEnhancedCodesAreWrittenWhole) {
    EXPECT_EQ(wire({550, {5, 65535, 999}, "x"}), "550 5.65535.999 x\r\n");
}

TEST(ReplyTest, ControlsBecomeQuestionMarks) {
    EXPECT_EQ(wire({550, {5, 0, 0}, std::string_view("a\r\0\x1b\x7f\tb", 7)}),
              "550 5.0.0 a????\tb\r\n");
}

TEST(ReplyTest, LongLinesAreCutToTheBoundBetweenCharacters) {
    const std::string ascii = wire({550, {5, 0, 0}, std::string(600, 'x')});
    EXPECT_EQ(ascii.size(), reply_line_bytes_max);
    EXPECT_TRUE(ascii.ends_with("x\r\n"));
    std::string umlauts;
    for (int index = 0; index < 300; ++index) {
        umlauts += "\xc3\xbc";
    }
    for (const std::string& text : {umlauts, "x" + umlauts}) {
        const std::string cut = wire({550, {5, 0, 0}, text});
        EXPECT_LE(cut.size(), reply_line_bytes_max);
        EXPECT_TRUE(cut.ends_with("\xc3\xbc\r\n"));
    }
}

} // namespace
} // namespace ringmx::smtp
