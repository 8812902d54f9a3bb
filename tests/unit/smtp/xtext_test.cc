#include "smtp/xtext.h"

#include <gtest/gtest.h>
#include <string>

namespace ringmx::smtp {
namespace {

TEST(XtextTest, EveryOctetIsJudgedAsTheGrammarHasIt) {
    for (int octet = 0; octet < 256; ++octet) {
        const std::string value = std::string("a") + static_cast<char>(octet) + "b";
        const bool is_xchar = octet > 0x20 && octet < 0x7f && octet != '+' && octet != '=';
        EXPECT_EQ(is_envelope_id(value), is_xchar) << octet;
        EXPECT_EQ(is_original_recipient("rfc822;" + value, true), is_xchar) << octet;
    }
}

TEST(XtextTest, WhatIsEncodedIsPrintableToo) {
    constexpr std::string_view digits = "0123456789ABCDEF";
    for (unsigned octet = 0; octet < 256; ++octet) {
        const std::string value = {'x', '+', digits[octet / 16], digits[octet % 16], 'y'};
        const bool is_printable = octet >= 0x20 && octet < 0x7f;
        EXPECT_EQ(is_envelope_id(value), is_printable) << value;
        EXPECT_EQ(is_original_recipient("rfc822;" + value, true), is_printable) << value;
        if (is_printable) {
            EXPECT_EQ(decode_xtext(value), std::string("x") + static_cast<char>(octet) + "y");
        }
    }
    for (const char* bad : {"+", "a+", "+2", "a+2", "+2b", "+g0", "+2G", "++2B", "+ 2"}) {
        EXPECT_FALSE(is_envelope_id(bad)) << bad;
    }
}

TEST(XtextTest, BoundsAreKept) {
    EXPECT_FALSE(is_envelope_id(""));
    EXPECT_TRUE(is_envelope_id(std::string(envelope_id_bytes_max, 'x')));
    EXPECT_FALSE(is_envelope_id(std::string(envelope_id_bytes_max + 1, 'x')));
    const std::string address = "rfc822;" + std::string(original_recipient_bytes_max - 7, 'x');
    EXPECT_TRUE(is_original_recipient(address, false));
    EXPECT_FALSE(is_original_recipient(address + 'x', false));
}

TEST(XtextTest, AnOriginalRecipientHasATypeAndAnAddress) {
    EXPECT_TRUE(is_original_recipient("rfc822;Bob@example.com", false));
    EXPECT_TRUE(is_original_recipient("x400;any;thing", false));
    for (const char* bad :
         {"", ";", "rfc822", "rfc822;", ";a@b.example", "a b;c", "a@b;c", "\xc3\xbc;c"}) {
        EXPECT_FALSE(is_original_recipient(bad, true)) << bad;
    }
}

TEST(XtextTest, OnlyTheTypeUtf8HasCodePointsAndUtf8) {
    EXPECT_TRUE(is_original_recipient("utf-8;j\\x{FC}rgen@b.example", false));
    EXPECT_TRUE(is_original_recipient("UTF-8;\\x{1F600}\\x{10FFFF}\\x{20}\\x{5C}", false));
    EXPECT_TRUE(is_original_recipient("utf-8;j\xc3\xbcrgen@b.example", true));
    EXPECT_FALSE(is_original_recipient("utf-8;j\xc3\xbcrgen@b.example", false));
    EXPECT_FALSE(is_original_recipient("rfc822;j\xc3\xbcrgen@b.example", true));
    EXPECT_FALSE(is_original_recipient("utf-8;\xff@b.example", true));
    for (const char* bad : {"\\", "\\x", "\\x{}", "\\x{F}", "\\x{fc}", "\\x{FC", "\\x{1234567}",
                            "\\x{110000}", "\\x{D800}", "\\x{DFFF}", "\\x{0A}", "\\x{00}",
                            "\\x{7F}", "\\y{FC}", "+41", "a=b", "a b"}) {
        EXPECT_FALSE(is_original_recipient(std::string("utf-8;") + bad, true)) << bad;
    }
}

TEST(XtextTest, AnAsciiFormKeepsEveryCharacter) {
    EXPECT_EQ(ascii_original_recipient("rfc822;a+2Bb"), "rfc822;a+2Bb");
    EXPECT_EQ(ascii_original_recipient("utf-8;\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80\xc2\x80x"),
              "utf-8;\\x{FC}\\x{20AC}\\x{1F600}\\x{80}x");
    EXPECT_TRUE(is_original_recipient(ascii_original_recipient("utf-8;\xf4\x8f\xbf\xbf"), false));
}

} // namespace
} // namespace ringmx::smtp
