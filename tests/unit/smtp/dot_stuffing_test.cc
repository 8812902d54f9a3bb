#include "smtp/dot_stuffing.h"

#include "unit/smtp/splits.h"

#include <gtest/gtest.h>

namespace ringmx::smtp {
namespace {

using test::every_split;
using test::Pieces;

std::string stuff(const Pieces& pieces, std::string* terminator = nullptr) {
    Stuffer stuffer;
    std::string wire;
    for (const std::string_view piece : pieces) {
        stuffer.feed(as_bytes(piece), [&](Bytes part, bool is_literal) {
            EXPECT_FALSE(part.empty());
            const bool inside = part.data() >= as_bytes(piece).data() &&
                                part.data() + part.size() <= as_bytes(piece).data() + piece.size();
            EXPECT_EQ(inside, !is_literal);
            wire += as_text(part);
        });
    }
    if (terminator != nullptr) {
        *terminator = stuffer.terminator();
    }
    return wire;
}

std::string unstuff(const Pieces& pieces) {
    Unstuffer unstuffer;
    std::string raw;
    for (const std::string_view piece : pieces) {
        unstuffer.feed(as_bytes(piece), [&](Bytes part) {
            EXPECT_FALSE(part.empty());
            raw += as_text(part);
        });
    }
    return raw;
}

// Line by line, on the whole.
std::string stuffed_reference(std::string_view raw) {
    std::string wire;
    bool line_start = true;
    for (std::size_t at = 0; at < raw.size(); ++at) {
        wire += line_start && raw[at] == '.' ? ".." : std::string(1, raw[at]);
        line_start = at > 0 && raw[at - 1] == '\r' && raw[at] == '\n';
    }
    return wire;
}

TEST(DotStuffing, DotsAtLineStartsAreDoubledAndHalved) {
    for (const Pieces& pieces : every_split(".a\r\n.\r\n..b\r\nc.\n.d")) {
        EXPECT_EQ(stuff(pieces), "..a\r\n..\r\n...b\r\nc.\n.d");
    }
    for (const Pieces& pieces : every_split("..a\r\n.b\r\n..\r\nc.\n.d")) {
        EXPECT_EQ(unstuff(pieces), ".a\r\nb\r\n.\r\nc.\n.d");
    }
}

TEST(DotStuffing, TerminatorCompletesTheLastLine) {
    const auto terminator_behind =
        [](const std::string& raw) { // its own memory, apart from any literal's
            std::string terminator;
            for (const Pieces& pieces : every_split(raw)) {
                std::string seen;
                static_cast<void>(stuff(pieces, &seen));
                EXPECT_TRUE(terminator.empty() || terminator == seen);
                terminator = seen;
            }
            return terminator;
        };
    EXPECT_EQ(terminator_behind(""), ".\r\n");
    EXPECT_EQ(terminator_behind("a\r\n"), ".\r\n");
    EXPECT_EQ(terminator_behind("\r\n"), ".\r\n");
    EXPECT_EQ(terminator_behind("a"), "\r\n.\r\n");
    EXPECT_EQ(terminator_behind("."), "\r\n.\r\n");
    EXPECT_EQ(terminator_behind("a\n"), "\r\n.\r\n");
    EXPECT_EQ(terminator_behind("a\r"), "\r\n.\r\n");
    EXPECT_EQ(terminator_behind("a\r\n\n"), "\r\n.\r\n");
}

TEST(DotStuffing, EveryShortTextSurvivesBothWays) {
    test::every_string("a.\r\n", 7, [](const std::string& raw) {
        const std::string wire = stuffed_reference(raw);
        for (const Pieces& pieces : every_split(raw)) {
            ASSERT_EQ(stuff(pieces), wire) << ::testing::PrintToString(pieces);
        }
        for (const Pieces& pieces : every_split(wire)) {
            ASSERT_EQ(unstuff(pieces), raw) << ::testing::PrintToString(pieces);
        }
    });
}

TEST(DotStuffing, RandomTextsSurviveBothWays) {
    std::mt19937 random(2920);
    for (int round = 0; round < 5000; ++round) {
        const std::string raw = test::random_wire(random() % 1500, 1U << (random() % 9), random);
        const std::string wire = stuffed_reference(raw);
        ASSERT_EQ(stuff({raw}), wire);
        ASSERT_EQ(unstuff({wire}), raw);
        ASSERT_EQ(stuff(test::random_split(raw, 1 + random() % 700, random)), wire);
        ASSERT_EQ(unstuff(test::random_split(wire, 1 + random() % 700, random)), raw);
    }
}

TEST(DotStuffing, FastFinderFindsWhatThePlainOneFinds) {
    std::mt19937 random(4155);
    for (int round = 0; round < 3000; ++round) {
        const std::string text = test::random_wire(random() % 600, 1U << (random() % 9), random);
        for (std::size_t from = 0; from <= text.size(); ++from) {
            ASSERT_EQ(find_line_dot(as_bytes(text), from),
                      find_line_dot_plain(as_bytes(text), from))
                << ::testing::PrintToString(text) << " from " << from;
        }
    }
}

} // namespace
} // namespace ringmx::smtp
