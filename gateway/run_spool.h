// The spool as serve has it: the directory, the thread that keeps its files, and what earlier runs
// left.
//
// Life:   open() before any thread; start() once there are wakers; options_of() for each worker;
//         recovered() until it has given what was found, a part for each worker; stop() when every
//         worker has left its loop, before its ring ends.
// Thread: main's.
// Errors: open() with Error; later ones are notices, and answers to clients.
#pragma once

#include "base/error.h"
#include "base/settings/settings.h"
#include "observe/counters.h"
#include "ring/port.h"
#include "spool_directory.h"
#include "spool_keeper.h"
#include "spool_notices.h"
#include "spool_recovery.h"
#include "spool_sizes.h"
#include "worker/worker.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace ringmx {

class RunSpool {
  public:
    // Null when no listener needs it.
    [[nodiscard]] static Expected<std::unique_ptr<RunSpool>> open(const Settings& settings,
                                                                  std::uint32_t workers);

    // That its segments take, about: its own, and as many of earlier runs.
    [[nodiscard]] static std::uint64_t descriptors(const Settings& settings, std::size_t workers);

    // A warning where the spool is not opened, and has been used; else empty.
    [[nodiscard]] static std::string left_behind(const Settings& settings);

    void start(const std::vector<ring::Waker*>& workers, ring::Waker& main);
    [[nodiscard]] worker::SpoolOptions options_of(std::uint32_t worker);
    // One message to each worker, once.
    [[nodiscard]] std::vector<worker::Inbox> recovered();
    [[nodiscard]] std::uint32_t generation() const { return generation_; }
    [[nodiscard]] bool is_reading() const { return recovery_ != nullptr; }
    // What is still to be read of what earlier runs left; nothing: all of it is in the workers' queues,
    // and counted.
    [[nodiscard]] std::optional<std::uint64_t>
    unread_bytes(std::span<const observe::WorkerCounters* const> workers) const;
    [[nodiscard]] std::vector<SpoolNotice> take_notices() { return notices_.take(); }
    // Why no worker takes mail into it; empty: one does.
    [[nodiscard]] std::string
    unready(std::span<const observe::WorkerCounters* const> workers) const;
    void stop();

  private:
    RunSpool(SpoolDirectory directory, const SpoolSizes& sizes, std::uint32_t workers)
        : directory_(std::move(directory)), sizes_(sizes), workers_(workers),
          generation_(directory_->generation()) {}

    SpoolNotices notices_;
    std::optional<SpoolDirectory> directory_; // until the keeper has it
    SpoolSizes sizes_;
    std::uint32_t workers_;
    std::uint32_t generation_;
    std::unique_ptr<SpoolRecovery> recovery_; // while it reads
    std::unique_ptr<SpoolKeeper> keeper_;
};

} // namespace ringmx
