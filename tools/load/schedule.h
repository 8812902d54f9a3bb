// When messages are due in an open loop: the times are fixed before anything is sent, and nothing
// that the server does moves them. That is what keeps a stall in the figures (no coordinated
// omission): latency counts from the time that a message was due.
//
//   Rate      messages a second: constant, or growing (or falling) evenly from one to another over
//             a time and staying there
//   Arrivals  even: one each 1/rate; poisson: independent arrivals, exponential gaps
//   Schedule  the due times of one share: a run of `shares` workers is the same load as one worker.
//             Even arrivals are dealt in turn (share i gets each shares-th, from the i-th on),
//             Poisson ones are independent processes of rate/shares.
//
// The first of even arrivals is due at the start, the first of Poisson ones a gap later.
// Times come from counts, never from adding up gaps of time: they are right to the nanosecond after
// any number of messages.
//
// Invariant: next() never goes back; it depends on the arguments alone.
// Thread: one.
// Errors: none.
#pragma once

#include "base/instant.h"

#include <cstdint>

namespace ringmx::load {

struct Rate {
    double from_per_second = 0;
    double to_per_second = 0; // from the ramp's end on
    Duration ramp{0};         // 0: to_per_second from the beginning
};

enum class Arrivals : std::uint8_t { poisson, even };

class Schedule {
  public:
    Schedule(const Rate& rate, Arrivals arrivals, Instant start, unsigned share, unsigned shares,
             std::uint64_t seed);

    // The next message's due time. Far apart ones may be `never`.
    [[nodiscard]] Instant next() const { return next_; }
    void advance();

  private:
    // When so many messages of the whole load are due.
    [[nodiscard]] Instant time_of(long double arrivals) const;
    [[nodiscard]] double gap(); // of independent arrivals, 1 on average

    Rate rate_; // of the whole load
    Arrivals arrivals_;
    Instant start_;
    double shares_;
    std::uint64_t random_seed_; // of this share
    std::uint64_t random_count_ = 0;
    double due_total_; // messages of the whole load up to next_, expected ones if poisson
    Instant next_;
};

} // namespace ringmx::load
