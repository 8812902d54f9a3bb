// What serve asks of the operating system before the first octet: descriptors, sockets, who it runs
// as.
// Thread: main, before any other.
// Errors: Error, one line that names the cause.
#pragma once

#include "base/error.h"
#include "base/settings/settings.h"
#include "worker/worker.h"

#include <cstdint>
#include <string>
#include <vector>

namespace ringmx {

[[nodiscard]] std::uint32_t workers_count(const Settings& settings); // auto: one per usable CPU
[[nodiscard]] std::uint64_t quarter_of_memory();
[[nodiscard]] std::uint64_t random_seed();
// Blocks every signal that the main thread takes by itself, for threads to come too; SIGPIPE and
// SIGXFSZ are ignored. Returns the signalfd.
[[nodiscard]] Expected<int> take_signals();

struct BoundListener {
    SocketAddress address; // with the port that 0 became
    std::string purpose;   // "smtp", "admin"
};

struct BoundSockets {
    std::vector<std::vector<worker::ListeningSocket>> workers; // by worker
    int admin = -1;
    int probe = -1; // -1: not configured
    std::vector<BoundListener> bound;
};
[[nodiscard]] Expected<BoundSockets> bind_sockets(const Settings& settings, std::uint32_t workers);

// Empty: stays. For good: supplementary groups, group, user.
[[nodiscard]] Expected<void> switch_user(const std::string& user);
// After the switch: a warning for each file that a reload would not be able to read any more.
[[nodiscard]] std::vector<std::string> reload_warnings(const std::string& config_path,
                                                       const Settings& settings);

} // namespace ringmx
