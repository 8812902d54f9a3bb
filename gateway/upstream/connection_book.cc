#include "upstream/connection_book.h"

#include "base/assert.h"

#include <algorithm>

namespace ringmx::upstream {

ConnectionBook::ConnectionBook(std::uint32_t worker, SharedCounters& shares, std::uint64_t seed)
    : worker_(worker), shares_(shares), seed_(seed) {
    RINGMX_ASSERT(worker < workers_max);
}

Answer ConnectionBook::acquire(const Request& request, std::span<const std::uint16_t> tried,
                               Instant now) {
    Step blocked = Step::passed_over;
    Answer answer = choose(request, tried, false, blocked, now);
    if (answer.verdict == Verdict::wait) {
        answer.waiter = new_waiter(request, tried);
        link(answer.waiter, lane_at(*request.pool, answer.lease.backend_index), blocked);
        wait_deadline_ = std::min(wait_deadline_, request.deadline);
    }
    return answer;
}

void ConnectionBook::transaction_answered(Lease& lease) {
    RINGMX_ASSERT(lease.held);
    lease.state().connection_succeeded(lease.trial);
    lease.trial = false;
}

void ConnectionBook::dial_failed(Lease& lease, Instant now) {
    RINGMX_ASSERT(lease.held);
    lease.state().connection_failed(lease.trial, lease.pool->settings.health, now);
    lease.trial = false;
    retire(lease);
}

void ConnectionBook::retire(Lease& lease) {
    let_go(lease);
    connection_ended(lease.state().id());
}

void ConnectionBook::let_go(Lease& lease) {
    RINGMX_ASSERT(lease.held);
    lease.state().abandoned(lease.trial);
    release_share(*lease.pool, lease.state(), lease.share_ticket);
    ++lane_at(*lease.pool, lease.backend_index).ending;
    lease.held = false;
}

void ConnectionBook::connection_ended(std::uint32_t state_id) {
    Lane& lane = lanes_[state_id];
    RINGMX_ASSERT(lane.ending > 0);
    --lane.ending;
    const std::optional<std::uint32_t> worker = lane.state->end(worker_);
    if (worker != worker_) { // our own waiting transactions are looked at in this turn anyway
        wake(worker);
        lane.has_promised = worker.has_value();
    }
}

bool ConnectionBook::is_wanted_elsewhere(const Lane& lane) const {
    return lane.ending == 0 && lane.state->others_wait(worker_);
}

GiveBack ConnectionBook::give_back(Lease& lease, ConnectionHandle connection, Instant now) {
    RINGMX_ASSERT(lease.held);
    const Pool& pool = *lease.pool;
    Lane& lane = lane_at(pool, lease.backend_index);
    lease.state().abandoned(lease.trial); // it was left before it could show anything
    lease.trial = false;
    release_share(pool, *lane.state, lease.share_ticket);
    lease.held = false;
    const bool wanted = is_wanted_elsewhere(lane);
    lane.handovers = wanted ? lane.handovers + 1 : 0;
    if (lane.handovers <= handovers_max) {
        if (std::optional<Grant> grant = hand_over(lane, lease, connection, now)) {
            return {Kept::handed_over, *grant};
        }
    }
    if (!wanted) {
        const Duration timeout = pool.settings.idle_timeout;
        remember_idle(lane, {connection, timeout == Duration{0} ? never : now + timeout,
                             pool.connection_kind});
        // One that began to wait before we were among the holders would have nobody to ask.
        if (!is_wanted_elsewhere(lane)) {
            return {Kept::idle, {}};
        }
        forget_idle(lane, lane.idle.size() - 1);
    }
    lane.handovers = 0;
    ++lane.ending;
    return {Kept::close, {}};
}

// ---- Idle connections ----

void ConnectionBook::remember_idle(Lane& lane, const Idle& idle) {
    if (lane.idle.empty()) {
        lane.state->idle_holders().insert(worker_);
    }
    lane.idle.push_back(idle);
    ++idle_count_;
    idle_deadline_ = std::min(idle_deadline_, idle.expires);
}

void ConnectionBook::forget_idle(Lane& lane, std::size_t position) {
    lane.idle.erase(lane.idle.begin() + static_cast<std::ptrdiff_t>(position));
    --idle_count_;
    if (lane.idle.empty()) {
        lane.state->idle_holders().erase(worker_);
    }
}

bool ConnectionBook::remove_idle(const BackendState& state, ConnectionHandle connection) {
    if (state.id() >= lanes_.size()) {
        return false;
    }
    Lane& lane = lanes_[state.id()];
    const auto found = std::ranges::find(lane.idle, connection, &Idle::connection);
    if (found == lane.idle.end()) {
        return false;
    }
    forget_idle(lane, static_cast<std::size_t>(found - lane.idle.begin()));
    ++lane.ending;
    return true;
}

void ConnectionBook::expire_idle(Instant now, std::vector<IdleConnection>& closing) {
    yield_idle(closing);
    if (now < idle_deadline_) {
        return;
    }
    idle_deadline_ = never;
    for (std::uint32_t id = 0; id < lanes_.size(); ++id) {
        Lane& lane = lanes_[id];
        for (std::size_t position = 0; position < lane.idle.size();) {
            const Idle idle = lane.idle[position];
            if (idle.expires > now) {
                idle_deadline_ = std::min(idle_deadline_, idle.expires);
                ++position;
                continue;
            }
            closing.push_back({id, idle.connection});
            forget_idle(lane, position);
            ++lane.ending;
        }
    }
}

void ConnectionBook::yield_idle(std::vector<IdleConnection>& closing) {
    if (idle_count_ == 0) {
        return;
    }
    for (std::uint32_t id = 0; id < lanes_.size(); ++id) {
        Lane& lane = lanes_[id];
        // While one of ours ends there the others wait for that: asked for more they would be woken
        // by us, and we by them, until it has ended. Then we look again.
        if (lane.idle.empty() || lane.ending > 0) {
            continue;
        }
        // Whoever woke us took us out. Before the look, as in give_back().
        lane.state->idle_holders().insert(worker_);
        if (is_wanted_elsewhere(lane)) {
            lane.state->idle_holders().erase(worker_);
            closing.push_back({id, lane.idle.front().connection});
            forget_idle(lane, 0);
            ++lane.ending;
        }
    }
}

void ConnectionBook::take_all_idle(std::vector<IdleConnection>& closing) {
    for (std::uint32_t id = 0; id < lanes_.size(); ++id) {
        Lane& lane = lanes_[id];
        while (!lane.idle.empty()) {
            closing.push_back({id, lane.idle.back().connection});
            forget_idle(lane, lane.idle.size() - 1);
            ++lane.ending;
        }
    }
    idle_deadline_ = never;
}

void ConnectionBook::wake(std::optional<std::uint32_t> worker) {
    if (worker && std::ranges::find(wakes_, *worker) == wakes_.end()) {
        wakes_.push_back(*worker);
    }
}

ConnectionBook::Lane& ConnectionBook::lane_at(const Pool& pool, std::uint32_t index) {
    const std::shared_ptr<BackendState>& state = pool.states[index];
    if (state->id() >= lanes_.size()) {
        lanes_.resize(state->id() + 1);
    }
    Lane& lane = lanes_[state->id()];
    if (!lane.state) {
        lane.state = state;
    }
    return lane;
}

} // namespace ringmx::upstream
