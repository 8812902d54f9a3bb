#include "worker_thread.h"

namespace ringmx {

WorkerThread::~WorkerThread() {
    release();
    if (thread_.joinable()) {
        thread_.join();
    }
}

void WorkerThread::start(worker::Worker::Options options) {
    options.port = port_.get();
    options.counters = &counters_;
    options.log = &log_;
    counters_.beat(port_->now()); // it counts as alive until its first turn
    ring::Waker* main_waker = options.main_waker;
    thread_ = std::thread([this, main_waker, made = std::move(options)]() mutable {
        worker_ = std::make_unique<worker::Worker>(std::move(made));
        made_.release();
        worker_->run();
        has_left_.store(true, std::memory_order_release);
        main_waker->wake();
        released_.acquire();
        worker_.reset();
        port_.reset();
    });
    made_.acquire();
}

void WorkerThread::post(worker::Inbox message) {
    using Kind = worker::Inbox::Kind;
    if (message.kind == Kind::snapshot && !pending_.empty() &&
        pending_.back().kind == Kind::snapshot) {
        pending_.pop_back(); // only the newest counts
    }
    pending_.push_back(std::move(message));
    deliver_pending();
}

void WorkerThread::deliver_pending() {
    if (worker_ == nullptr || is_released_) {
        return;
    }
    while (!pending_.empty() && worker_->post(std::move(pending_.front()))) {
        pending_.pop_front();
    }
}

void WorkerThread::release() {
    if (!is_released_) {
        is_released_ = true;
        released_.release();
    }
}

} // namespace ringmx
