#include "sink/options.h"
#include "sink/personality_file.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <string>
#include <vector>

namespace ringmx::sink {
namespace {

using config::Fault;

TEST(SinkPersonality, EveryKeyIsTaken) {
    Personality personality;
    personality.at(Phase::end_of_data).share(Mischief::reject) = 0.25;
    const auto faults = parse_personality(
        R"({"connect": {"delay": "20ms", "busy": 0.5},
            "ehlo": {"malformed": 0.1}, "mail": {"tempfail": 0.2}, "rcpt": {"reject": 0.3},
            "data": {"endless_line": 0.4, "endless_reply": 0.5},
            "content": {"disconnect": 1, "after": "64KiB"},
            "end_of_data": {"unanswered": 0.125, "silence": 0.25},
            "greylist": {"delay": "5s", "entries": 9},
            "storm": {"every": "1m", "lasts": "10s"},
            "idle": {"timeout": "3s", "reply": false}})",
        personality);
    EXPECT_EQ(faults, std::vector<Fault>());
    EXPECT_EQ(personality.at(Phase::connect).delay, 20ms);
    EXPECT_EQ(personality.at(Phase::connect).share(Mischief::busy), 0.5);
    EXPECT_EQ(personality.at(Phase::ehlo).share(Mischief::malformed), 0.1);
    EXPECT_EQ(personality.at(Phase::mail).share(Mischief::tempfail), 0.2);
    EXPECT_EQ(personality.at(Phase::rcpt).share(Mischief::reject), 0.3);
    EXPECT_EQ(personality.at(Phase::data).share(Mischief::endless_line), 0.4);
    EXPECT_EQ(personality.at(Phase::data).share(Mischief::endless_reply), 0.5);
    EXPECT_EQ(personality.at(Phase::content).share(Mischief::disconnect), 1);
    EXPECT_EQ(personality.content_after_bytes, 65536U);
    EXPECT_EQ(personality.at(Phase::end_of_data).share(Mischief::unanswered), 0.125);
    EXPECT_EQ(personality.at(Phase::end_of_data).share(Mischief::silence), 0.25);
    EXPECT_EQ(personality.at(Phase::end_of_data).share(Mischief::reject), 0.25) << "as it was";
    EXPECT_EQ(personality.greylist_delay, 5s);
    EXPECT_EQ(personality.greylist_entries, 9U);
    EXPECT_EQ(personality.storm_every, 1min);
    EXPECT_EQ(personality.storm_length, 10s);
    EXPECT_EQ(personality.idle_timeout, 3s);
    EXPECT_FALSE(personality.idle_reply);
}

TEST(SinkPersonality, AllFaultsAreToldAtOnceEachWithItsPlace) {
    Personality personality;
    const auto faults = parse_personality(
        R"({"conect": {}, "mail": {"tempfial": 0.1, "reject": 1.5, "unanswered": 1, "after": 1},
            "rcpt": {"tempfail": 0.6, "reject": 0.6}, "data": 1,
            "content": {"delay": "soon"}, "greylist": {"entries": 0},
            "storm": {"every": "1s", "lasts": "2s"}, "idle": {}})",
        personality);
    const std::vector<Fault> expected = {
        {"/mail/reject", "found 1.5, expected a number from 0 to 1"},
        {"/mail/tempfial", "unknown key, did you mean \"tempfail\"?"},
        {"/mail/unanswered",
         "unknown key, expected one of \"disconnect\", \"busy\", \"malformed\", "
         "\"endless_line\", \"endless_reply\", \"silence\", \"tempfail\", \"reject\", \"delay\""},
        {"/mail/after", ""},
        {"/rcpt", "probabilities add up to 1.2, expected at most 1"},
        {"/data", "found 1, expected an object"},
        {"/content/delay",
         "found \"soon\", expected a duration from \"1ms\" to \"3650d\" (units ms, "
         "s, m, h, d), or \"0\" for off"},
        {"/greylist/entries", "found 0, expected a whole number from 1 to 100000000"},
        {"/storm/lasts", "is longer than \"every\", expected at most as long"},
        {"/idle/timeout", "missing, expected a duration such as \"5s\""},
        {"/conect", "unknown key, did you mean \"connect\"?"},
    };
    ASSERT_EQ(faults.size(), expected.size());
    for (std::size_t index = 0; index < expected.size(); ++index) {
        EXPECT_EQ(faults[index].pointer, expected[index].pointer);
        if (!expected[index].text.empty()) {
            EXPECT_EQ(faults[index].text, expected[index].text);
        }
    }
}

