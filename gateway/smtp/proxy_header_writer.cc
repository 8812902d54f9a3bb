#include "base/crc32c.h"
#include "smtp/proxy_header.h"
#include "smtp/proxy_wire.h"

#include <algorithm>

namespace ringmx::smtp {
namespace {

using namespace proxy_wire;

void append_octet(std::string& wire, unsigned octet) {
    wire.push_back(static_cast<char>(static_cast<std::uint8_t>(octet)));
}

void append_u16(std::string& wire, std::size_t value) {
    append_octet(wire, static_cast<unsigned>(value >> 8));
    append_octet(wire, static_cast<unsigned>(value & 0xFF));
}

void append_ip(std::string& wire, const IpAddress& ip, bool as_v4) {
    const auto* octets = reinterpret_cast<const char*>(ip.octets.data());
    const std::size_t skipped = as_v4 ? 12 : 0; // the IPv4 address is the tail of its mapped form
    wire.append(octets + skipped, ip.octets.size() - skipped);
}

void append_path(std::string& wire, const std::string& path) {
    const std::size_t taken = std::min(path.size(), unix_path_bytes);
    wire.append(path, 0, taken);
    wire.append(unix_path_bytes - taken, '\0');
}

std::size_t head(std::string& wire, std::uint8_t command, std::uint8_t family) {
    const std::size_t start = wire.size();
    wire.append(v2_signature);
    append_octet(wire, version_2 | command);
    append_octet(wire, family);
    append_u16(wire, 0); // the length, once it is known
    return start;
}

void finish(std::string& wire, std::size_t start, ProxyChecksum checksum) {
    if (checksum == ProxyChecksum::yes) {
        append_octet(wire, tlv_crc32c);
        append_u16(wire, checksum_bytes);
        wire.append(checksum_bytes, '\0');
    }
    const std::size_t block = wire.size() - start - v2_head_bytes;
    wire[start + length_offset] = static_cast<char>(block >> 8);
    wire[start + length_offset + 1] = static_cast<char>(block & 0xFF);
    if (checksum == ProxyChecksum::yes) {
        const std::uint32_t crc = crc32c(0, as_bytes(std::string_view(wire).substr(start)));
        wire.resize(wire.size() - checksum_bytes);
        append_u16(wire, crc >> 16);
        append_u16(wire, crc & 0xFFFF);
    }
}

} // namespace

void append_proxy_v1_unknown(std::string& wire) { wire.append("PROXY UNKNOWN\r\n"); }

void append_proxy_v1(std::string& wire, const SocketAddress& source,
                     const SocketAddress& destination) {
    if (source.is_unix || destination.is_unix || source.ip.is_v4() != destination.ip.is_v4()) {
        append_proxy_v1_unknown(wire);
        return;
    }
    wire.append(v1_prefix).append(source.ip.is_v4() ? "TCP4 " : "TCP6 ");
    wire.append(source.ip.text()).append(" ").append(destination.ip.text()).append(" ");
    wire.append(std::to_string(source.port)).append(" ");
    wire.append(std::to_string(destination.port)).append("\r\n");
}

void append_proxy_v2(std::string& wire, const SocketAddress& source,
                     const SocketAddress& destination, ProxyChecksum checksum) {
    if (source.is_unix != destination.is_unix) {
        finish(wire, head(wire, command_proxy, family_unspecified), checksum);
        return;
    }
    if (source.is_unix) {
        const std::size_t start = head(wire, command_proxy, family_unix_stream);
        append_path(wire, source.path);
        append_path(wire, destination.path);
        finish(wire, start, checksum);
        return;
    }
    const bool as_v4 = source.ip.is_v4() && destination.ip.is_v4();
    const std::size_t start =
        head(wire, command_proxy, as_v4 ? family_inet_stream : family_inet6_stream);
    append_ip(wire, source.ip, as_v4);
    append_ip(wire, destination.ip, as_v4);
    append_u16(wire, source.port);
    append_u16(wire, destination.port);
    finish(wire, start, checksum);
}

void append_proxy_v2_local(std::string& wire, ProxyChecksum checksum) {
    finish(wire, head(wire, command_local, family_unspecified), checksum);
}

} // namespace ringmx::smtp
