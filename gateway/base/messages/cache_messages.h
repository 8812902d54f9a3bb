// What main asks workers about the answers that they keep about recipients, and what they say.
//
// Each worker keeps its own, of the recipients that its clients have named: who knows one is not known
// outside. Each worker that is asked answers each question once, at once.
// Bounds:  `limit` rows; a list may end earlier, even without a row: `next` is where to go on.
// Thread:  any; each value belongs to one.
#pragma once

#include "base/instant.h"

#include <cstdint>
#include <string>
#include <vector>

namespace ringmx {

struct CacheQuestion {
    enum class Kind : std::uint8_t { list, purge };

    std::uint64_t number = 0; // main's
    Kind kind = Kind::list;
    std::string recipient = {}; // only this mailbox, in canonical form; empty: all there is
    std::uint64_t after = 0;    // of a list of all: where it goes on; 0: at its beginning
    std::uint32_t limit = 0;    // of a list
};

// One answer that is kept. Of a recipient the cache has no more than a hash: no row names it.
struct CacheRow {
    std::string reply; // the backend's refusal, in one line; empty: the recipient exists
    Duration remaining{};

    bool operator==(const CacheRow&) const = default;
};

struct CacheAnswer {
    std::uint64_t question = 0; // its number
    std::uint32_t worker = 0;
    std::vector<CacheRow> rows = {}; // of list, the oldest answer first
    std::uint64_t next = 0;          // of list: where to go on; 0: that was all
    std::uint64_t purged = 0;        // of purge: answers that are forgotten
};

} // namespace ringmx
