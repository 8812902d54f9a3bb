#include "smtp/dot_stuffing.h"

#include "base/cpu.h"
#include "base/mutation.h"

#include <algorithm>
#include <bit>

#ifdef RINGMX_X86_64
#include <immintrin.h>
#endif

namespace ringmx::smtp {
namespace {

#ifdef RINGMX_X86_64

constexpr std::size_t vector_bytes = 32;
constexpr std::size_t block_bytes = 4 * vector_bytes;

// Where the octet at `first` + i is a CR and the one two behind it a dot.
[[gnu::target("avx2")]] inline __m256i look(const std::byte* first) {
    const auto* octets = reinterpret_cast<const __m256i*>(first);
    const auto* third = reinterpret_cast<const __m256i*>(first + 2);
    return _mm256_and_si256(_mm256_cmpeq_epi8(_mm256_loadu_si256(octets), _mm256_set1_epi8('\r')),
                            _mm256_cmpeq_epi8(_mm256_loadu_si256(third), _mm256_set1_epi8('.')));
}

// Searches for CR LF dot that starts at or behind `at`; returns where it starts, or where the
// search stopped for want of octets.
[[gnu::target("avx2,bmi")]] std::size_t find_avx2(Bytes span, std::size_t at) {
    const auto first_of = [&](std::uint32_t candidates, std::size_t base) {
        for (; candidates != 0; candidates &= candidates - 1) {
            const std::size_t cr = base + static_cast<std::size_t>(std::countr_zero(candidates));
            if (span[cr + 1] == std::byte{'\n'}) {
                return cr;
            }
        }
        return span.size();
    };
    const auto has_room = [&](std::size_t bytes) { return span.size() - at >= bytes + 2; };
    // Where dots are dense the next is near: the wide step is taken only behind a vector without
    // any.
    for (bool near = true; has_room(vector_bytes); near = false) {
        if (!near && has_room(block_bytes)) {
            __m256i any = look(span.data() + at);
            for (std::size_t offset = vector_bytes; offset < block_bytes; offset += vector_bytes) {
                any = _mm256_or_si256(any, look(span.data() + at + offset));
            }
            if (_mm256_testz_si256(any, any) != 0) {
                at += block_bytes;
                continue;
            }
        }
        const auto candidates =
            static_cast<std::uint32_t>(_mm256_movemask_epi8(look(span.data() + at)));
        const std::size_t found = first_of(candidates, at);
        if (found != span.size()) {
            return found;
        }
        at += vector_bytes;
    }
    return at;
}

#endif

} // namespace

std::size_t find_line_dot_plain(Bytes span, std::size_t from) {
    for (std::size_t dot = std::max<std::size_t>(from, 2); dot < span.size(); ++dot) {
        if (span[dot] == std::byte{'.'} && span[dot - 1] == std::byte{'\n'} &&
            span[dot - 2] == std::byte{'\r'}) {
            return dot;
        }
    }
    return span.size();
}

std::size_t find_line_dot(Bytes span, std::size_t from) {
#ifdef RINGMX_X86_64
    const std::size_t first = std::max<std::size_t>(from, 2) - 2;
    if (cpu_features().avx2 && first < span.size()) {
        return find_line_dot_plain(span, find_avx2(span, first) + 2);
    }
#endif
    return find_line_dot_plain(span, from);
}

void LineTail::pass(Bytes octets) {
    RINGMX_MUTATE(missing_dot_at_split, tail_ = Tail::other; if (octets.size() > 1) return);
    for (const std::byte octet : octets.last(std::min<std::size_t>(octets.size(), 2))) {
        tail_ = octet == std::byte{'\r'}                        ? Tail::cr
                : octet == std::byte{'\n'} && tail_ == Tail::cr ? Tail::crlf
                                                                : Tail::other;
    }
}

} // namespace ringmx::smtp
