// The metrics page: every counter, summed over the workers, in Prometheus' text format.
//
// Every metric has its HELP and TYPE lines and is there from the start, with 0 for each reason of a
// closed enum, so that a rate can be drawn from the first event on.
// Thread: main; reads counters that workers write.
// Errors: none.
// Source: Prometheus text exposition format 0.0.4.
#pragma once

#include "base/instant.h"
#include "observe/counters.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace ringmx::observe {

inline constexpr std::string_view metrics_content_type = "text/plain; version=0.0.4; charset=utf-8";

struct MetricsSource {
    std::string_view version;
    std::span<const WorkerCounters* const> workers;
    const BackendRegistry* backends = nullptr;
    std::function<bool(const BackendRow&)>
        backend_up; // asked for configured backends only; unset: all are up
    WallTime started_at{};
    WallTime wall_now{};
    // Of what earlier runs left in the spool, while it is read.
    std::optional<std::uint64_t> spool_unread_bytes = {};
    std::uint64_t log_records_dropped_total = 0; // of logs that belong to no worker
    std::uint64_t config_reloads_total = 0;
    std::uint64_t config_reload_failures_total = 0;
};

void append_metrics(std::string& out, const MetricsSource& source);

} // namespace ringmx::observe
