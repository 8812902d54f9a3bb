// The command line of ringmx-sink.
//
// parse_options() gives the options, or the text and the exit code that the program ends with:
// --help and --version (0, to stdout), or one line that names the fault and the mend, or a report
// of a personality file's faults (2, to stderr).
// Thread: the main one.
// Source: section 8 of the contract's load tools; --seed, --hostname and --personality are
// additions.
#pragma once

#include "base/address.h"
#include "sink/personality.h"

#include <cstdint>
#include <expected>
#include <string>
#include <vector>

namespace ringmx::sink {

struct Options {
    std::vector<SocketAddress> listen;
    unsigned workers = 1;
    bool lmtp = false;
    bool offer_pipelining = true;
    bool offer_chunking = true;
    // One for each of `listen`: what the command line says of the end of data, and over that what
    // the listener's file says.
    std::vector<Personality> personalities;
    bool has_personality_files = false;
    std::string store;  // folder; empty: nothing is stored
    std::string json;   // file; empty: stdout
    std::string record; // file; empty: no record
    std::string hostname = "localhost";
    std::uint64_t seed = 1;
};

struct Ending {
    int code = 0;
    std::string text; // whole lines
};

inline constexpr unsigned workers_max = 1024;

[[nodiscard]] std::expected<Options, Ending> parse_options(int count, const char* const* arguments);

} // namespace ringmx::sink
