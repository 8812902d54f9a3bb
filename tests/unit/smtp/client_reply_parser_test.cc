#include "smtp/reply_parser.h"

#include <gtest/gtest.h>
#include <string>
#include <string_view>
#include <vector>

namespace ringmx::smtp {
namespace {

struct Outcome {
    bool malformed = false;
    std::vector<OwnedReply> replies;
    std::size_t consumed = 0;
};

// Each piece is parsed as a span of its own, so that a sanitizer sees every octet read beyond it.
Outcome parse(const std::vector<std::string>& pieces) {
    ReplyParser parser;
    Outcome outcome;
    for (const std::string& piece : pieces) {
        const std::vector<char> memory(piece.begin(), piece.end());
        std::size_t position = 0;
        for (;;) {
            const auto step =
                parser.parse(as_bytes({memory.data() + position, memory.size() - position}));
            position += step.consumed;
            outcome.consumed += step.consumed;
            if (step.outcome == ReplyParser::Outcome::malformed) {
                outcome.malformed = true;
                return outcome;
            }
            if (step.outcome == ReplyParser::Outcome::need_input) {
                EXPECT_EQ(position, memory.size());
                break;
            }
            outcome.replies.emplace_back(parser.reply());
        }
    }
    return outcome;
}

struct Case {
    std::string wire;
    std::vector<OwnedReply> replies;
    bool malformed = false;
};

OwnedReply owned(std::uint16_t code, EnhancedCode enhanced, std::string_view text) {
    return OwnedReply(Reply{code, enhanced, text});
}

void expect_same(const Case& expected, const Outcome& outcome, const std::string& how) {
    EXPECT_EQ(outcome.malformed, expected.malformed) << how;
    ASSERT_EQ(outcome.replies.size(), expected.replies.size()) << how;
    for (std::size_t index = 0; index < expected.replies.size(); ++index) {
        EXPECT_EQ(outcome.replies[index].code, expected.replies[index].code) << how;
        EXPECT_EQ(outcome.replies[index].enhanced, expected.replies[index].enhanced) << how;
        EXPECT_EQ(outcome.replies[index].text, expected.replies[index].text) << how;
    }
}

// Whole, split once and twice at every place, and octet by octet.
void check(const Case& expected) {
    const std::string& wire = expected.wire;
    expect_same(expected, parse({wire}), "whole: " + wire);
    std::vector<std::string> octets;
    for (std::size_t first = 0; first <= wire.size(); ++first) {
        expect_same(expected, parse({wire.substr(0, first), wire.substr(first)}),
                    "cut at " + std::to_string(first) + ": " + wire);
        for (std::size_t second = first; second <= wire.size(); ++second) {
            expect_same(expected,
                        parse({wire.substr(0, first), wire.substr(first, second - first),
                               wire.substr(second)}),
                        "cut at " + std::to_string(first) + " and " + std::to_string(second) +
                            ": " + wire);
        }
        if (first < wire.size()) {
            octets.push_back(wire.substr(first, 1));
        }
    }
    expect_same(expected, parse(octets), "octet by octet: " + wire);
}

TEST(ReplyParser, ASingleLineGivesCodeAndText) {
    check({"220 mx.example ESMTP\r\n", {owned(220, {}, "mx.example ESMTP")}});
}

TEST(ReplyParser, ABareLfEndsALineAsWell) {
    check({"250-one\n250 two\n", {owned(250, {}, "one\ntwo")}});
}

TEST(ReplyParser, ACodeAloneIsALine) {
    check({"250\r\n", {owned(250, {}, "")}});
    check({"250 \r\n", {owned(250, {}, "")}});
    check({"250-\r\n250\r\n", {owned(250, {}, "\n")}});
}

TEST(ReplyParser, LinesOfOneReplyAreJoinedByNewlines) {
    check({"550-first\r\n550-\r\n550 last\r\n", {owned(550, {}, "first\n\nlast")}});
}

TEST(ReplyParser, SeveralRepliesInOneReadComeOneByOne) {
    check({"250 a\r\n250-b\r\n250 c\r\n354 go\r\n",
           {owned(250, {}, "a"), owned(250, {}, "b\nc"), owned(354, {}, "go")}});
}

TEST(ReplyParser, AnEnhancedCodeIsTakenOffEveryLine) {
    check({"550-5.1.1 no\r\n550 5.1.1 such user\r\n", {owned(550, {5, 1, 1}, "no\nsuch user")}});
    check({"250 2.0.0\r\n", {owned(250, {2, 0, 0}, "")}});
    check({"451 4.123.999 x\r\n", {owned(451, {4, 123, 999}, "x")}});
}

TEST(ReplyParser, TheFirstEnhancedCodeOfAReplyCounts) {
    check({"550-x\r\n550-5.1.1 y\r\n550 5.7.1 z\r\n", {owned(550, {5, 1, 1}, "x\ny\nz")}});
}

TEST(ReplyParser, WhatOnlyLooksLikeAnEnhancedCodeStaysText) {
    for (const std::string text :
         {"5.1.1 x", "4.1.1", "2.1 x", "2.1.1x", "2.1000.1 x", "2.1.1000 x", "2..1 x", "2.1. x",
          "2.a.1 x", "2.1.1.1 x", "2.1.1\tx"}) {
        check({"250 " + text + "\r\n", {owned(250, {}, text)}});
    }
    check({"354 3.0.0 go\r\n", {owned(354, {}, "3.0.0 go")}});
}

TEST(ReplyParser, EightBitAndControlOctetsAreKept) {
    const std::string text("a\x01\xff\x00\rb", 6);
    check({"250 " + text + "\r\n", {owned(250, {}, text)}});
}

TEST(ReplyParser, WhatIsNoReplyIsMalformed) {
    for (const char* const wire :
         {"\r\n", "\n", "25\r\n", "2500 x\r\n", "250x\r\n", "250\tx\r\n", "abc def\r\n",
          "150 x\r\n", "650 x\r\n", "099 x\r\n", " 250 x\r\n", "-250 x\r\n", "2a0 x\r\n",
          "HTTP/1.1 200 OK\r\n"}) {
        check({wire, {}, true});
    }
}

TEST(ReplyParser, ACodeThatChangesWithinAReplyIsMalformed) {
    check({"250-a\r\n251 b\r\n", {}, true});
    check({"250 ok\r\n250-a\r\nb\r\n", {owned(250, {}, "ok")}, true});
}

TEST(ReplyParser, MalformedIsForGood) {
    ReplyParser parser;
    EXPECT_EQ(parser.parse(as_bytes("oops\r\n")).outcome, ReplyParser::Outcome::malformed);
    const auto step = parser.parse(as_bytes("250 ok\r\n"));
    EXPECT_EQ(step.outcome, ReplyParser::Outcome::malformed);
    EXPECT_EQ(step.consumed, 0U);
}

std::vector<std::string> in_pieces(const std::string& wire, std::size_t bytes) {
    std::vector<std::string> pieces;
    for (std::size_t at = 0; at < wire.size(); at += bytes) {
        pieces.push_back(wire.substr(at, bytes));
    }
    return pieces;
}

TEST(ReplyParser, ALineAtTheBoundPassesAndOneOctetMoreDoesNot) {
    const std::string fits = "250 " + std::string(ReplyParser::line_bytes_max - 6, 'x') + "\r\n";
    const std::string over = "250 x" + fits.substr(4);
    for (const std::size_t bytes : {std::size_t{1}, std::size_t{7}, std::size_t{1 << 20}}) {
        EXPECT_EQ(parse(in_pieces(fits, bytes)).replies.size(), 1U);
        EXPECT_TRUE(parse(in_pieces(over, bytes)).malformed);
    }
}

TEST(ReplyParser, ALineWithoutEndIsGivenUpAtTheBound) {
    EXPECT_TRUE(parse(in_pieces(std::string(ReplyParser::line_bytes_max + 1, '2'), 100)).malformed);
}

TEST(ReplyParser, AReplyAtTheBoundPassesAndOneLineMoreDoesNot) {
    const std::string line = "250-" + std::string(1018, 'x') + "\r\n";
    static_assert(ReplyParser::reply_bytes_max == 16 * 1024);
    std::string fits;
    for (int count = 0; count < 15; ++count) {
        fits += line;
    }
    std::string over = fits + line + "250 x\r\n";
    fits += "250 " + line.substr(4);
    for (const std::size_t bytes : {std::size_t{1}, std::size_t{1000}, std::size_t{1 << 20}}) {
        const Outcome outcome = parse(in_pieces(fits, bytes));
        ASSERT_EQ(outcome.replies.size(), 1U);
        EXPECT_EQ(outcome.replies[0].text.size(), 16U * 1018 + 15);
        EXPECT_TRUE(parse(in_pieces(over, bytes)).malformed);
    }
}

TEST(ReplyParser, MidReplyTellsWhetherAReplyHasBegun) {
    ReplyParser parser;
    EXPECT_FALSE(parser.mid_reply());
    (void)parser.parse(as_bytes("250-a\r\n"));
    EXPECT_TRUE(parser.mid_reply());
    (void)parser.parse(as_bytes("250 b\r\n"));
    EXPECT_FALSE(parser.mid_reply());
    (void)parser.parse(as_bytes("2"));
    EXPECT_TRUE(parser.mid_reply());
}

} // namespace
} // namespace ringmx::smtp
