// Deadlines of many objects: a hierarchical timing wheel with intrusive, lazily moved timers.
//
// A connection moves its deadline with every command, nearly always later. So set() only writes the
// new deadline while the timer sits in a place that comes due no later; when that place comes due,
// the timer is put where its deadline says. Setting costs a store, cancelling two pointer writes,
// and nothing is kept for a timer that is gone.
//
//   level 0: 64 places of 2^24 ns (16.8 ms) = 1.07 s;
//   level 1: 64 of 1.07 s = 69 s;
//   level 2: 73 min;
//   level 3: 78 h;
//   level 4: 208 days
//
// Precision: a timer never fires early; it fires within one place (16.8 ms) of its deadline if
//            advance() is called at next_due().
// Thread:    one. A Timer is owned by whoever embeds it, and leaves the wheel in its destructor.
// Errors:    none.
// Source:    Varghese and Lauck, "Hashed and Hierarchical Timing Wheels" (1987).
#pragma once

#include "base/instant.h"

#include <array>
#include <cstdint>

namespace ringmx {

class TimerWheel;

class Timer {
  public:
    Timer(std::uint8_t kind, std::uint32_t slot) : slot_(slot), kind_(kind) {}
    Timer(const Timer&) = delete;
    Timer& operator=(const Timer&) = delete;
    ~Timer() { unlink(); }

    // What fires: the owner's own words.
    [[nodiscard]] std::uint8_t kind() const { return kind_; }
    [[nodiscard]] std::uint32_t slot() const { return slot_; }
    [[nodiscard]] Instant deadline() const { return deadline_; } // `never` when not set

    void cancel() {
        deadline_ = never;
        unlink();
    }

  private:
    friend class TimerWheel;
    void unlink() {
        if (previous_ != nullptr) {
            *previous_ = next_;
            if (next_ != nullptr) {
                next_->previous_ = previous_;
            }
            previous_ = nullptr;
            next_ = nullptr;
        }
    }

    Timer* next_ = nullptr;
    Timer** previous_ = nullptr; // the pointer that points here; null when in no place
    Instant deadline_ = never;
    std::int64_t place_end_ = 0; // in ticks: when the place it sits in comes due
    std::uint32_t slot_;
    std::uint8_t kind_;
};

class TimerWheel {
  public:
    explicit TimerWheel(Instant now);

    void set(Timer& timer, Instant deadline);

    // Calls fire(timer) for every timer whose deadline is at or before `now`; the timer is no
    // longer set then. The callback may set, cancel or destroy any timer.
    template <typename Callback> void advance(Instant now, Callback&& fire) {
        const std::int64_t target = ticks(now);
        while (Timer* timer = next_expired(now, target)) {
            fire(*timer);
        }
    }

    // No timer fires before this; `never` when none is set. May be earlier than the earliest
    // deadline, never later than a place after it.
    [[nodiscard]] Instant next_due() const;

  private:
    static constexpr unsigned tick_bits = 24;
    static constexpr unsigned level_bits = 6;
    static constexpr unsigned levels = 5;
    static constexpr std::uint64_t places = 1U << level_bits;

    [[nodiscard]] static std::int64_t ticks(Instant instant) {
        return instant.time_since_epoch().count() >> tick_bits;
    }
    void insert(Timer& timer);
    Timer* next_expired(Instant now, std::int64_t target);
    void open_tick();

    std::array<std::array<Timer*, places>, levels> heads_{};
    std::array<std::uint64_t, levels> maybe_used_{}; // a bit a place; cleared lazily
    Timer* due_ = nullptr;                           // taken from their places, not yet looked at
    std::int64_t current_;                           // every place before this tick is empty
};

} // namespace ringmx
