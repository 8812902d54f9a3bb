// ringmx-sink: an SMTP or LMTP backend that accepts, counts, checks, and can misbehave on purpose.
//
// Opens everything first (a fault ends it with 1 and one line), says "listening on ADDRESS" for
// each listener on stderr, then waits for SIGTERM or SIGINT, stops its workers, and writes the
// totals. TCP addresses are listened at by each worker by itself (SO_REUSEPORT), a Unix path's
// socket is shared.
#include "ring/sockets.h"
#include "sink/options.h"
#include "sink/worker.h"

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <fcntl.h>
#include <fmt/format.h>
#include <thread>
#include <unistd.h>

namespace {

using namespace ringmx;
using namespace ringmx::sink;

constexpr int backlog = 4096; // the kernel cuts it to net.core.somaxconn

// One descriptor for each worker. The first one makes a port of port 0.
Expected<std::vector<int>> listen_at(SocketAddress& address, unsigned workers) {
    std::vector<int> descriptors;
    for (unsigned index = 0; index < workers; ++index) {
        if (index > 0 && address.is_unix) {
            const int copy = ::fcntl(descriptors.front(), F_DUPFD_CLOEXEC, 0);
            if (copy < 0) {
                return std::unexpected(Error{"dup", errno, address.text()});
            }
            descriptors.push_back(copy);
            continue;
        }
        if (workers > 1 && index == 0 &&
            !address.is_unix) { // else two sinks would share the mail in silence
            if (const Expected<void> free = ring::check_free(address); !free) {
                return std::unexpected(free.error());
            }
        }
        const Expected<int> descriptor = ring::listen_patiently(address, backlog, workers > 1);
        if (!descriptor) {
            return std::unexpected(descriptor.error());
        }
        descriptors.push_back(*descriptor);
        if (!address.is_unix && address.port == 0) {
            const Expected<SocketAddress> bound = ring::local_address(*descriptor);
            if (!bound) {
                return std::unexpected(bound.error());
            }
            address.port = bound->port;
        }
    }
    return descriptors;
}

std::vector<std::unique_ptr<Backend>> backends_of(const Options& options) {
    const auto now = std::chrono::steady_clock::now().time_since_epoch(); // the ring's clock too
    std::vector<std::unique_ptr<Backend>> backends;
    backends.reserve(options.personalities.size());
    for (const Personality& personality : options.personalities) {
        backends.push_back(std::make_unique<Backend>(personality, Instant(now)));
    }
    return backends;
}

Expected<std::vector<std::unique_ptr<Worker>>>
open_workers(Options& options, const std::vector<std::unique_ptr<Backend>>& backends) {
    std::vector<std::vector<Worker::Listening>> listeners(options.workers);
    for (std::size_t place = 0; place < options.listen.size(); ++place) {
        const Expected<std::vector<int>> descriptors =
            listen_at(options.listen[place], options.workers);
        if (!descriptors) {
            return std::unexpected(descriptors.error());
        }
        for (unsigned index = 0; index < options.workers; ++index) {
            listeners[index].push_back({(*descriptors)[index], *backends[place]});
        }
    }
    std::vector<std::unique_ptr<Worker>> workers;
    for (unsigned index = 0; index < options.workers; ++index) {
        Expected<std::unique_ptr<Worker>> worker = Worker::create(options, index, listeners[index]);
        if (!worker) {
            return std::unexpected(worker.error());
        }
        workers.push_back(std::move(*worker));
    }
    return workers;
}

// That the totals can be written is seen before any mail is taken.
Expected<void> try_json(const std::string& path) {
    if (path.empty()) {
        return {};
    }
    const int descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (descriptor < 0) {
        return std::unexpected(Error{"open", errno, path});
    }
    ::close(descriptor);
    return {};
}

Expected<void> write_totals(const Totals& totals, const Options& options) {
    const std::string& path = options.json;
    const std::string text = totals.json(options.has_personality_files);
    if (path.empty()) {
        fmt::print("{}", text);
        std::fflush(stdout);
        return {};
    }
    const int descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    const bool written = descriptor >= 0 && write_whole(descriptor, text);
    const int error = errno;
    if (descriptor >= 0) {
        ::close(descriptor);
    }
    if (!written) {
        return std::unexpected(Error{"write", error, path});
    }
    return {};
}

void run(std::vector<std::unique_ptr<Worker>>& workers, const sigset_t& ending) {
    std::vector<std::thread> threads;
    threads.reserve(workers.size());
    for (const std::unique_ptr<Worker>& worker : workers) {
        threads.emplace_back([&worker] { worker->run(); });
    }
    int number = 0;
    while (::sigwait(&ending, &number) != 0) {
    }
    for (const std::unique_ptr<Worker>& worker : workers) {
        worker->request_stop();
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
}

// What the operator can do about it.
std::string_view mend_of(const Error& error) {
    switch (error.code) {
    case EADDRINUSE:
        return ": another program listens there, or a file is in a Unix path's place: stop it, "
               "move it, or choose another address";
    case EADDRNOTAVAIL:
        return ": this machine has no such address, choose another";
    case ENOENT:
        return ": make its folder first";
    case EEXIST:
    case ENOTDIR:
        return ": a file stands where a folder is needed, choose another path";
    case EACCES:
    case EPERM:
    case EROFS:
        return ": choose a place where this user may write, or a port over 1023";
    default:
        return "";
    }
}

int fail(const Error& error) {
    fmt::print(stderr, "ringmx-sink: {}{}\n", error.message(), mend_of(error));
    return 1;
}

} // namespace

int main(int count, char** arguments) {
    std::expected<Options, Ending> options = parse_options(count, arguments);
    if (!options) {
        fmt::print(options.error().code == 0 ? stdout : stderr, "{}", options.error().text);
        return options.error().code;
    }
    // Before any thread, so that all of them leave the two to sigwait.
    sigset_t ending;
    sigemptyset(&ending);
    sigaddset(&ending, SIGTERM);
    sigaddset(&ending, SIGINT);
    pthread_sigmask(SIG_BLOCK, &ending, nullptr);
    std::signal(SIGPIPE, SIG_IGN);
    ring::raise_descriptor_limit();

    if (const Expected<void> json = try_json(options->json); !json) {
        return fail(json.error());
    }
    const std::vector<std::unique_ptr<Backend>> backends = backends_of(*options);
    Expected<std::vector<std::unique_ptr<Worker>>> workers = open_workers(*options, backends);
    if (!workers) {
        return fail(workers.error());
    }
    for (const SocketAddress& address : options->listen) {
        fmt::print(stderr, "listening on {}\n", address.text());
    }
    run(*workers, ending);

    Totals totals;
    for (const std::unique_ptr<Worker>& worker : *workers) {
        totals.add(worker->totals());
    }
    for (const SocketAddress& address : options->listen) {
        if (address.is_unix) {
            ::unlink(address.path.c_str());
        }
    }
    const Expected<void> written = write_totals(totals, *options);
    return written ? 0 : fail(written.error());
}
