#include "worker/waiting_places.h"

#include "worker/snapshot.h"

#include <algorithm>
#include <fmt/format.h>
#include <iterator>

namespace ringmx::worker {

namespace {

// What decides who waits for what, in words. Names of pools have no blanks.
std::string routing_of(const Snapshot& snapshot) {
    const Settings& settings = *snapshot.settings;
    std::string text =
        fmt::format("{:x} {}", snapshot.routes->digest(), settings.spool.bounce_pool);
    for (const RouteSettings& route : settings.routes) {
        fmt::format_to(std::back_inserter(text), " {}", settings.pools[route.pool_index].name);
    }
    for (const PoolSettings& pool : settings.pools) {
        if (pool.hold) {
            fmt::format_to(std::back_inserter(text), " hold {}", pool.name);
        }
    }
    return text;
}

bool has_lone_backends(const PoolSettings& pool) {
    return pool.failover == Failover::none && pool.hash != HashKey::none;
}

} // namespace

void WaitingPlaces::use(const Snapshot& snapshot, const spool::QueueIndex& index) {
    std::string routing = routing_of(snapshot);
    const bool routes_anew = routing != routing_;
    routing_ = std::move(routing);
    for (Place& place : places_) {
        place.pool_index = place.backend_index = none;
        place.is_past = place.is_past || routes_anew; // until it is given again
    }
    numbers_.clear();
    for (std::uint32_t pool = 0; pool < snapshot.pools.size(); ++pool) {
        const PoolSettings& settings = snapshot.pools[pool]->settings();
        Numbers& numbers = numbers_[snapshot.pools[pool].get()];
        numbers.pool = number({.pool = settings.name, .pool_index = pool}, index);
        numbers.backends.assign(settings.backends.size(), numbers.pool);
        for (std::uint32_t backend = 0;
             has_lone_backends(settings) && backend < settings.backends.size(); ++backend) {
            numbers.backends[backend] = number({.pool = settings.name,
                                                .backend = settings.backends[backend].address,
                                                .pool_index = pool,
                                                .backend_index = backend},
                                               index);
        }
    }
    for (Place& place : places_) {
        place.is_past = place.pool_index == none;
    }
    are_several_ = std::ranges::count(places_, false, &Place::is_past) > 1;
}

// spool::no_pool: there are too many.
std::uint16_t WaitingPlaces::number(const Place& wanted, const spool::QueueIndex& index) {
    std::uint16_t place = find(wanted.pool, wanted.backend);
    for (std::uint16_t past = 0; place == spool::no_pool && past < count(); ++past) {
        if (places_[past].is_past && !index.is_named(past)) {
            place = past;
        }
    }
    if (place != spool::no_pool) {
        places_[place] = wanted;
    } else if (places_.size() < spool::no_pool) {
        place = count();
        places_.push_back(wanted);
    }
    return place;
}

std::uint16_t WaitingPlaces::find(std::string_view pool, std::string_view backend) const {
    const auto found = std::ranges::find_if(places_, [&](const Place& place) {
        return !place.is_past && place.pool == pool && place.backend == backend;
    });
    return found == places_.end() ? spool::no_pool
                                  : static_cast<std::uint16_t>(found - places_.begin());
}

std::uint16_t WaitingPlaces::of(const Pool& pool) const {
    const auto known = numbers_.find(&pool);
    return known != numbers_.end() ? known->second.pool : find(pool.settings().name, {});
}

std::uint16_t WaitingPlaces::of(const Pool& pool, std::uint32_t backend_index) const {
    if (const auto known = numbers_.find(&pool); known != numbers_.end()) {
        const Numbers& numbers = known->second;
        return backend_index < numbers.backends.size() ? numbers.backends[backend_index]
                                                       : numbers.pool;
    }
    const PoolSettings& settings = pool.settings();
    const bool is_lone = has_lone_backends(settings) && backend_index < settings.backends.size();
    return find(settings.name, is_lone ? std::string_view(settings.backends[backend_index].address)
                                       : std::string_view());
}

bool WaitingPlaces::takes_mail(std::uint16_t place, const Snapshot& snapshot, Instant now) const {
    const Place& waited_for = places_[place];
    if (waited_for.pool_index == none) {
        return true;
    }
    const upstream::Pool& pool = snapshot.pools[waited_for.pool_index]->upstream;
    if (waited_for.backend_index == none) {
        return upstream::has_backend(pool, now);
    }
    // One without a weight is nobody's choice any more.
    const bool is_chosen = std::ranges::binary_search(
        pool.table.weighted(), static_cast<std::uint16_t>(waited_for.backend_index));
    return !pool.settings.hold &&
           (!is_chosen || pool.states[waited_for.backend_index]->is_offered(now));
}

bool WaitingPlaces::is_on_hold(std::uint16_t place, const Snapshot& snapshot) const {
    const std::uint32_t pool = places_[place].pool_index;
    return pool != none && snapshot.pools[pool]->settings().hold;
}

} // namespace ringmx::worker
