// ringmx-load: sends mail as a benchmark wants it, and tells what became of it.
//
// Opens everything first (a fault ends it with 2 and one line), then runs its workers, each on its
// own thread, shows progress on a terminal, and ends with a table on stdout and the files that were
// asked for. SIGINT or SIGTERM: what is under way is finished, then the same; a second one ends it
// at once (130).
//
// Exit: 0 if every message was accepted and no --fail-if condition holds, else 1; 2 for faults of
//       the command line or the machine. `audit`: 0 passed, 1 not, 2 a file can't be read.
#include "load/audit.h"
#include "load/options.h"
#include "load/progress.h"
#include "load/result.h"
#include "load/worker.h"

#include "ring/sockets.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <memory>
#include <pthread.h>
#include <string>
#include <sys/random.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace ringmx::load {
namespace {

constexpr int exit_failed = 1;
constexpr int exit_fault = 2;
constexpr int exit_interrupted = 130;
constexpr Duration progress_interval = 1s;

int fault(const std::string& text) {
    fmt::print(stderr, "ringmx-load: {}\n", text);
    return exit_fault;
}

Instant now() {
    timespec time{};
    ::clock_gettime(CLOCK_MONOTONIC, &time);
    return Instant(std::chrono::seconds(time.tv_sec) + Duration(time.tv_nsec));
}

// Names this run in every Message-ID.
std::string run_word() {
    static constexpr std::string_view letters = "abcdefghijklmnopqrstuvwxyz234567";
    std::uint64_t random = 0;
    if (::getrandom(&random, sizeof random, 0) != sizeof random) {
        random = static_cast<std::uint64_t>(now().time_since_epoch().count());
    }
    std::string word;
    for (int letter = 0; letter < 10; ++letter, random >>= 5U) {
        word += letters[random % letters.size()];
    }
    return word;
}

// What worker `index` of `count` gets of `all`.
std::uint64_t part_of(std::uint64_t all, unsigned index, unsigned count) {
    return all / count + (index < all % count ? 1 : 0);
}

Expected<std::vector<std::unique_ptr<Worker>>> open_workers(const Options& options) {
    const std::string run = run_word();
    // A worker without a client, or without a message, would have nothing to do.
    const std::uint64_t useful =
        std::min<std::uint64_t>({options.workers, options.connections,
                                 options.messages == 0 ? UINT64_MAX : options.messages});
    const auto count = static_cast<unsigned>(useful);
    std::vector<std::unique_ptr<Worker>> workers;
    for (unsigned index = 0; index < count; ++index) {
        Share share;
        share.index = index;
        share.count = count;
        share.clients = static_cast<std::uint32_t>(part_of(options.connections, index, count));
        share.messages = part_of(options.messages, index, count);
        Expected<std::unique_ptr<Worker>> worker = Worker::create(options, share, run);
        if (!worker) {
            return std::unexpected(worker.error());
        }
        workers.push_back(std::move(*worker));
    }
    return workers;
}

// One line that is written over, until the run is over.
class ProgressLine {
  public:
    ProgressLine(const Options& options, Instant start)
        : options_(options), start_(start), shown_at_(start), is_shown_(::isatty(STDERR_FILENO)) {}

    void show(const std::vector<std::unique_ptr<Worker>>& workers) {
        const Instant at = now();
        if (!is_shown_ || at - shown_at_ < progress_interval) {
            return;
        }
        const Standing standing = Standing::of(workers);
        const std::string line =
            progress_line(standing, before_, at - shown_at_, at - start_, options_);
        fmt::print(stderr, "\r{}\x1b[K", line);
        before_ = standing;
        shown_at_ = at;
    }
    void clear() const {
        if (is_shown_) {
            fmt::print(stderr, "\r\x1b[K");
        }
    }

