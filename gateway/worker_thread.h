// One worker on its thread: its port, its counters, its log, and the messages on their way to it.
//
// Life:   start(), post() as needed; when finished(), release() lets the thread take the worker and
//         its ring apart (a ring ends on its own thread), and the destructor joins. Release all
//         workers before one is destroyed: a worker may wake another until it has left its loop.
// Thread: main's, save what runs on the worker's own.
// Errors: none.
#pragma once

#include "observe/log_writer.h"
#include "ring/uring_port.h"
#include "worker/worker.h"

#include <atomic>
#include <deque>
#include <memory>
#include <semaphore>
#include <thread>

namespace ringmx {

class WorkerThread {
  public:
    WorkerThread(std::unique_ptr<ring::UringPort> port, observe::Log& log)
        : port_(std::move(port)), log_(log) {}
    ~WorkerThread();
    WorkerThread(const WorkerThread&) = delete;
    WorkerThread& operator=(const WorkerThread&) = delete;

    // `options` without port, counters and log. Returns when the worker is made.
    void start(worker::Worker::Options options);
    [[nodiscard]] bool is_started() const { return worker_ != nullptr; }
    // Never refused: what the inbox has no room for waits here.
    void post(worker::Inbox message);
    void deliver_pending();
    // What it was asked about the queue, or the cache of verification.
    template <typename Answer> [[nodiscard]] bool take_answer(Answer& answer) {
        return worker_ != nullptr && !is_released_ && worker_->take_answer(answer);
    }
    // Its thread has left the worker's loop and wakes nobody any more.
    [[nodiscard]] bool finished() const {
        return worker_ == nullptr || has_left_.load(std::memory_order_acquire);
    }
    void release();

    [[nodiscard]] ring::Waker& waker() { return port_->waker(); }
    [[nodiscard]] observe::WorkerCounters& counters() { return counters_; }
    [[nodiscard]] const observe::Log& log() const { return log_; }

  private:
    std::unique_ptr<ring::UringPort> port_;
    observe::WorkerCounters counters_;
    observe::Log& log_;
    std::unique_ptr<worker::Worker> worker_;
    std::deque<worker::Inbox> pending_;
    std::binary_semaphore made_{0};
    std::binary_semaphore released_{0};
    std::atomic<bool> has_left_{false};
    bool is_released_ = false;
    std::thread thread_;
};

} // namespace ringmx
