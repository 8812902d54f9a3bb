#include "upstream/backend_state.h"

#include "base/assert.h"

#include <algorithm>
#include <bit>

namespace ringmx::upstream {

namespace {

// The word of health, from its top:
//   | comeback 36 | traffic 12 | probes 12 | out by name 1 | trial 1 | out by probes 1 | out by traffic 1
//
//   comeback  when a trial is due, in ticks of 2^23 ns (8.4 ms): 18 years of uptime
//   traffic   up: failures in a row; out: how often the wait was doubled
//   probes    up: failures in a row; out: successes in a row
struct Health {
    std::uint64_t comeback_ticks = 0;
    std::uint32_t traffic = 0;
    std::uint32_t probes = 0;
    bool out_by_name = false;
    bool trial = false;
    bool out_by_probes = false;
    bool out_by_traffic = false;
};

constexpr unsigned tick_bits = 23;
constexpr std::uint32_t count_max = (1U << 12U) - 1;
constexpr Duration::rep spread_share = 5; // a wait is shorter by up to one of so many parts

constexpr std::uint64_t packed(const Health& health) {
    return health.comeback_ticks << 28U | std::uint64_t{health.traffic} << 16U |
           std::uint64_t{health.probes} << 4U | std::uint64_t{health.out_by_name} << 3U |
           std::uint64_t{health.trial} << 2U | std::uint64_t{health.out_by_probes} << 1U |
           std::uint64_t{health.out_by_traffic};
}

constexpr Health unpacked(std::uint64_t word) {
    return {.comeback_ticks = word >> 28U,
            .traffic = static_cast<std::uint32_t>(word >> 16U) & count_max,
            .probes = static_cast<std::uint32_t>(word >> 4U) & count_max,
            .out_by_name = (word >> 3U & 1U) != 0,
            .trial = (word >> 2U & 1U) != 0,
            .out_by_probes = (word >> 1U & 1U) != 0,
            .out_by_traffic = (word & 1U) != 0};
}

// Rounded up: a trial may be some milliseconds late, never early.
std::uint64_t ticks_at(Instant instant) {
    const auto ns = static_cast<std::uint64_t>(instant.time_since_epoch().count());
    return (ns + (1U << tick_bits) - 1) >> tick_bits;
}

Instant instant_at(std::uint64_t ticks) {
    return Instant(Duration(static_cast<Duration::rep>(ticks << tick_bits)));
}

// `now` tells those apart that wait for the same: its nanoseconds are as good as drawn.
Duration comeback_wait(Duration interval, std::uint32_t doublings, std::uint32_t id, Instant now) {
    Duration wait = std::min<Duration>(interval, comeback_wait_max);
    for (std::uint32_t i = 0; i < doublings && wait < comeback_wait_max; ++i) {
        wait = std::min<Duration>(wait * 2, comeback_wait_max);
    }
    if (doublings == 0) {
        return wait;
    }
    constexpr std::uint64_t golden = 0x9E37'79B9'7F4A'7C15; // Fibonacci hashing (Knuth 6.4)
    const auto mixed = (static_cast<std::uint64_t>(now.time_since_epoch().count()) ^ id) * golden;
    const auto parts = static_cast<Duration::rep>(mixed >> 54U); // of 1024
    return wait - wait / spread_share * parts / 1024;
}

std::uint32_t threshold(std::uint32_t configured) { return std::clamp(configured, 1U, count_max); }

bool may_use(const Health& health, Instant now) {
    return !health.out_by_name && !health.out_by_probes &&
           (!health.out_by_traffic || (!health.trial && now >= instant_at(health.comeback_ticks)));
}

// Applies `change` to the word until no other thread came in between.
template <typename Change> void transform(std::atomic<std::uint64_t>& word, Change change) {
    std::uint64_t known = word.load();
    for (;;) {
        Health health = unpacked(known);
        change(health);
        const std::uint64_t next = packed(health);
        if (next == known || word.compare_exchange_weak(known, next)) {
            return;
        }
    }
}

} // namespace

void WorkerSet::insert(std::uint32_t worker) {
    RINGMX_ASSERT(worker < workers_max);
    const std::uint64_t bit = std::uint64_t{1} << worker % 64;
    if ((words_[worker / 64].fetch_or(bit) & bit) == 0) {
        count_.fetch_add(1);
    }
}

bool WorkerSet::erase(std::uint32_t worker) {
    RINGMX_ASSERT(worker < workers_max);
    const std::uint64_t bit = std::uint64_t{1} << worker % 64;
    if ((words_[worker / 64].load() & bit) == 0 ||
        (words_[worker / 64].fetch_and(~bit) & bit) == 0) {
        return false;
    }
    count_.fetch_sub(1);
    return true;
}

bool WorkerSet::contains(std::uint32_t worker) const {
    return (words_[worker / 64].load() >> worker % 64 & 1U) != 0;
}

bool WorkerSet::contains_another(std::uint32_t worker) const {
    return count_.load() > (contains(worker) ? 1 : 0);
}

std::optional<std::uint32_t> WorkerSet::take(std::uint32_t after) {
    if (empty()) {
        return std::nullopt;
    }
    const std::uint32_t start = (after + 1) % workers_max;
    const auto words = static_cast<std::uint32_t>(words_.size());
    // The start's word is looked at twice: its upper bits first, its lower ones last.
    for (std::uint32_t step = 0; step <= words; ++step) {
        const std::uint32_t index = (start / 64 + step) % words;
        std::uint64_t bits = words_[index].load();
        const std::uint64_t from_start = ~std::uint64_t{0} << start % 64;
        if (step == 0) {
            bits &= from_start;
        } else if (step == words) {
            bits &= ~from_start;
        }
        for (; bits != 0; bits &= bits - 1) {
            const auto worker = index * 64 + static_cast<std::uint32_t>(std::countr_zero(bits));
            if (erase(worker)) {
                return worker;
            }
        }
    }
    return std::nullopt;
}

BackendState::BackendState(std::uint32_t id, std::string pool, std::string address)
    : id_(id), pool_(std::move(pool)), address_(std::move(address)) {}

bool BackendState::usable(Instant now) const { return may_use(unpacked(health_.load()), now); }

bool BackendState::is_up() const {
    const Health health = unpacked(health_.load());
    return !health.out_by_name && !health.out_by_probes && !health.out_by_traffic;
}

bool BackendState::is_offered(Instant now) const {
    const Health health = unpacked(health_.load());
    return !health.out_by_name && !health.out_by_probes &&
           (!health.out_by_traffic || now >= instant_at(health.comeback_ticks));
}

std::optional<Instant> BackendState::comeback_at() const {
    const Health health = unpacked(health_.load());
    return health.out_by_traffic ? std::optional(instant_at(health.comeback_ticks)) : std::nullopt;
}

bool BackendState::take_trial(Instant now) {
    bool taken = false;
    transform(health_, [&](Health& health) {
        taken = health.out_by_traffic && may_use(health, now);
        health.trial = health.trial || taken;
    });
    return taken;
}

Begin BackendState::try_reuse(Instant now) {
    if (is_up()) {
        return Begin::ok;
    }
    if (take_trial(now)) {
        return Begin::trial;
    }
    return is_up() ? Begin::ok : Begin::down;
}

Begin BackendState::try_begin(std::uint32_t max_connections, Instant now) {
    if (!usable(now)) {
        return Begin::down;
    }
    std::uint32_t open = open_.load();
    do {
        if (open >= max_connections) {
            return Begin::full;
        }
    } while (!open_.compare_exchange_weak(open, open + 1));
    const Begin begin = try_reuse(now);
    if (begin == Begin::down) { // another took the trial first
        open_.fetch_sub(1);
    }
    return begin;
}

void BackendState::connection_succeeded(bool trial) {
    transform(health_, [&](Health& health) {
        // A connection from before the backend went out proves nothing about it now.
        if (health.out_by_traffic && !trial) {
            return;
        }
        health.out_by_traffic = false;
        health.trial = false;
        health.traffic = 0;
        health.comeback_ticks = 0;
    });
}

void BackendState::connection_failed(bool trial, const HealthSettings& settings, Instant now) {
    transform(health_, [&](Health& health) {
        if (!health.out_by_traffic) {
            health.traffic = std::min(health.traffic + 1, count_max);
            if (health.traffic < threshold(settings.failures)) {
                return;
            }
            health.out_by_traffic = true;
            health.traffic = 0;
        } else if (trial) {
            health.traffic = std::min(health.traffic + 1, count_max);
        } else {
            return; // it was under way when the backend went out
        }
        health.trial = false;
        health.comeback_ticks =
            ticks_at(now + comeback_wait(settings.interval, health.traffic, id_, now));
    });
}

void BackendState::abandoned(bool trial) {
    if (trial) {
        transform(health_, [](Health& health) { health.trial = false; });
    }
}

std::optional<std::uint32_t> BackendState::end(std::uint32_t worker) {
    const std::uint32_t before = open_.fetch_sub(1);
    RINGMX_ASSERT_STATE(before > 0, "backend %s has no connection to end", address_.c_str());
    return waiting_.take(worker);
}

void BackendState::probe_result(bool ok, const HealthSettings& settings) {
    transform(health_, [&](Health& health) {
        if (ok == !health.out_by_probes) {
            health.probes = 0;
            return;
        }
        health.probes = std::min(health.probes + 1, count_max);
        if (health.probes >= threshold(ok ? settings.successes : settings.failures)) {
            health.out_by_probes = !ok;
            health.probes = 0;
        }
    });
}

void BackendState::set_resolved(bool resolved) {
    transform(health_, [&](Health& health) { health.out_by_name = !resolved; });
}

bool BackendState::is_resolved() const { return !unpacked(health_.load()).out_by_name; }

std::shared_ptr<BackendState> BackendRegistry::state_of(const std::string& pool,
                                                        const std::string& address) {
    std::shared_ptr<BackendState>& state = states_[{pool, address}];
    if (!state) {
        state = std::make_shared<BackendState>(next_id_++, pool, address);
    }
    return state;
}

void BackendRegistry::forget_unused() {
    std::erase_if(states_, [](const auto& entry) { return entry.second.use_count() == 1; });
}

} // namespace ringmx::upstream
