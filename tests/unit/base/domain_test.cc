#include "base/domain.h"

#include <gtest/gtest.h>

#include <utility>

namespace ringmx {
namespace {

TEST(CanonicalDomain, LowersAsciiAndMakesALabels) {
    const std::pair<const char*, const char*> cases[] = {
        {"Example.COM", "example.com"},
        {"a", "a"},
        {"_under.score.example", "_under.score.example"},
        {"b\u00fccher.example", "xn--bcher-kva.example"},
        {"B\u00dcCHER.Example", "xn--bcher-kva.example"},
        {"bu\u0308cher.example", "xn--bcher-kva.example"}, // decomposed
        {"XN--BCHER-KVA.example", "xn--bcher-kva.example"},
        {"stra\u00dfe.example", "xn--strae-oqa.example"}, // IDNA2008 keeps the sharp s
    };
    for (const auto& [text, key] : cases) {
        EXPECT_EQ(canonical_domain(text), key) << text;
        EXPECT_EQ(canonical_domain(key), key) << key;
    }
}

TEST(CanonicalDomain, AddressLiteralsHaveOneSpelling) {
    const std::pair<const char*, const char*> cases[] = {
        {"[192.0.2.1]", "[192.0.2.1]"},
        {"[IPv6:2001:DB8:0:0::1]", "[ipv6:2001:db8::1]"},
        {"[ipv6:::ffff:192.0.2.1]", "[ipv6:::ffff:192.0.2.1]"},
        {"[Tag:Content]", "[tag:content]"},
    };
    for (const auto& [text, key] : cases) {
        EXPECT_EQ(canonical_domain(text), key) << text;
        EXPECT_EQ(canonical_domain(key), key) << key;
    }
}

TEST(CanonicalDomain, WhatIsNoDomainIsRefused) {
    using namespace std::string_literals;
    for (const std::string& text : {""s,
                                    "."s,
                                    "a."s,
                                    ".a"s,
                                    "a..b"s,
                                    "-a.example"s,
                                    "a-.example"s,
                                    "a b.example"s,
                                    "a@b"s,
                                    "a/b"s,
                                    "*"s,
                                    "[192.0.2.1"s,
                                    "[]"s,
                                    "[2001:db8::1]"s,
                                    "[IPv6:192.0.2.1]"s,
                                    "[nonsense]"s,
                                    "[tag:with space]"s,
                                    "\xff.example"s,
                                    "a\0b.example"s,
                                    "\u00fc\0.example"s,
                                    std::string(64, 'a'),
                                    "\u200b.example\u0001"s}) {
        EXPECT_FALSE(canonical_domain(text)) << text;
    }
}

TEST(CanonicalDomain, LengthLimitsHold) {
    const std::string label(63, 'a');
    const std::string longest = label + "." + label + "." + label + "." + std::string(61, 'b');
    ASSERT_EQ(longest.size(), domain_bytes_max);
    EXPECT_TRUE(canonical_domain(longest));
    EXPECT_FALSE(canonical_domain(longest + "b"));
    EXPECT_FALSE(canonical_domain(std::string(2000, 'a') + "\u00fc"));
}

TEST(CanonicalDomain, FailureLeavesTheOutputEmpty) {
    std::string out = "before";
    EXPECT_FALSE(canonical_domain("good.bad-", out));
    EXPECT_EQ(out, "");
    EXPECT_FALSE(canonical_mailbox("a@bad-", out));
    EXPECT_EQ(out, "");
}

TEST(CanonicalMailbox, LowersAsciiLocalPartsAndTheDomain) {
    const std::pair<const char*, const char*> cases[] = {
        {"User@Example.COM", "user@example.com"},
        {"\u00dcser@B\u00fccher.example",
         "\u00dcser@xn--bcher-kva.example"}, // local part: ASCII only
        {"a+b/c=d@x.org", "a+b/c=d@x.org"},
        {"\"Some.Body\"@x.org", "some.body@x.org"},
        {"\"some\\.body\"@x.org", "some.body@x.org"},
        {"\"A b\"@x.org", "\"a b\"@x.org"},
        {"\"a@b\"@x.org", "\"a@b\"@x.org"},
        {"\"a\\\"\\\\b\"@x.org", "\"a\\\"\\\\b\"@x.org"},
        {"\"\"@x.org", "\"\"@x.org"},
        {"u@[192.0.2.1]", "u@[192.0.2.1]"},
    };
    for (const auto& [text, key] : cases) {
        EXPECT_EQ(canonical_mailbox(text), key) << text;
        EXPECT_EQ(canonical_mailbox(key), key) << key;
    }
}

TEST(CanonicalMailbox, WhatIsNoMailboxIsRefused) {
    for (const char* text :
         {"", "a", "@", "a@", "@x.org", ".a@x.org", "a.@x.org", "a..b@x.org", "a b@x.org",
          "a@b@x.org", "\"a@x.org", "\"@x.org", "\"a\"b\"@x.org", "\"a\\\"@x.org", "\"a\nb\"@x.org",
          "a@x..org", "a,b@x.org", "<a>@x.org"}) {
        EXPECT_FALSE(canonical_mailbox(text)) << text;
    }
    EXPECT_FALSE(canonical_mailbox(std::string(mailbox_text_bytes_max, 'a') + "@x.org"));
}

} // namespace
} // namespace ringmx
