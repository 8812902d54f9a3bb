// The queue's index: states, orders and sums.
#include "spool/queue_index.h"

#include <algorithm>
#include <utility>

namespace ringmx::spool {

namespace {

// 18 years of uptime in 32 bits.
constexpr unsigned tick_bits = 27;
static_assert(Duration{std::int64_t{1} << tick_bits} == QueueIndex::due_step);
constexpr std::uint32_t no_tick = UINT32_MAX;
// How many messages whose time has come one call looks at, and how many it passes over: about 30 µs
// each.
constexpr int looks_max = 64;

// What is behind all ticks is at the last one.
std::uint32_t tick_of(Instant instant) {
    const std::int64_t tick = instant.time_since_epoch().count() >> tick_bits;
    return instant == never
               ? no_tick
               : static_cast<std::uint32_t>(std::clamp<std::int64_t>(tick, 0, no_tick - 1));
}

Instant instant_of(std::uint32_t tick) {
    return tick == no_tick ? never : Instant{Duration{std::int64_t{tick} << tick_bits}};
}

void add_to(QueueIndex::Sum& sum, const QueueEntry& entry) {
    ++sum.messages;
    sum.stored_bytes += entry.stored_bytes;
}

void take_from(QueueIndex::Sum& sum, const QueueEntry& entry) {
    --sum.messages;
    sum.stored_bytes -= entry.stored_bytes;
}

QueueIndex::Sum together(QueueIndex::Sum a, const QueueIndex::Sum& b) {
    a.messages += b.messages;
    a.stored_bytes += b.stored_bytes;
    return a;
}

constexpr std::size_t index_of(QueueState state) { return static_cast<std::size_t>(state); }

bool waits_for_pool(QueueState state) {
    return state == QueueState::parked || state == QueueState::pool_hold;
}

} // namespace

QueueIndex::Slot QueueIndex::add(const Message& message) {
    return insert(message, ++fresh_age_, fresh_);
}

QueueIndex::Slot QueueIndex::adopt(const Message& message) {
    RINGMX_ASSERT(ids_.find(entries_, message.id) == 0);
    return insert(message, ++adopted_age_, adopted_);
}

QueueIndex::Slot QueueIndex::insert(const Message& message, std::uint64_t age, AgeList& list) {
    RINGMX_ASSERT(message.recipients_count >> 20U == 0 && message.stored_bytes >> 41U == 0);
    ++changes_;
    const Slot slot = entries_.take();
    QueueEntry& entry = entries_.at(slot);
    entry.id = message.id;
    entry.age = age & 0x3FF'FFFF'FFFF;
    entry.set_place(message.segment, message.offset, message.record_bytes);
    entry.stored_bytes = message.stored_bytes & 0x1FF'FFFF'FFFF;
    entry.recipients_count = message.recipients_count & 0xF'FFFF;
    entry.accepted_at_s = message.accepted_at_s;
    entry.expires_from_s = message.expires_from_s;
    entry.next_attempt_tick = no_tick;
    ids_.insert(entries_, slot);
    list.append(entries_, slot);
    add_to(sums_[index_of(entry.state)], entry);
    return slot;
}

void QueueIndex::erase(Slot slot) {
    ++changes_;
    QueueEntry& entry = at(slot);
    leave(slot);
    name_pool(entry, no_pool);
    take_from(sums_[index_of(entry.state)], entry);
    patterns_.release(entry.last_reply);
    drop_extra(slot);
    list_of(entry.age).erase(entries_, slot);
    ids_.erase(entries_, slot);
    entries_.give_back(slot);
}

std::optional<QueueIndex::Slot> QueueIndex::find(std::uint64_t id) const {
    const Slot slot = ids_.find(entries_, id);
    return slot != 0 ? std::optional(slot) : std::nullopt;
}

QueueState QueueIndex::state(Slot slot) const {
    const QueueEntry& entry = at(slot);
    const bool is_woken = waits_for_pool(entry.state) && pools_[entry.pool].is_awake;
    return is_woken ? QueueState::due : entry.state;
}

Instant QueueIndex::next_attempt(Slot slot) const { return instant_of(at(slot).next_attempt_tick); }

void QueueIndex::set_active(Slot slot) {
    leave(slot);
    change_state(at(slot), QueueState::active);
}

void QueueIndex::set_due(Slot slot, Instant when) {
    RINGMX_ASSERT(when != never);
    leave(slot);
    change_state(at(slot), QueueState::due);
    set_next_attempt(slot, when);
}

void QueueIndex::park(Slot slot, std::uint16_t pool, Instant second_line) {
    enter_pool(slot, pool, QueueState::parked);
    set_next_attempt(slot, second_line);
}

void QueueIndex::hold_for_pool(Slot slot, std::uint16_t pool) {
    enter_pool(slot, pool, QueueState::pool_hold);
}

void QueueIndex::hold(Slot slot) {
    leave(slot);
    change_state(at(slot), QueueState::on_hold);
}

void QueueIndex::fail(Slot slot) {
    leave(slot);
    change_state(at(slot), QueueState::failed);
}

void QueueIndex::set_pool(Slot slot, std::uint16_t pool) {
    QueueEntry& entry = at(slot);
    RINGMX_ASSERT(!waits_for_pool(entry.state) && !is_aside(entry, slot));
    name_pool(entry, pool);
}

void QueueIndex::set_stored_bytes(Slot slot, std::uint64_t bytes) {
    RINGMX_ASSERT(bytes >> 41U == 0);
    QueueEntry& entry = at(slot);
    const auto set_in = [&](Sum& sum) { sum.stored_bytes += bytes - entry.stored_bytes; };
    ++changes_;
    set_in(sums_[index_of(entry.state)]);
    if (waits_for_pool(entry.state)) {
        set_in(pools_[entry.pool].sums[index_of(entry.state)]);
    }
    entry.stored_bytes = bytes & 0x1FF'FFFF'FFFF;
}

bool QueueIndex::wake(std::uint16_t pool) {
    if (!is_asleep(pool)) {
        return false;
    }
    pools_[pool].is_awake = true;
    awake_.push_back(pool);
    update_offer(pool);
    ++changes_;
    return true;
}

void QueueIndex::crowd(std::uint16_t pool) {
    if (pool >= pools_.size()) {
        pools_.resize(pool + std::size_t{1});
    }
    pools_[pool].is_crowded = true;
    update_offer(pool);
}

void QueueIndex::uncrowd(std::uint16_t pool) {
    if (pool < pools_.size()) {
        pools_[pool].is_crowded = false;
        update_offer(pool);
    }
}

bool QueueIndex::has_older(std::uint16_t number, Slot slot) const {
    if (number >= pools_.size()) {
        return false;
    }
    const Pool& pool = pools_[number];
    const auto begins_older = [&](const SlotHeap<ByAge>& heap) {
        return !heap.empty() && ByAge::before(entries_.at(heap.top()), at(slot));
    };
    return begins_older(pool.aside) || (pool.is_awake && begins_older(pool.waiting));
}

std::optional<QueueIndex::Slot> QueueIndex::next_due(Instant now) {
    ripen(now);
    pass_over_crowded();
    if (!ready_.empty() && is_crowded(entries_.at(ready_.top()))) {
        return std::nullopt; // the oldest that may go stands behind it
    }
    std::optional<Slot> oldest;
    const auto consider = [&](Slot slot) {
        if (!oldest || ByAge::before(entries_.at(slot), entries_.at(*oldest))) {
            oldest = slot;
        }
    };
    if (!ready_.empty()) {
        consider(ready_.top());
    }
    for (const std::uint16_t number : offering_) {
        const Pool& pool = pools_[number];
        if (pool.is_awake) {
            consider(pool.waiting.top());
        }
        if (!pool.aside.empty()) {
            consider(pool.aside.top());
        }
    }
    return oldest;
}

Instant QueueIndex::next_deadline() const {
    if (!ready_.empty() || !offering_.empty()) {
        return Instant::min();
    }
    return by_time_.empty() ? never : instant_of(entries_.at(by_time_.top()).next_attempt_tick);
}

std::optional<QueueIndex::Slot> QueueIndex::first_after(std::uint64_t age) const {
    Slot slot = age < first_fresh_age ? adopted_.first_after(entries_, age) : 0;
    if (slot == 0) {
        slot = fresh_.first_after(entries_, age);
    }
    return slot != 0 ? std::optional(slot) : std::nullopt;
}

QueueIndex::Sum QueueIndex::sum(QueueState state) const {
    Sum sum = sums_[index_of(state)];
    for (const std::uint16_t number : awake_) {
        const Pool& pool = pools_[number];
        if (waits_for_pool(state)) {
            sum.messages -= pool.sums[index_of(state)].messages;
            sum.stored_bytes -= pool.sums[index_of(state)].stored_bytes;
        } else if (state == QueueState::due) {
            sum = together(sum, together(pool.sums[index_of(QueueState::parked)],
                                         pool.sums[index_of(QueueState::pool_hold)]));
        }
    }
    return sum;
}

QueueIndex::Sum QueueIndex::sum(QueueState state, std::uint16_t pool) const {
    const bool has_any = pool < pools_.size() && !pools_[pool].is_awake;
    return has_any ? pools_[pool].sums[index_of(state)] : Sum();
}

QueueIndex::Sum QueueIndex::sum() const {
    Sum sum;
    for (const Sum& one : sums_) {
        sum = together(sum, one);
    }
    return sum;
}

QueueIndex::Sum QueueIndex::held() const {
    return together(sum(QueueState::on_hold), sum(QueueState::failed));
}

std::optional<std::uint32_t> QueueIndex::oldest_accepted_at_s() const {
    const auto oldest = first_after(0);
    return oldest ? std::optional(at(*oldest).accepted_at_s) : std::nullopt;
}

std::size_t QueueIndex::memory_bytes() const {
    std::size_t bytes = entries_.memory_bytes() + ids_.memory_bytes() + adopted_.memory_bytes() +
                        fresh_.memory_bytes() + by_time_.memory_bytes() + ready_.memory_bytes() +
                        replies_.memory_bytes() + patterns_.memory_bytes() + extra_bytes_ +
                        pools_.capacity() * sizeof(Pool) +
                        (awake_.capacity() + offering_.capacity()) * sizeof(awake_[0]);
    for (const Pool& pool : pools_) {
        bytes += pool.waiting.memory_bytes() + pool.aside.memory_bytes();
    }
    return bytes;
}

void QueueIndex::change_state(QueueEntry& entry, QueueState state) {
    ++changes_;
    take_from(sums_[index_of(entry.state)], entry);
    entry.state = state;
    add_to(sums_[index_of(state)], entry);
}

// Whatever it waits for, it does not any more.
void QueueIndex::leave(Slot slot) {
    QueueEntry& entry = at(slot);
    if (entry.place_by_time != 0) {
        by_time_.remove(entries_, slot);
    }
    if (waits_for_pool(entry.state)) {
        leave_pool(entry, slot);
    } else if (entry.place_by_age != 0) {
        leave_ready(entry, slot);
    }
    entry.next_attempt_tick = no_tick;
}

bool QueueIndex::is_aside(const QueueEntry& entry, Slot slot) const {
    return entry.pool != no_pool && pools_[entry.pool].aside.contains(entries_, slot);
}

void QueueIndex::leave_ready(QueueEntry& entry, Slot slot) {
    if (is_aside(entry, slot)) {
        pools_[entry.pool].aside.remove(entries_, slot);
        update_offer(entry.pool);
    } else {
        ready_.remove(entries_, slot);
    }
}

void QueueIndex::enter_pool(Slot slot, std::uint16_t pool, QueueState state) {
    RINGMX_ASSERT(pool != no_pool);
    leave(slot);
    QueueEntry& entry = at(slot);
    name_pool(entry, pool);
    suspend(pool);
    change_state(entry, state);
    add_to(pools_[pool].sums[index_of(state)], entry);
    pools_[pool].waiting.push(entries_, slot);
}

void QueueIndex::leave_pool(QueueEntry& entry, Slot slot) {
    Pool& pool = pools_[entry.pool];
    pool.waiting.remove(entries_, slot);
    take_from(pool.sums[index_of(entry.state)], entry);
    if (pool.waiting.empty()) {
        suspend(entry.pool);
    }
}

void QueueIndex::suspend(std::uint16_t pool) {
    if (std::exchange(pools_[pool].is_awake, false)) {
        ++changes_;
        std::erase(awake_, pool);
        update_offer(pool);
    }
}

// After whatever it depends on has changed.
void QueueIndex::update_offer(std::uint16_t number) {
    Pool& pool = pools_[number];
    const bool offers = !pool.is_crowded && (pool.is_awake || !pool.aside.empty());
    if (std::exchange(pool.is_offering, offers) == offers) {
        return;
    }
    if (offers) {
        offering_.push_back(number);
    } else {
        std::erase(offering_, number);
    }
}

void QueueIndex::name_pool(QueueEntry& entry, std::uint16_t pool) {
    if (entry.pool != no_pool) {
        --pools_[entry.pool].named_by;
    }
    entry.pool = pool;
    if (pool == no_pool) {
        return;
    }
    if (pool >= pools_.size()) {
        pools_.resize(pool + std::size_t{1});
    }
    ++pools_[pool].named_by;
}

// Moves those whose time has come to where the oldest comes out first.
void QueueIndex::ripen(Instant now) {
    const std::uint32_t tick = tick_of(now);
    for (int times = 0; times < looks_max && !by_time_.empty(); ++times) {
        const Slot slot = by_time_.top();
        QueueEntry& entry = entries_.at(slot);
        if (entry.next_attempt_tick > tick) {
            return;
        }
        by_time_.remove(entries_, slot);
        if (entry.state == QueueState::parked) {
            leave_pool(entry, slot);
            change_state(entry, QueueState::due);
        }
        ready_.push(entries_, slot);
    }
}

// Those that stand before the oldest that may go.
void QueueIndex::pass_over_crowded() {
    for (int times = 0; times < looks_max && !ready_.empty(); ++times) {
        const Slot slot = ready_.top();
        QueueEntry& entry = entries_.at(slot);
        if (!is_crowded(entry)) {
            return;
        }
        ready_.remove(entries_, slot);
        pools_[entry.pool].aside.push(entries_, slot);
    }
}

void QueueIndex::set_next_attempt(Slot slot, Instant when) {
    QueueEntry& entry = at(slot);
    entry.next_attempt_tick = tick_of(when);
    if (entry.next_attempt_tick != no_tick) {
        by_time_.push(entries_, slot);
    }
}

AgeList& QueueIndex::list_of(std::uint64_t age) {
    return age < first_fresh_age ? adopted_ : fresh_;
}

} // namespace ringmx::spool