  private:
    const Options& options_;
    Instant start_;
    Instant shown_at_;
    Standing before_;
    bool is_shown_;
};

// SIGUSR1 is a worker's word that it is done.
void run_workers(std::vector<std::unique_ptr<Worker>>& workers, const Options& options,
                 const sigset_t& signals) {
    const Instant start = now();
    const pthread_t main_thread = ::pthread_self();
    std::vector<std::thread> threads;
    threads.reserve(workers.size());
    for (const std::unique_ptr<Worker>& worker : workers) {
        threads.emplace_back([&worker, start, main_thread] {
            worker->run(start);
            ::pthread_kill(main_thread, SIGUSR1);
        });
    }
    ProgressLine progress(options, start);
    bool is_stopping = false;
    const timespec interval{0, 100'000'000};
    const auto all_ended = [&] {
        return std::ranges::all_of(workers, [](const auto& worker) { return worker->has_ended(); });
    };
    while (!all_ended()) {
        const int number = ::sigtimedwait(&signals, nullptr, &interval);
        if (number == SIGINT || number == SIGTERM) {
            if (std::exchange(is_stopping, true)) {
                ::_exit(exit_interrupted);
            }
            for (const std::unique_ptr<Worker>& worker : workers) {
                worker->request_stop();
            }
        }
        progress.show(workers);
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    progress.clear();
}

constexpr const char* standard_output = "-";

// A file that can't be written is known before the load begins.
Expected<void> write_file(const std::string& path, std::string_view text, bool is_trial) {
    if (path.empty() || (path == standard_output && is_trial)) {
        return {};
    }
    if (path == standard_output) {
        fmt::print("{}", text);
        std::fflush(stdout);
        return {};
    }
    const int descriptor =
        ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | (is_trial ? 0 : O_TRUNC), 0644);
    if (descriptor < 0) {
        return std::unexpected(Error{"open", errno, path});
    }
    const bool is_written = write_whole(descriptor, text);
    const int error = errno;
    ::close(descriptor);
    if (!is_written) {
        return std::unexpected(Error{"write", error, path});
    }
    return {};
}

int report(const Result& result, const Options& options) {
    // What goes to stdout there is for a program.
    std::FILE* const out = options.json == standard_output ? stderr : stdout;
    fmt::print(out, "{}", table_of(result, options));
    bool is_failed = result.accepted != result.sent || result.sent == 0;
    for (const Threshold& threshold : options.fail_if) {
        if (threshold.is_met_by(result.value_of(threshold))) {
            fmt::print(out, "--fail-if {}: it is so\n", threshold.text);
            is_failed = true;
        }
    }
    std::fflush(out);
    for (const auto& [path, text] :
         {std::pair{options.json, options.json.empty() ? "" : json_of(result, options) + "\n"},
          std::pair{options.html, options.html.empty() ? "" : html_of(result, options)}}) {
        if (const Expected<void> written = write_file(path, text, false); !written) {
            return fault(written.error().message());
        }
    }
    return is_failed ? exit_failed : 0;
}

int run_load(const Options& options) {
    for (const auto& [option, path] : {std::pair{"--json", options.json},
                                       {"--html", options.html},
                                       {"--record", options.record}}) {
        if (const Expected<void> writable = write_file(path, {}, true); !writable) {
            return fault(fmt::format("{}: {}: give a file that can be written (see ringmx-load "
                                     "--help)",
                                     option, writable.error().message()));
        }
    }
    sigset_t signals;
    sigemptyset(&signals);
    for (const int number : {SIGINT, SIGTERM, SIGUSR1}) {
        sigaddset(&signals, number);
    }
    ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    ::signal(SIGPIPE, SIG_IGN);
    ring::raise_descriptor_limit();
    Expected<std::vector<std::unique_ptr<Worker>>> workers = open_workers(options);
    if (!workers) {
        return fault(workers.error().message());
    }
    run_workers(*workers, options, signals);
    Result result;
    for (const std::unique_ptr<Worker>& worker : *workers) {
        result.add(worker->result());
    }
    return report(result, options);
}

int run_audit(const AuditOptions& options) {
    const std::expected<Audit, std::string> found = audit(options);
    if (!found) {
        return fault(found.error());
    }
    fmt::print("{}", found->text());
    return found->passed() ? 0 : exit_failed;
}

} // namespace
} // namespace ringmx::load

int main(int count, char** arguments) {
    using namespace ringmx::load;
    const auto parsed = parse_options(count, arguments);
    if (!parsed) {
        fmt::print(parsed.error().code == 0 ? stdout : stderr, "{}", parsed.error().text);
        return parsed.error().code;
    }
    if (const auto* const options = std::get_if<AuditOptions>(&*parsed)) {
        return run_audit(*options);
    }
    return run_load(std::get<Options>(*parsed));
}
