// ConnectionBook's choice: which backend a transaction gets, and whether it may have it now.
#include "upstream/connection_book.h"
#include "upstream/usable.h"

#include <algorithm>
#include <utility>

namespace ringmx::upstream {

namespace {

// A lost race for a backend's last connection or trial, so many times in one choice, means that the
// pool is in turmoil: refusing is an answer then.
constexpr int choices_max = 8;

bool contains(std::span<const std::uint16_t> indexes, std::uint32_t index) {
    return std::ranges::find(indexes, index) != indexes.end();
}

// A client's hold of one backend, as one number (both parts are spread over all bits).
std::uint64_t share_key(const BackendState& state, std::uint64_t client_key) {
    std::uint64_t mixed = client_key ^ (std::uint64_t{state.id()} + 1) * 0x9E3779B97F4A7C15;
    mixed ^= mixed >> 32U;
    mixed *= 0xD6E8FEB86659FD93;
    mixed ^= mixed >> 32U;
    return mixed;
}

} // namespace

Answer ConnectionBook::choose(const Request& request, std::span<const std::uint16_t> tried,
                              bool queued, Step& blocked, Instant now) {
    if (request.pool->settings.hold || request.pool->table.weighted().empty()) {
        return {};
    }
    if (request.preferred != no_backend && !contains(tried, request.preferred)) {
        Answer answer;
        blocked = try_backend(request, request.preferred, queued, answer, now);
        if (blocked != Step::passed_over) {
            return answer;
        }
    }
    return request.pool->settings.hash == HashKey::none
               ? choose_in_turn(request, tried, queued, blocked, now)
               : choose_by_slot(request, tried, queued, blocked, now);
}

Answer ConnectionBook::choose_by_slot(const Request& request, std::span<const std::uint16_t> tried,
                                      bool queued, Step& blocked, Instant now) {
    const Pool& pool = *request.pool;
    const std::uint32_t slot = SlotTable::slot_of(request.key_hash);
    std::uint32_t index = pool.table.first(slot);
    Answer answer;
    for (int choice = 0; choice < choices_max && index != no_backend; ++choice) {
        if (!contains(tried, index)) {
            blocked = try_backend(request, index, queued, answer, now);
            if (blocked != Step::passed_over) {
                return answer;
            }
        }
        if (pool.settings.failover == Failover::none) {
            break;
        }
        // One pass finds the best of those that are left, however many are out.
        gather_candidates(pool, tried, now);
        index = pool.table.best_of(slot, candidates_);
    }
    return {};
}

void ConnectionBook::gather_candidates(const Pool& pool, std::span<const std::uint16_t> tried,
                                       Instant now) {
    gather_usable(pool, tried, now, candidates_);
}

// Smooth weighted round robin: each backend gains its weight a turn, the one that has most goes and
// pays the sum. With no key to keep, a full backend is no reason to wait while another has room.
Answer ConnectionBook::choose_in_turn(const Request& request, std::span<const std::uint16_t> tried,
                                      bool queued, Step& blocked, Instant now) {
    const Pool& pool = *request.pool;
    gather_candidates(pool, tried, now);
    if (pool.settings.failover == Failover::none) {
        candidates_.assign(pool.table.weighted().begin(), pool.table.weighted().end());
    }
    if (!candidates_.empty()) { // the first one wins among equals
        std::ranges::rotate(candidates_, candidates_.begin() + static_cast<std::ptrdiff_t>(
                                                                   seed_ % candidates_.size()));
    }
    const auto standing = [&](std::uint16_t index) {
        return lane_at(pool, index).current_weight + pool.settings.backends[index].weight;
    };
    Answer waiting;
    Step waiting_for = Step::passed_over;
    while (!candidates_.empty()) {
        const auto best = std::ranges::max_element(candidates_, {}, standing);
        const std::uint16_t index = *best;
        candidates_.erase(best);
        Answer answer;
        const Step step = contains(tried, index) ? Step::passed_over
                                                 : try_backend(request, index, queued, answer, now);
        if (step == Step::taken) {
            blocked = step;
            count_turn(pool, index);
            return answer;
        }
        if (step != Step::passed_over && waiting_for == Step::passed_over) {
            waiting = answer;
            waiting_for = step;
        }
        if (pool.settings.failover == Failover::none && step == Step::passed_over) {
            count_turn(pool, index); // its turn is over, or it would be refused for ever
            break;
        }
    }
    blocked = waiting_for;
    return waiting;
}

void ConnectionBook::count_turn(const Pool& pool, std::uint32_t chosen) {
    std::int64_t sum = 0;
    for (const std::uint16_t index : pool.table.weighted()) {
        const std::uint32_t weight = pool.settings.backends[index].weight;
        sum += weight;
        // A backend that is out gains nothing meanwhile: it would flood when it comes back.
        if (index == chosen || pool.states[index]->is_up()) {
            lane_at(pool, index).current_weight += weight;
        }
    }
    lane_at(pool, chosen).current_weight -= sum;
}

ConnectionBook::Step ConnectionBook::try_backend(const Request& request, std::uint32_t index,
                                                 bool queued, Answer& answer, Instant now) {
    const Pool& pool = *request.pool;
    Lane& lane = lane_at(pool, index);
    BackendState& state = *lane.state;
    answer = {};
    answer.lease.pool = &pool;
    answer.lease.backend_index = index;
    if (!state.usable(now)) {
        answer = {};
        return Step::passed_over;
    }
    answer.verdict = Verdict::wait;
    if (!queued && lane.full_waiting > 0) {
        return Step::full; // others came first
    }
    const auto idle =
        std::find_if(lane.idle.rbegin(), lane.idle.rend(),
                     [&](const Idle& candidate) { return candidate.kind == pool.connection_kind; });
    if (idle == lane.idle.rend() && !has_room(pool, lane, now)) {
        return Step::full;
    }
    if (!take_share(request, state, answer.lease.share_ticket, now)) {
        return Step::share_full;
    }
    Step step = Step::taken;
    if (idle != lane.idle.rend()) {
        const Begin begin = state.try_reuse(now);
        if (begin == Begin::down) {
            step = Step::passed_over;
        } else {
            answer.verdict = Verdict::reuse;
            answer.connection = idle->connection;
            answer.lease.trial = begin == Begin::trial;
            forget_idle(lane, static_cast<std::size_t>(lane.idle.rend() - idle) - 1);
        }
    } else {
        step = begin_dial(request, lane, answer, now);
    }
    answer.lease.held = step == Step::taken;
    if (step != Step::taken) {
        release_share(pool, state, answer.lease.share_ticket);
        answer.lease.share_ticket = SharedCounters::untracked_ticket;
    }
    if (step == Step::passed_over) {
        answer = {};
    }
    return step;
}

// Whether there may be a connection to dial; if not, we are woken when one has ended. Asked before a
// client's share is taken: one that is taken and given back at once wakes the workers that wait for
// a share, for nothing, and their looking would wake us likewise, again and again.
bool ConnectionBook::has_room(const Pool& pool, Lane& lane, Instant now) {
    BackendState& state = *lane.state;
    // Whom we have woken for a place is slower than we are, who are awake.
    if (std::exchange(lane.has_promised, false)) {
        lane.promised_until = now + promise_time;
    }
    const std::uint32_t promised = now < lane.promised_until ? 1 : 0;
    if (promised > 0) {
        wait_deadline_ = std::min(wait_deadline_, lane.promised_until);
    }
    const std::uint32_t connections_max = pool.settings.max_connections;
    if (state.connections_open() + promised < connections_max) {
        return true;
    }
    lane.flagged = true;
    state.wait_for_connection(worker_);
    if (state.connections_open() + promised < connections_max) { // one ended in between
        if (lane.full_waiting == 0) {
            settle_flag(lane);
        }
        return true;
    }
    // Some worker may keep one idle: the wake makes it yield that.
    wake(state.idle_holders().take(worker_));
    return false;
}

ConnectionBook::Step ConnectionBook::begin_dial(const Request& request, Lane& lane, Answer& answer,
                                                Instant now) {
    BackendState& state = *lane.state;
    const std::uint32_t connections_max = request.pool->settings.max_connections;
    Begin begin = state.try_begin(connections_max, now);
    while (begin == Begin::full && has_room(*request.pool, lane, now)) { // another was faster
        begin = state.try_begin(connections_max, now);
    }
    switch (begin) {
    case Begin::full:
        return Step::full;
    case Begin::down:
        return Step::passed_over;
    case Begin::ok:
    case Begin::trial:
        break;
    }
    answer.verdict = Verdict::dial;
    answer.lease.trial = begin == Begin::trial;
    return Step::taken;
}

bool ConnectionBook::take_share(const Request& request, BackendState& state, std::uint32_t& ticket,
                                Instant now) {
    ticket = SharedCounters::untracked_ticket;
    if (request.client_key == 0) {
        return true;
    }
    const std::uint64_t key = share_key(state, request.client_key);
    SharedCounters::Take take = shares_.take(key, request.pool->client_share, now);
    if (take.outcome == SharedCounters::Taken::at_limit) {
        state.share_waiting().insert(worker_);
        take = shares_.take(key, request.pool->client_share, now); // one given back in between
    }
    ticket = take.ticket;
    return take.outcome != SharedCounters::Taken::at_limit;
}

void ConnectionBook::release_share(const Pool& pool, BackendState& state, std::uint32_t ticket) {
    if (shares_.release(ticket) < pool.client_share) {
        return; // nobody can have been held back by it
    }
    while (const std::optional<std::uint32_t> worker = state.share_waiting().take(worker_)) {
        wake(worker);
    }
}

} // namespace ringmx::upstream
