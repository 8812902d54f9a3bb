#include "ring/sockets.h"

#include <cerrno>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace ringmx::ring {
namespace {

std::unexpected<Error> failed(const char* operation, const SocketAddress& address,
                              int error = errno) {
    return std::unexpected(Error{operation, error, address.text()});
}

class Descriptor {
  public:
    explicit Descriptor(int value) : value_(value) {}
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    ~Descriptor() {
        if (value_ >= 0) {
            ::close(value_);
        }
    }
    [[nodiscard]] int get() const { return value_; }
    [[nodiscard]] int release() { return std::exchange(value_, -1); }

  private:
    int value_;
};

bool set_option(int descriptor, int level, int name) {
    const int on = 1;
    return ::setsockopt(descriptor, level, name, &on, sizeof on) == 0;
}

int family_of(const SocketAddress& address) {
    if (address.is_unix) {
        return AF_UNIX;
    }
    return address.ip.is_v4() ? AF_INET : AF_INET6;
}

// Whether the path is a socket that nobody listens at any more.
bool is_stale_socket(const SocketAddress& address) {
    struct stat status{};
    if (::lstat(address.path.c_str(), &status) != 0 || !S_ISSOCK(status.st_mode)) {
        return false;
    }
    const Descriptor trial(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_storage storage{};
    const unsigned length = address.to_kernel(storage);
    return trial.get() >= 0 &&
           ::connect(trial.get(), reinterpret_cast<const sockaddr*>(&storage), length) != 0 &&
           errno == ECONNREFUSED;
}

bool bind_to(int descriptor, const SocketAddress& address) {
    sockaddr_storage storage{};
    const unsigned length = address.to_kernel(storage);
    return ::bind(descriptor, reinterpret_cast<const sockaddr*>(&storage), length) == 0;
}

// Returns the name of the option that could not be set.
const char* prepare_listener(int descriptor, const SocketAddress& address, bool reuse_port) {
    if (address.is_unix) {
        return nullptr;
    }
    if (!set_option(descriptor, SOL_SOCKET, SO_REUSEADDR)) {
        return "set SO_REUSEADDR for";
    }
    if (reuse_port && !set_option(descriptor, SOL_SOCKET, SO_REUSEPORT)) {
        return "set SO_REUSEPORT for";
    }
    if (!address.ip.is_v4() && !set_option(descriptor, IPPROTO_IPV6, IPV6_V6ONLY)) {
        return "set IPV6_V6ONLY for";
    }
    if (!set_option(descriptor, IPPROTO_TCP, TCP_NODELAY)) {
        return "set TCP_NODELAY for";
    }
    return nullptr;
}

using GetName = int (*)(int, sockaddr*, socklen_t*);

Expected<SocketAddress> ask_address(GetName ask, const char* operation, int descriptor) {
    sockaddr_storage storage{};
    socklen_t length = sizeof storage;
    if (ask(descriptor, reinterpret_cast<sockaddr*>(&storage), &length) != 0) {
        return std::unexpected(Error{operation, errno, "descriptor " + std::to_string(descriptor)});
    }
    return SocketAddress::from_kernel(reinterpret_cast<const sockaddr*>(&storage), length);
}

} // namespace

Expected<int> listen_on(const SocketAddress& address, int backlog, bool reuse_port) {
    Descriptor socket(::socket(family_of(address), SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (socket.get() < 0) {
        return failed("open a socket for", address);
    }
    if (const char* operation = prepare_listener(socket.get(), address, reuse_port)) {
        return failed(operation, address);
    }
    if (!bind_to(socket.get(), address)) {
        if (errno != EADDRINUSE || !address.is_unix) {
            return failed("bind", address);
        }
        if (!is_stale_socket(address)) {
            return failed("bind", address, EADDRINUSE);
        }
        if (::unlink(address.path.c_str()) != 0 || !bind_to(socket.get(), address)) {
            return failed("bind", address);
        }
    }
    if (::listen(socket.get(), backlog) != 0) {
        return failed("listen at", address);
    }
    return socket.release();
}

Expected<int> listen_patiently(const SocketAddress& address, int backlog, bool reuse_port) {
    constexpr int tries = 20;
    constexpr int pause_ms = 50;
    Expected<int> descriptor = listen_on(address, backlog, reuse_port);
    for (int count = 1; count < tries && !descriptor && descriptor.error().code == EADDRINUSE;
         ++count) {
        ::poll(nullptr, 0, pause_ms);
        descriptor = listen_on(address, backlog, reuse_port);
    }
    return descriptor;
}

Expected<void> check_free(const SocketAddress& address) {
    if (address.port == 0) {
        return {};
    }
    const Expected<int> descriptor = listen_patiently(address, 1, false);
    if (!descriptor) {
        return std::unexpected(descriptor.error());
    }
    close_socket(*descriptor);
    return {};
}

void raise_descriptor_limit() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)::setrlimit(RLIMIT_NOFILE, &limit);
    }
}

Expected<int> open_socket(const SocketAddress& target) {
    Descriptor socket(::socket(family_of(target), SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (socket.get() < 0) {
        return failed("open a socket for", target);
    }
    if (!target.is_unix && !set_option(socket.get(), IPPROTO_TCP, TCP_NODELAY)) {
        return failed("set TCP_NODELAY for", target);
    }
    return socket.release();
}

Expected<SocketAddress> local_address(int descriptor) {
    return ask_address(::getsockname, "getsockname", descriptor);
}

Expected<SocketAddress> peer_address(int descriptor) {
    return ask_address(::getpeername, "getpeername", descriptor);
}

void close_socket(int descriptor, bool reset) {
    if (reset) {
        const linger at_once{.l_onoff = 1, .l_linger = 0};
        ::setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    }
    ::close(descriptor);
}

} // namespace ringmx::ring
