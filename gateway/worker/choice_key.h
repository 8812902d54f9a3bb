// What chooses a recipient's backend: the hash of the key that the pool's `hash` names.
//
// Thread: any. Errors: none.
// Source: CONTRACT 3 (pools.*.hash).
#pragma once

#include "base/address.h"
#include "base/settings/settings.h"

#include <cstdint>
#include <string_view>

namespace ringmx::worker {

// `recipient_key`: the recipient in canonical form; `reverse_path`: as the client wrote it.
[[nodiscard]] std::uint64_t choice_key(HashKey by, std::string_view recipient_key,
                                       std::string_view reverse_path, const IpAddress& client);

} // namespace ringmx::worker
