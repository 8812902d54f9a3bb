// A pool as a worker uses it: its settings, its slot table and the shared states of its backends.
// Part of the config snapshot.
//
// Thread: built by main, then immutable (the states are shared atomics); any.
// Errors: none.
#pragma once

#include "base/settings/settings.h"
#include "upstream/backend_state.h"
#include "upstream/slot_table.h"

#include <cstdint>
#include <memory>
#include <vector>

namespace ringmx::upstream {

struct Pool {
    Pool(const PoolSettings& pool_settings, BackendRegistry& registry);

    PoolSettings settings;
    SlotTable table;
    std::vector<std::shared_ptr<BackendState>> states; // by the index in settings.backends
    // Equal for pools whose connections are interchangeable (protocol, tls, ca_file, client_info):
    // an idle connection from before a reload is reused only under the same value.
    std::uint64_t connection_kind;
    // At most so many connections to one backend are held by one client: a quarter, at least 1.
    std::uint32_t client_share;
};

// Whether some backend with a weight is offered, and the pool is not on hold: "no pool at all has a
// backend" is when this is false for every pool.
[[nodiscard]] bool has_backend(const Pool& pool, Instant now);

} // namespace ringmx::upstream
