#include "upstream/pool.h"

#include <algorithm>
#include <string>
#include <xxhash.h>

namespace ringmx::upstream {

namespace {

std::uint64_t kind_of(const PoolSettings& settings) {
    std::string text;
    text += static_cast<char>('0' + static_cast<int>(settings.protocol));
    text += static_cast<char>('0' + static_cast<int>(settings.tls));
    text += static_cast<char>('0' + static_cast<int>(settings.client_info));
    text += settings.ca_file;
    return XXH3_64bits(text.data(), text.size());
}

} // namespace

Pool::Pool(const PoolSettings& pool_settings, BackendRegistry& registry)
    : settings(pool_settings), table(pool_settings.backends),
      connection_kind(kind_of(pool_settings)),
      client_share(std::max(1U, pool_settings.max_connections / 4)) {
    states.reserve(settings.backends.size());
    for (const BackendSettings& backend : settings.backends) {
        states.push_back(registry.state_of(settings.name, backend.address));
    }
}

bool has_backend(const Pool& pool, Instant now) {
    return !pool.settings.hold &&
           std::ranges::any_of(pool.table.weighted(), [&](std::uint16_t index) {
               return pool.states[index]->is_offered(now);
           });
}

} // namespace ringmx::upstream
