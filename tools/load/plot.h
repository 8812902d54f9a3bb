// Line plots as SVG inside an HTML page, without script: axes with labelled ticks and a grid, one
// path for each series, and a text for each stretch of the x axis that shows under the pointer.
//
// Colours, fonts and dashes are the page's: elements carry classes ("grid", "tick", "axis",
// "line a", "area a", "dot a", "hover"), and the drawing scales with its width.
//
// In:     values in the units of the axes; NaN is a gap. Points outside an axis are put on its end.
// Out:    one <svg> element.
// Thread: any.
// Errors: none.
#pragma once

#include <string>
#include <vector>

namespace ringmx::load {

struct Axis {
    struct Tick {
        double value;
        std::string label{}; // empty: only a line
    };
    std::string label{}; // what is measured, with its scale
    bool is_logarithmic = false;
    double least = 0;
    double most = 1;
    std::vector<Tick> ticks{};

    // Of the run's time, from 0: "20 s", "5 min", "2 h".
    [[nodiscard]] static Axis of_time(double seconds);
    // Latencies, logarithmic; between steps of 1, 2 and 5 around both.
    [[nodiscard]] static Axis of_latency(double microseconds_least, double microseconds_most);
    // Something a second, from 0.
    [[nodiscard]] static Axis of_rate(double most);
    // x is 1 / (1 - q): 1 is 0%, 10 is 90%, 1,000 is 99.9%.
    [[nodiscard]] static Axis of_percentiles(double most);

    [[nodiscard]] double place_of(double value) const; // 0 at `least`, 1 at `most`
};

struct Series {
    std::string style; // one of the page's: "a", "b", "c"
    bool is_filled = false;
    std::vector<double> x{};
    std::vector<double> y{};
};

struct Plot {
    struct Hover {
        double from; // of x
        double to;
        std::string text; // plain; escaped here
    };
    std::string title; // for those who don't see it
    Axis x{};
    Axis y{};
    std::vector<Series> series{};
    std::vector<Hover> hovers{};

    [[nodiscard]] bool has_points() const;
};

[[nodiscard]] std::string svg_of(const Plot& plot);

// Text inside an element or a quoted attribute; what a log line would not show is escaped too.
[[nodiscard]] std::string html_text(std::string_view text);

} // namespace ringmx::load
