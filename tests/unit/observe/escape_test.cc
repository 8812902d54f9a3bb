#include "base/escape.h"

#include <gtest/gtest.h>
#include <random>

namespace ringmx {
namespace {

std::string log_text(std::string_view text) {
    std::string out;
    append_log_text(out, text);
    return out;
}

std::string json_text(std::string_view text) {
    std::string out;
    append_json_text(out, text);
    return out;
}

std::string label_text(std::string_view text) {
    std::string out;
    append_label_text(out, text);
    return out;
}

TEST(Escape, PlainTextGoesThroughOctetForOctet) {
    const std::string_view text = "user+tag@ex\xC3\xA4mple.\xE6\x97\xA5\xF0\x9F\x98\x80 '<>&";
    EXPECT_EQ(log_text(text), text);
    EXPECT_EQ(json_text(text), text);
    EXPECT_EQ(label_text(text), text);
    EXPECT_EQ(log_text(""), "");
}

// Text is looked at eight octets at a time: nothing may hide beside another octet.
TEST(Escape, EachPairOfOctetsIsEscapedWhereverItStands) {
    using Form = std::string (*)(std::string_view);
    for (const Form form : {Form(log_text), Form(json_text), Form(label_text)}) {
        for (unsigned value = 0; value < 0x10000; ++value) {
            const std::string pair = {static_cast<char>(value >> 8U), static_cast<char>(value)};
            const std::string expected = form(pair);
            const std::size_t before = value % 9;
            std::string text(before, 'a');
            text += pair;
            const std::string behind(value / 9 % 18, '~');
            ASSERT_EQ(form(text + behind), std::string(before, 'a') + expected + behind)
                << std::hex << value;
        }
    }
}

TEST(Escape, ControlsAreNamedOrShownInHex) {
    EXPECT_EQ(log_text(std::string_view("a\r\nb\tc\x1B[31m\x07\0\x7F", 14)),
              "a\\r\\nb\\tc\\e[31m\\x07\\x00\\x7f");
    EXPECT_EQ(json_text(std::string_view("a\r\nb\tc\x1B[31m\x07\0\x7F", 14)),
              "a\\r\\nb\\tc\\u001b[31m\\u0007\\u0000\\u007f");
    EXPECT_EQ(label_text("a\r\nb"), "a?\\nb");
}

TEST(Escape, C1AndUnicodeSeparatorsAndBidirectionalControlsAreUnsafe) {
    EXPECT_EQ(log_text("\xC2\x80\xC2\x85\xC2\x9F"), "\\xc2\\x80\\xc2\\x85\\xc2\\x9f");
    EXPECT_EQ(log_text("\xC2\xA0"), "\xC2\xA0");
    EXPECT_EQ(json_text("\xC2\x85"), "\\u0085");
    EXPECT_EQ(log_text("\xE2\x80\xA8|\xE2\x80\xA9"), "\\xe2\\x80\\xa8|\\xe2\\x80\\xa9");
    EXPECT_EQ(json_text("\xE2\x80\xA8|\xE2\x80\xA9"), "\\u2028|\\u2029");
    EXPECT_EQ(json_text("\xE2\x80\xAE\xE2\x81\xA6\xEF\xBB\xBF"), "\\u202e\\u2066\\ufeff");
    EXPECT_EQ(label_text("\xE2\x80\xA8"), "?");
}

TEST(Escape, OctetsThatAreNoUtf8AreShownOneByOne) {
    EXPECT_EQ(log_text("\x80\xFF"), "\\x80\\xff");
    EXPECT_EQ(json_text("\x80\xFF"), "\\ufffd\\ufffd");
    EXPECT_EQ(log_text("\xC3"), "\\xc3");                            // cut short
    EXPECT_EQ(log_text("\xC3z"), "\\xc3z");                          // wrong continuation
    EXPECT_EQ(log_text("\xC0\x8A"), "\\xc0\\x8a");                   // an overlong line feed
    EXPECT_EQ(log_text("\xE0\x80\x8A"), "\\xe0\\x80\\x8a");          // likewise
    EXPECT_EQ(log_text("\xF0\x80\x80\x8A"), "\\xf0\\x80\\x80\\x8a"); // likewise
    EXPECT_EQ(log_text("\xED\xA0\x80"), "\\xed\\xa0\\x80");          // a surrogate
    EXPECT_EQ(log_text("\xF4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80"); // above U+10FFFF
    EXPECT_EQ(label_text("\xC0"), "?");
}

TEST(Escape, QuotesAndBackslashesAreEscapedWhereTheyMeanSomething) {
    EXPECT_EQ(log_text("\"a\\n\""), "\"a\\\\n\"");
    EXPECT_EQ(json_text("\"a\\n\""), "\\\"a\\\\n\\\"");
    EXPECT_EQ(label_text("\"a\\n\""), "\\\"a\\\\n\\\"");
}

TEST(Escape, BothOutputsAgree) {
    const std::string_view text = "a\n\xC2\x85\xFF\"\\ \xC3\xA9";
    fmt::memory_buffer log;
    append_log_text(log, text);
    EXPECT_EQ(fmt::to_string(log), log_text(text));
    fmt::memory_buffer json;
    append_json_text(json, text);
    EXPECT_EQ(fmt::to_string(json), json_text(text));
}

TEST(Escape, NothingRandomEverEndsALineOrPassesItsGrowth) {
    std::mt19937 random(7);
    for (int round = 0; round < 2000; ++round) {
        std::string text(random() % 40, '\0');
        for (char& each : text) {
            each = static_cast<char>(random());
        }
        for (const std::string& out : {log_text(text), json_text(text), label_text(text)}) {
            EXPECT_LE(out.size(), text.size() * escape_growth);
            for (const char each : out) {
                EXPECT_FALSE(static_cast<unsigned char>(each) < 0x20 || each == 0x7F);
            }
            EXPECT_EQ(log_text(out).find("\\x"), log_text(out).find("\\x") == std::string::npos
                                                     ? std::string::npos
                                                     : log_text(out).find("\\\\x") + 1)
                << "what was escaped is safe as it is";
        }
    }
}

} // namespace
} // namespace ringmx
