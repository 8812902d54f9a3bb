// What mail waits for while nobody takes it, by number: a pool, or in a pool whose backends do not
// stand in for each other ("failover": "none") one backend of it.
//
// The index of the queue keeps the numbers of mail that it has no addresses of, so they must not
// come to mean something else. A reload that routes differently, or lets go of a pool on hold, gives
// every place a new number: mail that has an old one is read and routed anew, once. Where nothing of
// that has changed, numbers stay, and so does the mail. A place that is gone takes mail, for the same
// reason.
//
// Cost:    of() is O(1) for pools of the configuration of now; those of an older one are looked for by
//          their names. use() compares all names with all.
// Bounds:  numbers below spool::no_pool; one that no message names any more is given again. What has
//          none is not parked, but looked at when its time comes.
// Thread:  one worker.
// Errors:  none.
#pragma once

#include "base/instant.h"
#include "spool/queue_index.h"

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace ringmx::worker {

struct Pool;
struct Snapshot;

class WaitingPlaces {
  public:
    static constexpr std::uint32_t none = std::numeric_limits<std::uint32_t>::max();

    // Of this configuration from now on. `index`: whose messages have numbers.
    void use(const Snapshot& snapshot, const spool::QueueIndex& index);

    // Of a pool of any snapshot, which may be older; spool::no_pool: it has no number.
    [[nodiscard]] std::uint16_t of(const Pool& pool) const;
    // Likewise, where this backend of it is the only choice.
    [[nodiscard]] std::uint16_t of(const Pool& pool, std::uint32_t backend_index) const;

    // Of this configuration, more than one.
    [[nodiscard]] bool are_several() const { return are_several_; }
    [[nodiscard]] std::uint16_t count() const { return static_cast<std::uint16_t>(places_.size()); }
    [[nodiscard]] const std::string& pool_name(std::uint16_t place) const {
        return places_[place].pool;
    }
    // In the snapshot of now; `none`: it is gone.
    [[nodiscard]] std::uint32_t pool_index(std::uint16_t place) const {
        return places_[place].pool_index;
    }
    // Whether what waits for it may go; of the snapshot of now.
    [[nodiscard]] bool takes_mail(std::uint16_t place, const Snapshot& snapshot, Instant now) const;
    [[nodiscard]] bool is_on_hold(std::uint16_t place, const Snapshot& snapshot) const;

  private:
    struct Place {
        std::string pool = {};
        std::string backend = {}; // its address; empty: any
        std::uint32_t pool_index = none;
        std::uint32_t backend_index = none;
        bool is_past = false; // found by nobody who looks for its name
    };

    // Of a pool; the same for a backend that others stand in for.
    struct Numbers {
        std::uint16_t pool = spool::no_pool;
        std::vector<std::uint16_t> backends;
    };

    [[nodiscard]] std::uint16_t number(const Place& wanted, const spool::QueueIndex& index);
    [[nodiscard]] std::uint16_t find(std::string_view pool, std::string_view backend) const;

    std::vector<Place> places_;                        // by number
    std::unordered_map<const Pool*, Numbers> numbers_; // of the snapshot of now
    bool are_several_ = false;
    std::string routing_; // equal for configurations between which nobody has to be routed anew
};

} // namespace ringmx::worker