TEST(SinkPersonality, WhatIsNoJsonSaysWhere) {
    Personality personality;
    const auto faults = parse_personality("{\"mail\": {\"tempfail\": 0.1,}}", personality);
    ASSERT_EQ(faults.size(), 1U);
    EXPECT_TRUE(faults[0].text.starts_with("line 1, column 27: ")) << faults[0].text;
    EXPECT_EQ(parse_personality(" ", personality).size(), 1U);
    EXPECT_EQ(load_personality("/no/such/file", personality).size(), 1U);
}

class SinkPersonalityFiles : public testing::Test {
  protected:
    void SetUp() override {
        std::string pattern = testing::TempDir() + "ringmx-sink-XXXXXX";
        ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
        folder_ = pattern;
        write("mild", R"({"mail": {"tempfail": 0.1}})");
        write("wild", R"({"mail": {"tempfail": 0.9}})");
        write("bad", R"({"mial": {}})");
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }

    void write(const std::string& name, const std::string& text) const {
        std::ofstream(folder_ + "/" + name) << text;
    }
    // Two listeners, these files.
    [[nodiscard]] std::expected<Options, Ending>
    parse(const std::vector<std::string>& names) const {
        std::vector<std::string> words = {"ringmx-sink", "--listen",   "127.0.0.1:1", "--listen",
                                          "127.0.0.1:2", "--tempfail", "0.5"};
        for (const std::string& name : names) {
            words.insert(words.end(), {"--personality", folder_ + "/" + name});
        }
        std::vector<const char*> arguments;
        arguments.reserve(words.size());
        for (const std::string& word : words) {
            arguments.push_back(word.c_str());
        }
        return parse_options(static_cast<int>(arguments.size()), arguments.data());
    }
    static double mail_share(Options& options, std::size_t index) {
        return options.personalities[index].at(Phase::mail).share(Mischief::tempfail);
    }

    std::string folder_;
};

TEST_F(SinkPersonalityFiles, OneIsForAllListenersOrThereIsOneForEach) {
    auto same = parse({"wild"});
    ASSERT_TRUE(same);
    ASSERT_EQ(same->personalities.size(), 2U);
    EXPECT_EQ(mail_share(*same, 0), 0.9);
    EXPECT_EQ(mail_share(*same, 1), 0.9);
    auto own = parse({"mild", "wild"});
    ASSERT_TRUE(own);
    EXPECT_TRUE(own->has_personality_files);
    EXPECT_EQ(mail_share(*own, 0), 0.1);
    EXPECT_EQ(mail_share(*own, 1), 0.9);
    EXPECT_EQ(own->personalities[1].at(Phase::end_of_data).share(Mischief::tempfail), 0.5)
        << "the command line's, which the file leaves";
    EXPECT_FALSE(parse({})->has_personality_files);
}

TEST_F(SinkPersonalityFiles, AnotherNumberOfThemOrAFaultInOneIsExit2) {
    EXPECT_EQ(
        parse({"mild", "mild", "mild"}).error().text,
        "ringmx-sink: --personality: found 3 for 2 listeners, expected one for all or one for "
        "each (see ringmx-sink --help)\n");
    const auto bad = parse({"bad", "bad"});
    ASSERT_FALSE(bad);
    EXPECT_EQ(bad.error().code, 2);
    const std::string report = folder_ +
                               "/bad: 1 fault, not started\n  /mial: unknown key, did you "
                               "mean \"mail\"?\n";
    EXPECT_EQ(bad.error().text, report + report);
}

} // namespace
} // namespace ringmx::sink
