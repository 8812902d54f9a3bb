// What is due, and what waits for a pool: when it is begun, from the disk.
#include "worker/mail_queue.h"

#include "worker/snapshot.h"
#include "worker/worker.h"

#include "spool/retry_schedule.h"

#include <algorithm>
#include <utility>

namespace ringmx::worker {

void MailQueue::watch_pools() {
    if (worker_.now() < watch_at_) {
        return;
    }
    watch_at_ = worker_.now() + watch_interval;
    for (std::uint16_t place = 0; place < places_.count(); ++place) {
        if (index_.is_asleep(place) && takes_mail(place)) {
            index_.wake(place);
        }
    }
    shares_.end_rests(); // with what was parked meanwhile, in order of age
    count_pools();
}

bool MailQueue::may_start_due() const {
    return !is_draining_ && disk_dispatches_ < disk_dispatches_max &&
           worker_.pressure() == Pressure::none;
}

void MailQueue::start_due() {
    for (std::uint32_t looks = 0; looks < due_looks_per_turn && may_start_due(); ++looks) {
        const std::optional<Slot> slot =
            worker_.now() < start_again_at_ ? std::nullopt : index_.next_due(worker_.now());
        if (!slot) {
            return;
        }
        const spool::QueueEntry& entry = index_.at(*slot);
        if (has_flag(entry, moving_flag)) {
            index_.set_due(*slot, worker_.now() + watch_interval);
        } else if (!wait_for_pool(*slot) && !wake_older(*slot) && !start_from_disk(*slot)) {
            start_again_at_ = worker_.now() + watch_interval; // nor could any other one
        }
    }
}

// Whether it does, for the one that it names. (One that was held looks there all the same: its time
// starts anew then.)
bool MailQueue::wait_for_pool(Slot slot) {
    const spool::QueueEntry& entry = index_.at(slot);
    if (entry.pool == spool::no_pool || has_flag(entry, several_pools_flag)) {
        return false;
    }
    const Instant soon = worker_.now() + watch_interval; // it may be back in this instant
    if (places_.is_on_hold(entry.pool, *worker_.snapshot())) {
        note_pool_hold(slot);
        schedule(slot, {.held_by = entry.pool}, soon);
        return true;
    }
    if (takes_mail(entry.pool) || is_held_by_pool(slot) || has_expired(slot)) {
        return false;
    }
    schedule(slot, {.lacks_backend = true, .waits_for = entry.pool}, soon);
    return true;
}

// Whether others were asleep for its place, or its pool, which takes mail: its time came before they
// were woken.
bool MailQueue::wake_older(Slot slot) {
    const std::uint16_t place = index_.at(slot).pool;
    if (place == spool::no_pool) {
        return false;
    }
    const std::uint16_t pool = places_.pool_of(place);
    const bool are_any = index_.is_asleep(place) || index_.is_asleep(pool);
    if (!are_any || !takes_mail(place)) {
        return false;
    }
    index_.wake(place);
    index_.wake(pool);
    return true;
}

// False: no place or no memory for it now.
bool MailQueue::start_from_disk(Slot slot) {
    const spool::QueueEntry& entry = index_.at(slot);
    Dispatch* const dispatch = dispatches_.create(worker_, *this, entry.id, slot, true);
    if (dispatch == nullptr) {
        return false;
    }
    if (!log_.read({entry.segment, entry.offset, static_cast<std::uint32_t>(entry.record_bytes)},
                   entry.id, dispatch->handle(), 0)) {
        ended_dispatches_.push_back(dispatch->handle());
        return false;
    }
    index_.set_active(slot);
    set_flag(index_.at(slot), released_flag, false);
    ++disk_dispatches_;
    if (entry.pool != spool::no_pool) {
        dispatch->share() = shares_.take(entry.pool);
    }
    return true;
}

bool MailQueue::take_share(Dispatch& dispatch, std::uint16_t place) {
    std::optional<DiskShare>& share = dispatch.share();
    if (share && share->place == place) {
        return true;
    }
    index_.set_pool(dispatch.slot(), place);
    if (!dispatch.is_from_disk()) {
        return true;
    }
    if (share) {
        shares_.give_back(*share);
        share.reset();
    }
    // What was read before it stands aside, and goes first.
    if (!shares_.may_have(place) || index_.has_older(place, dispatch.slot())) {
        return false;
    }
    share = shares_.take(place);
    return true;
}

Duration MailQueue::time_left(Slot slot) {
    // Kept in whole seconds: of those that it may be, the last, so that nothing expires early.
    const WallTime from{std::chrono::seconds(index_.at(slot).expires_from_s) + 1s};
    return spool::time_left(worker_.snapshot()->settings->spool.retry, from, worker_.wall_time());
}

bool MailQueue::has_expired(Slot slot) { return time_left(slot) <= Duration{0}; }

bool MailQueue::takes_mail(std::uint16_t place) const {
    return places_.takes_mail(place, *worker_.snapshot(), worker_.now());
}

} // namespace ringmx::worker
