#include "unit/spool/crash_sights.h"

#include "spool/little_endian.h"

#include <algorithm>

namespace ringmx::spool {
namespace {

// docs/spool-format.md: where a record's header says whose it is, and where.
constexpr std::size_t nonce_at = 16;
constexpr std::size_t offset_at = 32;

} // namespace

CrashSights look_around(Bytes file, const Nonce& nonce,
                        const std::vector<std::pair<std::uint64_t, std::uint64_t>>& found) {
    CrashSights sights;
    auto next = found.begin();
    // Wherever the scanner looks beside the records that it finds.
    for (std::uint64_t at = block_bytes; at + record_header_bytes <= file.size();
         at += block_bytes) {
        while (next != found.end() && next->second <= at) {
            ++next;
        }
        if (next != found.end() && next->first <= at) {
            continue;
        }
        const Bytes octets = file.subspan(at);
        Nonce written_nonce;
        std::ranges::copy(octets.subspan(nonce_at, written_nonce.size()), written_nonce.begin());
        const auto written_offset = load<std::uint64_t>(&octets[offset_at]);
        if (!decode_record(octets, written_nonce, written_offset)) {
            continue;
        }
        if (written_offset == at) {
            ++sights.stale;
        } else {
            ++sights.copies;
            sights.copies_of_ours += written_nonce == nonce ? 1U : 0U;
        }
    }
    return sights;
}

} // namespace ringmx::spool
