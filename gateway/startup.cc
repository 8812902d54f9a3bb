#include "startup.h"

#include "ring/sockets.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <sched.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <unistd.h>

namespace ringmx {

namespace {

constexpr int client_backlog = 4096; // the kernel cuts it to net.core.somaxconn
constexpr int admin_backlog = 128;

Expected<void> learn_port(int descriptor, SocketAddress& address) {
    if (address.port == 0 && !address.is_unix) {
        const Expected<SocketAddress> bound = ring::local_address(descriptor);
        if (!bound) {
            return std::unexpected(bound.error());
        }
        address.port = bound->port;
    }
    return {};
}

Expected<void> bind_listener(const ListenerSettings& listener, std::uint32_t index,
                             BoundSockets& sockets) {
    SocketAddress address = listener.address;
    if (const auto free = ring::check_free(address); !free) {
        return free;
    }
    for (std::vector<worker::ListeningSocket>& own : sockets.workers) {
        const Expected<int> descriptor = ring::listen_on(address, client_backlog, true);
        if (!descriptor) {
            return std::unexpected(descriptor.error());
        }
        own.push_back({*descriptor, index});
        if (const auto learnt = learn_port(*descriptor, address); !learnt) {
            return learnt;
        }
    }
    sockets.bound.push_back({address, "smtp"});
    return {};
}

Expected<int> bind_admin(SocketAddress address, const char* purpose, BoundSockets& sockets) {
    const Expected<int> descriptor = ring::listen_patiently(address, admin_backlog, false);
    if (!descriptor) {
        return descriptor;
    }
    if (const auto learnt = learn_port(*descriptor, address); !learnt) {
        return std::unexpected(learnt.error());
    }
    sockets.bound.push_back({address, purpose});
    return descriptor;
}

} // namespace

std::uint32_t workers_count(const Settings& settings) {
    if (settings.workers != 0) {
        return settings.workers;
    }
    cpu_set_t set;
    if (::sched_getaffinity(0, sizeof set, &set) != 0) {
        return 1; // more than 1,024 CPUs
    }
    return static_cast<std::uint32_t>(std::clamp(CPU_COUNT(&set), 1, 1024));
}

std::uint64_t quarter_of_memory() {
    const long pages = ::sysconf(_SC_PHYS_PAGES);
    const long page_bytes = ::sysconf(_SC_PAGESIZE);
    return static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(page_bytes) / 4;
}

std::uint64_t random_seed() {
    std::uint64_t seed = 0;
    while (::getrandom(&seed, sizeof seed, 0) != static_cast<ssize_t>(sizeof seed)) {
    }
    return seed;
}

Expected<int> take_signals() {
    ::signal(SIGPIPE, SIG_IGN);
    ::signal(SIGXFSZ, SIG_IGN); // beyond RLIMIT_FSIZE writes fail with EFBIG, as on a full disk
    sigset_t set;
    ::sigemptyset(&set);
    for (const int number : {SIGHUP, SIGTERM, SIGINT, SIGUSR2}) {
        ::sigaddset(&set, number);
    }
    ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
    const int descriptor = ::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (descriptor < 0) {
        return std::unexpected(Error{"signalfd", errno, ""});
    }
    return descriptor;
}

Expected<BoundSockets> bind_sockets(const Settings& settings, std::uint32_t workers) {
    BoundSockets sockets;
    sockets.workers.resize(workers);
    for (std::uint32_t index = 0; index < settings.listeners.size(); ++index) {
        if (const auto bound = bind_listener(settings.listeners[index], index, sockets); !bound) {
            return std::unexpected(bound.error());
        }
    }
    const Expected<int> admin = bind_admin(settings.admin.address, "admin", sockets);
    if (!admin) {
        return std::unexpected(admin.error());
    }
    sockets.admin = *admin;
    if (settings.admin.probe_address) {
        const Expected<int> probe = bind_admin(*settings.admin.probe_address, "probes", sockets);
        if (!probe) {
            return std::unexpected(probe.error());
        }
        sockets.probe = *probe;
    }
    return sockets;
}

Expected<void> switch_user(const std::string& user) {
    if (user.empty()) {
        return {};
    }
    errno = 0;
    const passwd* entry = ::getpwnam(user.c_str());
    if (entry == nullptr) {
        return std::unexpected(
            Error{"/user: this machine has no user", 0, user + ": create it or name another"});
    }
    if (::getuid() == entry->pw_uid && ::geteuid() == entry->pw_uid) {
        return {};
    }
    if (::initgroups(user.c_str(), entry->pw_gid) != 0 || ::setgid(entry->pw_gid) != 0 ||
        ::setuid(entry->pw_uid) != 0) {
        return std::unexpected(Error{"switch to user", errno, user});
    }
    return {};
}

std::vector<std::string> reload_warnings(const std::string& config_path, const Settings& settings) {
    std::vector<std::string> warnings;
    const auto judge = [&](const std::string& path) {
        if (!path.empty() && ::access(path.c_str(), R_OK) != 0) {
            warnings.push_back(fmt::format("/user: {} can't read {} ({}), so that SIGHUP will keep "
                                           "the old configuration: let it read the file and its "
                                           "folder",
                                           settings.user, path, std::strerror(errno)));
        }
    };
    if (!settings.user.empty()) {
        judge(config_path);
        for (const RouteSettings& route : settings.routes) {
            judge(route.recipients_file);
        }
    }
    return warnings;
}

} // namespace ringmx
