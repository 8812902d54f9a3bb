#include "load/threshold.h"

#include "base/units.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <fmt/format.h>

namespace ringmx::load {
namespace {

using Metric = Threshold::Metric;

constexpr std::string_view blanks = " \t";

constexpr std::string_view metric_names =
    "p50, p90, p99, p99.9, p99.99, max or mean (also of a part: connect.p99, greeting., hello., "
    "envelope., end_of_data.), rate, accepted, tempfailed, rejected, errors, lost or late";

struct PartName {
    std::string_view prefix;
    Part part;
};
constexpr PartName part_names[] = {
    {"connect.", Part::connect},   {"greeting.", Part::greeting},       {"hello.", Part::hello},
    {"envelope.", Part::envelope}, {"end_of_data.", Part::end_of_data},
};

struct LatencyName {
    std::string_view name;
    Metric metric;
    double quantile;
};
constexpr LatencyName latency_names[] = {
    {"p50", Metric::quantile, 0.5},
    {"p90", Metric::quantile, 0.9},
    {"p99", Metric::quantile, 0.99},
    {"p99.9", Metric::quantile, 0.999},
    {"p99.99", Metric::quantile, 0.9999},
    {"max", Metric::quantile, 1},
    {"mean", Metric::mean, 0},
};

struct CountName {
    std::string_view name;
    Metric metric;
};
constexpr CountName count_names[] = {
    {"accepted", Metric::accepted}, {"tempfailed", Metric::tempfailed},
    {"rejected", Metric::rejected}, {"errors", Metric::errors},
    {"lost", Metric::lost},         {"late", Metric::late},
};

std::string_view trimmed(std::string_view text) {
    const std::size_t first = text.find_first_not_of(blanks);
    if (first == std::string_view::npos) {
        return {};
    }
    return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

std::optional<std::uint64_t> parse_whole(std::string_view text) {
    std::uint64_t value = 0;
    const char* const last = text.data() + text.size();
    const auto [end, status] = std::from_chars(text.data(), last, value);
    if (text.empty() || status != std::errc{} || end != last) {
        return std::nullopt;
    }
    return value;
}

// Microseconds. What passes on one machine takes fewer than the milliseconds that
// configurations speak of.
std::optional<double> parse_time(std::string_view text) {
    if (text.ends_with("us")) {
        const auto whole = parse_whole(text.substr(0, text.size() - 2));
        return whole ? std::optional(static_cast<double>(*whole)) : std::nullopt;
    }
    const auto time = parse_duration(text);
    if (!time) {
        return std::nullopt;
    }
    return std::chrono::duration<double, std::micro>(*time).count();
}

// Sets metric, part and quantile.
bool read_metric(std::string_view name, Threshold& threshold) {
    if (name == "rate") {
        threshold.metric = Metric::rate;
        return true;
    }
    for (const CountName& count : count_names) {
        if (name == count.name) {
            threshold.metric = count.metric;
            return true;
        }
    }
    for (const PartName& part : part_names) {
        if (name.starts_with(part.prefix)) {
            threshold.part = part.part;
            name.remove_prefix(part.prefix.size());
            break;
        }
    }
    for (const LatencyName& latency : latency_names) {
        if (name == latency.name) {
            threshold.metric = latency.metric;
            threshold.quantile = latency.quantile;
            return true;
        }
    }
    return false;
}

struct Value {
    std::optional<double> number;
    std::string_view expected;
};

Value read_value(std::string_view text, Metric metric) {
    switch (metric) {
    case Metric::quantile:
    case Metric::mean:
        return {parse_time(text), "a time such as 500us, 50ms or 2s"};
    case Metric::rate:
        return {parse_per_second(text), "messages a second such as 1000 or 1000/1s"};
    case Metric::accepted:
    case Metric::tempfailed:
    case Metric::rejected:
    case Metric::errors:
    case Metric::lost:
    case Metric::late:
        break;
    }
    const auto whole = parse_whole(text);
    return {whole ? std::optional(static_cast<double>(*whole)) : std::nullopt,
            "a whole number of messages"};
}

} // namespace

std::optional<double> parse_per_second(std::string_view text) {
    if (text.find('/') != std::string_view::npos) {
        const auto rate = parse_rate(text);
        if (!rate) {
            return std::nullopt;
        }
        return static_cast<double>(rate->count) /
               std::chrono::duration<double>(rate->period).count();
    }
    // Digits and one point in between: from_chars alone would also take signs, "inf" and "nan".
    if (text.empty() || text.front() == '.' || text.back() == '.' ||
        !std::ranges::all_of(
            text, [](char octet) { return (octet >= '0' && octet <= '9') || octet == '.'; })) {
        return std::nullopt;
    }
    double value = 0;
    const char* const last = text.data() + text.size();
    const auto [end, status] = std::from_chars(text.data(), last, value, std::chars_format::fixed);
    if (status != std::errc{} || end != last) {
        return std::nullopt;
    }
    return value;
}

std::expected<Threshold, std::string> Threshold::parse(std::string_view text) {
    const std::size_t at = text.find_first_of("<>");
    if (at == std::string_view::npos) {
        return std::unexpected(fmt::format(
            "found '{}', expected a condition such as 'p99>50ms', 'lost>0' or 'rate<1000'", text));
    }
    Threshold threshold;
    threshold.text = text;
    const bool with_equal = text.substr(at + 1).starts_with('=');
    if (text[at] == '>') {
        threshold.comparison = with_equal ? Comparison::at_least : Comparison::above;
    } else {
        threshold.comparison = with_equal ? Comparison::at_most : Comparison::below;
    }
    const std::string_view metric = trimmed(text.substr(0, at));
    if (!read_metric(metric, threshold)) {
        return std::unexpected(
            fmt::format("found '{}' in '{}', expected {}", metric, text, metric_names));
    }
    const std::string_view value = trimmed(text.substr(at + (with_equal ? 2 : 1)));
    const Value read = read_value(value, threshold.metric);
    if (!read.number) {
        return std::unexpected(
            fmt::format("found '{}' in '{}', expected {}", value, text, read.expected));
    }
    threshold.value = *read.number;
    return threshold;
}

bool Threshold::is_met_by(double measured) const {
    switch (comparison) {
    case Comparison::above:
        return measured > value;
    case Comparison::at_least:
        return measured >= value;
    case Comparison::below:
        return measured < value;
    case Comparison::at_most:
        return measured <= value;
    }
    return false;
}

} // namespace ringmx::load
