// What the threads that work on the spool's files want in the log.
//
// Thread: add() any, take() one.
// Errors: none.
#pragma once

#include "base/settings/settings.h"

#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace ringmx {

struct SpoolNotice {
    LogLevel level = LogLevel::info;
    std::string text;
};

class SpoolNotices {
  public:
    void add(LogLevel level, std::string text) {
        const std::scoped_lock lock(mutex_);
        notices_.push_back({level, std::move(text)});
    }
    [[nodiscard]] std::vector<SpoolNotice> take() {
        const std::scoped_lock lock(mutex_);
        return std::exchange(notices_, {});
    }

  private:
    std::mutex mutex_;
    std::vector<SpoolNotice> notices_;
};

} // namespace ringmx
