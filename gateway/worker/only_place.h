// The one place (WaitingPlaces) that all of a message's recipients noted so far go to, or wait for.
// Several that none stands for, or none: spool::no_pool, as of a recipient whose place has no number.
#pragma once

#include "spool/queue_entry.h"
#include "worker/waiting_places.h"

#include <cstdint>

namespace ringmx::worker {

class OnlyPlace {
  public:
    void note(std::uint16_t place, const WaitingPlaces& places) {
        const std::uint16_t both = is_noted_ ? places.together(place_, place) : place;
        are_several_ = are_several_ || (is_noted_ && place_ != place && both == spool::no_pool);
        is_noted_ = true;
        place_ = both;
    }
    [[nodiscard]] std::uint16_t place() const { return are_several_ ? spool::no_pool : place_; }
    [[nodiscard]] bool are_several() const { return are_several_; }

  private:
    std::uint16_t place_ = spool::no_pool;
    bool is_noted_ = false;
    bool are_several_ = false;
};

} // namespace ringmx::worker
