#include "smtp/newline_scanner.h"

#include "base/cpu.h"

#include <bit>
#include <cstddef>

#ifdef RINGMX_X86_64
#include <immintrin.h>
#endif

namespace ringmx::smtp {
namespace {

struct Counts {
    std::uint64_t bare_cr = 0;
    std::uint64_t bare_lf = 0;
};

#ifdef RINGMX_X86_64

constexpr std::size_t vector_bytes = 32;
constexpr std::size_t block_bytes = 4 * vector_bytes;

struct Pairs {
    __m256i cr; // octet is CR
    __m256i lf; // next octet is LF
};

[[gnu::target("avx2")]] inline Pairs look(const std::byte* first) {
    const auto* octets = reinterpret_cast<const __m256i*>(first);
    const auto* next = reinterpret_cast<const __m256i*>(first + 1);
    return {_mm256_cmpeq_epi8(_mm256_loadu_si256(octets), _mm256_set1_epi8('\r')),
            _mm256_cmpeq_epi8(_mm256_loadu_si256(next), _mm256_set1_epi8('\n'))};
}

// Judges the neighbours of whole blocks of span, from the pair of its first two octets on; returns
// how many pairs it judged.
[[gnu::target("avx2,popcnt")]] std::size_t count_avx2(Bytes span, Counts& counts) {
    std::size_t at = 0;
    for (; span.size() - at > block_bytes; at += block_bytes) {
        __m256i bare = _mm256_setzero_si256();
        for (std::size_t offset = 0; offset < block_bytes; offset += vector_bytes) {
            const Pairs pairs = look(span.data() + at + offset);
            bare = _mm256_or_si256(bare, _mm256_xor_si256(pairs.cr, pairs.lf));
        }
        if (_mm256_testz_si256(bare, bare) != 0) [[likely]] {
            continue;
        }
        for (std::size_t offset = 0; offset < block_bytes; offset += vector_bytes) {
            const Pairs pairs = look(span.data() + at + offset);
            const auto cr = static_cast<std::uint32_t>(_mm256_movemask_epi8(pairs.cr));
            const auto lf = static_cast<std::uint32_t>(_mm256_movemask_epi8(pairs.lf));
            counts.bare_cr += static_cast<std::uint64_t>(std::popcount(cr & ~lf));
            counts.bare_lf += static_cast<std::uint64_t>(std::popcount(lf & ~cr));
        }
    }
    return at;
}

#endif

} // namespace

void NewlineScanner::scan_plain(Bytes span) {
    for (const std::byte octet : span) {
        const bool is_lf = octet == std::byte{'\n'};
        bare_cr_count_ += behind_cr_ && !is_lf ? 1 : 0;
        bare_lf_count_ += is_lf && !behind_cr_ ? 1 : 0;
        behind_cr_ = octet == std::byte{'\r'};
    }
}

void NewlineScanner::scan_fast(Bytes span) {
#ifdef RINGMX_X86_64
    if (cpu_features().avx2 && span.size() > block_bytes) {
        scan_plain(span.first(1));
        Counts counts;
        const std::size_t judged = count_avx2(span, counts);
        bare_cr_count_ += counts.bare_cr;
        bare_lf_count_ += counts.bare_lf;
        behind_cr_ = span[judged] == std::byte{'\r'};
        span = span.subspan(judged + 1);
    }
#endif
    scan_plain(span);
}

void NewlineScanner::scan(Bytes span) { scan_fast(span); }

void NewlineScanner::finish() {
    bare_cr_count_ += behind_cr_ ? 1 : 0;
    behind_cr_ = false;
}

} // namespace ringmx::smtp
