// The space of deleted files, given back in parts.
//
// A file system that tells its device of all that is free again (mount option discard) does so when it
// next commits, and the log waits meanwhile: 0.2 s for a segment of 256 MiB that goes at once.
//
// Thread: one. Each part blocks.
// Errors: none; what can't be shortened goes at once.
// Source: ftruncate(2), mount option discard of ext4(5); figures in docs/performance.md.
#pragma once

#include "base/instant.h"
#include "owned_descriptor.h"

#include <cstdint>
#include <deque>

namespace ringmx {

class DeletedFiles {
  public:
    static constexpr std::uint64_t part_bytes = std::uint64_t{16} << 20U;
    static constexpr Duration rest = 20ms; // after each part

    // One that was deleted, durably, and is open for writing. What has another name stays as it is.
    void add(OwnedDescriptor file);
    // A part, when it is time.
    void run(Instant now);
    [[nodiscard]] Instant deadline() const { return files_.empty() ? never : next_part_; }

  private:
    // False: nothing is left of it.
    [[nodiscard]] static bool shorten(const OwnedDescriptor& file);

    std::deque<OwnedDescriptor> files_;
    Instant next_part_{};
};

} // namespace ringmx
