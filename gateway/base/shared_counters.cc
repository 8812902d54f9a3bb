#include "base/shared_counters.h"

#include "base/assert.h"

#include <algorithm>
#include <bit>
#include <sys/mman.h>

namespace ringmx {

namespace {

constexpr unsigned held_bits = 24;
constexpr std::uint64_t held_mask = (std::uint64_t{1} << held_bits) - 1;

std::uint64_t held_of(std::uint64_t word) { return word & held_mask; }

// The upper 40 bits; the home comes from the lower ones, so that both together tell keys apart.
// Never 0, which is a free entry's.
std::uint64_t tag_of(std::uint64_t key) {
    const std::uint64_t tag = key & ~held_mask;
    return tag == 0 ? held_mask + 1 : tag;
}

std::int64_t nanoseconds(Instant instant) { return instant.time_since_epoch().count(); }

} // namespace

TokenBucket TokenBucket::of(const Rate& rate) {
    if (rate.count == 0) {
        return {};
    }
    // Rates past one event a nanosecond limit nothing that a clock can see.
    const auto count = static_cast<std::int64_t>(
        std::min<std::uint64_t>(rate.count, static_cast<std::uint64_t>(rate.period.count())));
    const std::int64_t interval = rate.period.count() / count;
    return {interval, interval * count};
}

SharedCounters::SharedCounters(std::size_t entries_min) {
    const std::size_t entries = std::bit_ceil(std::max(entries_min, probe_entries));
    void* memory = ::mmap(nullptr, entries * sizeof(Entry), PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    RINGMX_ASSERT_STATE(memory != MAP_FAILED, "no memory for %zu shared counters", entries);
    entries_ = static_cast<Entry*>(memory);
    mask_ = entries - 1;
}

SharedCounters::~SharedCounters() { ::munmap(entries_, entries_count() * sizeof(Entry)); }

bool SharedCounters::is_idle(const Entry& entry, std::uint64_t word, Instant now) const {
    if (held_of(word) != 0) {
        return false;
    }
    for (const std::int64_t& arrival_ns : entry.arrival_ns) {
        // atomic_ref wants a mutable object; this only loads.
        if (std::atomic_ref(const_cast<std::int64_t&>(arrival_ns)).load(std::memory_order_relaxed) >
            nanoseconds(now)) {
            return false;
        }
    }
    return true;
}

SharedCounters::Take SharedCounters::take(std::uint64_t key, std::uint32_t limit, Instant now) {
    RINGMX_ASSERT(limit > 0 && limit < held_mask);
    const std::uint64_t tag = tag_of(key);
    // A lost race means that somebody else got on; so many in a row mean that the key is fought
    // over harder than any limit is worth.
    for (int attempt = 0; attempt < 64; ++attempt) {
        std::size_t chosen = SIZE_MAX;
        std::uint64_t chosen_word = 0;
        for (std::size_t step = 0; step < probe_entries; ++step) {
            const std::size_t index = (key + step) & mask_;
            Entry& entry = entries_[index];
            const std::uint64_t word = std::atomic_ref(entry.word).load(std::memory_order_acquire);
            // The key's own entry, even when nothing is held in it: its meters are the key's.
            if ((word & ~held_mask) == tag) {
                chosen = index;
                chosen_word = word;
                break;
            }
            if (chosen == SIZE_MAX && is_idle(entry, word, now)) {
                chosen = index;
                chosen_word = word;
            }
        }
        if (chosen == SIZE_MAX) {
            untracked_total_.fetch_add(1, std::memory_order_relaxed);
            return {Taken::untracked, untracked_ticket};
        }
        const bool own = (chosen_word & ~held_mask) == tag;
        const std::uint64_t held = own ? held_of(chosen_word) : 0;
        if (held >= limit) {
            return {Taken::at_limit, untracked_ticket};
        }
        if (std::atomic_ref(entries_[chosen].word)
                .compare_exchange_strong(chosen_word, tag | (held + 1),
                                         std::memory_order_acq_rel)) {
            return {Taken::yes, static_cast<std::uint32_t>(chosen)};
        }
    }
    untracked_total_.fetch_add(1, std::memory_order_relaxed);
    return {Taken::untracked, untracked_ticket};
}

std::uint32_t SharedCounters::release(std::uint32_t ticket) {
    if (ticket == untracked_ticket) {
        return 0;
    }
    RINGMX_ASSERT(ticket <= mask_);
    const std::uint64_t before =
        std::atomic_ref(entries_[ticket].word).fetch_sub(1, std::memory_order_acq_rel);
    RINGMX_ASSERT_STATE(held_of(before) > 0, "shared counter %u given back twice", ticket);
    return static_cast<std::uint32_t>(held_of(before));
}

bool SharedCounters::admit(std::uint32_t ticket, std::size_t meter, const TokenBucket& bucket,
                           Instant now) {
    if (ticket == untracked_ticket || bucket.is_unlimited()) {
        return true;
    }
    RINGMX_ASSERT(ticket <= mask_ && meter < meters_count);
    const std::atomic_ref arrival(entries_[ticket].arrival_ns[meter]);
    std::int64_t known = arrival.load(std::memory_order_relaxed);
    for (;;) {
        const std::int64_t next = std::max(known, nanoseconds(now)) + bucket.interval_ns;
        if (next - nanoseconds(now) > bucket.depth_ns) {
            return false;
        }
        if (arrival.compare_exchange_weak(known, next, std::memory_order_relaxed)) {
            return true;
        }
    }
}

std::uint32_t SharedCounters::held(std::uint32_t ticket) const {
    if (ticket == untracked_ticket) {
        return 0;
    }
    RINGMX_ASSERT(ticket <= mask_);
    return static_cast<std::uint32_t>(
        held_of(std::atomic_ref(entries_[ticket].word).load(std::memory_order_relaxed)));
}

std::uint64_t SharedCounters::untracked_total() const {
    return untracked_total_.load(std::memory_order_relaxed);
}

} // namespace ringmx
