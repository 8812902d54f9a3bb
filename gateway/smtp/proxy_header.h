// The PROXY protocol, versions 1 and 2: what a trusted balancer puts before the client's first
// octet, and what our own probes send.
//
// In:  the connection's first octets, cut anywhere.
// Out: need_more; malformed (drop the connection); or done: how many octets of the last input
//      belong to the header (what follows is the client's), and the addresses. UNKNOWN, LOCAL and
//      the unspecified family have none: the peer's own hold.
//
// Strict: version 1 is at most 107 octets, single spaces, decimal without leading zeros, and ends
//         in CRLF. Version 2 takes streams only; address block and TLVs must fit the stated length
//         exactly; a CRC32C TLV is checked; other TLVs are skipped. A LOCAL or unspecified block is
//         skipped whole, except that a CRC32C in it must be right where its TLVs can be read.
// Bound:  block_bytes_max; a header that states more is malformed at once. An octet that fits
//         neither version is malformed at once.
// State:  one pointer while no header is under way; heap only between the first octet and the
//         verdict, grown as octets come.
// Thread: one.
// Errors: none but the verdict.
// Source: HAProxy's proxy-protocol.txt, sections 2.1, 2.2, 2.2.3 (TLVs), 2.2.4 (CRC32C).
#pragma once

#include "base/address.h"
#include "base/bytes.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace ringmx::smtp {

inline constexpr std::size_t proxy_v1_bytes_max = 107; // with CRLF; section 2.1
inline constexpr std::size_t proxy_tlv_bytes_max =
    4096; // certificates' names and identifiers take a few hundred
inline constexpr std::size_t proxy_v2_block_bytes_max =
    216 + proxy_tlv_bytes_max; // 216: two Unix paths

enum class ProxyResult : std::uint8_t { need_more, done, malformed };

class ProxyHeader {
  public:
    struct Step {
        ProxyResult result = ProxyResult::need_more;
        std::size_t consumed = 0; // of this input; all of it unless done
        bool has_addresses = false;
        SocketAddress source;
        SocketAddress destination;
    };

    // After done or malformed the header may be used for another connection.
    [[nodiscard]] Step receive(Bytes input);

  private:
    std::unique_ptr<std::string> gathered_;
};

enum class ProxyChecksum : bool { no, yes };

// Each appends one header. Version 1 with addresses of different families, or Unix ones, says
// UNKNOWN. Version 2 with one IPv4 and one IPv6 address maps the IPv4 one; with one Unix and one IP
// address it gives the unspecified family; a path is cut at 108 octets.
void append_proxy_v1(std::string& wire, const SocketAddress& source,
                     const SocketAddress& destination);
void append_proxy_v1_unknown(std::string& wire);
void append_proxy_v2(std::string& wire, const SocketAddress& source,
                     const SocketAddress& destination, ProxyChecksum checksum);
void append_proxy_v2_local(std::string& wire, ProxyChecksum checksum);

} // namespace ringmx::smtp
