// The sections about the client's side: `listeners` and `tls`, and local addresses as such.
//
// Thread: one.
// Errors: into `faults` or the reader's own.
#pragma once

#include "base/settings/settings.h"
#include "config/object_reader.h"
#include "config/sources.h"

#include <optional>
#include <string_view>

namespace ringmx::config {

void read_listeners(ObjectReader& root, Settings& settings, Sources& sources, Faults& faults);
void read_tls(simdjson::dom::element value, Settings& settings, const Sources& sources,
              Faults& faults);

// HOST:PORT or [V6]:PORT that a socket can be bound to: HOST is an IPv4 address or "localhost",
// PORT is not 0.
[[nodiscard]] std::optional<SocketAddress> parse_listen_address(std::string_view text);
// Such a member; nullopt when absent, or with a fault when it is none.
[[nodiscard]] std::optional<SocketAddress> read_listen_address(ObjectReader& reader,
                                                               std::string_view key);

} // namespace ringmx::config
