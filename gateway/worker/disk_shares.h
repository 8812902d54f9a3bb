// Who has how many of the dispatches of what is due, so that no place takes all of them for itself.
//
// Share:   one place has at most share_of_free times as many as are free for all: one backlog alone 24
//          of 32, two 13 each, ten 3 each. A place that comes later finds some free, or gets the next
//          one: who has more than his share by then gets none. Mail for several places, or for one that
//          has no number, takes of what is free and counts for nobody.
// Window:  of those that have no connection yet, being read or waiting for one. Where one has to wait,
//          more would only wait too, and be read again when that was in vain: one at a time from then
//          on. Each that finds a connection at once doubles that.
// Rests:   a place for which mail was parked gets nothing until all its mail may go again, or younger
//          mail went meanwhile.
// Crowded: a place that may have no more, for one of these reasons: the index passes its mail over.
// Alone:   where the configuration has one place only it is never crowded: there are no others.
// Past:    what names a place of routes that are past is routed anew, and not kept from that.
//
//   known place:    take() ─────────────────────────────────────▶ give_back()
//   another one, or not known: read ─▶ may_have() ─▶ take() ────▶ give_back()
//                                              └ no: back to the index, which knows the place now
//
// Cost:    O(places that have some) each: at most as many as there are dispatches.
// Thread:  one worker.
// Errors:  none.
// Source:  Choudhury, Hahne, "Dynamic Queue Length Thresholds for Shared-Memory Packet Switches"
//          (1998).
#pragma once

#include "spool/queue_index.h"
#include "worker/waiting_places.h"

#include <cstdint>
#include <span>
#include <vector>

namespace ringmx::worker {

// What one dispatch has.
struct DiskShare {
    std::uint16_t place = spool::no_pool; // no_pool: it counts for none
    bool has_begun = false;               // it had a connection
};

class DiskShares {
  public:
    // A backlog alone loses a quarter of its pace; less would leave the second one too little.
    static constexpr std::uint32_t share_of_free = 3;

    DiskShares(const WaitingPlaces& places, spool::QueueIndex& index, std::uint32_t dispatches_max)
        : places_(places), index_(index), dispatches_max_(dispatches_max), free_(dispatches_max) {}

    // One more. (spool::no_pool: always.)
    [[nodiscard]] bool may_have(std::uint16_t place) const { return !is_crowded(holder_of(place)); }
    // Some message names it, if it is one.
    [[nodiscard]] DiskShare take(std::uint16_t place);
    void give_back(const DiskShare& share);
    void note_wait(const DiskShare& share); // for a connection
    void note_begin(DiskShare& share, bool at_once);

    void rest(std::uint16_t place); // some message names it
    void end_rests();
    [[nodiscard]] bool any_rests() const { return !resting_.empty(); }

    void places_changed();

  private:
    struct Holder {
        std::uint16_t place = spool::no_pool;
        std::uint32_t count = 0;     // of those that are kept: at least one
        std::uint32_t undecided = 0; // of these: without a connection yet
    };

    [[nodiscard]] std::vector<Holder>::iterator find(std::uint16_t place);
    [[nodiscard]] Holder holder_of(std::uint16_t place) const;
    [[nodiscard]] std::uint32_t& window(std::uint16_t place);
    [[nodiscard]] bool is_crowded(const Holder& holder) const;
    void judge(const Holder& holder);
    void judge_holders();
    void judge_resting(std::span<const std::uint16_t> resting);

    const WaitingPlaces& places_;
    spool::QueueIndex& index_;
    std::uint32_t dispatches_max_;
    std::uint32_t free_; // beside those that are taken; what is being read has none yet
    std::vector<Holder> holders_;
    std::vector<std::uint32_t> windows_; // by place; of those behind its end: dispatches_max_
    std::vector<std::uint16_t> resting_;
};

} // namespace ringmx::worker
