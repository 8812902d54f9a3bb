// One backend that the sink plays: what all workers that listen for it share.
//
// Thread: read by any; the greylist locks itself.
#pragma once

#include "sink/greylist.h"
#include "sink/personality.h"

namespace ringmx::sink {

struct Backend {
    explicit Backend(const Personality& its, Instant now = Instant())
        : personality(its), greylist(its.greylist_delay, its.greylist_entries), begun(now) {}

    const Personality personality;
    Greylist greylist;
    const Instant begun; // storms are counted from here
};

} // namespace ringmx::sink
