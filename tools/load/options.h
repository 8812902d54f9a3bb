// The command line of ringmx-load.
//
// parse_options() gives what to do, or the text and the exit code that the program ends with:
// --help and --version (0, to stdout), or one line that names the fault and the mend (2, to
// stderr).
// Units: octets (1KiB, 10MiB), times (500ms, 30s, 5m), rates ("50" is a second's, "50/1s"), as in
//        ringmx's configuration.
// Thread: the main one.
// Source: section 8 of the contract; what goes beyond it says so in --help.
#pragma once

#include "base/address.h"
#include "base/instant.h"
#include "load/schedule.h"
#include "load/threshold.h"

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace ringmx::load {

// Both ends belong to it.
struct SizeRange {
    std::uint64_t least = 4096;
    std::uint64_t most = 4096;
};
struct CountRange {
    std::uint32_t least = 1;
    std::uint32_t most = 1;
};

enum class ProxyVersion : std::uint8_t { none, v1, v2 };

// What a client does that no honest one would.
enum class Hostility : std::uint8_t {
    none,
    drip,       // message data comes a few octets at a time
    abort,      // the connection ends (by RST) in the middle of message data
    never_read, // replies are not read after the first
    reconnect,  // the connection ends as soon as it is made, again and again
};

struct Options {
    std::string to_text; // as given, for reports
    SocketAddress to;
    std::uint32_t connections = 10;
    std::uint64_t messages = 0; // 0: not bounded by number
    Duration duration{0};       // 0: not bounded by time
    std::optional<Rate> rate;   // open loop
    Arrivals arrivals = Arrivals::poisson;
    SizeRange size;
    std::string corpus;                        // folder; empty: generated messages
    std::uint64_t messages_per_connection = 0; // 0: no bound
    CountRange recipients;
    std::string from = "sender@load.example";
    // '%' stands for the recipient's number (sequence of the message and of the recipient in it).
    std::string recipient = "user%@load.example";
    std::string hello = "load.example";
    bool pipelining = false;
    bool chunking = false;
    bool lmtp = false;
    unsigned workers = 1;
    Duration timeout{std::chrono::minutes(5)}; // for each reply
    std::vector<Network> sources; // addresses of ours to connect from; empty: the system's
    ProxyVersion proxy = ProxyVersion::none;
    Network proxy_clients; // whose addresses the PROXY headers name
    Hostility hostility = Hostility::none;
    std::uint32_t drip_octets = 1; // of each drip,
    Duration drip_pause{1s};       // and the time between two
    std::string json;
    std::string html;
    std::string record;
    std::vector<Threshold> fail_if;
    std::uint64_t seed = 1;
};

struct AuditOptions {
    std::string sent;
    std::vector<std::string> received;
};

struct Ending {
    int code = 0;
    std::string text; // whole lines
};

inline constexpr unsigned workers_max = 1024;
inline constexpr std::uint32_t connections_max = 1'000'000;

[[nodiscard]] std::expected<std::variant<Options, AuditOptions>, Ending>
parse_options(int count, const char* const* arguments);

} // namespace ringmx::load
