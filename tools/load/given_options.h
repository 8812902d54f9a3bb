// The options of ringmx-load as they were given, and what they mean together.
//
// In:     texts: the fault of one then says what was found and what to give instead.
// Out:    the options, or the first fault, without the program's name and without a line end.
// Thread: the main one; asks the resolver and looks at the corpus's folder.
#pragma once

#include "load/options.h"

#include <expected>
#include <optional>
#include <string>
#include <vector>

namespace ringmx::load {

struct GivenOptions {
    using Text = std::optional<std::string>;

    Text to, connections, workers, messages, duration, timeout, rate, ramp, arrivals, seed;
    Text size, corpus, messages_per_connection, recipients, from, recipient, hello, tls;
    Text proxy, proxy_clients, drip, hostile, json, html, record;
    std::vector<std::string> sources, fail_if;
    bool pipelining = false;
    bool chunking = false;
    bool lmtp = false;
};

[[nodiscard]] std::expected<Options, std::string> options_of(const GivenOptions& given);

} // namespace ringmx::load
