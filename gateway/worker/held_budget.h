// Removes failed messages that nobody has seen to: those that are older than spool.held.max_age, and
// the oldest ones while all of them take more than spool.held.max_size.
//
// Age:    from when the message failed.
// Size:   each worker keeps its part of the budget.
// What an operator put on hold stays.
// Paced:  a look through the index each interval() while there are failed messages, a quarter of
//         max_age within its bounds, or the least one while they take too much; looks_per_turn entries
//         a turn.
// Thread: one worker's.
// Errors: none; each removal is logged and counted.
#pragma once

#include "base/instant.h"

#include <cstdint>

namespace ringmx::worker {

class MailQueue;
class Worker;

class HeldBudget {
  public:
    static constexpr Duration interval_min = 1s;
    static constexpr Duration interval_max = 1min;
    static constexpr std::uint32_t looks_per_turn = 256;

    HeldBudget(Worker& worker, MailQueue& queue) : worker_(worker), queue_(queue) {}

    void run(); // once a turn
    [[nodiscard]] Instant deadline() const;
    // Of the budget, this worker's.
    [[nodiscard]] std::uint64_t part_bytes() const;

  private:
    [[nodiscard]] Duration interval() const;
    [[nodiscard]] bool look(); // at the next message; false: the round is over

    Worker& worker_;
    MailQueue& queue_;
    Instant next_round_{};
    Instant soon_{};        // the next round while they take too much
    std::uint64_t age_ = 0; // of the last one that was looked at
    bool is_looking_ = false;
};

} // namespace ringmx::worker
