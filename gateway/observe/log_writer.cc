#include "observe/log_writer.h"

#include "base/assert.h"
#include "observe/log_line.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <ctime>
#include <fmt/format.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace ringmx::observe {
namespace {

// Records that arrive within this time after a drain ride along without a wake, unless a ring fills up by half before. A wake costs about
// as much as a line: at 2 ms a message of 1 MiB cost 64 µs more than without logs.
constexpr int gather_ms = 25;
// A wake can't be lost for longer than this: a worker that published before it could see
// is_asleep_, by the time that a store takes to become visible, is found by the scan after
// gather_ms; this is for what nobody thought of.
constexpr int sleep_ms = 1000;
// How long stop() waits for a stuck reader.
constexpr int stop_wait_ms = 1000;
constexpr std::size_t batch_bytes = 64 * 1024; // lines gathered before a write()

enum class Target : std::uint8_t { socket, file, other };

Target target_of(int descriptor) {
    struct stat about{};
    if (fstat(descriptor, &about) != 0) {
        return Target::other;
    }
    return S_ISSOCK(about.st_mode)  ? Target::socket
           : S_ISREG(about.st_mode) ? Target::file
                                    : Target::other;
}

// One write that doesn't block, though the descriptor may be in blocking mode (it is shared with
// whoever started us, so its mode is not ours to change): a socket is told so by a flag; a pipe or
// terminal that polls writable takes PIPE_BUF octets.
ssize_t write_some(int descriptor, Target target, const char* data, std::size_t size) {
    if (target == Target::socket) {
        return send(descriptor, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    if (target == Target::file) {
        return write(descriptor, data, size);
    }
    pollfd ready{descriptor, POLLOUT, 0};
    if (poll(&ready, 1, 0) == 0) {
        errno = EAGAIN;
        return -1;
    }
    return write(descriptor, data, std::min<std::size_t>(size, PIPE_BUF));
}

// While it lives, this thread takes no signal: SIGPIPE of a write stays pending and is taken away,
// every other one goes to main.
class NoSignals {
  public:
    NoSignals() {
        sigset_t all;
        sigfillset(&all);
        pthread_sigmask(SIG_BLOCK, &all, &before_);
        sigset_t pending;
        sigpending(&pending);
        was_pending_ = sigismember(&pending, SIGPIPE) == 1;
    }
    ~NoSignals() {
        if (!was_pending_) {
            sigset_t pipe;
            sigemptyset(&pipe);
            sigaddset(&pipe, SIGPIPE);
            const timespec at_once{};
            while (sigtimedwait(&pipe, nullptr, &at_once) == -1 && errno == EINTR) {
            }
        }
        pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    }
    NoSignals(const NoSignals&) = delete;
    NoSignals& operator=(const NoSignals&) = delete;

  private:
    sigset_t before_;
    bool was_pending_ = false;
};

} // namespace

struct LogWriter::Output {
    fmt::memory_buffer text;
    std::uint64_t lines = 0;
    WallTime last_time{}; // of the latest record: the log thread reads no clock
    int waited_ms = 0;    // for a stuck reader since stop() was asked for
};

Log::Log(LogWriter& writer, std::size_t records_max) : writer_(writer), ring_(records_max) {}

LogRecord* Log::begin(LogEvent event, LogLevel level, WallTime now) {
    if (!wants(level)) {
        return nullptr;
    }
    LogRecord* record = ring_.push_slot();
    if (record == nullptr) {
        dropped_.store(dropped_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
        return nullptr;
    }
    record->clear(event, level, now);
    return record;
}

void Log::commit() {
    ring_.publish();
    if (writer_.is_asleep_.load(std::memory_order_relaxed)) {
        writer_.wake();
    } else if (ring_.is_over_half()) {
        writer_.hurry();
    }
}

LogWriter::LogWriter(const LogSettings& settings, int descriptor, std::int64_t pid)
    : descriptor_(descriptor), pid_(pid), level_(settings.level), format_(settings.format),
      prefix_(settings.prefix), output_(std::make_unique<Output>()) {
    wake_descriptor_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

LogWriter::~LogWriter() {
    stop();
    if (wake_descriptor_ >= 0) {
        close(wake_descriptor_);
    }
}

Log& LogWriter::add_log(std::size_t capacity) {
    const std::lock_guard lock(mutex_);
    return logs_.emplace_back(*this, capacity);
}

void LogWriter::configure(const LogSettings& settings) {
    const std::lock_guard lock(mutex_);
    level_.store(settings.level, std::memory_order_relaxed);
    format_ = settings.format;
    prefix_ = settings.prefix;
}

void LogWriter::start() {
    RINGMX_ASSERT(!thread_.joinable());
    is_stopping_.store(false);
    const NoSignals masked; // the thread inherits the mask
    thread_ = std::thread([this] { run(); });
}

void LogWriter::stop() {
    if (thread_.joinable()) {
        is_stopping_.store(true);
        wake();
        thread_.join();
    }
    flush();
}

void LogWriter::flush() {
    RINGMX_ASSERT(!thread_.joinable());
    output_->waited_ms = 0;
    is_stopping_.store(true); // bounds the wait for a stuck reader
    const NoSignals masked;
    while (drain_once()) {
    }
}

void LogWriter::run() {
    while (true) {
        const bool is_last = is_stopping_.load();
        is_hurried_.store(false); // before the drain: a ring that fills during it is seen
        if (drain_once()) {
            pause(gather_ms);
            continue;
        }
        if (is_last) {
            return;
        }
        is_asleep_.store(true);
        if (!pause(gather_ms) && !drain_once()) {
            pause(sleep_ms);
        }
        is_asleep_.store(false);
    }
}

// Takes what each ring holds now, no more: a ring that is filled all the time can't keep the others
// waiting.
bool LogWriter::drain_once() {
    bool any = false;
    std::size_t logs_count = 0;
    {
        const std::lock_guard lock(mutex_);
        logs_count = logs_.size();
    }
    for (std::size_t index = 0; index < logs_count; ++index) {
        std::unique_lock lock(mutex_);
        Log& log = logs_[index]; // stays where it is; main may add others meanwhile
        for (std::size_t taken = 0; taken < log.ring_.capacity(); ++taken) {
            const LogRecord* record = log.ring_.front();
            if (record == nullptr) {
                break;
            }
            append_line(*record);
            log.ring_.pop_front();
            any = true;
            if (output_->text.size() >= batch_bytes) {
                lock.unlock(); // main must not wait for whoever reads stderr
                write_out();
                lock.lock();
            }
        }
        report_lost(log); // behind what it did hold: they were lost after these
    }
    any = any || output_->text.size() > 0;
    write_out();
    return any;
}

void LogWriter::report_lost(Log& log) {
    const std::uint64_t dropped = log.dropped_total();
    if (dropped == log.dropped_reported_) {
        return;
    }
    LogRecord record;
    record.clear(LogEvent::records_lost, default_level(LogEvent::records_lost), output_->last_time);
    record.count(dropped - log.dropped_reported_);
    append_line(record);
    log.dropped_reported_ = dropped;
}

void LogWriter::append_line(const LogRecord& record) {
    output_->last_time = record.time();
    switch (format_) {
    case LogFormat::text:
        append_text_line(output_->text, record, prefix_, pid_);
        break;
    case LogFormat::json:
        append_json_line(output_->text, record, pid_);
        break;
    }
    ++output_->lines;
}

void LogWriter::write_out() {
    const char* data = output_->text.data();
    std::size_t left = output_->text.size();
    const Target target = target_of(descriptor_);
    while (left > 0) {
        const ssize_t written = write_some(descriptor_, target, data, left);
        if (written >= 0) {
            data += written;
            left -= static_cast<std::size_t>(written);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            if (!wait_writable()) {
                break;
            }
        } else if (errno != EINTR) {
            break; // EPIPE, EIO, ENOSPC: these lines are gone; the next batch tries anew
        }
    }
    if (left > 0) {
        lines_failed_.store(lines_failed_.load(std::memory_order_relaxed) + output_->lines,
                            std::memory_order_relaxed);
    }
    output_->text.clear();
    output_->lines = 0;
}

// False when it is time to give up: stop() was asked for and the reader is still stuck.
bool LogWriter::wait_writable() {
    constexpr int step_ms = 50; // how soon stop() is noticed
    pollfd target{descriptor_, POLLOUT, 0};
    poll(&target, 1, step_ms);
    if (!is_stopping_.load()) {
        return true;
    }
    output_->waited_ms += (target.revents & POLLOUT) != 0 ? 0 : step_ms;
    return output_->waited_ms < stop_wait_ms;
}

void LogWriter::wake() {
    if (is_asleep_.exchange(false) || is_stopping_.load(std::memory_order_relaxed)) {
        signal();
    }
}

void LogWriter::hurry() {
    if (!is_hurried_.load(std::memory_order_relaxed) && !is_hurried_.exchange(true)) {
        signal();
    }
}

void LogWriter::signal() {
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t ignored = write(wake_descriptor_, &one, sizeof one);
}

bool LogWriter::pause(int milliseconds) {
    pollfd target{wake_descriptor_, POLLIN, 0};
    if (poll(&target, 1, milliseconds) <= 0) {
        return false;
    }
    std::uint64_t count = 0;
    [[maybe_unused]] const ssize_t ignored = read(wake_descriptor_, &count, sizeof count);
    return true;
}

} // namespace ringmx::observe
