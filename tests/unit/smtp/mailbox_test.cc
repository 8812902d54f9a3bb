#include "smtp/mailbox.h"

#include <gtest/gtest.h>
#include <string>

namespace ringmx::smtp {
namespace {

std::string mailbox_of(std::string_view text, PathKind kind = PathKind::forward) {
    const auto path = parse_path(text, kind);
    return path ? std::string(path->mailbox) : "(none)";
}

TEST(MailboxTest, MailboxIsGivenAsItWasWritten) {
    EXPECT_EQ(mailbox_of("<Some.Body+tag@Example.COM>"), "Some.Body+tag@Example.COM");
    EXPECT_EQ(mailbox_of("<!#$%&'*+-/=?^_`{|}~@example.com>"), "!#$%&'*+-/=?^_`{|}~@example.com");
    EXPECT_EQ(mailbox_of(R"(<"a b>@\"\\c"@example.com>)"), R"("a b>@\"\\c"@example.com)");
    EXPECT_EQ(mailbox_of(R"(<""@example.com>)"), R"(""@example.com)");
}

TEST(MailboxTest, TextBehindThePathIsNotLookedAt) {
    const auto path = parse_path("<a@example.com> SIZE=<1>", PathKind::reverse);
    ASSERT_TRUE(path);
    EXPECT_EQ(path->text_bytes, 15U);
}

TEST(MailboxTest, SourceRouteIsDropped) {
    EXPECT_EQ(mailbox_of("<@a.example:u@example.com>"), "u@example.com");
    EXPECT_EQ(mailbox_of("<@a.example,@[192.0.2.1]:u@example.com>"), "u@example.com");
    for (const char* bad : {"<@a.example>", "<@a.example,u@example.com>", "<@:u@example.com>",
                            "<@a.example,@b.example>", "<@a.example:>", "<@a.example:postmaster>",
                            "<@a.example,:u@example.com>", "<@", "<@a", "<@a.example:"}) {
        EXPECT_EQ(mailbox_of(bad), "(none)") << bad;
    }
}

TEST(MailboxTest, NullPathIsASenderOnlyAndPostmasterARecipientOnly) {
    EXPECT_EQ(mailbox_of("<>", PathKind::reverse), "");
    EXPECT_EQ(mailbox_of("<>", PathKind::forward), "(none)");
    EXPECT_EQ(mailbox_of("<PostMaster>", PathKind::forward), "PostMaster");
    EXPECT_TRUE(parse_path("<postmaster>", PathKind::forward)->is_bare_postmaster);
    EXPECT_FALSE(parse_path("<postmaster@example.com>", PathKind::forward)->is_bare_postmaster);
    EXPECT_EQ(mailbox_of("<postmaster>", PathKind::reverse), "(none)");
    EXPECT_EQ(mailbox_of("<postmasters>", PathKind::forward), "(none)");
}

TEST(MailboxTest, WhatTheGrammarDoesNotKnowIsRefused) {
    for (const char* bad : {"",
                            "<",
                            "a@example.com",
                            "<a@example.com",
                            "<a>",
                            "<a@>",
                            "<.a@example.com>",
                            "<a.@example.com>",
                            "<a..b@example.com>",
                            "<a b@example.com>",
                            "<a@b c>",
                            "<a@b@c>",
                            "<\"a@example.com>",
                            "<\"a\"b@example.com>",
                            "<a\"b\"@example.com>",
                            "<(a)@example.com>",
                            "<a@example.com.>",
                            "<a@.example.com>",
                            "<a@-a.example>",
                            "<a@a-.example>",
                            "<a,b@c.d>",
                            "<\"\t\"@example.com>",
                            "<\"\\\x01\"@example.com>",
                            "<\"a\\",
                            "< a@example.com>"}) {
        EXPECT_EQ(mailbox_of(bad), "(none)") << bad;
    }
}

TEST(MailboxTest, EveryPrefixOfAPathIsRefused) {
    for (const std::string_view whole :
         {std::string_view("<@a.example,@b.example:\"x\\\" y\"@[IPv6:2001:db8::1]>"),
          std::string_view("<some.body@sub.example.com>")}) {
        ASSERT_TRUE(parse_path(whole, PathKind::forward));
        for (std::size_t bytes = 0; bytes < whole.size(); ++bytes) {
            const std::string prefix(whole.substr(0, bytes)); // memory of its own
            EXPECT_FALSE(parse_path(prefix, PathKind::forward)) << prefix;
        }
    }
}

TEST(MailboxTest, Literals) {
    for (const char* good : {"[192.0.2.1]", "[255.255.255.255]", "[IPv6:::1]", "[ipv6:2001:db8::1]",
                             "[IPv6:::ffff:192.0.2.1]", "[tag:anything!]", "[x-1:y]"}) {
        EXPECT_TRUE(is_address_literal(good)) << good;
        EXPECT_NE(mailbox_of("<a@" + std::string(good) + ">"), "(none)") << good;
    }
    for (const char* bad :
         {"[]", "[192.0.2]", "[192.0.2.1.]", "[192.0.2.256]", "[192.0..1]", "[0192.0.2.1]",
          "[IPv6:]", "[IPv6:192.0.2.1]", "[IPv6:::1%lo]", "[IPv6:1::2::3]", "[tag:]", "[:x]",
          "[tag-:x]", "[tag:a b]", "[t:a[b]", "192.0.2.1", "[192.0.2.1"}) {
        EXPECT_FALSE(is_address_literal(bad)) << bad;
        EXPECT_EQ(mailbox_of("<a@" + std::string(bad) + ">"),
                  std::string_view(bad) == "192.0.2.1" ? "a@192.0.2.1" : "(none)")
            << bad;
    }
}

TEST(MailboxTest, BoundsAreKept) {
    const std::string local(mailbox_bytes_max - std::string_view("@example.com").size(), 'l');
    EXPECT_NE(mailbox_of("<" + local + "@example.com>"), "(none)");
    EXPECT_EQ(mailbox_of("<l" + local + "@example.com>"), "(none)");
    const std::string label(label_bytes_max, 'd');
    EXPECT_NE(mailbox_of("<a@" + label + ".com>"), "(none)");
    EXPECT_EQ(mailbox_of("<a@d" + label + ".com>"), "(none)");
    std::string domain = label + "." + label + "." + label + ".";
    domain += std::string(mailbox_bytes_max - 2 - domain.size(), 'e');
    EXPECT_NE(mailbox_of("<a@" + domain + ">"), "(none)");
    EXPECT_EQ(mailbox_of("<aa@" + domain + ">"), "(none)");
}

TEST(MailboxTest, NonAsciiIsNotedWhereverItStands) {
    EXPECT_FALSE(parse_path("<a@example.com>", PathKind::forward)->is_non_ascii);
    for (const char* text : {"<\xc3\xbc@example.com>", "<\"\xc3\xbc\"@example.com>",
                             "<a@\xc3\xbc.example>", "<@\xc3\xbc.example:a@example.com>"}) {
        const auto path = parse_path(text, PathKind::forward);
        ASSERT_TRUE(path) << text;
        EXPECT_TRUE(path->is_non_ascii) << text;
    }
}

TEST(MailboxTest, Utf8IsJudgedByRfc3629) {
    for (const char* good : {"", "a", "\xc3\xbc", "\xe2\x82\xac", "\xed\x9f\xbf", "\xee\x80\x80",
                             "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"}) {
        EXPECT_TRUE(is_utf8(good)) << good;
    }
    for (const char* bad : {"\x80", "\xc0\x80", "\xc1\xbf", "\xc3", "\xc3\x28", "\xe0\x9f\xbf",
                            "\xed\xa0\x80", "\xe2\x82", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80",
                            "\xf5\x80\x80\x80", "\xff", "a\xc3"}) {
        EXPECT_FALSE(is_utf8(bad)) << bad;
    }
}

} // namespace
} // namespace ringmx::smtp
