// What tests of spooled mail have in common.
#pragma once

#include "sim/worker_rig.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ringmx::sim {

[[nodiscard]] RigOptions spooling(std::uint32_t workers = 1);

// EHLO is over; the reply to the whole message, or to MAIL where that is refused.
[[nodiscard]] std::string send_message(Rig& rig, Client& client, std::string_view content,
                                       std::string_view recipient = "<user@one.example>");

[[nodiscard]] std::string content_of_100_kb();

// The octets of each message that this backend took.
[[nodiscard]] std::vector<std::string> taken(const ScriptedBackend& backend);

} // namespace ringmx::sim
