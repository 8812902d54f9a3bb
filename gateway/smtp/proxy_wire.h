// The PROXY protocol's constants, for its parser and its writer.
//
//   version 2:  signature (12) │ version and command │ family and transport │ length (2) │
//               addresses │ TLVs
//
// Source: HAProxy's proxy-protocol.txt, 2.1, 2.2, 2.2.3.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace ringmx::smtp::proxy_wire {

inline constexpr std::string_view v1_prefix = "PROXY ";
inline constexpr std::string_view v2_signature{"\r\n\r\n\0\r\nQUIT\n", 12};

inline constexpr std::size_t command_offset = 12;
inline constexpr std::size_t family_offset = 13;
inline constexpr std::size_t length_offset = 14;
inline constexpr std::size_t v2_head_bytes = 16;

inline constexpr std::uint8_t version_2 = 0x20;
inline constexpr std::uint8_t command_local = 0;
inline constexpr std::uint8_t command_proxy = 1;

inline constexpr std::uint8_t family_unspecified = 0x00;
inline constexpr std::uint8_t family_inet_stream = 0x11;
inline constexpr std::uint8_t family_inet6_stream = 0x21;
inline constexpr std::uint8_t family_unix_stream = 0x31;

inline constexpr std::size_t inet_bytes = 12;       // two addresses, two ports
inline constexpr std::size_t inet6_bytes = 36;      // the same
inline constexpr std::size_t unix_path_bytes = 108; // Linux's sun_path
inline constexpr std::size_t unix_bytes = 2 * unix_path_bytes;

inline constexpr std::size_t tlv_head_bytes = 3; // type, length (2)
inline constexpr std::uint8_t tlv_crc32c = 0x03; // PP2_TYPE_CRC32C
inline constexpr std::size_t checksum_bytes = 4;

} // namespace ringmx::smtp::proxy_wire
