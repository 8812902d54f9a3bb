#include "smtp/data_scanner_normalizing.h"

#include "unit/smtp/splits.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace ringmx::smtp {
namespace {

using namespace std::string_literals;
using test::every_split;
using test::Pieces;

struct Outcome {
    std::string content;
    std::string rest;
    bool ended = false;
    std::uint64_t unstuffed_bytes = 0;
    bool suspicious = false;
    bool operator==(const Outcome&) const = default;
};

void PrintTo(const Outcome& outcome, std::ostream* out) {
    *out << ::testing::PrintToString(outcome.content) << " rest "
         << ::testing::PrintToString(outcome.rest) << (outcome.ended ? " ended, " : " open, ")
         << outcome.unstuffed_bytes << " octets" << (outcome.suspicious ? ", suspicious" : "");
}

Outcome normalize(const Pieces& pieces, ContentForm form) {
    NormalizingScanner scanner(form);
    Outcome outcome;
    const auto emit = [&](const NormalizingScanner::Piece& piece) {
        outcome.content += as_text(piece.content);
    };
    for (const std::string_view piece : pieces) {
        Bytes rest = as_bytes(piece);
        while (!rest.empty() && !outcome.ended) {
            const auto step = scanner.next(rest);
            EXPECT_TRUE(step.consumed > 0 || step.is_literal) << "no progress";
            EXPECT_TRUE(step.is_literal || step.content.empty() ||
                        step.content.data() == rest.data());
            rest = rest.subspan(step.consumed);
            emit(step);
            outcome.ended = step.ended;
        }
        outcome.rest += as_text(rest);
    }
    if (form == ContentForm::raw) {
        emit(scanner.finish());
    }
    outcome.unstuffed_bytes = scanner.content_bytes();
    outcome.suspicious = scanner.suspicious_nul_dot();
    EXPECT_EQ(scanner.counts().wire_bytes, outcome.content.size());
    return outcome;
}

// The rules applied line by line to a whole message.
Outcome reference(std::string_view wire, ContentForm form) {
    const bool stuffed = form == ContentForm::dot_stuffed;
    Outcome outcome;
    bool true_start = true;
    while (!wire.empty()) {
        const std::size_t end = std::min(wire.find_first_of("\r\n"), wire.size());
        const std::string_view line = wire.substr(0, end);
        const std::string_view behind = wire.substr(end);
        const bool is_true = behind.starts_with("\r\n");
        const std::size_t newline_bytes = behind.empty() ? 0 : is_true ? 2 : 1;
        wire.remove_prefix(end + newline_bytes);
        if (stuffed && line == "." && true_start && is_true) {
            outcome.ended = true;
            outcome.rest = wire;
            break;
        }
        const bool needs_dot =
            stuffed && line.starts_with('.') && (!true_start || (line == "." && !is_true));
        const bool removes_dot = stuffed && line.starts_with('.');
        const auto dots = std::count(line.begin(), line.end(), '.');
        const auto nuls = std::count(line.begin(), line.end(), '\0');
        outcome.suspicious |= stuffed && dots == 1 && nuls > 0 && newline_bytes > 0 &&
                              static_cast<std::size_t>(dots + nuls) == line.size();
        outcome.content += needs_dot ? "." : "";
        outcome.content += line;
        outcome.content += newline_bytes == 0 ? "" : "\r\n";
        outcome.unstuffed_bytes -= removes_dot ? 1 : 0;
        true_start = is_true;
    }
    outcome.unstuffed_bytes += outcome.content.size();
    return outcome;
}

void expect_data(std::string_view wire, std::string_view content, std::string_view rest) {
    for (const Pieces& pieces : every_split(wire)) {
        const Outcome outcome = normalize(pieces, ContentForm::dot_stuffed);
        ASSERT_EQ(outcome.content, content) << ::testing::PrintToString(pieces);
        ASSERT_EQ(outcome.rest, rest) << ::testing::PrintToString(pieces);
        ASSERT_TRUE(outcome.ended);
    }
}

TEST(NormalizingScanner, CleanContentPassesUnchanged) {
    expect_data("a\r\n..b\r\n\r\n.\r\nQUIT\r\n", "a\r\n..b\r\n\r\n", "QUIT\r\n");
    expect_data(".\r\nQUIT\r\n", "", "QUIT\r\n");
}

TEST(NormalizingScanner, CleanContentOfOneSpanIsOnePiece) {
    NormalizingScanner scanner(ContentForm::dot_stuffed);
    const std::string_view wire = "a\r\nb\r\n\r\nc\r\n";
    const auto piece = scanner.next(as_bytes(wire));
    EXPECT_EQ(piece.consumed, wire.size());
    EXPECT_EQ(as_text(piece.content), wire);
    EXPECT_FALSE(piece.is_literal);
}

TEST(NormalizingScanner, BareNewlinesBecomeCrlf) {
    expect_data("a\nb\rc\r\r\nd\n\r\n.\r\n", "a\r\nb\r\nc\r\n\r\nd\r\n\r\n", "");
    expect_data("\n\r\r\n.\r\n", "\r\n\r\n\r\n", "");
}

TEST(NormalizingScanner, DotBehindANormalizedNewlineIsStuffed) {
    expect_data("a\n.b\r.c\r\n.\r\n", "a\r\n..b\r\n..c\r\n", "");
}

TEST(NormalizingScanner, NoBareNewlineAroundADotEndsTheData) {
    expect_data("a\n.\r\nMAIL\r\n.\r\n", "a\r\n..\r\nMAIL\r\n", "");
    expect_data("a\n.\nMAIL\r\n.\r\n", "a\r\n..\r\nMAIL\r\n", "");
    expect_data("a\r.\rMAIL\r\n.\r\n", "a\r\n..\r\nMAIL\r\n", "");
    expect_data("a\r\n.\nMAIL\r\n.\r\n", "a\r\n..\r\nMAIL\r\n", "");
    expect_data("a\r\n.\rMAIL\r\n.\r\n", "a\r\n..\r\nMAIL\r\n", "");
    expect_data("a\r\n.\r\r\nMAIL\r\n.\r\n", "a\r\n..\r\n\r\nMAIL\r\n", "");
    expect_data(".\n.\r\n.\r\n", "..\r\n..\r\n", "");
}

TEST(NormalizingScanner, NormalizedDataNeverHoldsAnEarlierEnd) {
    test::every_string({"a.\r\n\0", 5}, 7, [](const std::string& text) {
        const std::string wire = text + "\r\n.\r\nEND";
        const Outcome expected = reference(wire, ContentForm::dot_stuffed);
        ASSERT_EQ(("\r\n" + expected.content).find("\r\n.\r\n"), std::string::npos)
            << ::testing::PrintToString(wire);
        for (std::size_t cut = 0; cut <= wire.size(); ++cut) {
            const std::string_view view = wire;
            ASSERT_EQ(normalize({view.substr(0, cut), view.substr(cut)}, ContentForm::dot_stuffed),
                      expected)
                << ::testing::PrintToString(wire) << " cut at " << cut;
        }
        Pieces octets;
        for (std::size_t at = 0; at < wire.size(); ++at) {
            octets.push_back(std::string_view(wire).substr(at, 1));
        }
        ASSERT_EQ(normalize(octets, ContentForm::dot_stuffed), expected);
    });
}

TEST(NormalizingScanner, ChunksAreNormalizedWithoutStuffing) {
    test::every_string({"a.\r\n\0", 5}, 6, [](const std::string& text) {
        const Outcome expected = reference(text, ContentForm::raw);
        for (const Pieces& pieces : every_split(text)) {
            ASSERT_EQ(normalize(pieces, ContentForm::raw), expected)
                << ::testing::PrintToString(pieces);
        }
    });
}

TEST(NormalizingScanner, RandomStreamsFollowTheRules) {
    std::mt19937 random(453);
    for (int round = 0; round < 5000; ++round) {
        const std::string wire =
            test::random_wire(random() % 800, 1U << (random() % 9), random) + "\r\n.\r\nREST";
        const Pieces pieces = test::random_split(wire, 1 + random() % 200, random);
        ASSERT_EQ(normalize(pieces, ContentForm::dot_stuffed),
                  reference(wire, ContentForm::dot_stuffed))
            << ::testing::PrintToString(pieces);
    }
}

} // namespace
} // namespace ringmx::smtp
