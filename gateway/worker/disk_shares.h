// Who has how many of the dispatches of what is due, so that no place takes all of them for itself: no
// pool those of other pools, no backend those of its siblings.
//
// Share:   one pool has at most share_of_free times as many as are free for all: one backlog alone 24
//          of 32, two 13 each, ten 3 each. Of what is left to its pool a backend has a share likewise:
//          18 alone; 24 where there is one pool. A place that comes later finds some free, or gets the
//          next one: who has more than his share by then gets none. Mail for several pools, or for a
//          place that has no number, takes of what is free and counts for nobody.
// Window:  of those that have no connection yet, being read or waiting for one. Where one has to wait,
//          more would only wait too, and be read again when that was in vain: one at a time from then
//          on. Each that finds a connection at once doubles that. Mail for several backends has none:
//          what one of them keeps waiting goes to others meanwhile.
// Rests:   a place for which mail waited in vain gets nothing until others have had what they left, or
//          younger mail went meanwhile. While half of all wait for connections nobody's rest ends, and
//          then that of who has rested longest: however many backends are full, they have no more.
// Crowded: a place that may have no more, for one of these reasons: the index passes its mail over.
// Alone:   a pool that is the only one is never crowded, its backends are.
// Out:     mail of a backend that is out is another one's, if others stand in for it: it is routed
//          anew, and not kept from that. Likewise what names a place of routes that are past.
//
//   known place:    take() ─────────────────────────────────────▶ give_back()
//   another one, or not known: read ─▶ may_have() ─▶ take() ────▶ give_back()
//                                              └ no: back to the index, which knows the place now
//
// Cost:    O(places that have some) each: at most twice as many as there are dispatches; O(parts) of a
//          pool when it reaches its share, or leaves it.
// Thread:  one worker.
// Errors:  none.
// Source:  Choudhury, Hahne, "Dynamic Queue Length Thresholds for Shared-Memory Packet Switches"
//          (1998).
#pragma once

#include "spool/queue_index.h"
#include "worker/waiting_places.h"

#include <cstdint>
#include <vector>

namespace ringmx::worker {

// What one dispatch has.
struct DiskShare {
    std::uint16_t place = spool::no_pool; // no_pool: it counts for none
    std::uint16_t pool = spool::no_pool;  // for which it counts too
    bool waits = false;                   // for a connection
    bool has_begun = false;               // it had one
};

class DiskShares {
  public:
    // A backlog alone loses a quarter of its pace; less would leave the second one too little.
    static constexpr std::uint32_t share_of_free = 3;

    DiskShares(const WaitingPlaces& places, spool::QueueIndex& index, std::uint32_t dispatches_max)
        : places_(places), index_(index), dispatches_max_(dispatches_max), free_(dispatches_max) {}

    // One more. (spool::no_pool: always.)
    [[nodiscard]] bool may_have(std::uint16_t place) const { return !is_crowded(place); }
    [[nodiscard]] DiskShare take(std::uint16_t place);
    void give_back(const DiskShare& share);
    void note_wait(DiskShare& share); // for a connection
    void note_begin(DiskShare& share, bool at_once);

    void rest(std::uint16_t place);
    void end_rests(); // and sees who is out
    // Whether end_rests() may change anything without anything else happening.
    [[nodiscard]] bool need_watch() const;

    void places_changed();

  private:
    // Of a place.
    struct Use {
        std::uint32_t count = 0;     // of a pool: with those of its parts
        std::uint32_t undecided = 0; // its own without a connection yet
        std::uint32_t window = 0;    // of these; 0: as many as there are
        bool rests = false;
        bool has_share = false; // of a pool: its parts are known to be crowded by that
    };

    [[nodiscard]] Use use_of(std::uint16_t place) const {
        return place < uses_.size() ? uses_[place] : Use();
    }
    [[nodiscard]] Use& use(std::uint16_t place);
    void count(std::uint16_t place);
    [[nodiscard]] bool has_share(std::uint16_t pool) const;
    [[nodiscard]] std::uint32_t left_to(std::uint16_t pool) const;
    [[nodiscard]] bool is_crowded(std::uint16_t place) const;
    void judge(std::uint16_t place);
    void judge_parts(std::uint16_t pool);
    void judge_holders();

    const WaitingPlaces& places_;
    spool::QueueIndex& index_;
    std::uint32_t dispatches_max_;
    std::uint32_t free_;        // beside those that are taken; what is being read has none yet
    std::uint32_t waiting_ = 0; // shares
    std::vector<Use> uses_;     // by place
    std::vector<std::uint16_t> holders_; // that have some
    std::vector<std::uint16_t> resting_; // the first the longest
};

} // namespace ringmx::worker
