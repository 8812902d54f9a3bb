// What operators change about a message, in memory; QueueAnswers sees to its being durable.
#include "worker/mail_queue.h"

#include "worker/worker.h"

namespace ringmx::worker {

using spool::QueueState;

// One that is being forwarded is given up if it only waits; else its outcome counts first.
void MailQueue::hold(Slot slot) {
    if (index_.at(slot).state == QueueState::active) {
        set_flag(index_.at(slot), hold_flag, true);
        set_flag(index_.at(slot), released_flag, false);
        postpone(slot);
    } else {
        index_.hold(slot);
        forget_pool(slot);
    }
}

// Held by whatever, those that failed included: due now, and its time starts anew.
void MailQueue::release(Slot slot) {
    start_time_anew(slot);
    set_flag(index_.at(slot), hold_flag, false);
    set_flag(index_.at(slot), pool_hold_flag, false); // if one still holds it, that is noted anew
    index_.unsettle_failed(slot);
    if (index_.at(slot).state == QueueState::active) {
        set_flag(index_.at(slot), released_flag, true);
    } else {
        index_.set_due(slot, worker_.now());
        forget_pool(slot); // whatever it waited for: it is routed anew
    }
}

void MailQueue::start_time_anew(Slot slot) {
    index_.at(slot).expires_from_s = spool::seconds_of(worker_.wall_time());
}

// So that it is known when the hold is over, in whichever run that is; once for each hold.
void MailQueue::note_pool_hold(Slot slot) {
    if (!is_held_by_pool(slot)) {
        set_flag(index_.at(slot), pool_hold_flag, true);
        append_mark(slot, spool::MarkKind::pool_hold, spool::every_recipient, {});
    }
}

// Its mark is durable.
void MailQueue::remove(Slot slot) {
    if (index_.at(slot).state != QueueState::active) {
        drop(slot);
        return;
    }
    set_flag(index_.at(slot), removed_flag, true);
    postpone(slot);
}

void MailQueue::drop(Slot slot) {
    for (const std::uint32_t segment : all_segments_of(slot)) {
        log_.release(segment);
    }
    index_.erase(slot);
}

void MailQueue::postpone(Slot slot) {
    dispatches_.for_each([&](Dispatch& dispatch) {
        if (dispatch.slot() == slot) {
            (void)dispatch.postpone();
        }
    });
}

} // namespace ringmx::worker
