// Reads a configuration on a thread of its own: a file of a million recipients takes seconds, and a
// disk may not answer at all, while the main loop has probes and the admin address to serve.
//
// Life:   start(), then take() until it gives the result, then start() again. The destructor joins.
// Thread: main's, save the reading itself.
// Errors: as read_configuration().
#pragma once

#include "configuration.h"
#include "ring/port.h"

#include <atomic>
#include <optional>
#include <string>
#include <thread>

namespace ringmx {

class ReloadThread {
  public:
    using Result = std::expected<Configuration, std::vector<config::Fault>>;

    // `waker` is woken once there is a result.
    explicit ReloadThread(ring::Waker& waker) : waker_(waker) {}
    ~ReloadThread();
    ReloadThread(const ReloadThread&) = delete;
    ReloadThread& operator=(const ReloadThread&) = delete;

    void start(const std::string& config_path); // not while it is running
    [[nodiscard]] bool is_running() const { return thread_.joinable(); }
    [[nodiscard]] std::optional<Result> take(); // nullopt: none yet

  private:
    ring::Waker& waker_;
    std::optional<Result> result_; // the thread's until is_done_
    std::atomic<bool> is_done_{false};
    std::thread thread_;
};

} // namespace ringmx
