#include "sink/options.h"

#include <gtest/gtest.h>
#include <string>
#include <vector>

namespace ringmx::sink {
namespace {

std::expected<Options, Ending> parse(std::vector<const char*> arguments) {
    arguments.insert(arguments.begin(), "ringmx-sink");
    return parse_options(static_cast<int>(arguments.size()), arguments.data());
}

TEST(SinkOptions, DefaultsMisbehaveInNoWay) {
    const auto options = parse({"--listen", "127.0.0.1:2525"});
    ASSERT_TRUE(options);
    ASSERT_EQ(options->listen.size(), 1U);
    EXPECT_EQ(options->listen[0].text(), "127.0.0.1:2525");
    EXPECT_EQ(options->workers, 1U);
    EXPECT_TRUE(options->offer_pipelining);
    EXPECT_TRUE(options->offer_chunking);
    EXPECT_FALSE(options->lmtp);
    ASSERT_EQ(options->personalities.size(), 1U);
    for (const PhaseBehavior& behavior : options->personalities[0].phases) {
        EXPECT_FALSE(behavior.is_drawn());
        EXPECT_EQ(behavior.delay, Duration::zero());
    }
}

TEST(SinkOptions, EveryOptionIsTaken) {
    const auto options = parse({"--listen",
                                "localhost:1",
                                "--listen",
                                "unix:/x",
                                "--lmtp",
                                "--workers",
                                "3",
                                "--store",
                                "s",
                                "--tempfail",
                                "0.25",
                                "--reject",
                                "0.5",
                                "--disconnect",
                                "0.25",
                                "--delay",
                                "250ms",
                                "--no-pipelining",
                                "--no-chunking",
                                "--json",
                                "j",
                                "--record",
                                "r",
                                "--seed",
                                "9",
                                "--hostname",
                                "h"});
    ASSERT_TRUE(options) << options.error().text;
    ASSERT_EQ(options->listen.size(), 2U);
    EXPECT_EQ(options->listen[0].text(), "127.0.0.1:1");
    EXPECT_EQ(options->listen[1].text(), "unix:/x");
    EXPECT_TRUE(options->lmtp);
    EXPECT_EQ(options->workers, 3U);
    ASSERT_EQ(options->personalities.size(), 2U);
    for (Personality personality : options->personalities) {
        PhaseBehavior& end_of_data = personality.at(Phase::end_of_data);
        EXPECT_EQ(end_of_data.share(Mischief::tempfail), 0.25);
        EXPECT_EQ(end_of_data.share(Mischief::reject), 0.5);
        EXPECT_EQ(end_of_data.share(Mischief::disconnect), 0.25);
        EXPECT_EQ(end_of_data.delay, 250ms);
    }
    EXPECT_FALSE(options->offer_pipelining);
    EXPECT_FALSE(options->offer_chunking);
    EXPECT_EQ(options->store, "s");
    EXPECT_EQ(options->json, "j");
    EXPECT_EQ(options->record, "r");
    EXPECT_EQ(options->seed, 9U);
    EXPECT_EQ(options->hostname, "h");
}

TEST(SinkOptions, AFaultIsOneLineAndExit2) {
    const std::vector<std::vector<const char*>> faults = {
        {},
        {"--listen", "nowhere:25"},
        {"--listen", "127.0.0.1:70000"},
        {"--listen", "127.0.0.1:1", "127.0.0.1:2"},
        {"--listen", "127.0.0.1:1", "--frob"},
        {"--listen", "127.0.0.1:1", "--workers", "0"},
        {"--listen", "127.0.0.1:1", "--tempfail", "1.5"},
        {"--listen", "127.0.0.1:1", "--tempfail", "nan"},
        {"--listen", "127.0.0.1:1", "--tempfail", "0.6", "--reject", "0.6"},
        {"--listen", "127.0.0.1:1", "--delay", "soon"},
        {"--listen", "127.0.0.1:1", "--tls", "chain,key"},
    };
    for (const auto& arguments : faults) {
        const auto options = parse(arguments);
        ASSERT_FALSE(options);
        EXPECT_EQ(options.error().code, 2);
        EXPECT_TRUE(options.error().text.starts_with("ringmx-sink: ")) << options.error().text;
        EXPECT_EQ(options.error().text.find('\n'), options.error().text.size() - 1);
    }
    EXPECT_NE(parse(faults.back()).error().text.find("not built yet"), std::string::npos);
}

TEST(SinkOptions, HelpAndVersionAreExit0) {
    EXPECT_EQ(parse({"--help"}).error().code, 0);
    EXPECT_NE(parse({"--help"}).error().text.find("--record"), std::string::npos);
    EXPECT_EQ(parse({"--version"}).error().code, 0);
    EXPECT_TRUE(parse({"--version"}).error().text.starts_with("ringmx-sink "));
}

} // namespace
} // namespace ringmx::sink
