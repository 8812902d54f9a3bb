// Queue ids: what a message is called in replies, Received fields and logs.
//
// 14 letters without vowels (none spells a word): 12 for microseconds at start-up plus messages
// since, 2 for the worker, so that the ids of one gateway differ over workers and restarts.
// Thread: one worker's.
// Errors: none.
#pragma once

#include "base/instant.h"

#include <array>
#include <cstdint>
#include <string>

namespace ringmx::worker {

class QueueIds {
  public:
    QueueIds(std::uint32_t worker, WallTime started)
        : worker_(worker),
          next_(static_cast<std::uint64_t>(
              std::chrono::duration_cast<std::chrono::microseconds>(started.time_since_epoch())
                  .count())) {}

    // Started in microseconds, one a message: a restart can't meet an id of the past unless a
    // worker took a million messages a second.
    [[nodiscard]] std::string next() {
        static constexpr std::array<char, 33> digits = {"BCDFGHJKLMNPQRSTVWXYZbcdfghjklmn"};
        std::uint64_t value = next_++;
        std::string id(14, ' ');
        for (std::size_t index = 12; index > 0; --index) {
            id[index - 1] = digits[value % 32];
            value /= 32;
        }
        id[12] = digits[worker_ / 32 % 32];
        id[13] = digits[worker_ % 32];
        return id;
    }

  private:
    std::uint64_t worker_;
    std::uint64_t next_;
};

} // namespace ringmx::worker
