#include "load/threshold.h"

#include <gtest/gtest.h>

namespace ringmx::load {
namespace {

using Metric = Threshold::Metric;
using Comparison = Threshold::Comparison;

Threshold parsed(std::string_view text) {
    const auto threshold = Threshold::parse(text);
    EXPECT_TRUE(threshold) << text << ": " << threshold.error();
    return threshold.value_or(Threshold{});
}

TEST(LoadThreshold, ALatencyIsOfTheWholeMessageAndInMicroseconds) {
    const Threshold threshold = parsed("p99>50ms");
    EXPECT_EQ(threshold.text, "p99>50ms");
    EXPECT_EQ(threshold.metric, Metric::quantile);
    EXPECT_EQ(threshold.part, Part::message);
    EXPECT_EQ(threshold.quantile, 0.99);
    EXPECT_EQ(threshold.comparison, Comparison::above);
    EXPECT_EQ(threshold.value, 50'000);
    EXPECT_EQ(parsed("p99>500us").value, 500);
    EXPECT_EQ(parsed("p99>2s").value, 2'000'000);
    EXPECT_EQ(parsed("p99>0").value, 0);
}

TEST(LoadThreshold, EveryQuantileIsKnown) {
    EXPECT_EQ(parsed("p50>1s").quantile, 0.5);
    EXPECT_EQ(parsed("p90>1s").quantile, 0.9);
    EXPECT_EQ(parsed("p99.9>1s").quantile, 0.999);
    EXPECT_EQ(parsed("p99.99>1s").quantile, 0.9999);
    EXPECT_EQ(parsed("max>1s").quantile, 1);
    EXPECT_EQ(parsed("max>1s").metric, Metric::quantile);
    EXPECT_EQ(parsed("mean>1s").metric, Metric::mean);
}

TEST(LoadThreshold, APartStandsBeforeThePoint) {
    EXPECT_EQ(parsed("connect.p99>1s").part, Part::connect);
    EXPECT_EQ(parsed("connect.p99>1s").quantile, 0.99);
    EXPECT_EQ(parsed("greeting.max>1s").part, Part::greeting);
    EXPECT_EQ(parsed("hello.p99.9>1s").part, Part::hello);
    EXPECT_EQ(parsed("hello.p99.9>1s").quantile, 0.999);
    EXPECT_EQ(parsed("envelope.mean>1s").part, Part::envelope);
    EXPECT_EQ(parsed("envelope.mean>1s").metric, Metric::mean);
    EXPECT_EQ(parsed("end_of_data.p50>1s").part, Part::end_of_data);
}

TEST(LoadThreshold, ARateIsASeconds) {
    EXPECT_EQ(parsed("rate<1000").metric, Metric::rate);
    EXPECT_EQ(parsed("rate<1000").value, 1000);
    EXPECT_EQ(parsed("rate<0.5").value, 0.5);
    EXPECT_EQ(parsed("rate<30/1m").value, 0.5);
}

TEST(LoadThreshold, EveryNumberOfMessagesIsKnown) {
    EXPECT_EQ(parsed("accepted<10").metric, Metric::accepted);
    EXPECT_EQ(parsed("accepted<10").value, 10);
    EXPECT_EQ(parsed("tempfailed>0").metric, Metric::tempfailed);
    EXPECT_EQ(parsed("rejected>0").metric, Metric::rejected);
    EXPECT_EQ(parsed("errors>0").metric, Metric::errors);
    EXPECT_EQ(parsed("lost>0").metric, Metric::lost);
    EXPECT_EQ(parsed("late>0").metric, Metric::late);
}

TEST(LoadThreshold, BlanksAroundTheComparisonDontMatter) {
    const Threshold threshold = parsed(" p99.9 >=\t50ms ");
    EXPECT_EQ(threshold.text, " p99.9 >=\t50ms ");
    EXPECT_EQ(threshold.quantile, 0.999);
    EXPECT_EQ(threshold.comparison, Comparison::at_least);
    EXPECT_EQ(threshold.value, 50'000);
}

TEST(LoadThreshold, EachComparisonDrawsItsOwnLine) {
    struct Case {
        const char* text;
        bool below, same, above;
    };
    const Case cases[] = {
        {"lost>5", false, false, true},
        {"lost>=5", false, true, true},
        {"lost<5", true, false, false},
        {"lost<=5", true, true, false},
    };
    for (const Case& each : cases) {
        const Threshold threshold = parsed(each.text);
        EXPECT_EQ(threshold.is_met_by(4), each.below) << each.text;
        EXPECT_EQ(threshold.is_met_by(5), each.same) << each.text;
        EXPECT_EQ(threshold.is_met_by(6), each.above) << each.text;
    }
}

TEST(LoadThreshold, AFaultNamesWhatWasFoundAndWhatIsExpected) {
    struct Case {
        const char* text;
        const char* found;
        const char* expected;
    };
    const Case cases[] = {
        {"", "''", "p99>50ms"},
        {"p99", "'p99'", "p99>50ms"},
        {"p99=50ms", "'p99=50ms'", "p99>50ms"},
        {">5", "'' in '>5'", "end_of_data"},
        {"p98>5ms", "'p98'", "p99.99"},
        {"connect.lost>5", "'connect.lost'", "lost"},
        {"tls.p99>5ms", "'tls.p99'", "connect.p99"},
        {"connect.>5ms", "'connect.'", "connect.p99"},
        {"P99>5ms", "'P99'", "p99"},
        {"p99>50", "'50'", "a time"},
        {"p99>", "'' in", "a time"},
        {"p99>us", "'us'", "a time"},
        {"p99>-5us", "'-5us'", "a time"},
        {"p99>>5ms", "'>5ms'", "a time"},
        {"p99=>5ms", "'p99='", "p99"},
        {"lost>0.5", "'0.5'", "whole number"},
        {"lost>-1", "'-1'", "whole number"},
        {"lost>0ms", "'0ms'", "whole number"},
        {"rate<nan", "'nan'", "messages a second"},
        {"rate<-1", "'-1'", "messages a second"},
    };
    for (const Case& each : cases) {
        const auto threshold = Threshold::parse(each.text);
        ASSERT_FALSE(threshold) << each.text;
        EXPECT_NE(threshold.error().find(each.found), std::string::npos) << threshold.error();
        EXPECT_NE(threshold.error().find(each.expected), std::string::npos) << threshold.error();
    }
}

TEST(LoadThreshold, PerSecondTakesFractionsAndPeriods) {
    EXPECT_EQ(parse_per_second("50"), 50);
    EXPECT_EQ(parse_per_second("50/1s"), 50);
    EXPECT_EQ(parse_per_second("50/100ms"), 500);
    EXPECT_EQ(parse_per_second("0.25"), 0.25);
    EXPECT_EQ(parse_per_second("0"), 0);
    for (const char* text : {"", ".", "5.", ".5", "1.2.3", "inf", "nan", "-1", "+1", "1e3", "5/0",
                             "5/1", "/1s", "0x1"}) {
        EXPECT_FALSE(parse_per_second(text)) << text;
    }
}

} // namespace
} // namespace ringmx::load
