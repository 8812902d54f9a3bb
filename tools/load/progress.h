// The line that a terminal shows while the load runs.
//
//   12 s | 5,012/s | sent 60,140, accepted 60,120, failed 0, in flight 20, waiting 0 | 18 s left
//
// Thread: the main one, reading the workers' counters.
// Errors: none.
#pragma once

#include "load/options.h"
#include "load/worker.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace ringmx::load {

// The workers' counters at one moment, added up.
struct Standing {
    std::uint64_t sent = 0;
    std::uint64_t accepted = 0;
    std::uint64_t failed = 0;
    std::uint64_t in_flight = 0;
    std::uint64_t waiting = 0;

    [[nodiscard]] static Standing of(const std::vector<std::unique_ptr<Worker>>& workers);
};

// `before` was the standing `since` ago. No line end.
[[nodiscard]] std::string progress_line(const Standing& now, const Standing& before, Duration since,
                                        Duration elapsed, const Options& options);

} // namespace ringmx::load
