#include "load/addresses.h"

#include <algorithm>
#include <cerrno>
#include <netinet/in.h>
#include <sys/socket.h>

namespace ringmx::load {
namespace {

constexpr unsigned counted_bits_max = 32;

unsigned host_bits(const Network& network) {
    return (network.base.is_v4() ? 32U : 128U) - network.prefix;
}

} // namespace

std::uint64_t addresses_in(const Network& network) {
    const std::uint64_t all = std::uint64_t{1} << std::min(host_bits(network), counted_bits_max);
    return all > 2 ? all - 2 : all;
}

IpAddress address_of(const Network& network, std::uint64_t index) {
    IpAddress address = network.base;
    const std::uint64_t count = addresses_in(network);
    std::uint64_t host = index % count + (host_bits(network) > 1 ? 1 : 0);
    for (std::size_t octet = address.octets.size(); octet-- > 0 && host > 0; host >>= 8U) {
        address.octets[octet] = static_cast<std::uint8_t>(address.octets[octet] | (host & 0xffU));
    }
    return address;
}

int bind_source(int descriptor, const IpAddress& address) {
    // The port is chosen at connect, where it need only be free towards that target.
    const int on = 1;
    (void)::setsockopt(descriptor, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    SocketAddress source;
    source.ip = address;
    sockaddr_storage storage{};
    const unsigned length = source.to_kernel(storage);
    return ::bind(descriptor, reinterpret_cast<const sockaddr*>(&storage), length) == 0 ? 0 : errno;
}

} // namespace ringmx::load
