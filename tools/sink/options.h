// The command line of ringmx-sink.
//
// parse_options() gives the options, or the text and the exit code that the program ends with:
// --help and --version (0, to stdout), or one line that names the fault and the mend (2, to
// stderr).
// Thread: the main one.
// Source: section 8 of the contract's load tools; --seed and --hostname are additions.
#pragma once

#include "base/address.h"
#include "base/instant.h"

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
    // Of a message's final replies; what is left of 1 is taken. Where they add up to more, the
    // first in the order disconnect, tempfail, reject has its share.
    double tempfail = 0;
    double reject = 0;
    double disconnect = 0;
    Duration delay{0};  // before a final reply
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
