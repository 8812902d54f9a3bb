#include "spool/zeros.h"

#include <algorithm>
#include <array>

namespace ringmx::spool {

bool is_zero(Bytes octets) {
    return std::ranges::all_of(octets, [](std::byte octet) { return octet == std::byte{0}; });
}

std::optional<std::uint64_t> end_of_zeros(const SegmentReader& read, std::uint64_t from) {
    alignas(block_bytes) std::array<std::byte, block_bytes> block{}; // for O_DIRECT
    for (std::uint64_t offset = from;; offset += zeros_step) {
        const std::int64_t got = read(offset, block);
        if (got < 0 || !is_zero(Bytes(block).first(static_cast<std::size_t>(got)))) {
            return std::max(from, offset + block_bytes - std::min(offset, zeros_step));
        }
        if (got < static_cast<std::int64_t>(block_bytes)) {
            return std::nullopt;
        }
    }
}

} // namespace ringmx::spool
