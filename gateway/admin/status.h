// The JSON of /api/status: version, uptime, workers, connections, messages, the queue, backends.
//
// Out:    one JSON object, appended.
// Thread: main; reads counters that workers write.
// Errors: none.
#pragma once

#include "base/instant.h"
#include "observe/counters.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace ringmx::admin {

struct StatusSource {
    std::string_view version;
    std::string_view hostname;
    WallTime started_at{};
    WallTime wall_now{};
    Instant now{};
    std::string unready; // empty: ready
    // Of what earlier runs left, while it is read: their messages are not counted yet.
    std::optional<std::uint64_t> unread_bytes = {};
    std::span<const observe::WorkerCounters* const> workers;
    const observe::BackendRegistry* backends = nullptr;
    std::function<bool(const observe::BackendRow&)> backend_up; // unset: all are up
};

void append_status(std::string& out, const StatusSource& source);

} // namespace ringmx::admin
