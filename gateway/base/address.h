// IP addresses, socket addresses and networks, without names: nothing here asks a resolver.
//
// Thread: any; plain values.
// Text forms: RFC 4291 and RFC 5952 for IPv6.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

struct sockaddr;
struct sockaddr_storage;

namespace ringmx {

// IPv4 is kept in its mapped form ::ffff:a.b.c.d, so that one comparison serves both families.
struct IpAddress {
    std::array<std::uint8_t, 16> octets{};

    [[nodiscard]] bool is_v4() const;
    [[nodiscard]] std::string text() const; // "192.0.2.1", "2001:db8::1"
    // The address with all but its first `prefix` bits cleared; the prefix counts in the address's
    // own family (0..32, 0..128).
    [[nodiscard]] IpAddress masked(unsigned prefix) const;
    auto operator<=>(const IpAddress&) const = default;

    [[nodiscard]] static std::optional<IpAddress> parse(std::string_view text);
    [[nodiscard]] static IpAddress v4(std::uint32_t host_order);
};

// An IP address with a port, or a Unix path (is_unix). An empty Unix path is an unnamed peer.
struct SocketAddress {
    IpAddress ip;
    std::uint16_t port = 0;
    bool is_unix = false;
    std::string path;

    [[nodiscard]] std::string text() const; // "192.0.2.1:25", "[2001:db8::1]:25", "unix:/path"
    // Writes the kernel's form; returns its length.
    unsigned to_kernel(sockaddr_storage& storage) const;
    [[nodiscard]] static SocketAddress from_kernel(const sockaddr* address, unsigned length);
    // "192.0.2.1:25", "[::1]:25" or "unix:/path"; names are refused.
    [[nodiscard]] static std::optional<SocketAddress> parse(std::string_view text);
    bool operator==(const SocketAddress&) const = default;
};

struct Network {
    IpAddress base; // masked
    unsigned prefix = 0;

    [[nodiscard]] bool contains(const IpAddress& address) const;
    [[nodiscard]] std::string text() const;
    // "10.0.0.0/8", "2001:db8::/32", or an address alone; host bits that are set are refused.
    [[nodiscard]] static std::optional<Network> parse(std::string_view text);
    bool operator==(const Network&) const = default;
};

[[nodiscard]] bool is_in(const std::vector<Network>& networks, const IpAddress& address);

} // namespace ringmx
