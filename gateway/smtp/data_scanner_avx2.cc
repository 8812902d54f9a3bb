// DataScanner over 32 octets at a time: each octet is compared with the two behind it.
//
//   octets     … t  x \r \n  . …      A CR whose successor is no LF, or the other way round, is
//   CR?                1              bare; a CR with a dot two octets on is the start of a line
//   next LF?           1              with a dot. A block without either and without NUL, which is
//   third dot?         1              nearly every one, needs nothing but that; else its masks are
//                                     looked at, and only a block with a NUL or the end of data is
//                                     walked octet by octet.
#include "base/cpu.h"
#include "smtp/data_scanner.h"

#ifdef RINGMX_X86_64

#include <bit>
#include <immintrin.h>

#define RINGMX_AVX2 gnu::target("avx2,bmi,popcnt")

namespace ringmx::smtp {
namespace {

constexpr std::size_t vector_bytes = 32;

// What one vector of octets shows, each octet with the two behind it.
struct Vectors {
    __m256i cr;   // octet is CR
    __m256i lf;   // next octet is LF
    __m256i dot;  // the one after that is a dot
    __m256i next; // the next octets themselves
};

[[RINGMX_AVX2]] inline __m256i load(const std::byte* octets) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(octets));
}

[[RINGMX_AVX2]] inline Vectors look(const std::byte* first) {
    const __m256i next = load(first + 1);
    return {_mm256_cmpeq_epi8(load(first), _mm256_set1_epi8('\r')),
            _mm256_cmpeq_epi8(next, _mm256_set1_epi8('\n')),
            _mm256_cmpeq_epi8(load(first + 2), _mm256_set1_epi8('.')), next};
}

[[RINGMX_AVX2]] inline std::uint32_t mask(__m256i vector) {
    return static_cast<std::uint32_t>(_mm256_movemask_epi8(vector));
}

enum class Block : std::uint8_t { clean, marked, with_nul };

// Judges the vectors * 32 octets behind `first`; reads two octets more.
template <std::size_t vectors> [[RINGMX_AVX2]] inline Block judge(const std::byte* first) {
    __m256i marks = _mm256_setzero_si256();
    __m256i minima = _mm256_set1_epi8(-1);
#pragma GCC unroll 8 // all of it: counting and jumping would be a third
    for (std::size_t index = 0; index < vectors; ++index) {
        const Vectors seen = look(first + index * vector_bytes);
        const __m256i bare = _mm256_xor_si256(seen.cr, seen.lf);
        const __m256i line_dot = _mm256_and_si256(seen.cr, seen.dot);
        marks = _mm256_or_si256(marks, _mm256_or_si256(bare, line_dot));
        minima = _mm256_min_epu8(minima, seen.next);
    }
    const __m256i zero = _mm256_cmpeq_epi8(minima, _mm256_setzero_si256());
    const __m256i any = _mm256_or_si256(marks, zero);
    if (_mm256_testz_si256(any, any) != 0) [[likely]] {
        return Block::clean;
    }
    return mask(zero) != 0 ? Block::with_nul : Block::marked;
}

// Where the first block that is not clean starts, or too few octets for one are left. What lies
// before has no NUL, no bare newline and no dot at a line's start.
template <std::size_t vectors>
[[RINGMX_AVX2]] std::size_t skip_clean(Bytes span, std::size_t at, Block& found) {
    constexpr std::size_t block_bytes = vectors * vector_bytes;
    // One octet more than the block is read behind it.
    for (; span.size() - at > block_bytes; at += block_bytes) {
        found = judge<vectors>(span.data() + at - 1);
        if (found != Block::clean) {
            break;
        }
    }
    return at;
}

struct Marks {
    std::uint32_t bare_cr_count = 0;
    std::uint32_t bare_lf_count = 0;
    std::uint32_t stuffed_dots_count = 0;
    bool has_end = false;
};

// Counts in the 32 octets from `at` on, which hold no NUL. A dot so near their end that they don't
// decide it is not counted.
[[RINGMX_AVX2]] Marks count_marks(Bytes span, std::size_t at) {
    const Vectors seen = look(span.data() + at - 1);
    const std::uint32_t cr = mask(seen.cr);
    const std::uint32_t lf = mask(seen.lf);
    Marks marks;
    marks.bare_cr_count = static_cast<std::uint32_t>(std::popcount(cr & ~lf));
    marks.bare_lf_count = static_cast<std::uint32_t>(std::popcount(lf & ~cr));
    const std::size_t end = at + vector_bytes;
    for (std::uint32_t dots = cr & lf & mask(seen.dot); dots != 0; dots &= dots - 1) {
        const std::size_t dot = at + 1 + static_cast<std::size_t>(std::countr_zero(dots));
        if (dot + 1 >= end) {
            break;
        }
        if (span[dot + 1] != std::byte{'\r'}) {
            ++marks.stuffed_dots_count;
        } else if (dot + 2 < end) {
            if (span[dot + 2] == std::byte{'\n'}) {
                marks.has_end = true;
                break;
            }
            ++marks.stuffed_dots_count;
        }
    }
    return marks;
}

} // namespace

// The state behind a block without NUL of at least four octets that did not end the data.
DataScanner::State DataScanner::state_behind(const std::byte* position) {
    const auto behind_crlf = [&](int offset) {
        return position[offset - 2] == std::byte{'\r'} && position[offset - 1] == std::byte{'\n'};
    };
    if (position[-1] == std::byte{'\r'}) {
        return position[-2] == std::byte{'.'} && behind_crlf(-2) ? State::dot_cr : State::text_cr;
    }
    if (behind_crlf(0)) {
        return State::line_start;
    }
    return position[-1] == std::byte{'.'} && behind_crlf(-1) ? State::dot : State::text;
}

[[RINGMX_AVX2]] std::size_t DataScanner::walk_avx2(Bytes span, std::size_t from) {
    constexpr std::size_t wide = 8;
    // A block wants the octet before it, and a state that this octet and the block's own tell.
    const auto ready = [&](std::size_t at) {
        return at > 0 && (state_ == State::text || state_ == State::text_cr ||
                          (state_ == State::line_start && span[at] != std::byte{'.'}));
    };
    std::size_t at = from;
    for (;;) {
        while (at < span.size() && !ready(at)) {
            at = walk(span, at, at + 1);
            if (ended()) {
                return at;
            }
        }
        const std::size_t start = at;
        Block found = Block::clean;
        at = skip_clean<wide>(span, at, found);
        at = skip_clean<1>(span, at, found);
        if (at != start) {
            state_ = state_behind(span.data() + at);
        }
        if (span.size() - at <= vector_bytes) {
            return walk(span, at, span.size());
        }
        // skip_clean<1> stopped at a block that is not clean.
        if (found == Block::marked) {
            const Marks marks = count_marks(span, at);
            if (!marks.has_end) {
                counts_.bare_cr_count += marks.bare_cr_count;
                counts_.bare_lf_count += marks.bare_lf_count;
                counts_.stuffed_dots_count += marks.stuffed_dots_count;
                at += vector_bytes;
                state_ = state_behind(span.data() + at);
                continue;
            }
        }
        at = walk(span, at, at + vector_bytes);
        if (ended()) {
            return at;
        }
    }
}

} // namespace ringmx::smtp

#endif
