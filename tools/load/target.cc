#include "load/target.h"

#include "base/escape.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fmt/format.h>
#include <netdb.h>
#include <optional>
#include <string_view>
#include <sys/socket.h>

namespace ringmx::load {
namespace {

std::string escaped(std::string_view text) {
    std::string out;
    append_log_text(out, text);
    return out;
}

std::optional<std::uint16_t> parse_port(std::string_view text) {
    std::uint16_t port = 0;
    const char* const last = text.data() + text.size();
    const auto [end, status] = std::from_chars(text.data(), last, port);
    if (text.empty() || status != std::errc{} || end != last || port == 0) {
        return std::nullopt;
    }
    return port;
}

// What getaddrinfo may be asked; an IPv6 address without brackets is not.
bool is_name(std::string_view host) {
    return !host.empty() && host.find_first_of(":[]/") == std::string_view::npos &&
           std::ranges::none_of(host, [](char octet) { return octet >= '\0' && octet <= ' '; });
}

std::expected<SocketAddress, std::string> ask_resolver(const std::string& host,
                                                       std::uint16_t port) {
    addrinfo hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    const int status = ::getaddrinfo(host.c_str(), nullptr, &hints, &found);
    if (status != 0) {
        const char* const why = status == EAI_SYSTEM ? std::strerror(errno) : gai_strerror(status);
        return std::unexpected(
            fmt::format("'{}' does not resolve ({}); give a name that does, or an IP address",
                        escaped(host), why));
    }
    SocketAddress result = SocketAddress::from_kernel(found->ai_addr, found->ai_addrlen);
    ::freeaddrinfo(found);
    result.port = port;
    return result;
}

} // namespace

std::expected<SocketAddress, std::string> find_target(const std::string& text) {
    const std::optional<SocketAddress> address = SocketAddress::parse(text);
    if (address && (address->is_unix || address->port != 0)) {
        return *address;
    }
    const std::size_t colon = text.rfind(':');
    if (!address && colon != std::string::npos) {
        const std::string host = text.substr(0, colon);
        const std::optional<std::uint16_t> port =
            parse_port(std::string_view(text).substr(colon + 1));
        if (port && is_name(host)) {
            return ask_resolver(host == "localhost" ? "127.0.0.1" : host, *port);
        }
    }
    return std::unexpected(fmt::format(
        "found '{}', expected HOST:PORT with a port from 1 to 65535, [V6]:PORT or unix:/path",
        escaped(text)));
}

} // namespace ringmx::load
