#include "load/result.h"

#include <algorithm>
#include <string_view>

namespace ringmx::load {
namespace {

constexpr std::string_view other_kind = "other";

using Failures = std::map<std::string, std::uint64_t>;

// One place is kept for "other".
void count_kind(Failures& failures, const std::string& kind, std::uint64_t times) {
    const bool has_other = failures.contains(std::string(other_kind));
    const std::size_t named = failures.size() - (has_other ? 1 : 0);
    const bool fits = named < Result::kinds_max - 1 || failures.contains(kind);
    failures[fits ? kind : std::string(other_kind)] += times;
}

void add_seconds(std::vector<Second>& seconds, const std::vector<Second>& others) {
    seconds.resize(std::max(seconds.size(), others.size()));
    for (std::size_t index = 0; index < others.size(); ++index) {
        seconds[index].accepted += others[index].accepted;
        seconds[index].failed += others[index].failed;
        seconds[index].octets += others[index].octets;
        seconds[index].latency.add(others[index].latency);
    }
}

} // namespace

void Result::count_failure(const std::string& kind) { count_kind(failures, kind, 1); }

void Result::add(const Result& other) {
    sent += other.sent;
    accepted += other.accepted;
    tempfailed += other.tempfailed;
    rejected += other.rejected;
    errors += other.errors;
    lost += other.lost;
    late += other.late;
    octets += other.octets;
    connections += other.connections;
    recipients_refused += other.recipients_refused;
    for (std::size_t index = 0; index < parts.size(); ++index) {
        parts[index].add(other.parts[index]);
    }
    add_seconds(seconds, other.seconds);
    for (const auto& [kind, times] : other.failures) {
        count_kind(failures, kind, times);
    }
    elapsed = std::max(elapsed, other.elapsed);
    busiest_share = std::max(busiest_share, other.busiest_share);
}

double Result::elapsed_seconds() const { return std::chrono::duration<double>(elapsed).count(); }

double Result::messages_per_second() const {
    return elapsed > Duration{0} ? static_cast<double>(accepted) / elapsed_seconds() : 0;
}

double Result::octets_per_second() const {
    return elapsed > Duration{0} ? static_cast<double>(octets) / elapsed_seconds() : 0;
}

bool Result::is_generator_limited(const Options& options) const {
    constexpr double busy_share_max = 0.95; // above it bursts wait for the worker, not the server
    return late > sent / 1000 || (options.rate.has_value() && busiest_share > busy_share_max);
}

double Result::value_of(const Threshold& threshold) const {
    const Latency& latency = part(threshold.part);
    switch (threshold.metric) {
    case Threshold::Metric::quantile:
        return static_cast<double>(latency.at(threshold.quantile));
    case Threshold::Metric::mean:
        return latency.mean();
    case Threshold::Metric::rate:
        return messages_per_second();
    case Threshold::Metric::accepted:
        return static_cast<double>(accepted);
    case Threshold::Metric::tempfailed:
        return static_cast<double>(tempfailed);
    case Threshold::Metric::rejected:
        return static_cast<double>(rejected);
    case Threshold::Metric::errors:
        return static_cast<double>(errors);
    case Threshold::Metric::lost:
        return static_cast<double>(lost);
    case Threshold::Metric::late:
        return static_cast<double>(late);
    }
    return 0;
}

} // namespace ringmx::load
