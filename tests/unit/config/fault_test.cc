#include "config/fault.h"

#include <gtest/gtest.h>

namespace ringmx::config {
namespace {

TEST(Report, CountsAndIndents) {
    EXPECT_EQ(report("ringmx.json", {{"/a", "missing"}}),
              "ringmx.json: 1 fault, not started\n  /a: missing\n");
    EXPECT_EQ(report("r.json", {{"/a", "x"}, {"", "y"}}, "the running config stays"),
              "r.json: 2 faults, the running config stays\n  /a: x\n  y\n");
    EXPECT_EQ(report("r.json", {{"", "is empty"}}), "ringmx: r.json: is empty\n");
    EXPECT_EQ(report("a\nb", {}), "a\\nb: 0 faults, not started\n");
}

TEST(Pointer, KeysAreEscapedAsRfc6901Says) {
    EXPECT_EQ(pointer_to("/pools", "a/b~c"), "/pools/a~1b~0c");
    EXPECT_EQ(pointer_to("", ""), "/");
    EXPECT_EQ(pointer_to("/a", std::size_t{12}), "/a/12");
    EXPECT_EQ(pointer_to("", "a\nb\x7f"), "/a\\nb\\u007f");
}

TEST(Echoed, StaysOneShortLine) {
    EXPECT_EQ(echoed("a\r\n\x1b\"\\"), R"("a\r\n\u001b\"\\")");
    EXPECT_EQ(echoed(std::string(echo_bytes_max, 'a')),
              '"' + std::string(echo_bytes_max, 'a') + '"');
    EXPECT_EQ(echoed(std::string(echo_bytes_max + 1, 'a')),
              '"' + std::string(echo_bytes_max, 'a') + "...\"");
    // A character is never cut in two.
    EXPECT_EQ(echoed(std::string(echo_bytes_max - 1, 'a') + "\u00e9x"),
              '"' + std::string(echo_bytes_max - 1, 'a') + "...\"");
}

TEST(Nearest, SuggestsOnlyWhatIsNearEnough) {
    const std::vector<std::string_view> known = {"message_size", "memory", "recipients",
                                                 "tls",          "hold",   "key"};
    EXPECT_EQ(nearest("mesage_size", known), "message_size");
    EXPECT_EQ(nearest("Message-Size", known), "message_size");
    EXPECT_EQ(nearest("recipeints", known), "recipients"); // a swap is one slip
    EXPECT_EQ(nearest("tsl", known), "tls");
    EXPECT_EQ(nearest("hodl", known), "hold");
    EXPECT_EQ(nearest("kye", known), "key");
    EXPECT_EQ(nearest("keys_of_all", known), "key");
    EXPECT_EQ(nearest("ke", known), "key");
    EXPECT_EQ(nearest("", known), "");
    EXPECT_EQ(nearest("nonsense", known), "");
    EXPECT_EQ(nearest(std::string(100'000, 'a'), known), "");
}

TEST(Nearest, AWordsBeginningOrEndIsNear) {
    const std::vector<std::string_view> known = {"address",      "acknowledge", "proxy_protocol",
                                                 "message_size", "listeners",   "probe_address"};
    EXPECT_EQ(nearest("proxy", known), "proxy_protocol");
    EXPECT_EQ(nearest("probe", known), "probe_address");
    EXPECT_EQ(nearest("listen", known), "listeners");
    EXPECT_EQ(nearest("size", known), "message_size");
    EXPECT_EQ(nearest("Listen-Address", known), "address");
    EXPECT_EQ(nearest("add", known), "address");
    EXPECT_EQ(nearest("ss", known), "") << "an end of much";
    EXPECT_EQ(nearest("protocol_version", known), "");
}

TEST(Listed, ReadsAsASentence) {
    EXPECT_EQ(listed({}), "");
    EXPECT_EQ(listed({"a"}), "\"a\"");
    EXPECT_EQ(listed({"a", "b", "c"}), "\"a\", \"b\" or \"c\"");
}

TEST(Faults, KeepABoundedNumberAndCountTheRest) {
    Faults faults;
    EXPECT_TRUE(faults.empty());
    for (std::size_t index = 0; index < faults_kept_max + 5; ++index) {
        faults.add("/a", "x");
    }
    const auto list = std::move(faults).take();
    ASSERT_EQ(list.size(), faults_kept_max + 1);
    EXPECT_EQ(list.back(), (Fault{"", "5 more"}));
}

} // namespace
} // namespace ringmx::config
