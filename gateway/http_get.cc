#include "http_get.h"

#include "base/ascii.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <fmt/format.h>
#include <memory>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace ringmx {

namespace {

using Clock = std::chrono::steady_clock;

class Socket {
  public:
    explicit Socket(int descriptor) : descriptor_(descriptor) {}
    ~Socket() {
        if (descriptor_ >= 0) {
            ::close(descriptor_);
        }
    }
    Socket(const Socket&) = delete;
    Socket& operator=(const Socket&) = delete;
    [[nodiscard]] int get() const { return descriptor_; }

  private:
    int descriptor_;
};

// Waits until the socket is ready; an errno otherwise (0: ready).
int wait_for(int descriptor, short events, Clock::time_point until) {
    for (;;) {
        const auto left =
            std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now()).count();
        if (left <= 0) {
            return ETIMEDOUT;
        }
        pollfd target{descriptor, events, 0};
        const int ready = ::poll(&target, 1, static_cast<int>(left));
        if (ready > 0) {
            return 0;
        }
        if (ready < 0 && errno != EINTR) {
            return errno;
        }
    }
}

int connect_to(int descriptor, const addrinfo& address, Clock::time_point until) {
    if (::connect(descriptor, address.ai_addr, address.ai_addrlen) == 0) {
        return 0;
    }
    if (errno != EINPROGRESS) {
        return errno;
    }
    if (const int error = wait_for(descriptor, POLLOUT, until); error != 0) {
        return error;
    }
    int error = 0;
    socklen_t length = sizeof error;
    return ::getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &error, &length) == 0 ? error : errno;
}

int send_all(int descriptor, std::string_view octets, Clock::time_point until) {
    while (!octets.empty()) {
        const ssize_t sent = ::send(descriptor, octets.data(), octets.size(), MSG_NOSIGNAL);
        if (sent >= 0) {
            octets.remove_prefix(static_cast<std::size_t>(sent));
        } else if (errno == EAGAIN) {
            if (const int error = wait_for(descriptor, POLLOUT, until); error != 0) {
                return error;
            }
        } else if (errno != EINTR) {
            return errno;
        }
    }
    return 0;
}

// Everything up to the peer's end.
int receive_all(int descriptor, std::string& octets, Clock::time_point until) {
    char piece[16 * 1024];
    for (;;) {
        const ssize_t got = ::recv(descriptor, piece, sizeof piece, 0);
        if (got == 0) {
            return 0;
        }
        if (got > 0) {
            octets.append(piece, static_cast<std::size_t>(got));
            if (octets.size() > http_body_bytes_max) {
                return EMSGSIZE;
            }
        } else if (errno == EAGAIN) {
            if (const int error = wait_for(descriptor, POLLIN, until); error != 0) {
                return error;
            }
        } else if (errno != EINTR) {
            return errno;
        }
    }
}

int exchange(const addrinfo& address, std::string_view request, std::string& answer,
             Clock::time_point until) {
    const Socket socket(::socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (socket.get() < 0) {
        return errno;
    }
    if (const int error = connect_to(socket.get(), address, until); error != 0) {
        return error;
    }
    if (const int error = send_all(socket.get(), request, until); error != 0) {
        return error;
    }
    return receive_all(socket.get(), answer, until);
}

template <typename Number> bool read_number(std::string_view text, Number& number) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    return error == std::errc() && end == text.data() + text.size();
}

std::expected<HttpAnswer, std::string> ask(const HttpTarget& target, std::string_view request) {
    const Clock::time_point until =
        Clock::now() + std::chrono::duration_cast<Clock::duration>(http_time_max);
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_NUMERICSERV;
    addrinfo* found = nullptr;
    if (const int error = ::getaddrinfo(target.host.c_str(), target.port.c_str(), &hints, &found);
        error != 0) {
        return std::unexpected(std::string(::gai_strerror(error)));
    }
    const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> addresses(found, ::freeaddrinfo);
    int error = EADDRNOTAVAIL;
    for (const addrinfo* each = addresses.get(); each != nullptr; each = each->ai_next) {
        std::string octets;
        error = exchange(*each, request, octets, until);
        if (error == 0) {
            return parse_http_answer(octets);
        }
    }
    return std::unexpected(std::string(std::strerror(error)));
}

} // namespace

std::optional<HttpTarget> HttpTarget::parse(std::string_view text) {
    const std::size_t colon = text.rfind(':');
    if (colon == std::string_view::npos) {
        return std::nullopt;
    }
    std::string_view host = text.substr(0, colon);
    std::uint16_t port = 0;
    if (!read_number(text.substr(colon + 1), port) || port == 0) {
        return std::nullopt;
    }
    const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
    if (bracketed) {
        host = host.substr(1, host.size() - 2);
    }
    const bool clean =
        std::ranges::all_of(host, [](char octet) { return octet > ' ' && octet < 0x7f; });
    if (host.empty() || !clean || bracketed != (host.find(':') != std::string_view::npos)) {
        return std::nullopt;
    }
    return HttpTarget{std::string(host), std::string(text.substr(colon + 1)), std::string(text)};
}

std::expected<HttpAnswer, std::string> parse_http_answer(std::string_view octets) {
    const std::size_t head_end = octets.find("\r\n\r\n");
    if (!octets.starts_with("HTTP/1.") || head_end == std::string_view::npos || head_end < 12) {
        return std::unexpected("what came is no HTTP answer");
    }
    HttpAnswer answer;
    if (!read_number(octets.substr(9, 3), answer.status)) {
        return std::unexpected("what came is no HTTP answer");
    }
    answer.body = octets.substr(head_end + 4);
    std::string_view head = octets.substr(0, head_end);
    while (!head.empty()) {
        const std::size_t end = std::min(head.find("\r\n"), head.size());
        const std::string_view line = head.substr(0, end);
        head.remove_prefix(std::min(end + 2, head.size()));
        const std::size_t colon = line.find(':');
        if (colon == std::string_view::npos ||
            !equal_ignoring_case(line.substr(0, colon), "Content-Length")) {
            continue;
        }
        std::string_view value = line.substr(colon + 1);
        value.remove_prefix(std::min(value.find_first_not_of(' '), value.size()));
        std::size_t length = 0;
        if (!read_number(value, length) || length > answer.body.size()) {
            return std::unexpected("the answer ended early");
        }
        answer.body.resize(length);
    }
    return answer;
}

std::expected<HttpAnswer, std::string> http_get(const HttpTarget& target, std::string_view path) {
    return ask(target, fmt::format("GET {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", path,
                                   target.text));
}

std::expected<HttpAnswer, std::string> http_post(const HttpTarget& target, std::string_view path) {
    return ask(target, fmt::format("POST {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n"
                                   "X-Ringmx-Admin: 1\r\nContent-Length: 0\r\n\r\n",
                                   path, target.text));
}

} // namespace ringmx
