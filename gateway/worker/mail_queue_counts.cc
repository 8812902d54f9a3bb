// What the queue tells of itself in the worker's counters.
#include "worker/mail_queue.h"

#include "worker/snapshot.h"
#include "worker/worker.h"

#include <algorithm>
#include <utility>

namespace ringmx::worker {

using spool::QueueState;

// Now and then: there may be hundreds.
void MailQueue::count_pools() {
    struct Waiting {
        std::int64_t parked = 0;
        std::int64_t pool_hold = 0;
    };
    const auto& pools = worker_.snapshot()->pools;
    std::vector<Waiting> waiting(pools.size());
    for (std::uint16_t place = 0; place < places_.count(); ++place) {
        if (const std::uint32_t pool = places_.pool_index(place); pool != WaitingPlaces::none) {
            const auto messages = [&](QueueState state) {
                return static_cast<std::int64_t>(index_.sum(state, place).messages);
            };
            waiting[pool].parked += messages(QueueState::parked);
            waiting[pool].pool_hold += messages(QueueState::pool_hold);
        }
    }
    for (std::size_t pool = 0; pool < pools.size(); ++pool) {
        observe::PoolCounters& counted = pools[pool]->row->workers[worker_.index()];
        counted.queue_parked.set(waiting[pool].parked);
        counted.queue_pool_hold.set(waiting[pool].pool_hold);
    }
}

void MailQueue::count_messages() {
    observe::WorkerCounters& counters = worker_.counters();
    const spool::QueueIndex::Sum sum = index_.sum();
    counters.queue_messages.set(static_cast<std::int64_t>(sum.messages));
    counters.queue_bytes.set(static_cast<std::int64_t>(sum.stored_bytes));
    for (std::size_t state = 0; state < queue_states_count; ++state) {
        counters.queue_messages_by_state[state].set(
            static_cast<std::int64_t>(index_.sum(static_cast<QueueState>(state)).messages));
    }
    const std::optional<std::uint32_t> oldest = index_.oldest_accepted_at_s();
    counters.queue_oldest_accepted_at.set(oldest ? *oldest : 0);
}

void MailQueue::count_queue() {
    if (std::exchange(counted_changes_, index_.changes()) != index_.changes()) {
        count_messages();
    }
    observe::WorkerCounters& counters = worker_.counters();
    const spool::Journal::Totals& totals = log_.journal().totals();
    counters.spool_commits_total.add(totals.commits - counters.spool_commits_total.value());
    counters.spool_records_total.add(totals.records - counters.spool_records_total.value());
    counters.spool_bytes_total.add(totals.bytes - counters.spool_bytes_total.value());
    counters.spool_failures_total.add(totals.failures - counters.spool_failures_total.value());
    // What clients may send and have not sent makes no spool full.
    const std::uint64_t unreserved = room_bytes();
    const std::uint64_t room = unreserved - std::min(unreserved, reserved_bytes_);
    const int error = log_.error();
    counters.spool_room_bytes.set(static_cast<std::int64_t>(room));
    counters.spool_error.set(error);
    if (unreserved >= missing_room_ || worker_.now() >= missing_until_) {
        missing_room_ = room_unstated_bytes;
    }
    counters.spool_takes_mail.set(error == 0 && unreserved >= missing_room_ ? 1 : 0);
}

} // namespace ringmx::worker
