#include "worker/held_budget.h"

#include "worker/mail_queue.h"
#include "worker/snapshot.h"
#include "worker/worker.h"

#include "spool/message_id.h"

#include <algorithm>

namespace ringmx::worker {

void HeldBudget::run() {
    if (!is_looking_) {
        const spool::QueueIndex::Sum failed = queue_.index().sum(QueueState::failed);
        const bool is_due =
            worker_.now() >= (failed.stored_bytes > part_bytes() ? soon_ : next_round_);
        if (!is_due || failed.messages == 0) {
            return;
        }
        is_looking_ = true;
        age_ = 0;
    }
    for (std::uint32_t looks = 0; looks < looks_per_turn; ++looks) {
        if (!look()) {
            is_looking_ = false;
            next_round_ = worker_.now() + interval();
            soon_ = worker_.now() + interval_min;
            return;
        }
    }
}

bool HeldBudget::look() {
    const std::optional<spool::QueueIndex::Slot> slot = queue_.index().first_after(age_);
    if (!slot) {
        return false;
    }
    const spool::QueueEntry& entry = queue_.index().at(*slot);
    age_ = entry.age;
    if (entry.state != QueueState::failed) {
        return true;
    }
    const HeldSettings& held = worker_.snapshot()->settings->spool.held;
    const WallTime since{std::chrono::seconds(entry.expires_from_s)}; // it failed
    const bool is_too_much = queue_.index().sum(QueueState::failed).stored_bytes > part_bytes();
    if (!is_too_much && worker_.wall_time() - since <= held.max_age) {
        return true;
    }
    if (observe::LogRecord* const record =
            worker_.log().begin(observe::LogEvent::queue_change, worker_.wall_time())) {
        record->id(spool::id_text(entry.id));
        record->detail(is_too_much ? "removed: failed, and spool.held.max_size is used up"
                                   : "removed: failed, and older than spool.held.max_age");
        worker_.log().commit();
    }
    worker_.counters().queue_held_removed_total.add();
    queue_.give_up(*slot);
    return true;
}

Duration HeldBudget::interval() const {
    const Duration max_age = worker_.snapshot()->settings->spool.held.max_age;
    return std::clamp<Duration>(max_age / 4, interval_min, interval_max);
}

std::uint64_t HeldBudget::part_bytes() const {
    return worker_.snapshot()->settings->spool.held.max_size_bytes / worker_.workers_count();
}

Instant HeldBudget::deadline() const {
    if (is_looking_) {
        return worker_.now();
    }
    const spool::QueueIndex::Sum failed = queue_.index().sum(QueueState::failed);
    if (failed.messages == 0) {
        return never;
    }
    return failed.stored_bytes > part_bytes() ? soon_ : next_round_;
}

} // namespace ringmx::worker
