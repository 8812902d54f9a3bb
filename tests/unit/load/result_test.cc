#include "load/result.h"

#include "load/figures.h"
#include "load/plot.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <limits>
#include <simdjson.h>
#include <string>
#include <string_view>
#include <vector>

namespace ringmx::load {
namespace {

using testing::HasSubstr;
using testing::Not;

Duration microseconds(std::uint64_t count) { return std::chrono::microseconds(count); }

void accept(Result& result, std::size_t second, std::uint64_t latency) {
    if (result.seconds.size() <= second) {
        result.seconds.resize(second + 1);
    }
    ++result.sent;
    ++result.accepted;
    result.octets += 4096;
    ++result.seconds[second].accepted;
    result.seconds[second].octets += 4096;
    result.seconds[second].latency.record(microseconds(latency));
    result.part(Part::message).record(microseconds(latency));
    result.part(Part::end_of_data).record(microseconds(latency / 2));
}

void reject(Result& result, std::size_t second, const std::string& kind) {
    if (result.seconds.size() <= second) {
        result.seconds.resize(second + 1);
    }
    ++result.sent;
    ++result.rejected;
    ++result.seconds[second].failed;
    result.count_failure(kind);
}

Result result_of(std::size_t seconds, std::size_t each) {
    Result result;
    for (std::size_t second = 0; second < seconds; ++second) {
        for (std::size_t number = 0; number < each; ++number) {
            accept(result, second, 300 + (second * 7919 + number * 104'729) % 3000);
        }
    }
    result.elapsed = std::chrono::seconds(seconds);
    return result;
}

Options options_of() {
    Options options;
    options.to_text = "127.0.0.1:2525";
    options.to = *SocketAddress::parse(options.to_text);
    return options;
}

Options open_loop() {
    Options options = options_of();
    options.rate = Rate{.from_per_second = 100, .to_per_second = 5000, .ramp = 60s};
    return options;
}

std::vector<std::string> lines_of(const std::string& text) {
    std::vector<std::string> lines;
    for (std::size_t begin = 0; begin < text.size();) {
        const std::size_t end = text.find('\n', begin);
        lines.push_back(text.substr(begin, end - begin));
        begin = end == std::string::npos ? text.size() : end + 1;
    }
    return lines;
}

std::size_t columns_of(std::string_view line) {
    return static_cast<std::size_t>(
        std::ranges::count_if(line, [](char octet) { return (octet & 0xc0) != 0x80; }));
}

std::size_t times_in(std::string_view text, std::string_view part) {
    std::size_t times = 0;
    for (std::size_t at = text.find(part); at != std::string_view::npos;
         at = text.find(part, at + 1)) {
        ++times;
    }
    return times;
}

TEST(LoadResult, AddingAddsCountsAndHistogramsAndKeepsTheLongerTime) {
    Result one = result_of(2, 10);
    Result other = result_of(3, 4);
    for (Result* each : {&one, &other}) {
        each->sent += 10;
        each->tempfailed = 1;
        each->rejected = 2;
        each->errors = 7;
        each->lost = 3;
        each->late = 5;
        each->connections = 6;
        each->recipients_refused = 8;
        each->count_failure("450 4.7.1");
    }
    other.count_failure("connect: Connection refused");
    one.busiest_share = 0.5;
    other.busiest_share = 0.75;
    one.add(other);
    EXPECT_EQ(one.sent, 20U + 12 + 20);
    EXPECT_EQ(one.accepted, 32U);
    EXPECT_EQ(one.tempfailed, 2U);
    EXPECT_EQ(one.rejected, 4U);
    EXPECT_EQ(one.errors, 14U);
    EXPECT_EQ(one.lost, 6U);
    EXPECT_EQ(one.late, 10U);
    EXPECT_EQ(one.connections, 12U);
    EXPECT_EQ(one.recipients_refused, 16U);
    EXPECT_EQ(one.octets, 32U * 4096);
    EXPECT_EQ(one.part(Part::message).count(), 32U);
    EXPECT_EQ(one.part(Part::end_of_data).count(), 32U);
    ASSERT_EQ(one.seconds.size(), 3U);
    EXPECT_EQ(one.seconds[0].accepted, 14U);
    EXPECT_EQ(one.seconds[2].accepted, 4U);
    EXPECT_EQ(one.seconds[1].latency.count(), 14U);
    EXPECT_EQ(one.seconds[1].octets, 14U * 4096);
    EXPECT_EQ(one.failures.at("450 4.7.1"), 2U);
    EXPECT_EQ(one.failures.at("connect: Connection refused"), 1U);
    EXPECT_EQ(one.elapsed, 3s);
    EXPECT_EQ(one.busiest_share, 0.75);
    EXPECT_DOUBLE_EQ(one.messages_per_second(), 32.0 / 3);
    EXPECT_DOUBLE_EQ(one.octets_per_second(), 32.0 * 4096 / 3);
}

TEST(LoadResult, KindsOfFailuresAreBoundedAndNoneIsLeftUncounted) {
    Result one;
    Result other;
    for (std::size_t number = 0; number < 150; ++number) {
        one.count_failure("a" + std::to_string(number));
        other.count_failure("b" + std::to_string(number));
    }
    one.count_failure("a0");
    EXPECT_EQ(one.failures.size(), Result::kinds_max);
    EXPECT_EQ(one.failures.at("a0"), 2U);
    EXPECT_EQ(one.failures.at("other"), 51U);
    one.add(other);
    EXPECT_EQ(one.failures.size(), Result::kinds_max);
    EXPECT_EQ(one.failures.at("other"), 51U + 150);
    Result empty;
    empty.add(other);
    EXPECT_EQ(empty.failures, other.failures);
}

TEST(LoadResult, RatesOfARunThatTookNoTimeAreNothing) {
    const Result result;
    EXPECT_EQ(result.messages_per_second(), 0);
    EXPECT_EQ(result.octets_per_second(), 0);
}

TEST(LoadResult, ThresholdsCompareWhatTheyName) {
    Result result = result_of(4, 25);
    result.sent = 120;
    result.tempfailed = 9;
    result.rejected = 8;
    result.errors = 3;
    result.lost = 2;
    result.late = 1;
    result.part(Part::connect).record(microseconds(77));
    const auto value = [&](Threshold::Metric metric, Part part = Part::message,
                           double quantile = 0) {
        Threshold threshold;
        threshold.metric = metric;
        threshold.part = part;
        threshold.quantile = quantile;
        return result.value_of(threshold);
    };
    using enum Threshold::Metric;
    const Latency& message = result.part(Part::message);
    EXPECT_EQ(value(quantile, Part::message, 0.99), static_cast<double>(message.at(0.99)));
    EXPECT_EQ(value(quantile, Part::message, 1), static_cast<double>(message.maximum()));
    EXPECT_EQ(value(quantile, Part::connect, 0.5), 77);
    EXPECT_EQ(value(quantile, Part::hello, 0.5), 0);
    EXPECT_EQ(value(mean), message.mean());
    EXPECT_EQ(value(mean, Part::connect), 77);
    EXPECT_EQ(value(rate), 25);
    EXPECT_EQ(value(accepted), 100);
    EXPECT_EQ(value(tempfailed), 9);
    EXPECT_EQ(value(rejected), 8);
    EXPECT_EQ(value(errors), 3);
    EXPECT_EQ(value(lost), 2);
    EXPECT_EQ(value(late), 1);
}

TEST(LoadResult, TheGeneratorIsTheLimitWhenMoreThanAThousandthIsLate) {
    Result result;
    result.sent = 10'000;
    result.late = 10;
    EXPECT_FALSE(result.is_generator_limited(open_loop()));
    result.late = 11;
    EXPECT_TRUE(result.is_generator_limited(open_loop()));
    result.sent = 999;
    result.late = 1;
    EXPECT_TRUE(result.is_generator_limited(open_loop()));
    result.late = 0;
    EXPECT_FALSE(result.is_generator_limited(open_loop()));
}

TEST(LoadResult, ABusyWorkerLimitsAnOpenLoopAndIsWhatAClosedOneIsFor) {
    Result result;
    result.sent = 1000;
    result.busiest_share = 0.95;
    EXPECT_FALSE(result.is_generator_limited(open_loop()));
    result.busiest_share = 0.96;
    EXPECT_TRUE(result.is_generator_limited(open_loop()));
    EXPECT_FALSE(result.is_generator_limited(options_of()));
}

TEST(LoadFigures, TimesHaveThreeDigitsAndTheirUnit) {
    EXPECT_EQ(time_text(0), "0 µs");
    EXPECT_EQ(time_text(7), "7 µs");
    EXPECT_EQ(time_text(999.4), "999 µs");
    EXPECT_EQ(time_text(999.6), "1.00 ms");
    EXPECT_EQ(time_text(1234), "1.23 ms");
    EXPECT_EQ(time_text(9994), "9.99 ms");
    EXPECT_EQ(time_text(9996), "10.0 ms");
    EXPECT_EQ(time_text(99'960), "100 ms");
    EXPECT_EQ(time_text(999'400), "999 ms");
    EXPECT_EQ(time_text(999'600), "1.00 s");
    EXPECT_EQ(time_text(3.6e9), "3600 s");
}

TEST(LoadFigures, CountsAreGroupedAndSharesNeverRoundToNothingOrAll) {
    EXPECT_EQ(count_text(0), "0");
    EXPECT_EQ(count_text(999), "999");
    EXPECT_EQ(count_text(1000), "1,000");
    EXPECT_EQ(count_text(12'345'678), "12,345,678");
    EXPECT_EQ(decimal_text(0.25), "0.25");
    EXPECT_EQ(decimal_text(999.6), "1,000");
    EXPECT_EQ(share_text(0, 0), "0%");
    EXPECT_EQ(share_text(0, 5), "0%");
    EXPECT_EQ(share_text(5, 5), "100%");
    EXPECT_EQ(share_text(1, 10'000'000), "<0.001%");
    EXPECT_EQ(share_text(9'999'999, 10'000'000), ">99.999%");
    EXPECT_EQ(share_text(1, 8), "12.5%");
    EXPECT_EQ(share_text(999, 1000), "99.900%");
}

Result mixed_result() {
    Result result = result_of(60, 500);
    result.part(Part::connect).record(microseconds(45));
    for (std::size_t number = 0; number < 30; ++number) {
        reject(result, 5, "550 5.1.1");
    }
    for (std::size_t number = 0; number < 12; ++number) {
        reject(result, 6, "450 4." + std::to_string(number) + ".0");
    }
    result.connections = 100;
    result.lost = 1'234'567; // as wide as it may get
    result.errors = 7'654'321;
    result.recipients_refused = 3;
    return result;
}

TEST(LoadTable, FitsATerminalAndShowsEveryFigure) {
    Options options = open_loop();
    options.chunking = true;
    options.pipelining = true;
    options.messages_per_connection = 10;
    options.duration = 60s;
    Result result = mixed_result();
    result.late = 1;
    const std::string table = table_of(result, options);
    for (const std::string& line : lines_of(table)) {
        EXPECT_LE(columns_of(line), 80U) << line;
    }
    EXPECT_TRUE(table.starts_with("127.0.0.1:2525: open loop, 100/s to 5000/s within 60 s,"))
        << table;
    for (const std::string_view figure :
         {"60.000 s", "30,042", "  accepted            30,000", "lost 1,234,567", "500 messages/s",
          "2.05 MB/s", "p99.99", "connections              100", "  end of data", "  message"}) {
        EXPECT_THAT(table, HasSubstr(std::string(figure)));
    }
    EXPECT_THAT(table, Not(HasSubstr("greeting"))) << "parts without records are left out";
    EXPECT_THAT(table, Not(HasSubstr("THE GENERATOR WAS THE LIMIT")));
}

TEST(LoadTable, LatencyColumnsAreAligned) {
    const std::string table = table_of(mixed_result(), options_of());
    std::vector<std::size_t> widths;
    for (const std::string& line : lines_of(table)) {
        if (line.starts_with("latency") || line.starts_with("  connect ") ||
            line.starts_with("  end of") || line.starts_with("  message")) {
            widths.push_back(columns_of(line));
        }
    }
    EXPECT_EQ(widths, (std::vector<std::size_t>{74, 74, 74, 74}));
}

TEST(LoadTable, FailuresAreTheTenMostFrequentAndEscaped) {
    Result result = mixed_result();
    const std::string table = table_of(result, options_of());
    EXPECT_LT(table.find("            30  550 5.1.1\n"), table.find("  450 4.0.0\n"));
    EXPECT_THAT(table, HasSubstr("and 3 more kinds"));
    EXPECT_EQ(times_in(table, "  450 4."), 9U);
    Result hostile;
    reject(hostile, 0, "5\x1b[31m\r\n" + std::string(200, 'x'));
    const std::string escaped = table_of(hostile, options_of());
    EXPECT_THAT(escaped, HasSubstr("5\\e[31m\\r\\nxxx"));
    for (const std::string& line : lines_of(escaped)) {
        EXPECT_LE(columns_of(line), 80U);
    }
}

TEST(LoadTable, SaysLoudlyThatTheGeneratorWasTheLimitAndWhatToDo) {
    Result result = mixed_result();
    result.late = 600;
    result.busiest_share = 0.98;
    const std::string table = table_of(result, open_loop());
    EXPECT_THAT(table, HasSubstr("\n\nTHE GENERATOR WAS THE LIMIT: 600 messages (2.0%) were sent"));
    EXPECT_THAT(table, HasSubstr("98%"));
    EXPECT_THAT(table, HasSubstr("--workers"));
    for (const std::string& line : lines_of(table)) {
        EXPECT_LE(columns_of(line), 80U) << line;
    }
}

TEST(LoadTable, OfNothingIsATableToo) {
    const std::string table = table_of(Result{}, options_of());
    EXPECT_THAT(table, HasSubstr("sent                       0\n"));
    EXPECT_THAT(table, Not(HasSubstr("latency ")));
    EXPECT_THAT(table, Not(HasSubstr("failures")));
}

simdjson::dom::element parsed(simdjson::dom::parser& parser, const std::string& json) {
    simdjson::dom::element element;
    EXPECT_EQ(parser.parse(json).get(element), simdjson::SUCCESS) << json;
    return element;
}

double number_at(simdjson::dom::element json, std::string_view pointer) {
    double number = std::numeric_limits<double>::quiet_NaN();
    EXPECT_EQ(json.at_pointer(pointer).get(number), simdjson::SUCCESS) << pointer;
    return number;
}

TEST(LoadJson, IsOneObjectOnOneLineWithTheFieldsOfTheContract) {
    Result result = mixed_result();
    const std::string json = json_of(result, open_loop());
    EXPECT_THAT(json, Not(HasSubstr("\n")));
    simdjson::dom::parser parser;
    const auto object = parsed(parser, json);
    EXPECT_EQ(number_at(object, "/sent"), 30'042);
    EXPECT_EQ(number_at(object, "/accepted"), 30'000);
    EXPECT_EQ(number_at(object, "/tempfailed"), 0);
    EXPECT_EQ(number_at(object, "/rejected"), 42);
    EXPECT_EQ(number_at(object, "/errors"), 7'654'321);
    EXPECT_EQ(number_at(object, "/seconds"), 60);
    EXPECT_EQ(number_at(object, "/messages_per_second"), 500);
    EXPECT_EQ(number_at(object, "/bytes_per_second"), 500 * 4096);
    EXPECT_EQ(number_at(object, "/lost"), 1'234'567);
    EXPECT_EQ(number_at(object, "/late"), 0);
    EXPECT_EQ(number_at(object, "/connections"), 100);
    EXPECT_EQ(number_at(object, "/recipients_refused"), 3);
    EXPECT_FALSE(bool(object["generator_limited"]));
    const Latency& message = result.part(Part::message);
    const std::pair<std::string, double> quantiles[] = {{"p50", 0.5},       {"p90", 0.9},
                                                        {"p99", 0.99},      {"p99_9", 0.999},
                                                        {"p99_99", 0.9999}, {"max", 1}};
    for (const auto& [key, quantile] : quantiles) {
        EXPECT_EQ(number_at(object, "/latency_us/" + key),
                  static_cast<double>(message.at(quantile)));
        EXPECT_EQ(number_at(object, "/connect_us/" + key), 45);
        for (const std::string part : {"/greeting_us/", "/hello_us/", "/envelope_us/"}) {
            EXPECT_EQ(number_at(object, part + key), 0);
        }
        EXPECT_GT(number_at(object, "/end_of_data_us/" + key), 0);
    }
    EXPECT_EQ(number_at(object, "/latency_us/count"), 30'000);
    EXPECT_NEAR(number_at(object, "/latency_us/mean"), message.mean(), 0.001);
    EXPECT_EQ(number_at(object, "/failures/550 5.1.1"), 30);
    EXPECT_EQ(number_at(object, "/settings/rate/from"), 100);
    EXPECT_EQ(number_at(object, "/settings/rate/ramp_seconds"), 60);
    EXPECT_EQ(number_at(object, "/settings/size/most"), 4096);
    EXPECT_EQ(object["per_second"].get_array().size(), 60U);
    EXPECT_EQ(number_at(object, "/per_second/5/accepted"), 500);
    EXPECT_EQ(number_at(object, "/per_second/5/failed"), 30);
    EXPECT_EQ(number_at(object, "/per_second/5/bytes"), 500 * 4096);
    const Latency& second = result.seconds[5].latency;
    EXPECT_EQ(number_at(object, "/per_second/5/p50_us"), static_cast<double>(second.at(0.5)));
    EXPECT_EQ(number_at(object, "/per_second/5/p99_us"), static_cast<double>(second.at(0.99)));
    EXPECT_EQ(number_at(object, "/per_second/5/max_us"), static_cast<double>(second.maximum()));
}

TEST(LoadJson, IsValidForEverySettingAndForNothing) {
    simdjson::dom::parser parser;
    EXPECT_EQ(number_at(parsed(parser, json_of(Result{}, options_of())), "/latency_us/p99"), 0);
    Options options = options_of();
    options.to_text = "unix:/tmp/\"quoted\"\n\\";
    options.corpus = "\xff folder";
    options.proxy = ProxyVersion::v2;
    options.proxy_clients = *Network::parse("10.0.0.0/8");
    options.sources = {*Network::parse("127.0.0.0/8"), *Network::parse("::1")};
    options.hostility = Hostility::never_read;
    Result result;
    reject(result, 0, "\"\\\x01\x80");
    const auto object = parsed(parser, json_of(result, options));
    EXPECT_EQ(std::string_view(object["settings"]["to"]), options.to_text);
    EXPECT_EQ(std::string_view(object["settings"]["proxy"]), "v2");
    EXPECT_EQ(std::string_view(object["settings"]["hostility"]), "never_read");
    EXPECT_EQ(object["settings"]["sources"].get_array().size(), 2U);
    EXPECT_TRUE(object["settings"]["rate"].is_null());
}

TEST(LoadPlot, LatencyAxesGoFromStepToStepAndPlaceByLogarithm) {
    const Axis axis = Axis::of_latency(130, 45'000);
    EXPECT_DOUBLE_EQ(axis.least, 100);
    EXPECT_DOUBLE_EQ(axis.most, 50'000);
    EXPECT_DOUBLE_EQ(axis.place_of(100), 0);
    EXPECT_DOUBLE_EQ(axis.place_of(50'000), 1);
    EXPECT_NEAR(axis.place_of(1000), std::log(10) / std::log(500), 1e-12);
    std::vector<std::string> labels;
    for (const Axis::Tick& tick : axis.ticks) {
        if (!tick.label.empty()) {
            labels.push_back(tick.label);
        }
    }
    EXPECT_EQ(labels, (std::vector<std::string>{"100 µs", "1 ms", "10 ms"}));
    const Axis flat = Axis::of_latency(200, 200);
    EXPECT_LT(flat.least, flat.most);
}

TEST(LoadPlot, EveryAxisHasSomeTicksAndNotTooMany) {
    for (const double most : {0.5, 1.0, 7.0, 59.0, 61.0, 3600.0, 10'000.0, 100'000.0, 1e6, 1e7}) {
        const Axis time = Axis::of_time(most);
        EXPECT_GE(time.ticks.size(), 3U) << most;
        EXPECT_LE(time.ticks.size(), 13U) << most;
        EXPECT_EQ(time.most, most);
        const Axis rate = Axis::of_rate(most);
        EXPECT_GE(rate.ticks.size(), 3U) << most;
        EXPECT_LE(rate.ticks.size(), 8U) << most;
        EXPECT_GE(rate.most, most * (1 - 1e-9));
    }
    EXPECT_EQ(Axis::of_time(10'000).ticks.back().label, "160 min");
    const Axis percentiles = Axis::of_percentiles(12'345);
    std::vector<std::string> labels;
    labels.reserve(percentiles.ticks.size());
    for (const Axis::Tick& tick : percentiles.ticks) {
        labels.push_back(tick.label);
    }
    EXPECT_EQ(labels, (std::vector<std::string>{"0%", "50%", "90%", "99%", "99.9%", "99.99%"}));
}

TEST(LoadPlot, GapsBreakTheLineAndALonePointIsADot) {
    const double gap = std::numeric_limits<double>::quiet_NaN();
    Plot plot;
    plot.x = Axis::of_time(5);
    plot.y = Axis::of_rate(10);
    plot.series = {{.style = "a", .x = {0, 1, 2, 3, 4}, .y = {1, 2, gap, 3, gap}}};
    const std::string svg = svg_of(plot);
    const std::size_t line = svg.find("class=\"line a\"");
    ASSERT_NE(line, std::string::npos);
    const std::string path = svg.substr(line, svg.find("/>", line) - line);
    EXPECT_EQ(times_in(path, "M"), 2U) << path;
    EXPECT_EQ(times_in(path, "h0"), 1U) << path;
    EXPECT_EQ(times_in(svg, "<circle"), 3U);
}

// Every element that is opened is closed, in turn.
void expect_balanced(const std::string& html) {
    std::vector<std::string> open;
    for (std::size_t at = html.find('<'); at != std::string::npos; at = html.find('<', at + 1)) {
        const std::size_t end = html.find('>', at);
        ASSERT_NE(end, std::string::npos);
        const std::string tag = html.substr(at + 1, end - at - 1);
        const std::string name = tag.substr(0, tag.find_first_of(" \n"));
        if (name == "!DOCTYPE" || name == "meta" || tag.ends_with('/')) {
            continue;
        }
        if (!name.starts_with('/')) {
            open.push_back(name);
            continue;
        }
        ASSERT_FALSE(open.empty());
        ASSERT_EQ("/" + open.back(), name);
        open.pop_back();
    }
    EXPECT_TRUE(open.empty());
}

void expect_self_contained(const std::string& html) {
    for (const std::string_view fetched :
         {"http", "<script", "<link", "<img", "@import", "url(", "src=", "href="}) {
        EXPECT_EQ(html.find(fetched), std::string::npos) << fetched;
    }
    EXPECT_EQ(html.find("nan"), std::string::npos);
    EXPECT_EQ(html.find("inf"), std::string::npos);
}

TEST(LoadHtml, IsAWellFormedPageThatNeedsNoOtherFile) {
    for (const Options& options : {options_of(), open_loop()}) {
        const std::string html = html_of(mixed_result(), options);
        expect_balanced(html);
        expect_self_contained(html);
        EXPECT_EQ(times_in(html, "<figure>"), 3U);
        EXPECT_EQ(times_in(html, "class=\"line a\" d=\"M"), 6U) << "three of legends";
        EXPECT_THAT(html, HasSubstr("30,000"));
        EXPECT_THAT(html, HasSubstr("<td class=\"text\">550 5.1.1</td>"));
        EXPECT_THAT(html, Not(HasSubstr("role=\"alert\"")));
    }
}

TEST(LoadHtml, EveryTextFromOutsideIsEscaped) {
    Options options = options_of();
    options.to_text = "<script>alert('1')</script>";
    options.corpus = "\"><img>";
    Result result;
    reject(result, 0, "<b>&\x1b\xe2\x80\xae");
    result.elapsed = 1s;
    const std::string html = html_of(result, options);
    expect_balanced(html);
    expect_self_contained(html);
    EXPECT_THAT(html, HasSubstr("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;"));
    EXPECT_THAT(html, HasSubstr("&lt;b&gt;&amp;\\e\\xe2\\x80\\xae"));
}

TEST(LoadHtml, ManySecondsAreThinnedWithoutLosingTheWorst) {
    Result result = result_of(10'000, 3);
    accept(result, 7777, 9'000'000);
    const std::string html = html_of(result, options_of());
    expect_balanced(html);
    EXPECT_LE(times_in(html, " s: p50 "), 600U);
    EXPECT_GE(times_in(html, " s: p50 "), 500U);
    EXPECT_THAT(html, HasSubstr("Each point is 17 seconds"));
    EXPECT_THAT(html, HasSubstr("7769 to 7786 s: p50 "));
    EXPECT_EQ(times_in(html, "max 9.00 s"), 1U);
    EXPECT_LT(html.size(), 600'000U);
}

TEST(LoadHtml, ARunOfASecondAndOneWithoutAnAcceptedMessageArePagesToo) {
    Result second = result_of(1, 1);
    second.elapsed = 20ms;
    Result refused;
    reject(refused, 0, "550 5.7.1");
    refused.elapsed = 1ms;
    for (const Result& result : {second, refused, Result{}, result_of(1, 2000)}) {
        const std::string html = html_of(result, options_of());
        expect_balanced(html);
        expect_self_contained(html);
    }
    EXPECT_EQ(times_in(html_of(refused, options_of()), "No message was accepted"), 2U);
    EXPECT_EQ(times_in(html_of(Result{}, options_of()), "No message was accepted"), 3U);
}

// 2.2 s: the rate of the last fifth alone would say little, so it goes with the second before.
TEST(LoadHtml, TheRateOfThePartOfASecondAtTheEndIsOfItsTime) {
    Result result = result_of(3, 100);
    result.elapsed = 2200ms;
    EXPECT_THAT(html_of(result, options_of()), HasSubstr("1 to 2.2 s: 167/s accepted"));
    result.elapsed = 2500ms;
    EXPECT_THAT(html_of(result, options_of()), HasSubstr("2 to 2.5 s: 200/s accepted"));
}

TEST(LoadHtml, SaysThatTheGeneratorWasTheLimit) {
    Result result = mixed_result();
    result.late = 5000;
    const std::string html = html_of(result, open_loop());
    EXPECT_THAT(html, HasSubstr("role=\"alert\"><strong>THE GENERATOR WAS THE LIMIT</strong>"));
    expect_balanced(html);
}

} // namespace
} // namespace ringmx::load
