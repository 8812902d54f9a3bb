#include "spool/reply_patterns.h"

#include <gtest/gtest.h>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ringmx::spool {
namespace {

using Parts = ReplyPatterns::Parts;

class ReplyPatternsTest : public testing::Test {
  protected:
    // Its parts' replies are taken for it.
    Parts made(const std::vector<std::pair<std::uint32_t, std::string>>& parts) {
        Parts taken;
        for (const auto& [first, text] : parts) {
            taken.push_back({first, replies.take(text, "")});
        }
        return taken;
    }
    std::string_view said(std::uint16_t number, std::uint32_t recipient) {
        return replies.text(patterns.reply(number, recipient));
    }

    ReplyTable replies;
    ReplyPatterns patterns{replies};
};

TEST_F(ReplyPatternsTest, EachRecipientHasTheReplyOfItsPart) {
    const std::uint16_t number = patterns.take(made({{0, "450 a"}, {3, "451 b"}, {4, "450 a"}}));
    for (const auto& [recipient, text] : std::vector<std::pair<std::uint32_t, std::string_view>>{
             {0, "450 a"}, {2, "450 a"}, {3, "451 b"}, {4, "450 a"}, {99'999, "450 a"}}) {
        EXPECT_EQ(said(number, recipient), text) << recipient;
    }
    EXPECT_EQ(patterns.parts(number).size(), 3U);
    patterns.release(number);
}

TEST_F(ReplyPatternsTest, OneReplyForAllTakesNothing) {
    const std::uint16_t number = patterns.take(made({{0, "450 a"}}));
    EXPECT_EQ(said(number, 7), "450 a");
    EXPECT_EQ(replies.text(number), "450 a");
    EXPECT_EQ(patterns.memory_bytes(), 0U);
    patterns.release(number);
    EXPECT_EQ(patterns.take(made({{0, ""}})), 0U);
    EXPECT_EQ(said(0, 3), "");
}

TEST_F(ReplyPatternsTest, APatternIsKeptOnceAndGoesWithItsLastMessage) {
    const std::uint16_t first = patterns.take(made({{0, "450 a"}, {1, "451 b"}}));
    const std::size_t bytes = patterns.memory_bytes();
    EXPECT_EQ(patterns.take(made({{0, "450 a"}, {1, "451 b"}})), first);
    const std::uint16_t other = patterns.take(made({{0, "451 b"}, {1, "450 a"}}));
    EXPECT_NE(other, first);
    patterns.release(other);
    EXPECT_LE(patterns.memory_bytes(), bytes + 64);
    patterns.release(first);
    EXPECT_EQ(said(first, 1), "451 b") << "the second message has it";
    patterns.release(first);
    const std::uint16_t a = replies.take("450 a", "");
    replies.release(a);
    EXPECT_EQ(replies.text(patterns.take(made({{0, "452 c"}}))), "452 c");
    // Nobody holds the texts any more: their places are given again.
    EXPECT_LE(replies.take("453 d", ""), 2U);
}

TEST_F(ReplyPatternsTest, WhenThereAreTooManyDifferentOnesNothingIsKnownAndPlainOnesHaveRoomLeft) {
    const auto pattern = [&](std::uint32_t number) {
        return made({{0, "450 a"}, {number + 1, "451 b"}});
    };
    std::vector<std::uint16_t> numbers;
    for (std::uint32_t number = 0; number < ReplyPatterns::patterns_max; ++number) {
        numbers.push_back(patterns.take(pattern(number)));
    }
    EXPECT_EQ(numbers.back(), 0U);
    EXPECT_EQ(said(numbers.front(), 1), "451 b");
    EXPECT_EQ(patterns.take(pattern(0)), numbers.front());
    EXPECT_NE(patterns.take_plain(made({{0, "450"}, {1, "451"}})), 0U);
    patterns.release(numbers[0]);
    patterns.release(numbers[0]);
    patterns.release(numbers[1]);
    EXPECT_NE(patterns.take(pattern(1'000'000)), 0U);
}

TEST_F(ReplyPatternsTest, TheirPartsAreBoundedToo) {
    Parts parts;
    for (std::uint32_t first = 0; first < ReplyPatterns::parts_max; ++first) {
        parts.push_back({first, replies.take(first % 2 == 0 ? "450 a" : "451 b", "")});
    }
    EXPECT_EQ(patterns.take(std::move(parts)), 0U);
    EXPECT_EQ(patterns.memory_bytes(), 0U);
}

} // namespace
} // namespace ringmx::spool
