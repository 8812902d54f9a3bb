// The server that a run is aimed at, from its text: HOST:PORT, [V6]:PORT or unix:/path.
//
// A numeric host is taken as it is, "localhost" is 127.0.0.1 (as ringmx-sink takes it), any other
// name is asked of the system's resolver, once: the first of its addresses is the target.
// Thread: the main one; waits for the resolver.
// Errors: what was found and what is expected, for the command line.
#pragma once

#include "base/address.h"

#include <expected>
#include <string>

namespace ringmx::load {

[[nodiscard]] std::expected<SocketAddress, std::string> find_target(const std::string& text);

} // namespace ringmx::load
