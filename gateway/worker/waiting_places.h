// What mail goes to, or waits for while nobody takes it, by number. Of a pool whose hash spreads mail
// over several backends:
//
//   pool        mail of which no more is known yet
//   backend     mail that the hash gives to this one
//   stand-in    mail that this one gets only while the hash's own choice is out
//   several     mail for several backends of it
//
// With "failover": "none" nobody stands in, and mail for several has no number. Any other pool has one
// number for everything.
//
// The index of the queue keeps the numbers of mail that it has no addresses of, so they must not
// come to mean something else. A reload that routes differently, or lets go of a pool on hold, gives
// every place a new number, and one that spreads a pool's mail differently those of its backends: mail
// that has an old one is read and routed anew, once. Where nothing of that has changed, numbers stay,
// and so does the mail. A place that is gone takes mail, for the same reason.
//
// Cost:    of() is O(1) for pools of the configuration of now; those of an older one are looked for by
//          their names.
// Bounds:  numbers below spool::no_pool, pools first; one that no message names any more is given
//          again. A backend that gets none has its pool's, with "failover": "none" none at all. What
//          has none is not parked, but looked at when its time comes.
// Thread:  one worker.
// Errors:  none.
#pragma once

#include "base/instant.h"
#include "spool/queue_index.h"
#include "upstream/backend_state.h"

#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
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
    // Likewise, of what goes to this backend of it; upstream::no_backend: to any.
    [[nodiscard]] std::uint16_t of(const Pool& pool, std::uint32_t backend_index,
                                   bool is_stand_in = false) const;
    // Of mail that goes to both; spool::no_pool: there is none.
    [[nodiscard]] std::uint16_t together(std::uint16_t one, std::uint16_t other) const;

    // Of this configuration, more than one.
    [[nodiscard]] bool are_several_pools() const { return numbers_.size() > 1; }
    [[nodiscard]] std::uint16_t count() const { return static_cast<std::uint16_t>(places_.size()); }
    [[nodiscard]] const std::string& pool_name(std::uint16_t place) const {
        return places_[place].pool;
    }
    // In the snapshot of now; `none`: it is gone.
    [[nodiscard]] std::uint32_t pool_index(std::uint16_t place) const {
        return places_[place].pool_index;
    }
    // Its pool's number, which is its own where it is one, or is gone.
    [[nodiscard]] std::uint16_t pool_of(std::uint16_t place) const {
        const std::uint32_t pool = places_[place].pool_index;
        return pool == none || numbers_[pool].pool == spool::no_pool ? place : numbers_[pool].pool;
    }
    // All other numbers of its pool, of the snapshot of now.
    [[nodiscard]] std::span<const std::uint16_t> parts_of(std::uint16_t place) const {
        const std::uint32_t pool = places_[place].pool_index;
        return pool == none ? std::span<const std::uint16_t>() : numbers_[pool].parts;
    }
    [[nodiscard]] bool is_of_several(std::uint16_t place) const {
        return places_[place].kind == Kind::several;
    }
    // What names it may be another backend's by now, since this one may be out; whether it is.
    [[nodiscard]] bool may_be_out(std::uint16_t place) const {
        return places_[place].state != nullptr;
    }
    [[nodiscard]] bool is_out(std::uint16_t place) const {
        return may_be_out(place) && !places_[place].state->is_up();
    }
    // Whether what waits for it may go; of the snapshot of now.
    [[nodiscard]] bool takes_mail(std::uint16_t place, const Snapshot& snapshot, Instant now) const;
    [[nodiscard]] bool is_on_hold(std::uint16_t place, const Snapshot& snapshot) const;

  private:
    enum class Kind : std::uint8_t { pool, backend, stand_in, several };
    struct Place {
        std::string name = {}; // all that makes it what it is, in words
        std::string pool = {};
        std::uint32_t pool_index = none;
        std::uint32_t backend_index = none;
        Kind kind = Kind::pool;
        bool is_past = false; // found by nobody who looks for its name
        // Of a backend that others stand in for, or that stands in.
        std::shared_ptr<const upstream::BackendState> state = {};
    };

    // Of a pool. Where it has no parts, backends and stand-ins are empty.
    struct Numbers {
        std::uint16_t pool = spool::no_pool;
        std::uint16_t several = spool::no_pool;
        std::vector<std::uint16_t> backends;
        std::vector<std::uint16_t> stand_ins;
        std::vector<std::uint16_t> parts; // all of these
    };

    [[nodiscard]] std::uint16_t number(Place wanted, const spool::QueueIndex& index);
    [[nodiscard]] std::uint16_t find(const std::string& name) const;
    void number_parts(const Pool& pool, std::uint32_t pool_index, const spool::QueueIndex& index);

    std::vector<Place> places_;                              // by number
    std::unordered_map<std::string, std::uint16_t> by_name_; // those that are not past
    std::vector<Numbers> numbers_; // by the index of the pool in the snapshot of now
    std::unordered_map<const Pool*, std::uint32_t> pool_indexes_; // likewise
    std::uint16_t first_free_ = 0; // no number before it can be given again in this use()
    std::string routing_; // equal for configurations between which nobody has to be routed anew
};

} // namespace ringmx::worker
