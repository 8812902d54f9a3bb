#include "spool_sizes.h"

#include "spool/journal.h"

#include <algorithm>
#include <fmt/format.h>

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

// Fewer of the largest messages than that, and one more client is refused whatever it sends.
constexpr std::uint64_t messages_that_fit_min = 3;

double in_mebibytes(std::uint64_t bytes) { return static_cast<double>(bytes) / mebibyte; }

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
        held_bytes_max == 0
            ? 0
            : std::min<std::uint64_t>(held_bytes_max / workers / bytes + 1, UINT32_MAX - count);
    return {bytes, static_cast<std::uint32_t>(count), static_cast<std::uint32_t>(held),
            std::max(max_size_bytes, bytes * count * workers) + held_bytes_max};
}

std::uint64_t SpoolSizes::room_bytes() const {
    return (segments_max - spool::spares_kept) * (segment_bytes - spool::block_bytes) -
           spool::room_kept_bytes;
}

std::vector<std::string> spool_size_warnings(const Settings& settings, std::uint32_t workers) {
    const SpoolSizes sizes =
        SpoolSizes::of(settings.spool.max_size_bytes, settings.spool.held.max_size_bytes, workers);
    const std::string all = fmt::format("{} worker{}", workers, workers == 1 ? "" : "s");
    std::vector<std::string> warnings;
    const std::uint64_t least = sizes.segment_bytes * sizes.segments_max * workers;
    if (least > settings.spool.max_size_bytes) {
        warnings.push_back(fmt::format("/spool/max_size: too little for {}: {} MiB counts", all,
                                       least / mebibyte));
    }
    const std::uint64_t message = settings.limits.message_size_bytes + spool::room_overhead_bytes;
    const std::uint64_t fit = sizes.room_bytes() / message;
    if (fit < messages_that_fit_min) {
        const std::string part =
            fmt::format("a worker's part of /spool/max_size (there {} {}) takes {:.1f} MiB",
                        workers == 1 ? "is" : "are", all, in_mebibytes(sizes.room_bytes()));
        warnings.push_back(
            fit == 0 ? fmt::format("/limits/message_size: a message of {:.1f} MiB can never be "
                                   "taken, it gets 452: {}",
                                   in_mebibytes(settings.limits.message_size_bytes), part)
                     : fmt::format("/limits/message_size: {} of {:.1f} MiB fill{} the spool: {}",
                                   fit == 1 ? "one message" : fmt::format("{} messages", fit),
                                   in_mebibytes(settings.limits.message_size_bytes),
                                   fit == 1 ? "s" : "", part));
    }
    const std::uint64_t held = settings.spool.held.max_size_bytes;
    if (held > 0 && held / workers < message) {
        warnings.push_back(fmt::format(
            "/spool/held/max_size: a worker's part of it (there {} {}) takes {:.1f} MiB: a message "
            "of {:.1f} MiB that fails is removed at once",
            workers == 1 ? "is" : "are", all, in_mebibytes(held / workers),
            in_mebibytes(settings.limits.message_size_bytes)));
    }
    return warnings;
}

} // namespace ringmx
