#include "base/address.h"

#include "base/assert.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstring>

namespace ringmx {

namespace {

constexpr std::array<std::uint8_t, 12> mapped_prefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
constexpr unsigned mapped_prefix_bits = 96;
constexpr std::size_t unix_path_bytes_max = sizeof(sockaddr_un::sun_path) - 1;

std::optional<unsigned> parse_number(std::string_view text, unsigned maximum) {
    const bool padded = text.size() > 1 && text.front() == '0';
    unsigned value = 0;
    const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (text.empty() || padded || status != std::errc{} || end != text.data() + text.size() ||
        value > maximum) {
        return std::nullopt;
    }
    return value;
}

// The digits of an octet; gives their end.
char* put_octet(char* at, unsigned octet) {
    if (octet >= 100) {
        *at++ = static_cast<char>('0' + octet / 100);
    }
    if (octet >= 10) {
        *at++ = static_cast<char>('0' + octet / 10 % 10);
    }
    *at++ = static_cast<char>('0' + octet % 10);
    return at;
}

IpAddress from_in_addr(const in_addr& address) { return IpAddress::v4(ntohl(address.s_addr)); }

} // namespace

bool IpAddress::is_v4() const {
    return std::equal(mapped_prefix.begin(), mapped_prefix.end(), octets.begin());
}

std::string IpAddress::text() const {
    std::array<char, INET6_ADDRSTRLEN> out; // NOLINT: what is used of it is set
    if (is_v4()) { // twice a message, and inet_ntop would go by way of printf
        char* at = out.data();
        for (std::size_t index = mapped_prefix.size(); index < octets.size(); ++index) {
            at = put_octet(at, octets[index]);
            *at++ = '.';
        }
        return {out.data(), at - 1};
    }
    const char* text = inet_ntop(AF_INET6, octets.data(), out.data(), out.size());
    RINGMX_ASSERT(text != nullptr);
    return text;
}

IpAddress IpAddress::masked(unsigned prefix) const {
    unsigned kept_bits = is_v4() ? mapped_prefix_bits + prefix : prefix;
    kept_bits = std::min(kept_bits, 128U);
    IpAddress result = *this;
    for (std::size_t index = 0; index < result.octets.size(); ++index) {
        const unsigned first_bit = static_cast<unsigned>(index) * 8;
        if (kept_bits <= first_bit) {
            result.octets[index] = 0;
        } else if (kept_bits < first_bit + 8) {
            const unsigned mask = 0xffU << (first_bit + 8 - kept_bits);
            result.octets[index] = static_cast<std::uint8_t>(result.octets[index] & mask);
        }
    }
    return result;
}

std::optional<IpAddress> IpAddress::parse(std::string_view text) {
    std::array<char, INET6_ADDRSTRLEN> terminated{}; // inet_pton wants a terminator
    if (text.size() >= terminated.size() || text.find('\0') != std::string_view::npos) {
        return std::nullopt;
    }
    std::copy(text.begin(), text.end(), terminated.begin());
    in_addr v4_form{};
    if (inet_pton(AF_INET, terminated.data(), &v4_form) == 1) {
        return from_in_addr(v4_form);
    }
    IpAddress result;
    if (inet_pton(AF_INET6, terminated.data(), result.octets.data()) == 1) {
        return result;
    }
    return std::nullopt;
}

IpAddress IpAddress::v4(std::uint32_t host_order) {
    IpAddress result;
    std::copy(mapped_prefix.begin(), mapped_prefix.end(), result.octets.begin());
    for (std::size_t index = 0; index < 4; ++index) {
        result.octets[mapped_prefix.size() + index] =
            static_cast<std::uint8_t>(host_order >> (24U - 8U * index));
    }
    return result;
}

std::string SocketAddress::text() const {
    if (is_unix) {
        return "unix:" + path;
    }
    const std::string number = std::to_string(port);
    return ip.is_v4() ? ip.text() + ":" + number : "[" + ip.text() + "]:" + number;
}

unsigned SocketAddress::to_kernel(sockaddr_storage& storage) const {
    std::memset(&storage, 0, sizeof storage);
    if (is_unix) {
        RINGMX_ASSERT(path.size() <= unix_path_bytes_max);
        sockaddr_un form{};
        form.sun_family = AF_UNIX;
        std::memcpy(form.sun_path, path.data(), path.size());
        std::memcpy(&storage, &form, sizeof form);
        const std::size_t terminator = path.empty() ? 0 : 1;
        return static_cast<unsigned>(offsetof(sockaddr_un, sun_path) + path.size() + terminator);
    }
    if (ip.is_v4()) {
        sockaddr_in form{};
        form.sin_family = AF_INET;
        form.sin_port = htons(port);
        std::memcpy(&form.sin_addr, ip.octets.data() + mapped_prefix.size(), sizeof form.sin_addr);
        std::memcpy(&storage, &form, sizeof form);
        return sizeof form;
    }
    sockaddr_in6 form{};
    form.sin6_family = AF_INET6;
    form.sin6_port = htons(port);
    std::memcpy(&form.sin6_addr, ip.octets.data(), sizeof form.sin6_addr);
    std::memcpy(&storage, &form, sizeof form);
    return sizeof form;
}

SocketAddress SocketAddress::from_kernel(const sockaddr* address, unsigned length) {
    SocketAddress result;
    if (address == nullptr || length < sizeof(sa_family_t)) {
        result.is_unix = true; // an unnamed peer
    } else if (address->sa_family == AF_INET && length >= sizeof(sockaddr_in)) {
        sockaddr_in form{};
        std::memcpy(&form, address, sizeof form);
        result.ip = from_in_addr(form.sin_addr);
        result.port = ntohs(form.sin_port);
    } else if (address->sa_family == AF_INET6 && length >= sizeof(sockaddr_in6)) {
        sockaddr_in6 form{};
        std::memcpy(&form, address, sizeof form);
        std::memcpy(result.ip.octets.data(), &form.sin6_addr, result.ip.octets.size());
        result.port = ntohs(form.sin6_port);
    } else {
        result.is_unix = true;
        constexpr std::size_t path_offset = offsetof(sockaddr_un, sun_path);
        if (address->sa_family == AF_UNIX && length > path_offset) {
            const std::size_t room =
                std::min<std::size_t>(length - path_offset, unix_path_bytes_max);
            sockaddr_un form{};
            std::memcpy(&form, address, path_offset + room);
            result.path.assign(form.sun_path, strnlen(form.sun_path, room));
        }
    }
    return result;
}

std::optional<SocketAddress> SocketAddress::parse(std::string_view text) {
    SocketAddress result;
    constexpr std::string_view unix_scheme = "unix:";
    if (text.starts_with(unix_scheme)) {
        const std::string_view path = text.substr(unix_scheme.size());
        if (!path.starts_with('/') || path.size() > unix_path_bytes_max ||
            path.find('\0') != std::string_view::npos) {
            return std::nullopt;
        }
        result.is_unix = true;
        result.path = path;
        return result;
    }
    const std::size_t colon = text.rfind(':');
    if (colon == std::string_view::npos) {
        return std::nullopt;
    }
    std::string_view host = text.substr(0, colon);
    const bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
    if (bracketed) {
        host = host.substr(1, host.size() - 2);
    }
    const bool has_colon = host.find(':') != std::string_view::npos;
    const auto ip = IpAddress::parse(host);
    const auto port = parse_number(text.substr(colon + 1), 65535);
    if (!ip || !port || bracketed != has_colon) {
        return std::nullopt;
    }
    result.ip = *ip;
    result.port = static_cast<std::uint16_t>(*port);
    return result;
}

bool Network::contains(const IpAddress& address) const {
    return address.is_v4() == base.is_v4() && address.masked(prefix) == base;
}

std::string Network::text() const { return base.text() + "/" + std::to_string(prefix); }

std::optional<Network> Network::parse(std::string_view text) {
    const std::size_t slash = text.find('/');
    const auto ip = IpAddress::parse(text.substr(0, slash));
    if (!ip) {
        return std::nullopt;
    }
    const unsigned own_bits = ip->is_v4() ? 32 : 128;
    Network result{*ip, own_bits};
    if (slash == std::string_view::npos) {
        return result;
    }
    // "::ffff:192.0.2.0/120" counts its prefix in the mapped form.
    const bool is_mapped_text = ip->is_v4() && text.find(':') < slash;
    const auto prefix = parse_number(text.substr(slash + 1), is_mapped_text ? 128 : own_bits);
    if (!prefix || (is_mapped_text && *prefix < mapped_prefix_bits)) {
        return std::nullopt;
    }
    result.prefix = is_mapped_text ? *prefix - mapped_prefix_bits : *prefix;
    result.base = ip->masked(result.prefix);
    if (result.base != *ip) {
        return std::nullopt;
    }
    return result;
}

bool is_in(const std::vector<Network>& networks, const IpAddress& address) {
    return std::ranges::any_of(networks,
                               [&](const Network& network) { return network.contains(address); });
}

} // namespace ringmx
