// Greylisting: the first try of a (sender, recipient) pair is put off, later ones pass once a time
// has gone by since then.
//
// Pairs are known by a 64-bit hash, case as it was given.
// Bounds:  `entries` pairs; a new one takes the place of the oldest.
// Thread:  any; one lock, held for a look-up. All workers of a listener share one, since a sender's
//          second try may reach another worker than its first.
// Errors:  none.
// Source:  RFC 6647.
#pragma once

#include "base/instant.h"

#include <cstdint>
#include <mutex>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace ringmx::sink {

class Greylist {
  public:
    Greylist(Duration delay, std::uint32_t entries) : delay_(delay), entries_(entries) {}

    [[nodiscard]] bool is_on() const { return delay_ > Duration::zero(); }
    // Whether the pair may pass now; from its first call on the pair is known.
    [[nodiscard]] bool passes(std::string_view sender, std::string_view recipient, Instant now);

  private:
    Duration delay_;
    std::uint32_t entries_;
    std::mutex mutex_;
    std::unordered_map<std::uint64_t, Instant> first_seen_;
    std::vector<std::uint64_t> in_order_; // a ring: the oldest at oldest_ once it is full
    std::size_t oldest_ = 0;
};

} // namespace ringmx::sink
