// ConnectionBook's waiting transactions: who is served next, and by what.
#include "base/assert.h"
#include "upstream/connection_book.h"

#include <algorithm>

namespace ringmx::upstream {

std::optional<Grant> ConnectionBook::next_grant(Instant now) {
    if (waiting_count_ == 0) {
        wait_deadline_ = never;
        return std::nullopt;
    }
    if (now >= wait_deadline_) {
        if (std::optional<Grant> overdue = overdue_grant(now)) {
            return overdue;
        }
    }
    const auto lanes = static_cast<std::uint32_t>(lanes_.size());
    for (std::uint32_t step = 0; step < lanes; ++step) {
        const std::uint32_t lane = (grant_lane_ + step) % lanes;
        if (lanes_[lane].first_waiter == no_waiter) {
            continue;
        }
        if (std::optional<Grant> grant = grant_in_lane(lane, now)) {
            grant_lane_ = lane;
            return grant;
        }
    }
    return std::nullopt;
}

std::optional<Grant> ConnectionBook::overdue_grant(Instant now) {
    Instant earliest = never;
    for (std::uint32_t waiter = 0; waiter < waiters_.size(); ++waiter) {
        if (!waiters_[waiter].in_use) {
            continue;
        }
        if (waiters_[waiter].request.deadline <= now) {
            const Grant grant{waiters_[waiter].request.transaction, {}};
            cancel(waiter);
            return grant; // the rest is looked at by the next call: wait_deadline_ stays
        }
        earliest = std::min(earliest, waiters_[waiter].request.deadline);
    }
    wait_deadline_ = earliest;
    return std::nullopt;
}

std::optional<Grant> ConnectionBook::grant_in_lane(std::uint32_t lane_index, Instant now) {
    std::uint32_t waiter = lanes_[lane_index].first_waiter;
    while (waiter != no_waiter) {
        const std::uint32_t next = waiters_[waiter].next;
        const Waiter& waiting = waiters_[waiter];
        Step blocked = Step::passed_over;
        const Answer answer = choose(waiting.request, waiting.tried, true, blocked, now);
        if (answer.verdict != Verdict::wait) {
            const Grant grant{waiting.request.transaction, answer};
            cancel(waiter);
            return grant;
        }
        Lane& chosen = lane_at(*waiting.request.pool, answer.lease.backend_index);
        if (&chosen != &lanes_[lane_index]) { // the first choice went out meanwhile
            unlink(waiter);
            link(waiter, chosen, blocked);
        } else {
            if (waiting.blocked != blocked) {
                chosen.full_waiting += blocked == Step::full ? 1U : 0U;
                chosen.full_waiting -= waiting.blocked == Step::full ? 1U : 0U;
                waiters_[waiter].blocked = blocked;
                if (chosen.full_waiting == 0) { // a connection that ended is of no use to us
                    settle_flag(chosen);
                }
            }
            if (blocked == Step::full) {
                return std::nullopt; // nor is there one for those behind
            }
        }
        waiter = next;
    }
    return std::nullopt;
}

// A connection passes from one transaction to the next without having been idle.
std::optional<Grant> ConnectionBook::hand_over(Lane& lane, const Lease& from,
                                               ConnectionHandle connection, Instant now) {
    if (!lane.state->is_up()) {
        return std::nullopt;
    }
    for (std::uint32_t waiter = lane.first_waiter; waiter != no_waiter;
         waiter = waiters_[waiter].next) {
        const Request& request = waiters_[waiter].request;
        std::uint32_t index = 0;
        while (index < request.pool->states.size() && request.pool->states[index] != lane.state) {
            ++index;
        }
        Grant grant{request.transaction,
                    {.verdict = Verdict::reuse, .lease = {}, .connection = connection}};
        grant.answer.lease.pool = request.pool;
        grant.answer.lease.backend_index = index;
        grant.answer.lease.held = true;
        if (request.deadline <= now ||
            request.pool->connection_kind != from.pool->connection_kind ||
            !take_share(request, *lane.state, grant.answer.lease.share_ticket, now)) {
            continue;
        }
        cancel(waiter);
        return grant;
    }
    return std::nullopt;
}

void ConnectionBook::cancel(std::uint32_t waiter) {
    unlink(waiter);
    free_waiter(waiter);
}

std::uint32_t ConnectionBook::new_waiter(const Request& request,
                                         std::span<const std::uint16_t> tried) {
    if (free_waiter_ == no_waiter) {
        free_waiter_ = static_cast<std::uint32_t>(waiters_.size());
        waiters_.emplace_back();
    }
    const std::uint32_t waiter = free_waiter_;
    Waiter& fresh = waiters_[waiter];
    free_waiter_ = fresh.next;
    fresh.request = request;
    fresh.tried.assign(tried.begin(), tried.end());
    fresh.in_use = true;
    ++waiting_count_;
    return waiter;
}

void ConnectionBook::free_waiter(std::uint32_t waiter) {
    waiters_[waiter].in_use = false;
    waiters_[waiter].next = free_waiter_;
    free_waiter_ = waiter;
    --waiting_count_;
}

void ConnectionBook::link(std::uint32_t waiter, Lane& lane, Step blocked) {
    Waiter& linked = waiters_[waiter];
    linked.lane = lane.state->id();
    linked.blocked = blocked;
    linked.previous = lane.last_waiter;
    linked.next = no_waiter;
    (lane.last_waiter == no_waiter ? lane.first_waiter : waiters_[lane.last_waiter].next) = waiter;
    lane.last_waiter = waiter;
    lane.full_waiting += blocked == Step::full ? 1U : 0U;
}

void ConnectionBook::unlink(std::uint32_t waiter) {
    const Waiter& linked = waiters_[waiter];
    RINGMX_ASSERT(linked.in_use);
    Lane& lane = lanes_[linked.lane];
    (linked.previous == no_waiter ? lane.first_waiter : waiters_[linked.previous].next) =
        linked.next;
    (linked.next == no_waiter ? lane.last_waiter : waiters_[linked.next].previous) =
        linked.previous;
    lane.full_waiting -= linked.blocked == Step::full ? 1U : 0U;
    if (lane.full_waiting == 0) {
        settle_flag(lane);
    }
}

// Nobody waits here for a connection any more. A wake that was on its way to us is passed on: whom
// it was meant for does not matter, that somebody looks does.
void ConnectionBook::settle_flag(Lane& lane) {
    if (!lane.flagged) {
        return;
    }
    lane.flagged = false;
    if (!lane.state->stop_waiting(worker_)) {
        wake(lane.state->take_waiting(worker_));
    }
}

} // namespace ringmx::upstream
