#include "base/timer_wheel.h"

#include "base/assert.h"
#include "base/mutation.h"

#include <algorithm>
#include <bit>

namespace ringmx {

TimerWheel::TimerWheel(Instant now) : current_(ticks(now)) {}

void TimerWheel::set(Timer& timer, Instant deadline) {
    timer.deadline_ = deadline;
    if (deadline == never) {
        timer.unlink();
        return;
    }
    if (timer.previous_ != nullptr && timer.place_end_ <= ticks(deadline)) {
        return; // it is looked at no later than it has to be
    }
    timer.unlink();
    insert(timer);
}

void TimerWheel::insert(Timer& timer) {
    // Rounded up, so that no timer fires early; never into a tick that has been opened.
    const std::int64_t tick = std::max(ticks(timer.deadline_) + 1, current_ + 1);
    const auto distance = static_cast<std::uint64_t>(tick - current_);
    const unsigned width = static_cast<unsigned>(std::bit_width(distance));
    unsigned level = (width - 1) / level_bits;
    std::int64_t reachable = tick;
    if (level >= levels) { // beyond the last level's reach: looked at again when it comes round
        level = levels - 1;
        reachable = current_ + (std::int64_t{1} << (levels * level_bits)) - 1;
    }
    const unsigned shift = level * level_bits;
    const std::uint64_t place = (static_cast<std::uint64_t>(reachable) >> shift) % places;
    timer.place_end_ = (reachable >> shift) << shift;
    Timer*& head = heads_[level][place];
    timer.next_ = head;
    timer.previous_ = &head;
    if (head != nullptr) {
        head->previous_ = &timer.next_;
    }
    head = &timer;
    maybe_used_[level] |= std::uint64_t{1} << place;
}

// Takes the places that come due at current_ into due_: level 0's place, and each higher level's
// when its lower ones wrap.
void TimerWheel::open_tick() {
    const auto tick = static_cast<std::uint64_t>(current_);
    for (unsigned level = 0; level < levels; ++level) {
        const unsigned shift = level * level_bits;
        if ((tick & ((std::uint64_t{1} << shift) - 1)) != 0) {
            break;
        }
        const std::uint64_t place = (tick >> shift) % places;
        maybe_used_[level] &= ~(std::uint64_t{1} << place);
        while (Timer* timer = heads_[level][place]) {
            timer->unlink();
            timer->next_ = due_;
            timer->previous_ = &due_;
            if (due_ != nullptr) {
                due_->previous_ = &timer->next_;
            }
            due_ = timer;
        }
    }
}

Timer* TimerWheel::next_expired(Instant now, std::int64_t target) {
    for (;;) {
        while (due_ != nullptr) {
            Timer& timer = *due_;
            timer.unlink();
            if (timer.deadline_ <= now) {
                timer.deadline_ = never;
                return &timer;
            }
            RINGMX_MUTATE(timer_lost, continue);
            insert(timer);
        }
        if (current_ >= target) {
            return nullptr;
        }
        // Skip to the next tick that can hold anything, so that a long sleep costs a few steps.
        const Instant due = next_due();
        const std::int64_t next = due == never ? target : std::min(target, ticks(due));
        current_ = std::max(current_ + 1, next);
        open_tick();
    }
}

Instant TimerWheel::next_due() const {
    std::int64_t earliest = INT64_MAX;
    for (unsigned level = 0; level < levels; ++level) {
        if (maybe_used_[level] == 0) {
            continue;
        }
        const unsigned shift = level * level_bits;
        const std::int64_t base = current_ >> shift;
        const auto position = static_cast<int>(static_cast<std::uint64_t>(base) % places);
        // The nearest place after the current one, going round; a full round for the current place
        // itself.
        const std::uint64_t turned = std::rotr(maybe_used_[level], position);
        const std::uint64_t ahead = turned & ~std::uint64_t{1};
        const int steps = ahead != 0 ? std::countr_zero(ahead) : static_cast<int>(places);
        earliest = std::min(earliest, (base + steps) << shift);
    }
    if (due_ != nullptr) {
        earliest = current_;
    }
    if (earliest == INT64_MAX) {
        return never;
    }
    return Instant(Duration(earliest << tick_bits));
}

} // namespace ringmx
