// Counters and rate meters that all workers share: how many a key holds, and how fast it goes.
//
// In:  64-bit keys (a keyed hash of a client's prefix, of a backend and a client, ...), limits,
//      rates, the time.
// Out: a ticket (the entry's number) while something is held; yes or no to each event.
//
// A fixed open-addressed table of cache lines. A key lives in one of probe_entries entries from its
// home on. An entry is taken over by another key only when nothing is held and every meter has
// fully refilled: it is the same as a new one then, so nothing is reset and nothing is forgotten.
//
//   word:   | 40 bits of the key | 24 bits: how many are held |    one compare-and-swap takes
//   meter:  theoretical arrival time, nanoseconds (GCRA); in the past: fully refilled
//
// Full:   when all entries of a key's neighbourhood are in use the answer is `untracked`: the event
//         is let through and counted in untracked_total(). A table that is full must not refuse
//         mail.
// Exact:  limits hold over all threads, but for one case: two threads that meet a new key in the
//         same instant, while an entry before the one that they chose falls free, may make two
//         entries; each holds what its own thread took.
// Cost:   at most probe_entries cache lines, no lock, no allocation, no system call. Entries that
//         were never used cost no memory (the mapping is lazily zero).
// Thread: any.
// Errors: none after construction; no memory for the table ends the program.
#pragma once

#include "base/instant.h"
#include "base/settings/settings.h"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace ringmx {

// "COUNT per PERIOD" as a token bucket: the whole count at once, refilled linearly. Interval 0: no
// limit.
struct TokenBucket {
    std::int64_t interval_ns = 0; // between two events at the full rate
    std::int64_t depth_ns = 0;    // interval times count

    [[nodiscard]] static TokenBucket of(const Rate& rate);
    [[nodiscard]] bool is_unlimited() const { return interval_ns == 0; }
};

class SharedCounters {
  public:
    static constexpr std::size_t meters_count = 3;
    static constexpr std::size_t probe_entries =
        16; // a neighbourhood of 1 KiB; at half load it overflows about never
    static constexpr std::uint32_t untracked_ticket = UINT32_MAX;

    enum class Taken : std::uint8_t { yes, at_limit, untracked };
    struct Take {
        Taken outcome;
        std::uint32_t ticket; // untracked_ticket unless `yes`
    };

    // At least entries_min entries (rounded up to a power of two).
    explicit SharedCounters(std::size_t entries_min);
    ~SharedCounters();
    SharedCounters(const SharedCounters&) = delete;
    SharedCounters& operator=(const SharedCounters&) = delete;

    // Holds one more for the key, unless it holds limit (> 0) already.
    [[nodiscard]] Take take(std::uint64_t key, std::uint32_t limit, Instant now);
    // Gives one back; an untracked ticket is ignored. Returns how many the key held before.
    std::uint32_t release(std::uint32_t ticket);
    // One event on a meter of a held entry; an untracked ticket is always admitted.
    [[nodiscard]] bool admit(std::uint32_t ticket, std::size_t meter, const TokenBucket& bucket,
                             Instant now);

    [[nodiscard]] std::uint32_t held(std::uint32_t ticket) const;
    [[nodiscard]] std::uint64_t untracked_total() const;
    [[nodiscard]] std::size_t entries_count() const { return mask_ + 1; }

  private:
    // Plain words, reached through std::atomic_ref only: a zero page is a table of free entries.
    struct alignas(64) Entry {
        std::uint64_t word;
        std::array<std::int64_t, meters_count> arrival_ns;
    };
    static_assert(sizeof(Entry) == 64, "two keys never share a cache line");

    [[nodiscard]] bool is_idle(const Entry& entry, std::uint64_t word, Instant now) const;

    Entry* entries_ = nullptr;
    std::size_t mask_ = 0;
    alignas(64) std::atomic<std::uint64_t> untracked_total_{0};
};

} // namespace ringmx
