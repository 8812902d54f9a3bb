#include "worker/waiting_places.h"

#include "worker/snapshot.h"

#include <algorithm>
#include <fmt/format.h>
#include <iterator>
#include <string_view>
#include <utility>

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

// Mail of a pool with one backend, or with none that is anybody's, waits for the pool.
bool has_parts(const PoolSettings& pool) {
    return pool.hash != HashKey::none && pool.backends.size() > 1;
}

// What decides which backend a message belongs to, as a number.
std::uint64_t spread_of(const PoolSettings& pool) {
    std::string text = fmt::format("{}", static_cast<int>(pool.hash));
    for (const BackendSettings& backend : pool.backends) {
        fmt::format_to(std::back_inserter(text), "\n{} {}", backend.weight, backend.address);
    }
    return upstream::hash_key(text);
}

// Of a part of a pool. The pool's own name is in no other form.
std::string part_name(std::string_view kind, const PoolSettings& pool, std::uint64_t spread,
                      std::string_view address) {
    return fmt::format("{} {} {:x} {}", kind, pool.name, spread, address);
}

} // namespace

void WaitingPlaces::use(const Snapshot& snapshot, const spool::QueueIndex& index) {
    std::string routing = routing_of(snapshot);
    const bool routes_anew = routing != routing_;
    routing_ = std::move(routing);
    if (routes_anew) {
        by_name_.clear();
    }
    for (Place& place : places_) {
        place.pool_index = place.backend_index = none;
        place.state = nullptr;
        place.is_past = place.is_past || routes_anew; // until it is given again
    }
    numbers_.assign(snapshot.pools.size(), {});
    pool_indexes_.clear();
    first_free_ = 0;
    for (std::uint32_t pool = 0; pool < snapshot.pools.size(); ++pool) {
        const std::string& name = snapshot.pools[pool]->settings().name;
        numbers_[pool].pool = number({.name = name, .pool = name, .pool_index = pool}, index);
        pool_indexes_[snapshot.pools[pool].get()] = pool;
    }
    for (std::uint32_t pool = 0; pool < snapshot.pools.size(); ++pool) {
        if (has_parts(snapshot.pools[pool]->settings())) {
            number_parts(*snapshot.pools[pool], pool, index);
        }
    }
    for (Place& place : places_) {
        place.is_past = place.pool_index == none;
    }
    std::erase_if(by_name_, [&](const auto& named) { return places_[named.second].is_past; });
}

void WaitingPlaces::number_parts(const Pool& pool, std::uint32_t pool_index,
                                 const spool::QueueIndex& index) {
    const PoolSettings& settings = pool.settings();
    const bool stand_in = settings.failover == Failover::any;
    const std::uint64_t spread = spread_of(settings);
    Numbers& numbers = numbers_[pool_index];
    const auto number_one = [&](Kind kind, std::string_view kind_name, std::uint32_t backend) {
        const bool is_one = backend != none;
        const std::uint16_t given =
            number({.name = part_name(kind_name, settings, spread,
                                      is_one ? settings.backends[backend].address : ""),
                    .pool = settings.name,
                    .pool_index = pool_index,
                    .backend_index = backend,
                    .kind = kind,
                    .state = is_one && stand_in ? pool.upstream.states[backend] : nullptr},
                   index);
        if (given != spool::no_pool) {
            numbers.parts.push_back(given);
        }
        return given == spool::no_pool && stand_in ? numbers.pool : given;
    };
    numbers.backends.resize(settings.backends.size(), numbers.pool);
    numbers.stand_ins = numbers.backends;
    for (const std::uint16_t backend : pool.upstream.table.weighted()) {
        numbers.backends[backend] = number_one(Kind::backend, "backend", backend);
    }
    if (stand_in) {
        numbers.several = number_one(Kind::several, "several", none);
        for (const std::uint16_t backend : pool.upstream.table.weighted()) {
            numbers.stand_ins[backend] = number_one(Kind::stand_in, "stand-in", backend);
        }
    }
}

// spool::no_pool: there are too many.
std::uint16_t WaitingPlaces::number(Place wanted, const spool::QueueIndex& index) {
    std::uint16_t place = find(wanted.name);
    if (place == spool::no_pool) {
        while (first_free_ < count() &&
               (!places_[first_free_].is_past || index.is_named(first_free_))) {
            ++first_free_;
        }
        if (first_free_ == spool::no_pool) {
            return spool::no_pool;
        }
        place = first_free_;
        if (place == count()) {
            places_.emplace_back();
        }
        by_name_[wanted.name] = place;
    }
    places_[place] = std::move(wanted);
    return place;
}

std::uint16_t WaitingPlaces::find(const std::string& name) const {
    const auto found = by_name_.find(name);
    return found == by_name_.end() ? spool::no_pool : found->second;
}

std::uint16_t WaitingPlaces::of(const Pool& pool) const {
    const auto known = pool_indexes_.find(&pool);
    return known != pool_indexes_.end() ? numbers_[known->second].pool : find(pool.settings().name);
}

std::uint16_t WaitingPlaces::of(const Pool& pool, std::uint32_t backend_index,
                                bool is_stand_in) const {
    const PoolSettings& settings = pool.settings();
    if (!has_parts(settings) || backend_index >= settings.backends.size()) {
        return of(pool);
    }
    if (const auto known = pool_indexes_.find(&pool); known != pool_indexes_.end()) {
        const Numbers& numbers = numbers_[known->second];
        return (is_stand_in ? numbers.stand_ins : numbers.backends)[backend_index];
    }
    return find(part_name(is_stand_in ? "stand-in" : "backend", settings, spread_of(settings),
                          settings.backends[backend_index].address));
}

std::uint16_t WaitingPlaces::together(std::uint16_t one, std::uint16_t other) const {
    if (one == other) {
        return one;
    }
    const bool is_one_pool = one != spool::no_pool && other != spool::no_pool &&
                             pool_index(one) != none && pool_index(one) == pool_index(other);
    return is_one_pool ? numbers_[pool_index(one)].several : spool::no_pool;
}

// Not one that is being tried: all but that trial would be refused at once.
bool WaitingPlaces::takes_mail(std::uint16_t place, const Snapshot& snapshot, Instant now) const {
    const Place& waited_for = places_[place];
    if (waited_for.pool_index == none) {
        return true;
    }
    const upstream::Pool& pool = snapshot.pools[waited_for.pool_index]->upstream;
    if (waited_for.backend_index == none || pool.settings.failover == Failover::any) {
        return !pool.settings.hold &&
               std::ranges::any_of(pool.table.weighted(), [&](std::uint16_t backend) {
                   return pool.states[backend]->usable(now);
               });
    }
    return !pool.settings.hold && pool.states[waited_for.backend_index]->usable(now);
}

bool WaitingPlaces::is_on_hold(std::uint16_t place, const Snapshot& snapshot) const {
    const std::uint32_t pool = places_[place].pool_index;
    return pool != none && snapshot.pools[pool]->settings().hold;
}

} // namespace ringmx::worker
