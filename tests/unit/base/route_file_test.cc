#include "base/route_file.h"

#include <gtest/gtest.h>

#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <vector>

namespace ringmx {
namespace {

class RouteFile : public testing::Test {
  protected:
    void SetUp() override {
        const auto* test = testing::UnitTest::GetInstance()->current_test_info();
        path_ = testing::TempDir() + "ringmx_" + test->name() + "_" + std::to_string(getpid());
    }
    void TearDown() override { std::filesystem::remove(path_); }

    void write(std::string_view content) { std::ofstream(path_, std::ios::binary) << content; }
    std::vector<std::string> lines() {
        std::vector<std::string> result;
        const auto count = for_each_route_line(path_, [&](const RouteLine& line) {
            result.push_back(std::to_string(line.number) + ":" +
                             (line.too_long ? "too long" : std::string(line.text)));
            return true;
        });
        EXPECT_TRUE(count);
        EXPECT_EQ(count.value_or(0), result.size());
        return result;
    }

    std::string path_;
};

using Lines = std::vector<std::string>;

TEST_F(RouteFile, EntriesAreTrimmedAndNumberedAndCommentsSkipped) {
    write("# head\nexample.com\n\n  *.example.org \t# why\r\n\tvip@example.net\r\n#x\nlast");
    EXPECT_EQ(lines(), (Lines{"2:example.com", "4:*.example.org", "5:vip@example.net", "7:last"}));
}

TEST_F(RouteFile, HashInsideAWordOrQuotesIsNoComment) {
    write("a#b@example.com\n\"a #b\"@example.com # c\n");
    EXPECT_EQ(lines(), (Lines{"1:a#b@example.com", "2:\"a #b\"@example.com"}));
}

TEST_F(RouteFile, ByteOrderMarkIsSkipped) {
    write("\xef\xbb\xbf"
          "example.com\n");
    EXPECT_EQ(lines(), (Lines{"1:example.com"}));
}

TEST_F(RouteFile, EmptyFileHasNoLines) {
    write("");
    EXPECT_EQ(lines(), Lines{});
}

TEST_F(RouteFile, LongLinesAreToldAndTheNextOneIsRead) {
    const std::string fits(route_line_bytes_max, 'a');
    write(fits + "\n" + fits + "a\n" + std::string(1'000'000, 'b') + "\nexample.com\n" +
          std::string(600'000, 'c'));
    EXPECT_EQ(lines(),
              (Lines{"1:" + fits, "2:too long", "3:too long", "4:example.com", "5:too long"}));
}

TEST_F(RouteFile, LinesAcrossReadsStayWhole) {
    std::string content;
    Lines expected;
    for (std::size_t number = 1; content.size() < 1'000'000; ++number) {
        const std::string entry =
            "user" + std::to_string(number) + "@" + std::string(number % 97, 'x');
        content += entry + "\n";
        expected.push_back(std::to_string(number) + ":" + entry);
    }
    write(content);
    EXPECT_EQ(lines(), expected);
}

TEST_F(RouteFile, CallbackCanStop) {
    write("a\nb\nc\n");
    int seen = 0;
    const auto count = for_each_route_line(path_, [&](const RouteLine&) { return ++seen < 2; });
    ASSERT_TRUE(count);
    EXPECT_EQ(*count, 2U);
}

TEST_F(RouteFile, MissingFileAndFolderAreErrors) {
    const auto ignore = [](const RouteLine&) { return true; };
    const auto missing = for_each_route_line(path_, ignore);
    ASSERT_FALSE(missing);
    EXPECT_EQ(missing.error().code, ENOENT);
    const auto folder = for_each_route_line(testing::TempDir(), ignore);
    ASSERT_FALSE(folder);
    EXPECT_EQ(folder.error().code, EISDIR);
    EXPECT_FALSE(for_each_route_line("/dev/zero", ignore));
}

TEST(RouteEntryText, KindsAndKeys) {
    const struct {
        const char* text;
        RouteEntry entry;
    } cases[] = {
        {"*", {RouteEntryKind::any, ""}},
        {"*.Example.org", {RouteEntryKind::wildcard, "example.org"}},
        {"EXAMPLE.com", {RouteEntryKind::domain, "example.com"}},
        {"[192.0.2.1]", {RouteEntryKind::domain, "[192.0.2.1]"}},
        {"*.B\u00fccher.example", {RouteEntryKind::wildcard, "xn--bcher-kva.example"}},
        {"VIP@example.net", {RouteEntryKind::mailbox, "vip@example.net"}},
    };
    for (const auto& one : cases) {
        EXPECT_EQ(parse_route_entry(one.text), one.entry) << one.text;
    }
    for (const char* text : {"", "**", "*.", "*.*.a", "a.*", "*@example.com", "@example.com", "a@",
                             "*.[::1]", "example.com.", "two words"}) {
        EXPECT_FALSE(parse_route_entry(text)) << text;
    }
}

} // namespace
} // namespace ringmx
