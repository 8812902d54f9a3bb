#include "load/plot.h"

#include "base/escape.h"
#include "load/figures.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <fmt/format.h>
#include <iterator>
#include <string_view>

namespace ringmx::load {
namespace {

// In the drawing's own units; the page scales them to its width.
constexpr double width = 960;
constexpr double height = 300;
constexpr double left = 78; // room for the ticks' labels
constexpr double right = 18;
constexpr double top = 26; // and for the y axis' own label
constexpr double bottom = 46;
constexpr std::size_t dotted_max = 60; // points that are far enough apart to show each

double x_of(const Plot& plot, double value) {
    return left + plot.x.place_of(value) * (width - left - right);
}

double y_of(const Plot& plot, double value) {
    return height - bottom - plot.y.place_of(value) * (height - top - bottom);
}

std::string latency_label(double microseconds) {
    if (microseconds < 1e3) {
        return fmt::format("{} µs", std::round(microseconds));
    }
    if (microseconds < 1e6) {
        return fmt::format("{} ms", std::round(microseconds / 1e3));
    }
    return fmt::format("{} s", std::round(microseconds / 1e6));
}

std::string rate_label(double rate, double step) {
    return step < 1 ? fmt::format("{:.1f}", rate)
                    : count_text(static_cast<std::uint64_t>(std::round(rate)));
}

// 1, 2 or 5 times a power of ten, the largest not above `value` or the smallest not below it.
double step_near(double value, bool is_above) {
    const double decade = std::pow(10, std::floor(std::log10(value) + 1e-9));
    double below = decade;
    for (const double factor : {1.0, 2.0, 5.0, 10.0}) {
        const double step = factor * decade;
        if (is_above && step >= value * (1 - 1e-9)) {
            return step;
        }
        if (step <= value * (1 + 1e-9)) {
            below = step;
        }
    }
    return below;
}

void append_axes(std::string& out, const Plot& plot) {
    const double floor = height - bottom;
    const auto at = std::back_inserter(out);
    for (const Axis::Tick& tick : plot.y.ticks) {
        const double y = y_of(plot, tick.value);
        fmt::format_to(at, R"(<path class="grid{}" d="M{:.1f} {:.1f}H{:.1f}"/>)",
                       tick.label.empty() ? " fine" : "", left, y, width - right);
        if (!tick.label.empty()) {
            fmt::format_to(at, R"(<text class="tick end" x="{:.1f}" y="{:.1f}">{}</text>)",
                           left - 8, y + 4, tick.label);
        }
    }
    for (const Axis::Tick& tick : plot.x.ticks) {
        const double x = x_of(plot, tick.value);
        fmt::format_to(at, R"(<path class="grid{}" d="M{:.1f} {:.1f}V{:.1f}"/>)",
                       tick.label.empty() ? " fine" : "", x, top, floor);
        if (!tick.label.empty()) {
            fmt::format_to(at, R"(<text class="tick middle" x="{:.1f}" y="{:.1f}">{}</text>)", x,
                           floor + 17, tick.label);
        }
    }
    fmt::format_to(at, R"(<path class="axis" d="M{:.1f} {:.1f}V{:.1f}H{:.1f}"/>)", left, top, floor,
                   width - right);
    fmt::format_to(at, R"(<text class="tick" x="{:.1f}" y="{:.1f}">{}</text>)", 4.0, 14.0,
                   html_text(plot.y.label));
    fmt::format_to(at, R"(<text class="tick end" x="{:.1f}" y="{:.1f}">{}</text>)", width - right,
                   height - 8, html_text(plot.x.label));
}

// A stretch without gaps, points `begin` up to `end`.
void append_stretch(std::string& line, std::string& area, const Plot& plot, const Series& series,
                    std::size_t begin, std::size_t end) {
    const std::size_t from = line.size();
    for (std::size_t index = begin; index < end; ++index) {
        fmt::format_to(std::back_inserter(line), "{}{:.1f} {:.1f}", index == begin ? 'M' : 'L',
                       x_of(plot, series.x[index]), y_of(plot, series.y[index]));
    }
    if (series.is_filled) {
        fmt::format_to(std::back_inserter(area), "{}V{:.1f}H{:.1f}Z",
                       std::string_view(line).substr(from), height - bottom,
                       x_of(plot, series.x[begin]));
    }
    if (end - begin == 1) {
        line += "h0"; // with round ends: a dot
    }
}

void append_series(std::string& out, const Plot& plot, const Series& series) {
    std::string line;
    std::string area;
    std::size_t begin = 0;
    for (std::size_t index = 0; index <= series.x.size(); ++index) {
        if (index < series.x.size() && !std::isnan(series.y[index])) {
            continue;
        }
        if (index > begin) {
            append_stretch(line, area, plot, series, begin, index);
        }
        begin = index + 1;
    }
    const auto at = std::back_inserter(out);
    if (!area.empty()) {
        fmt::format_to(at, R"(<path class="area {}" d="{}"/>)", series.style, area);
    }
    if (!line.empty()) {
        fmt::format_to(at, R"(<path class="line {}" d="{}"/>)", series.style, line);
    }
    if (series.x.size() > dotted_max) {
        return;
    }
    for (std::size_t index = 0; index < series.x.size(); ++index) {
        if (!std::isnan(series.y[index])) {
            fmt::format_to(at, R"(<circle class="dot {}" cx="{:.1f}" cy="{:.1f}" r="2.5"/>)",
                           series.style, x_of(plot, series.x[index]), y_of(plot, series.y[index]));
        }
    }
}

} // namespace

double Axis::place_of(double value) const {
    const double held = std::clamp(value, least, most);
    if (is_logarithmic) {
        return std::log(held / least) / std::log(most / least);
    }
    return (held - least) / (most - least);
}

Axis Axis::of_time(double seconds) {
    constexpr double ticks_max = 10;
    constexpr double minute = 60;
    constexpr double hour = 3600;
    Axis axis{.label = "time since the start"};
    axis.most = std::max(seconds, 1e-3);
    double step = step_near(axis.most / ticks_max, true);
    if (step > 10) {
        step = std::ceil(axis.most / ticks_max / (24 * hour)) * 24 * hour;
        for (const double nice : {20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0,
                                  7200.0, 14'400.0, 36'000.0}) {
            if (nice >= axis.most / ticks_max) {
                step = std::min(step, nice);
            }
        }
    }
    for (int number = 0; number * step <= axis.most * (1 + 1e-9); ++number) {
        const double value = number * step;
        std::string label = step >= hour     ? fmt::format("{} h", value / hour)
                            : step >= minute ? fmt::format("{} min", value / minute)
                                             : fmt::format("{:.6g} s", value);
        axis.ticks.push_back({.value = value, .label = std::move(label)});
    }
    return axis;
}

Axis Axis::of_latency(double microseconds_least, double microseconds_most) {
    Axis axis{.label = "latency (log scale)", .is_logarithmic = true};
    axis.least = step_near(std::max(microseconds_least, 1.0), false);
    axis.most = step_near(std::max(microseconds_most, axis.least * 2), true);
    const bool is_short = axis.most / axis.least <= 250; // room for all labels
    const auto first = static_cast<int>(std::floor(std::log10(axis.least) + 1e-9));
    const auto last = static_cast<int>(std::floor(std::log10(axis.most) + 1e-9));
    for (int exponent = first; exponent <= last; ++exponent) {
        const double decade = std::pow(10, exponent);
        for (int factor = 1; factor < 10; ++factor) {
            const double value = factor * decade;
            if (value < axis.least * (1 - 1e-9) || value > axis.most * (1 + 1e-9)) {
                continue;
            }
            const bool has_label = factor == 1 || (is_short && (factor == 2 || factor == 5));
            axis.ticks.push_back(
                {.value = value, .label = has_label ? latency_label(value) : std::string()});
        }
    }
    return axis;
}

Axis Axis::of_rate(double most) {
    constexpr double ticks_wanted = 5;
    Axis axis{.label = "messages a second"};
    const double step = step_near(std::max(most, 1.0) / ticks_wanted, true);
    const double steps = std::ceil(std::max(most, 1.0) / step * (1 - 1e-9));
    axis.most = step * steps;
    for (int number = 0; number <= static_cast<int>(steps); ++number) {
        axis.ticks.push_back({.value = number * step, .label = rate_label(number * step, step)});
    }
    return axis;
}

Axis Axis::of_percentiles(double most) {
    Axis axis{.label = "percentile of the messages",
              .is_logarithmic = true,
              .least = 1,
              .most = std::max(most, 10.0)};
    axis.ticks = {{.value = 1, .label = "0%"}, {.value = 2, .label = "50%"}};
    const auto nines_max = static_cast<int>(std::floor(std::log10(axis.most) + 1e-9));
    for (int nines = 1; nines <= nines_max; ++nines) {
        const double value = std::pow(10, nines);
        axis.ticks.push_back(
            {.value = value,
             .label = fmt::format("{:.{}f}%", 100 - 100 / value, std::max(nines - 2, 0))});
    }
    return axis;
}

bool Plot::has_points() const {
    return std::ranges::any_of(series, [](const Series& one) {
        return std::ranges::any_of(one.y, [](double value) { return !std::isnan(value); });
    });
}

std::string svg_of(const Plot& plot) {
    std::string out = fmt::format(R"(<svg viewBox="0 0 {} {}" role="img" aria-label="{}">)", width,
                                  height, html_text(plot.title));
    append_axes(out, plot);
    for (const Series& series : plot.series) {
        append_series(out, plot, series);
    }
    for (const Plot::Hover& hover : plot.hovers) {
        const double from = x_of(plot, hover.from);
        fmt::format_to(
            std::back_inserter(out),
            R"(<rect class="hover" x="{:.1f}" y="{}" width="{:.1f}" height="{}"><title>{}</title></rect>)",
            from, top, std::max(x_of(plot, hover.to) - from, 0.5), height - top - bottom,
            html_text(hover.text));
    }
    out += "</svg>";
    return out;
}

std::string html_text(std::string_view text) {
    std::string shown;
    append_log_text(shown, text);
    std::string out;
    for (const char character : shown) {
        switch (character) {
        case '&':
            out += "&amp;";
            break;
        case '<':
            out += "&lt;";
            break;
        case '>':
            out += "&gt;";
            break;
        case '"':
            out += "&quot;";
            break;
        case '\'':
            out += "&#39;";
            break;
        default:
            out += character;
        }
    }
    return out;
}

} // namespace ringmx::load
