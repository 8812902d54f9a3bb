#include "load/figures.h"
#include "load/plot.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <iterator>
#include <limits>

namespace ringmx::load {
namespace {

constexpr std::size_t points_max = 600; // of a series over time: more than a screen shows apart
constexpr std::size_t percentile_points = 240;
constexpr std::size_t failures_shown = 25; // the rest is in the JSON
constexpr double nothing = std::numeric_limits<double>::quiet_NaN();

// Blue, vermilion and grey differ in brightness too, and in dashes: they can be told apart without
// seeing colours.
constexpr std::string_view style = R"(
:root{color-scheme:light dark;--page:#fff;--ink:#1b1f24;--soft:#56606b;--line:#d5dbe1;--card:#f5f7f9;
--a:#0072b2;--b:#d55e00;--c:#727b84;--alarm:#a40e26;--alarm-page:#ffebe9}
@media(prefers-color-scheme:dark){:root{--page:#101418;--ink:#e4e9ee;--soft:#9aa6b2;--line:#2d363f;
--card:#182027;--a:#56b4e9;--b:#ff9d5c;--c:#a3adb7;--alarm:#ffb4ac;--alarm-page:#4a1518}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1040px;padding:28px 20px 48px;background:var(--page);color:var(--ink);
font:15px/1.5 system-ui,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
h1{font-size:26px;line-height:1.25;margin:0 0 4px;overflow-wrap:anywhere}
h2{font-size:17px;margin:36px 0 8px}
p{margin:4px 0}
.soft,figcaption{color:var(--soft);font-size:13.5px}
.settings{display:flex;flex-wrap:wrap;gap:2px 20px;margin:10px 0 0;font-size:13.5px}
.settings div{overflow-wrap:anywhere}.settings dt,.settings dd{display:inline;margin:0}
.settings dt{color:var(--soft)}.settings dt::after{content:" "}
.alarm{margin:20px 0 0;padding:12px 16px;border:2px solid var(--alarm);border-radius:8px;
background:var(--alarm-page);color:var(--alarm)}
.alarm strong{display:block}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:10px;margin:22px 0 0}
.tiles div{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:10px 14px}
.tiles b{display:block;font-size:22px;line-height:1.35;font-weight:600;white-space:nowrap}
.tiles span{color:var(--soft);font-size:13px}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
.wide{width:100%}
th,td{padding:5px 12px;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}
th{color:var(--soft);font-weight:500}
th:first-child,td.text,th.text{text-align:left}td.text{white-space:normal;overflow-wrap:anywhere}
tbody th{color:var(--ink);font-weight:400}
th:first-child,td:first-child{padding-left:0}
.whole th,.whole td{font-weight:600}
figure{margin:0;overflow-x:auto}
svg{display:block;width:100%;height:auto}figure>svg{min-width:620px}
.legend{display:flex;flex-wrap:wrap;gap:2px 22px;margin:0 0 6px;font-size:13.5px}
.legend svg{display:inline-block;width:34px;height:10px;margin-right:7px;vertical-align:middle}
.grid{stroke:var(--line);fill:none}.fine{stroke-opacity:.45}.axis{stroke:var(--soft);fill:none}
.tick{fill:var(--soft);font-size:12.5px}.end{text-anchor:end}.middle{text-anchor:middle}
.line{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}
.line.a{stroke:var(--a)}.line.b{stroke:var(--b)}.line.c{stroke:var(--c);stroke-width:1.5;
stroke-dasharray:2 3.5}.line.d{stroke:var(--b);stroke-dasharray:9 5}
.area{stroke:none;fill-opacity:.13}.area.a{fill:var(--a)}
.dot.a{fill:var(--a)}.dot.b,.dot.d{fill:var(--b)}.dot.c{fill:var(--c)}
.hover{fill:var(--ink);fill-opacity:0}.hover:hover{fill-opacity:.12}
@media print{.tiles div,figure,table{break-inside:avoid}}
)";

struct LegendEntry {
    std::string_view style;
    std::string_view name;
};

// Some seconds of the run as one point of the plots.
struct Stretch {
    double from; // seconds
    double to;
    double accepted_rate;
    double failed_rate;
    double p50; // microseconds; `nothing` without a record
    double p99;
    double maximum;
};

Stretch stretch_of(const Result& result, std::size_t begin, std::size_t end) {
    Stretch stretch{};
    stretch.from = static_cast<double>(begin);
    stretch.to = static_cast<double>(end);
    // The run ends within its last second. So short a last stretch that its rates would mean
    // nothing is never made (stretches_of).
    if (end == result.seconds.size() && result.elapsed_seconds() > stretch.from) {
        stretch.to = std::min(stretch.to, result.elapsed_seconds());
    }
    Latency latency{Latency::Resolution::coarse};
    for (std::size_t index = begin; index < end; ++index) {
        const Second& second = result.seconds[index];
        stretch.accepted_rate += static_cast<double>(second.accepted);
        stretch.failed_rate += static_cast<double>(second.failed);
        latency.add(second.latency);
    }
    stretch.accepted_rate /= stretch.to - stretch.from;
    stretch.failed_rate /= stretch.to - stretch.from;
    const bool is_empty = latency.count() == 0;
    stretch.p50 = is_empty ? nothing : static_cast<double>(latency.at(0.5));
    stretch.p99 = is_empty ? nothing : static_cast<double>(latency.at(0.99));
    stretch.maximum = is_empty ? nothing : static_cast<double>(latency.maximum());
    return stretch;
}

std::vector<Stretch> stretches_of(const Result& result, std::size_t length) {
    std::vector<Stretch> stretches;
    const std::size_t seconds = result.seconds.size();
    for (std::size_t begin = 0; begin < seconds;) {
        std::size_t end = std::min(begin + length, seconds);
        const double left = std::min(static_cast<double>(seconds), result.elapsed_seconds()) -
                            static_cast<double>(end);
        if (left < static_cast<double>(length) / 2) {
            end = seconds;
        }
        stretches.push_back(stretch_of(result, begin, end));
        begin = end;
    }
    return stretches;
}

std::string value_text(double microseconds) {
    return std::isnan(microseconds) ? "none" : time_text(microseconds);
}

std::string between_text(const Stretch& stretch) {
    return fmt::format("{:.6g} to {:.6g} s", stretch.from, stretch.to);
}

Plot latency_plot(const std::vector<Stretch>& stretches) {
    Plot plot{.title = "latency over time"};
    plot.series = {{.style = "c"}, {.style = "b"}, {.style = "a"}};
    double least = std::numeric_limits<double>::max();
    double most = 0;
    for (const Stretch& stretch : stretches) {
        const double values[] = {stretch.maximum, stretch.p99, stretch.p50};
        for (std::size_t index = 0; index < 3; ++index) {
            plot.series[index].x.push_back((stretch.from + stretch.to) / 2);
            plot.series[index].y.push_back(values[index]);
        }
        if (!std::isnan(stretch.p50)) {
            least = std::min(least, stretch.p50);
            most = std::max(most, stretch.maximum);
        }
        plot.hovers.push_back(
            {.from = stretch.from,
             .to = stretch.to,
             .text = fmt::format("{}: p50 {}, p99 {}, max {}", between_text(stretch),
                                 value_text(stretch.p50), value_text(stretch.p99),
                                 value_text(stretch.maximum))});
    }
    plot.x = Axis::of_time(stretches.empty() ? 1 : stretches.back().to);
    plot.y = Axis::of_latency(std::min(least, most), most);
    return plot;
}

Plot throughput_plot(const std::vector<Stretch>& stretches) {
    Plot plot{.title = "throughput over time"};
    plot.series = {{.style = "a", .is_filled = true}, {.style = "d"}};
    double most = 0;
    for (const Stretch& stretch : stretches) {
        for (Series& series : plot.series) {
            series.x.push_back((stretch.from + stretch.to) / 2);
        }
        plot.series[0].y.push_back(stretch.accepted_rate);
        plot.series[1].y.push_back(stretch.failed_rate);
        most = std::max({most, stretch.accepted_rate, stretch.failed_rate});
        plot.hovers.push_back(
            {.from = stretch.from,
             .to = stretch.to,
             .text = fmt::format("{}: {}/s accepted, {}/s failed", between_text(stretch),
                                 decimal_text(stretch.accepted_rate),
                                 decimal_text(stretch.failed_rate))});
    }
    plot.x = Axis::of_time(stretches.empty() ? 1 : stretches.back().to);
    plot.y = Axis::of_rate(most);
    return plot;
}

// The curve ends with the maximum, where 1 / (1 - q) is the number of records.
Series percentiles_of(const Latency& latency, std::string style_name) {
    Series series{.style = std::move(style_name)};
    const auto count = static_cast<double>(latency.count());
    for (std::size_t index = 0; count > 0 && index < percentile_points; ++index) {
        const double x = std::pow(count, static_cast<double>(index) / (percentile_points - 1));
        const bool is_last = index + 1 == percentile_points;
        series.x.push_back(x);
        series.y.push_back(static_cast<double>(latency.at(is_last ? 1 : 1 - 1 / x)));
    }
    return series;
}

Plot percentile_plot(const Result& result) {
    const Latency& message = result.part(Part::message);
    const Latency& end_of_data = result.part(Part::end_of_data);
    Plot plot{.title = "latency by percentile"};
    plot.series = {percentiles_of(end_of_data, "d"), percentiles_of(message, "a")};
    double least = std::numeric_limits<double>::max();
    for (const Latency* latency : {&message, &end_of_data}) {
        if (latency->count() != 0) {
            least = std::min(least, static_cast<double>(latency->at(0)));
        }
    }
    const auto most = static_cast<double>(std::max(message.maximum(), end_of_data.maximum()));
    const auto count = static_cast<double>(std::max(message.count(), end_of_data.count()));
    plot.x = Axis::of_percentiles(count);
    plot.y = Axis::of_latency(std::min(least, most), most);
    const Series& whole = plot.series[1];
    for (std::size_t index = 0; index + 1 < whole.x.size(); ++index) {
        const double quantile = 1 - 1 / whole.x[index + 1];
        plot.hovers.push_back(
            {.from = whole.x[index],
             .to = whole.x[index + 1],
             .text = fmt::format("{:.6g}%: message {}, end of data {}", 100 * quantile,
                                 value_text(static_cast<double>(message.at(quantile))),
                                 value_text(static_cast<double>(end_of_data.at(quantile))))});
    }
    return plot;
}

void append_settings(std::string& out, const Options& options) {
    out += "<dl class=\"settings\">\n";
    for (const auto& [name, value] : settings_of(options)) {
        if (name != "target") {
            fmt::format_to(std::back_inserter(out), "<div><dt>{}</dt><dd>{}</dd></div>\n",
                           html_text(name), html_text(value));
        }
    }
    out += "</dl>\n";
}

void append_tiles(std::string& out, const Result& result) {
    const auto tile = [&](std::string_view value, std::string_view name) {
        fmt::format_to(std::back_inserter(out), "<div><b>{}</b><span>{}</span></div>\n",
                       html_text(value), html_text(name));
    };
    const Latency& message = result.part(Part::message);
    const auto latency_at = [&](double quantile) {
        return message.count() == 0 ? "–" : time_text(static_cast<double>(message.at(quantile)));
    };
    out += "<div class=\"tiles\">\n";
    tile(count_text(result.accepted), share_text(result.accepted, result.sent) + " accepted");
    tile(decimal_text(result.messages_per_second()) + "/s",
         decimal_text(result.octets_per_second() / 1e6) + " MB/s");
    tile(latency_at(0.5), "median latency");
    tile(latency_at(0.99), "99th percentile");
    tile(latency_at(1), "maximum latency");
    tile(count_text(result.lost), "lost");
    out += "</div>\n";
}

void append_counts(std::string& out, const Result& result) {
    const auto row = [&](std::string_view name, std::uint64_t count, std::string_view share,
                         std::string_view meaning) {
        fmt::format_to(std::back_inserter(out),
                       "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td>"
                       "<td class=\"text soft\">{}</td></tr>\n",
                       name, count_text(count), share, meaning);
    };
    const auto of_sent = [&](std::uint64_t count) {
        return html_text(share_text(count, result.sent));
    };
    out += "<h2>Messages</h2>\n<div class=\"scroll\"><table class=\"wide\"><tbody>\n";
    row("sent", result.sent, "",
        fmt::format("in {:.3f} s over {} connections", result.elapsed_seconds(),
                    count_text(result.connections)));
    row("accepted", result.accepted, of_sent(result.accepted), "answered 2xx");
    row("tempfailed", result.tempfailed, of_sent(result.tempfailed), "answered 4xx");
    row("rejected", result.rejected, of_sent(result.rejected), "answered 5xx");
    row("errors", result.errors, of_sent(result.errors),
        "no connection, no answer, or an answer that is no SMTP");
    row("lost", result.lost, of_sent(result.lost),
        "those of the errors that were sent whole: nobody knows what became of them");
    row("late", result.late, of_sent(result.late),
        "sent after they were due though a connection was idle");
    if (result.recipients_refused != 0) {
        row("refused", result.recipients_refused, "", "recipients");
    }
    out += "</tbody></table></div>\n";
}

void append_latencies(std::string& out, const Result& result) {
    const auto is_empty = [](const Latency& latency) { return latency.count() == 0; };
    if (std::ranges::all_of(result.parts, is_empty)) {
        return;
    }
    out += "<h2>Latency</h2>\n<div class=\"scroll\"><table class=\"wide\"><thead><tr>"
           "<th scope=\"col\">part</th>";
    for (const QuantileColumn& column : quantile_columns) {
        fmt::format_to(std::back_inserter(out), "<th scope=\"col\">{}</th>", column.name);
    }
    out += "<th scope=\"col\">mean</th><th scope=\"col\">count</th></tr></thead><tbody>\n";
    for (std::size_t index = 0; index < parts_count; ++index) {
        const Latency& latency = result.parts[index];
        if (latency.count() == 0) {
            continue;
        }
        const bool is_whole = index == static_cast<std::size_t>(Part::message);
        fmt::format_to(std::back_inserter(out), "<tr{}><th scope=\"row\">{}</th>",
                       is_whole ? " class=\"whole\"" : "", part_names[index]);
        for (const QuantileColumn& column : quantile_columns) {
            fmt::format_to(std::back_inserter(out), "<td>{}</td>",
                           time_text(static_cast<double>(latency.at(column.quantile))));
        }
        fmt::format_to(std::back_inserter(out), "<td>{}</td><td>{}</td></tr>\n",
                       time_text(latency.mean()), count_text(latency.count()));
    }
    out += "</tbody></table></div>\n";
}

void append_failures(std::string& out, const Result& result) {
    const auto failures = failures_of(result);
    if (failures.empty()) {
        return;
    }
    out += "<h2>Failures</h2>\n<div class=\"scroll\"><table><tbody>\n";
    for (std::size_t index = 0; index < std::min(failures.size(), failures_shown); ++index) {
        fmt::format_to(std::back_inserter(out), "<tr><td>{}</td><td class=\"text\">{}</td></tr>\n",
                       count_text(failures[index].second), html_text(failures[index].first));
    }
    out += "</tbody></table></div>\n";
    if (failures.size() > failures_shown) {
        fmt::format_to(std::back_inserter(out), "<p class=\"soft\">and {} more kinds</p>\n",
                       failures.size() - failures_shown);
    }
}

void append_figure(std::string& out, const Plot& plot, std::string_view heading,
                   const std::vector<LegendEntry>& legend, std::string_view caption) {
    fmt::format_to(std::back_inserter(out), "<h2>{}</h2>\n", html_text(heading));
    if (!plot.has_points()) {
        out += "<p class=\"soft\">No message was accepted, so there is nothing to show.</p>\n";
        return;
    }
    out += "<figure><div class=\"legend\">";
    for (const LegendEntry& entry : legend) {
        fmt::format_to(std::back_inserter(out),
                       "<span><svg viewBox=\"0 0 34 10\" aria-hidden=\"true\">"
                       "<path class=\"line {}\" d=\"M1 5H33\"/></svg>{}</span>",
                       entry.style, entry.name);
    }
    fmt::format_to(std::back_inserter(out), "</div>\n{}\n<figcaption>{}</figcaption></figure>\n",
                   svg_of(plot), html_text(caption));
}

void append_figures(std::string& out, const Result& result, const Options& options) {
    const std::size_t length =
        std::max<std::size_t>((result.seconds.size() + points_max - 1) / points_max, 1);
    const auto stretches = stretches_of(result, length);
    const std::string point =
        length == 1
            ? std::string("Each point is a second, by when messages were answered.")
            : fmt::format("Each point is {} seconds, by when messages were answered.", length);
    const std::string_view counted =
        options.rate.has_value()
            ? " Latency counts from when a message was due, so that stalls are not hidden."
            : " Latency counts from when a connection was free to send: a server that stalls gets "
              "fewer messages (closed loop).";
    append_figure(out, latency_plot(stretches), "Latency over time",
                  {{.style = "a", .name = "p50"},
                   {.style = "b", .name = "p99"},
                   {.style = "c", .name = "max"}},
                  point + std::string(counted));
    append_figure(out, throughput_plot(stretches), "Throughput over time",
                  {{.style = "a", .name = "accepted"}, {.style = "d", .name = "failed"}}, point);
    append_figure(out, percentile_plot(result), "Latency by percentile",
                  {{.style = "a", .name = "message"}, {.style = "d", .name = "end of data"}},
                  "Message: from its beginning to its answer. End of data: from the last octet to "
                  "the answer. The curves end with the slowest one. Only accepted messages have a "
                  "latency, here and above.");
}

} // namespace

std::string html_of(const Result& result, const Options& options) {
    const std::string target = html_text(options.to_text);
    std::string out = fmt::format("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n"
                                  "<meta charset=\"utf-8\">\n"
                                  "<meta name=\"viewport\" content=\"width=device-width\">\n"
                                  "<title>ringmx-load: {}</title>\n<style>{}</style>\n</head>\n"
                                  "<body>\n<h1>Load on {}</h1>\n",
                                  target, style, target);
    append_settings(out, options);
    if (const std::string limit = generator_limit_of(result, options); !limit.empty()) {
        fmt::format_to(std::back_inserter(out),
                       "<p class=\"alarm\" role=\"alert\"><strong>THE GENERATOR WAS THE LIMIT"
                       "</strong>{}</p>\n",
                       html_text(limit));
    }
    append_tiles(out, result);
    append_latencies(out, result);
    append_counts(out, result);
    append_failures(out, result);
    append_figures(out, result, options);
    out += "</body>\n</html>\n";
    return out;
}

} // namespace ringmx::load
