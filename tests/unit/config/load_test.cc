#include "unit/config/minimal.h"

#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>

namespace ringmx::config {
namespace {

class Load : public testing::Test {
  protected:
    void SetUp() override {
        const auto* test = testing::UnitTest::GetInstance()->current_test_info();
        folder_ = std::filesystem::path(testing::TempDir()) /
                  ("ringmx_load_" + std::string(test->name()) + "_" + std::to_string(getpid()));
        std::filesystem::create_directories(folder_);
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }
    void write(const std::string& name, std::string_view content) const {
        std::ofstream(folder_ / name, std::ios::binary) << content;
    }
    [[nodiscard]] std::string told(const std::string& name) const {
        return report(name, load(folder_ / name).faults);
    }

    std::filesystem::path folder_;
};

TEST_F(Load, MissingFileIsOneFault) {
    EXPECT_EQ(told("r.json"), "ringmx: r.json: can't be read (No such file or directory), "
                              "expected a readable JSON file\n");
}

TEST_F(Load, FolderIsOneFault) {
    EXPECT_EQ(told("."),
              "ringmx: .: can't be read (Is a directory), expected a readable JSON file\n");
}

TEST_F(Load, OversizedAndEndlessFilesAreOneFault) {
    EXPECT_EQ(report("zero", load("/dev/zero").faults),
              "ringmx: zero: is over 64 MiB, expected less (long lists of "
              "recipients belong in a "
              "recipients_file)\n");
}

TEST_F(Load, ByteOrderMarkIsSkipped) {
    write("r.json", "\xef\xbb\xbf" + minimal());
    EXPECT_EQ(told("r.json"), "r.json: 0 faults, not started\n");
}

TEST_F(Load, RelativeFilesStartAtTheConfigsFolder) {
    write("more.txt", "example.com\n");
    write("r.json", R"({"listeners": [{"address": "127.0.0.1:25", "acknowledge": "backend"}],
        "routes": [{"recipients_file": "more.txt", "pool": "p"}], "pools": {"p": {}}})");
    const Loaded loaded = load(folder_ / "r.json");
    ASSERT_TRUE(loaded.settings) << report("", loaded.faults);
    EXPECT_EQ(loaded.settings->routes[0].recipients_file, folder_ / "more.txt");
}

TEST_F(Load, RelativeConfigPathGivesAbsoluteFiles) {
    write("more.txt", "example.com\n");
    write("r.json", R"({"listeners": [{"address": "127.0.0.1:25", "acknowledge": "backend"}],
        "routes": [{"recipients_file": "more.txt", "pool": "p"}], "pools": {"p": {}}})");
    const Loaded loaded = load(std::filesystem::relative(folder_ / "r.json"));
    ASSERT_TRUE(loaded.settings) << report("", loaded.faults);
    EXPECT_EQ(loaded.settings->routes[0].recipients_file, folder_ / "more.txt");
}

TEST_F(Load, AMillionRecipientsAreChecked) {
    std::string lines;
    for (int number = 0; number < 1'000'000; ++number) {
        lines += "user" + std::to_string(number) + "@example.com\n";
    }
    lines += "bad one\n";
    write("more.txt", lines);
    write("r.json", R"({"listeners": [{"address": "127.0.0.1:25", "acknowledge": "backend"}],
        "routes": [{"recipients_file": "more.txt", "pool": "p"}], "pools": {"p": {}}})");
    EXPECT_EQ(told("r.json"),
              "r.json: 1 fault, not started\n  /routes/0/recipients_file: \"more.txt\" line "
              "1000001: found "
              "\"bad one\", expected a domain, \"*.domain\", an address or \"*\"\n");
}

TEST(Parse, EveryCutOfAGoodFileIsAFault) {
    const std::string json = minimal();
    for (std::size_t length = 0; length < json.size(); ++length) {
        const Loaded loaded = parse(json.substr(0, length), "/", Files::are_left);
        EXPECT_EQ(loaded.faults.size(), 1U) << length;
        EXPECT_FALSE(loaded.settings);
    }
}

TEST(Parse, NumbersThatNoTypeHoldsAreToldAtTheirPlaceWithAllOtherFaults) {
    for (const char* number : {"18446744073709551616", "1e400", "123456789012345678901234567890"}) {
        EXPECT_EQ(faults_of(minimal("\"limits\": {\"recipients\": " + std::string(number) +
                                    "}, \"zzz\": 1")),
                  "/limits/recipients: found a number that is too large, expected a whole number "
                  "from 1 to 1000000\n" +
                      faults_of(minimal("\"zzz\": 1")))
            << number;
    }
}

TEST(Parse, FilesAreLeftWhenToldSo) {
    EXPECT_EQ(faults_of(R"({"listeners": [{"address": "127.0.0.1:25", "acknowledge": "backend"}],
        "routes": [{"recipients_file": "nowhere", "pool": "p"}], "pools": {"p": {}}})"),
              "");
}

TEST(Parse, ThousandsOfFaultsAreBounded) {
    std::string recipients;
    for (int number = 0; number < 20'000; ++number) {
        recipients += (number == 0 ? "" : ",") + std::string("1");
    }
    const Loaded loaded =
        parse(R"({"listeners": [{"address": "127.0.0.1:25", "acknowledge": "backend"}],
        "routes": [{"recipients": [)" +
                  recipients + R"(], "pool": "p"}], "pools": {"p": {}}})",
              "/", Files::are_left);
    EXPECT_EQ(loaded.faults.size(), faults_kept_max + 1);
    EXPECT_EQ(loaded.faults.back().text, "10000 more");
}

} // namespace
} // namespace ringmx::config
