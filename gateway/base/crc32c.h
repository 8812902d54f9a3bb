// CRC-32C (Castagnoli), as the PROXY protocol and the spool's records carry it.
//
// In:     the checksum of what came before (0 at the start) and the next octets, cut anywhere.
// Out:    the checksum so far: crc32c(0, "123456789") is 0xE3069283.
// Cost:   SSE 4.2 where there is (three streams at once), a table of 8 slices else. No allocation.
// Thread: any.
// Errors: none.
// Source: RFC 3720, B.4 (check values); Gopal et al., "Fast CRC Computation for iSCSI Polynomial
//         Using CRC32 Instruction".
#pragma once

#include "base/bytes.h"

#include <cstdint>

namespace ringmx {

[[nodiscard]] std::uint32_t crc32c(std::uint32_t crc, Bytes octets);

// The definition, without special instructions; for tests and for other machines.
[[nodiscard]] std::uint32_t crc32c_plain(std::uint32_t crc, Bytes octets);

} // namespace ringmx
