// From the threads that log to stderr, without ever making them wait.
//
//   worker ── Log (one SPSC ring) ──┐
//   worker ── Log ──────────────────┼──▶ log thread: format, one write() a batch ──▶ stderr
//   main   ── Log ──────────────────┘
//
// A Log belongs to one writing thread: begin() gives a record to fill in place, or null when the
// event is below the level or the ring is full; commit() hands it over. What finds the ring full is
// counted, and a line "N log records were lost" follows as soon as there is room. The log thread
// sleeps on an eventfd; the first record after a pause wakes it, those of the next milliseconds
// ride along.
//
// A reader of stderr that is slow or stuck makes the log thread wait, then the rings fill, then
// records are counted as lost: the gateway goes on. A reader that is gone (EPIPE) loses lines, no
// more: SIGPIPE can't reach the process from here.
//
// Thread: LogWriter belongs to main (add_log, start, stop, configure); begin() and commit() to the
//         Log's owner; dropped_total() to any.
// Bound:  records_max records of 1 KiB per Log. Zero allocation and at most one system call (a
//         wake) for a record.
#pragma once

#include "base/settings/settings.h"
#include "base/spsc_ring.h"
#include "observe/log_record.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

namespace ringmx::observe {

class LogWriter;

class Log {
  public:
    // Null: below the level, or no room (counted). The record is the owner's until commit();
    // begin() again without it starts over.
    [[nodiscard]] LogRecord* begin(LogEvent event, WallTime now) {
        return begin(event, default_level(event), now);
    }
    [[nodiscard]] LogRecord* begin(LogEvent event, LogLevel level, WallTime now);
    void commit();

    [[nodiscard]] bool wants(LogLevel level) const;
    [[nodiscard]] std::uint64_t dropped_total() const {
        return dropped_.load(std::memory_order_relaxed);
    }

    Log(LogWriter& writer, std::size_t records_max);

  private:
    friend class LogWriter;

    LogWriter& writer_;
    SpscRing<LogRecord> ring_;
    std::atomic<std::uint64_t> dropped_{0};
    std::uint64_t dropped_reported_ = 0; // the log thread's
};

class LogWriter {
  public:
    static constexpr std::size_t records_max =
        4096; // 4 MiB a worker: about 40 ms of two lines a message at 50,000 messages/s

    // `descriptor` stays the caller's; `pid` is what lines say.
    LogWriter(const LogSettings& settings, int descriptor, std::int64_t pid);
    ~LogWriter(); // stops
    LogWriter(const LogWriter&) = delete;
    LogWriter& operator=(const LogWriter&) = delete;

    // A Log for one thread; lives as long as the writer.
    [[nodiscard]] Log& add_log(std::size_t capacity = records_max);

    // New level, format, prefix; from the next record on.
    void configure(const LogSettings& settings);

    // The log thread; before it, and after stop(), flush() does the work.
    void start();
    // Writes what there is, waiting at most a second for a reader that is stuck; ends the thread.
    void stop();
    // Everything that is committed, now, on the calling thread. Only while the log thread isn't
    // running.
    void flush();

    // Lines that could not be written (the reader is gone, or stop() gave up).
    [[nodiscard]] std::uint64_t lines_failed_total() const {
        return lines_failed_.load(std::memory_order_relaxed);
    }

  private:
    friend class Log;

    void run();
    bool drain_once(); // whether there was anything
    void report_lost(Log& log);
    void append_line(const LogRecord& record);
    void write_out();
    bool wait_writable();
    void wake();
    void hurry(); // a ring is half full
    void signal();
    bool pause(int milliseconds); // on the eventfd; true when woken

    const int descriptor_;
    const std::int64_t pid_;
    int wake_descriptor_ = -1;
    std::atomic<LogLevel> level_;
    std::atomic<bool> is_asleep_{false};
    std::atomic<bool> is_hurried_{false};
    std::atomic<bool> is_stopping_{false};
    std::atomic<std::uint64_t> lines_failed_{0};
    std::mutex
        mutex_; // guards logs_, format_ and prefix_: main changes them, the log thread reads them
    std::deque<Log> logs_;
    LogFormat format_;
    std::string prefix_;
    struct Output;
    std::unique_ptr<Output> output_;
    std::thread thread_;
};

inline bool Log::wants(LogLevel level) const {
    return level >= writer_.level_.load(std::memory_order_relaxed);
}

} // namespace ringmx::observe
