// A personality file: one JSON object to a Personality, or every fault in it at once.
//
//   { "rcpt": { "tempfail": 0.1, "delay": "50ms" },
//     "content": { "disconnect": 0.01, "after": "64KiB" },
//     "greylist": { "delay": "5s", "entries": 10000 },
//     "storm": { "every": "1m", "lasts": "10s" },
//     "idle": { "timeout": "3s", "reply": false } }
//
// In:     `into` holds the defaults; what the file doesn't say stays.
// Out:    faults as the gateway's config has them; none: `into` is what the file says.
// Thread: any; blocks on the disk.
// Errors: faults.
#pragma once

#include "config/fault.h"
#include "sink/personality.h"

#include <string>
#include <string_view>
#include <vector>

namespace ringmx::sink {

[[nodiscard]] std::vector<config::Fault> load_personality(const std::string& file,
                                                          Personality& into);
[[nodiscard]] std::vector<config::Fault> parse_personality(std::string_view json,
                                                           Personality& into);

} // namespace ringmx::sink
