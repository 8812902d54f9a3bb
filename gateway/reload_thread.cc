#include "reload_thread.h"

#include "base/assert.h"

#include <utility>

namespace ringmx {

ReloadThread::~ReloadThread() {
    if (thread_.joinable()) {
        thread_.join();
    }
}

void ReloadThread::start(const std::string& config_path) {
    RINGMX_ASSERT(!is_running());
    is_done_.store(false, std::memory_order_relaxed);
    thread_ = std::thread([this, config_path] {
        result_.emplace(read_configuration(config_path, config::Purpose::serve));
        is_done_.store(true, std::memory_order_release);
        waker_.wake();
    });
}

std::optional<ReloadThread::Result> ReloadThread::take() {
    if (!is_running() || !is_done_.load(std::memory_order_acquire)) {
        return std::nullopt;
    }
    thread_.join();
    return std::exchange(result_, std::nullopt);
}

} // namespace ringmx
