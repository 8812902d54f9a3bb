#include "load/progress.h"

#include "load/figures.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

namespace ringmx::load {
namespace {

std::uint64_t whole_seconds(Duration time) {
    return static_cast<std::uint64_t>(std::max<Duration>(time, Duration{0}) / 1s);
}

// By the clock or by the number of messages, whichever ends the run later by what is known.
std::string left(const Standing& now, double rate, Duration elapsed, const Options& options) {
    if (options.duration > Duration{0}) {
        return fmt::format(" | {} s left", whole_seconds(options.duration - elapsed));
    }
    if (options.messages > now.sent && rate > 0) {
        return fmt::format(" | {:.0f} s left",
                           static_cast<double>(options.messages - now.sent) / rate);
    }
    return {};
}

} // namespace

Standing Standing::of(const std::vector<std::unique_ptr<Worker>>& workers) {
    Standing sum;
    for (const std::unique_ptr<Worker>& worker : workers) {
        const Progress& one = worker->progress();
        sum.sent += one.sent.load(std::memory_order_relaxed);
        sum.accepted += one.accepted.load(std::memory_order_relaxed);
        sum.failed += one.failed.load(std::memory_order_relaxed);
        sum.in_flight += one.in_flight.load(std::memory_order_relaxed);
        sum.waiting += one.waiting.load(std::memory_order_relaxed);
    }
    return sum;
}

std::string progress_line(const Standing& now, const Standing& before, Duration since,
                          Duration elapsed, const Options& options) {
    const double seconds = std::chrono::duration<double>(since).count();
    const double rate =
        seconds > 0 ? static_cast<double>(now.accepted - before.accepted) / seconds : 0;
    return fmt::format(
        "{} s | {}/s | sent {}, accepted {}, failed {}, in flight {}, waiting {}{}",
        whole_seconds(elapsed), count_text(static_cast<std::uint64_t>(std::llround(rate))),
        count_text(now.sent), count_text(now.accepted), count_text(now.failed),
        count_text(now.in_flight), count_text(now.waiting), left(now, rate, elapsed, options));
}

} // namespace ringmx::load
