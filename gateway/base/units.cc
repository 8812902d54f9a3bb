#include "base/units.h"

#include <charconv>
#include <limits>

namespace ringmx {

namespace {

struct Measure {
    std::uint64_t number;
    std::string_view unit;
};

std::optional<Measure> split(std::string_view text) {
    Measure result{};
    const char* const last = text.data() + text.size();
    const auto [end, status] = std::from_chars(text.data(), last, result.number);
    if (text.empty() || status != std::errc{}) {
        return std::nullopt;
    }
    result.unit = text.substr(static_cast<std::size_t>(end - text.data()));
    return result;
}

struct DurationUnit {
    std::string_view name;
    std::uint64_t milliseconds;
};
constexpr DurationUnit duration_units[] = {
    {"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}, {"d", 86'400'000}};

struct SizeUnit {
    std::string_view name;
    unsigned shift;
};
constexpr SizeUnit size_units[] = {{"", 0}, {"KiB", 10}, {"MiB", 20}, {"GiB", 30}, {"TiB", 40}};

} // namespace

std::optional<Duration> parse_duration(std::string_view text) {
    const auto measure = split(text);
    if (!measure) {
        return std::nullopt;
    }
    if (measure->number == 0 && measure->unit.empty()) {
        return Duration{0};
    }
    for (const DurationUnit& unit : duration_units) {
        if (measure->unit != unit.name) {
            continue;
        }
        const std::uint64_t count_max = duration_days_max * 86'400'000 / unit.milliseconds;
        if (measure->number > count_max) {
            return std::nullopt;
        }
        return std::chrono::milliseconds(measure->number * unit.milliseconds);
    }
    return std::nullopt;
}

std::optional<std::uint64_t> parse_size(std::string_view text) {
    const auto measure = split(text);
    if (!measure) {
        return std::nullopt;
    }
    for (const SizeUnit& unit : size_units) {
        if (measure->unit != unit.name) {
            continue;
        }
        if (measure->number > std::numeric_limits<std::uint64_t>::max() >> unit.shift) {
            return std::nullopt;
        }
        return measure->number << unit.shift;
    }
    return std::nullopt;
}

std::optional<Rate> parse_rate(std::string_view text) {
    const auto count = split(text);
    if (!count) {
        return std::nullopt;
    }
    if (count->number == 0 && count->unit.empty()) {
        return Rate{.count = 0, .period = 1s};
    }
    if (!count->unit.starts_with('/')) {
        return std::nullopt;
    }
    const auto period = parse_duration(count->unit.substr(1));
    if (!period || *period == Duration{0}) {
        return std::nullopt;
    }
    return Rate{.count = count->number, .period = *period};
}

} // namespace ringmx
