#include "smtp/data_scanner.h"

#include "smtp/newline_scanner.h"
#include "unit/smtp/splits.h"

#include <gtest/gtest.h>

#include <ostream>

namespace ringmx::smtp {

void PrintTo(const DataCounts& counts, std::ostream* out) {
    *out << counts.wire_bytes << " octets, " << counts.stuffed_dots_count << " dots, bare CR "
         << counts.bare_cr_count << ", bare LF " << counts.bare_lf_count << ", NUL dot "
         << counts.suspicious_nul_dot;
}

namespace {

using namespace std::string_literals;
using test::every_split;
using test::Pieces;

enum class Way { plain, fast };

struct Outcome {
    std::string content;
    std::string rest; // behind the terminator
    bool ended = false;
    DataCounts counts;
    bool operator==(const Outcome&) const = default;
};

void PrintTo(const Outcome& outcome, std::ostream* out) {
    *out << ::testing::PrintToString(outcome.content) << " rest "
         << ::testing::PrintToString(outcome.rest) << (outcome.ended ? " ended " : " open ");
    PrintTo(outcome.counts, out);
}

Outcome scan(const Pieces& pieces, Way way) {
    DataScanner scanner;
    Outcome outcome;
    for (const std::string_view piece : pieces) {
        if (outcome.ended) {
            outcome.rest += piece;
            continue;
        }
        const Bytes span = as_bytes(piece);
        const DataScan scan =
            way == Way::plain ? scanner.scan_plain(span) : scanner.scan_fast(span);
        outcome.content += scan.held;
        outcome.content += piece.substr(0, scan.content_bytes);
        outcome.ended = scan.ended;
        outcome.rest += piece.substr(scan.consumed);
    }
    outcome.counts = scanner.counts();
    return outcome;
}

// The rules read off a whole message, with no regard to cost. The wire must hold an end of data.
Outcome reference(std::string_view wire) {
    Outcome outcome;
    std::size_t line = 0;
    for (;;) {
        const std::size_t newline = wire.find("\r\n", line);
        const std::string_view text = wire.substr(line, newline - line);
        if (text == ".") {
            break;
        }
        outcome.counts.stuffed_dots_count += text.starts_with('.') ? 1 : 0;
        std::size_t nuls = 0;
        std::size_t dots = 0;
        for (const char octet : text) {
            outcome.counts.bare_cr_count += octet == '\r' ? 1 : 0;
            outcome.counts.bare_lf_count += octet == '\n' ? 1 : 0;
            nuls += octet == '\0' ? 1 : 0;
            dots += octet == '.' ? 1 : 0;
        }
        outcome.counts.suspicious_nul_dot |= dots == 1 && nuls > 0 && nuls + dots == text.size();
        line = newline + 2;
    }
    outcome.ended = true;
    outcome.content = wire.substr(0, line);
    outcome.rest = wire.substr(line + 3);
    outcome.counts.wire_bytes = line;
    return outcome;
}

void expect_everywhere(std::string_view wire, const Outcome& expected) {
    for (const Way way : {Way::plain, Way::fast}) {
        for (const Pieces& pieces : every_split(wire)) {
            ASSERT_EQ(scan(pieces, way), expected)
                << ::testing::PrintToString(pieces) << (way == Way::fast ? " fast" : " plain");
        }
    }
}

TEST(DataScanner, CrlfBeforeTheDotBelongsToTheContent) {
    const std::string wire = "Subject: x\r\n\r\nbody\r\n.\r\nQUIT\r\n";
    const Outcome expected{"Subject: x\r\n\r\nbody\r\n", "QUIT\r\n", true, {.wire_bytes = 20}};
    expect_everywhere(wire, expected);
}

TEST(DataScanner, DotAtTheVeryStartEndsAnEmptyMessage) {
    expect_everywhere(".\r\nRSET\r\n", {"", "RSET\r\n", true, {}});
}

TEST(DataScanner, OnlyTrueNewlinesAroundTheDotEndTheData) {
    for (const char* line : {"\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r.\r\n", "\r\n.\r", "\n.\r",
                             "\r.\n", "\r\r\n.\r", "\r\n.\r\r\n", "\r\n.\n\r\n", "\n\r.\r\n"}) {
        const std::string content = "a"s + line + "MAIL FROM:<smuggled@example.com>\r\n";
        const std::string wire = content + ".\r\nQUIT\r\n";
        Outcome expected = reference(wire);
        ASSERT_EQ(expected.content, content) << ::testing::PrintToString(line);
        ASSERT_GT(expected.counts.bare_cr_count + expected.counts.bare_lf_count, 0U);
        expect_everywhere(wire, expected);
    }
}

TEST(DataScanner, HeldDotIsGivenBackWhenItIsContent) {
    DataScanner scanner;
    EXPECT_EQ(scanner.scan(as_bytes("a\r\n.")),
              (DataScan{.held = "", .content_bytes = 3, .consumed = 4, .ended = false}));
    EXPECT_EQ(scanner.scan(as_bytes("\r")),
              (DataScan{.held = "", .content_bytes = 0, .consumed = 1, .ended = false}));
    EXPECT_EQ(scanner.scan(as_bytes("x")),
              (DataScan{.held = ".\r", .content_bytes = 1, .consumed = 1, .ended = false}));
    EXPECT_EQ(scanner.counts().bare_cr_count, 1U);
    EXPECT_EQ(scanner.scan(as_bytes("\r\n.")),
              (DataScan{.held = "", .content_bytes = 2, .consumed = 3, .ended = false}));
    EXPECT_EQ(scanner.scan(as_bytes(".\r\n.")),
              (DataScan{.held = ".", .content_bytes = 3, .consumed = 4, .ended = false}));
    EXPECT_EQ(scanner.scan(as_bytes("\r\nNOOP\r\n")),
              (DataScan{.held = "", .content_bytes = 0, .consumed = 2, .ended = true}));
    EXPECT_TRUE(scanner.ended());
}

TEST(DataScanner, SizeIsCountedWithoutStuffedDots) {
    DataScanner scanner;
    EXPECT_TRUE(scanner.scan(as_bytes("..a\r\n.b\r\n..\r\n.\r\n")).ended);
    EXPECT_EQ(scanner.counts().wire_bytes, 13U);
    EXPECT_EQ(scanner.content_bytes(), 10U);
    scanner.reset();
    EXPECT_EQ(scanner.content_bytes(), 0U);
    EXPECT_FALSE(scanner.ended());
}

TEST(DataScanner, LineOfOneDotAndNulsIsSuspicious) {
    for (const std::string& line : {"\0."s, ".\0"s, "\0.\0"s, "\0\0\0."s, ".\0\0\0\0"s}) {
        expect_everywhere(line + "\r\n.\r\n", reference(line + "\r\n.\r\n"));
        EXPECT_TRUE(scan({"a\r\n" + line + "\r\n"}, Way::fast).counts.suspicious_nul_dot);
    }
}

TEST(DataScanner, OtherLinesWithNulsPass) {
    for (const std::string& line : {"\0"s, "\0\0"s, "."s + "."s, "..\0"s, ".\0."s, "a\0."s, ".\0a"s,
                                    "\0a."s, "\0.\0\r"s, ".\0\n"s}) {
        expect_everywhere(line + "\r\n.\r\n", reference(line + "\r\n.\r\n"));
        EXPECT_FALSE(scan({line + "\r\nb\r\n.\r\n"}, Way::fast).counts.suspicious_nul_dot);
    }
}

TEST(DataScanner, EveryShortMessageIsReadAsTheRulesSay) {
    test::every_string({"a.\r\n\0", 5}, 6, [](const std::string& text) {
        const std::string wire = text + "\r\n.\r\nEND";
        const Outcome expected = reference(wire);
        for (const Way way : {Way::plain, Way::fast}) {
            for (std::size_t cut = 0; cut <= wire.size(); ++cut) {
                const std::string_view view = wire;
                ASSERT_EQ(scan({view.substr(0, cut), view.substr(cut)}, way), expected)
                    << ::testing::PrintToString(wire) << " cut at " << cut;
            }
        }
    });
}

TEST(DataScanner, EveryShortMessageIsReadAlikeAtEveryPlaceOfABlock) {
    test::every_string({"a.\r\n\0", 5}, 4, [](const std::string& text) {
        for (std::size_t padding = 118; padding < 170; ++padding) {
            const std::string front = std::string(padding - 2, 'x') + (padding % 3 ? "\r\n" : "yz");
            const std::string wire = front + text + "\r\n.\r\n" + std::string(150, 'z');
            const Outcome expected = reference(wire);
            ASSERT_EQ(scan({wire}, Way::fast), expected)
                << ::testing::PrintToString(text) << " behind " << padding;
        }
    });
}

TEST(DataScanner, FastAndPlainAgreeOnRandomStreamsCutAnywhere) {
    std::mt19937 random(5321);
    for (int round = 0; round < 20000; ++round) {
        const unsigned strange = round % 4 == 0 ? 0 : 1U << (random() % 9);
        const std::string wire =
            test::random_wire(random() % 1500, strange, random) + "\r\n.\r\nREST";
        const Outcome expected = reference(wire);
        ASSERT_EQ(scan({wire}, Way::plain), expected) << ::testing::PrintToString(wire);
        ASSERT_EQ(scan({wire}, Way::fast), expected) << ::testing::PrintToString(wire);
        const std::size_t piece_max = std::size_t{1} << (1 + random() % 10);
        const Pieces pieces = test::random_split(wire, piece_max, random);
        ASSERT_EQ(scan(pieces, Way::plain), expected) << ::testing::PrintToString(pieces);
        ASSERT_EQ(scan(pieces, Way::fast), expected) << ::testing::PrintToString(pieces);
    }
}

TEST(DataScanner, EachScanOfFastAndPlainSaysTheSame) {
    std::mt19937 random(1869);
    for (int round = 0; round < 5000; ++round) {
        const std::string wire = test::random_wire(1000, 1U << (random() % 9), random);
        DataScanner plain;
        DataScanner fast;
        for (const std::string_view piece : test::random_split(wire, 300, random)) {
            const DataScan expected = plain.scan_plain(as_bytes(piece));
            ASSERT_EQ(fast.scan_fast(as_bytes(piece)), expected);
            ASSERT_EQ(fast.counts(), plain.counts()) << ::testing::PrintToString(wire);
            if (expected.ended) {
                break;
            }
        }
    }
}

// ---- Chunks ----

struct Bare {
    std::uint64_t cr = 0;
    std::uint64_t lf = 0;
    bool operator==(const Bare&) const = default;
};

Bare judge(const Pieces& pieces, Way way) {
    NewlineScanner scanner;
    for (const std::string_view piece : pieces) {
        if (way == Way::plain) {
            scanner.scan_plain(as_bytes(piece));
        } else {
            scanner.scan_fast(as_bytes(piece));
        }
    }
    scanner.finish();
    EXPECT_EQ(scanner.has_bare_newline(), scanner.bare_cr_count() + scanner.bare_lf_count() > 0);
    return {scanner.bare_cr_count(), scanner.bare_lf_count()};
}

Bare bare_reference(std::string_view text) {
    Bare bare;
    for (std::size_t at = 0; at < text.size(); ++at) {
        const bool lf_next = at + 1 < text.size() && text[at + 1] == '\n';
        const bool cr_before = at > 0 && text[at - 1] == '\r';
        bare.cr += text[at] == '\r' && !lf_next ? 1 : 0;
        bare.lf += text[at] == '\n' && !cr_before ? 1 : 0;
    }
    return bare;
}

TEST(NewlineScanner, CrlfOverTwoChunksIsNotBare) {
    NewlineScanner scanner;
    scanner.scan(as_bytes("a\r"));
    EXPECT_FALSE(scanner.has_bare_newline());
    scanner.scan(as_bytes("\n"));
    scanner.finish();
    EXPECT_FALSE(scanner.has_bare_newline());
}

TEST(NewlineScanner, CrAtTheLastChunksEndIsBare) {
    NewlineScanner scanner;
    scanner.scan(as_bytes("a\r\nb\r"));
    scanner.scan({});
    EXPECT_FALSE(scanner.has_bare_newline());
    scanner.finish();
    EXPECT_EQ(scanner.bare_cr_count(), 1U);
}

TEST(NewlineScanner, EveryShortTextIsJudgedAsTheRulesSay) {
    test::every_string("a\r\n", 7, [](const std::string& text) {
        const Bare expected = bare_reference(text);
        for (const Pieces& pieces : every_split(text)) {
            ASSERT_EQ(judge(pieces, Way::plain), expected) << ::testing::PrintToString(text);
            ASSERT_EQ(judge(pieces, Way::fast), expected) << ::testing::PrintToString(text);
        }
    });
}

TEST(NewlineScanner, FastAndPlainAgreeOnRandomStreamsCutAnywhere) {
    std::mt19937 random(3030);
    for (int round = 0; round < 10000; ++round) {
        const std::string text = test::random_wire(random() % 1500, 1U << (random() % 9), random);
        const Bare expected = bare_reference(text);
        const Pieces pieces = test::random_split(text, 1 + random() % 900, random);
        ASSERT_EQ(judge({text}, Way::fast), expected) << ::testing::PrintToString(text);
        ASSERT_EQ(judge(pieces, Way::plain), expected) << ::testing::PrintToString(pieces);
        ASSERT_EQ(judge(pieces, Way::fast), expected) << ::testing::PrintToString(pieces);
    }
}

} // namespace
} // namespace ringmx::smtp
