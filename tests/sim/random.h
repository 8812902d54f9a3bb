// The one source of chance in a simulation: the same seed gives the same run, on every machine.
//
// Thread: one.
// Source: SplitMix64 (Steele, Lea, Flood, 2014), whose state is a counter, so that any seed is a
//         good one.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ringmx::sim {

class Random {
  public:
    explicit Random(std::uint64_t seed) : state_(seed) {}

    [[nodiscard]] std::uint64_t next() {
        state_ += 0x9E3779B97F4A7C15U;
        std::uint64_t mixed = state_;
        mixed = (mixed ^ (mixed >> 30U)) * 0xBF58476D1CE4E5B9U;
        mixed = (mixed ^ (mixed >> 27U)) * 0x94D049BB133111EBU;
        return mixed ^ (mixed >> 31U);
    }
    // 0 .. bound - 1; 0 for bound 0. The bias of the remainder is below 2^-40 for the bounds of a
    // simulation.
    [[nodiscard]] std::uint64_t below(std::uint64_t bound) {
        return bound == 0 ? 0 : next() % bound;
    }
    [[nodiscard]] std::uint64_t between(std::uint64_t low, std::uint64_t high) {
        return low + below(high - low + 1);
    }
    [[nodiscard]] bool chance(double probability) {
        return static_cast<double>(next() >> 11U) * 0x1.0p-53 < probability;
    }

  private:
    std::uint64_t state_;
};

} // namespace ringmx::sim
