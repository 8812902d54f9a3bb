#include "spool_sizes.h"

#include "spool/commit.h"

#include <algorithm>

namespace ringmx {
namespace {

constexpr std::uint64_t mebibyte = 1024 * 1024;
constexpr std::uint64_t segments_of_a_spool = 64;
constexpr std::uint64_t ordinary_bytes_min = 4 * mebibyte;
constexpr std::uint64_t ordinary_bytes_max = 256 * mebibyte;
// Where workers have little room each, but no smaller ones than this. New mail leaves one segment and
// two commits' room free: with three of the least size mail would stop before the one that is written
// to is full, hence is never used again.
constexpr std::uint64_t segments_min = 4;
constexpr std::uint64_t bytes_min = 2 * mebibyte;

static_assert(bytes_min >= spool::commit_bytes_max + spool::block_bytes,
              "a commit fits behind the header");

} // namespace

SpoolSizes SpoolSizes::of(std::uint64_t max_size_bytes, std::uint64_t held_bytes_max,
                          std::uint32_t workers) {
    const std::uint64_t share = max_size_bytes / workers;
    std::uint64_t bytes =
        std::clamp(max_size_bytes / segments_of_a_spool, ordinary_bytes_min, ordinary_bytes_max);
    bytes = std::max(std::min(bytes, share / segments_min), bytes_min);
    bytes = bytes / mebibyte * mebibyte;
    const std::uint64_t count = std::clamp<std::uint64_t>(share / bytes, segments_min, UINT32_MAX);
    // A part of one takes a whole one.
    const std::uint64_t held =
        held_bytes_max == 0 ? 0
                            : std::min<std::uint64_t>(held_bytes_max / workers / bytes + 1, count);
    return {bytes, static_cast<std::uint32_t>(count), static_cast<std::uint32_t>(held),
            std::max(max_size_bytes, bytes * count * workers) + held_bytes_max};
}

} // namespace ringmx
