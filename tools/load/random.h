// Random numbers from a seed and a number: any of them without those before it, so that message n
// is the same whichever worker sends it.
//
// Source: Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators" (SplitMix64).
#pragma once

#include <cstdint>

namespace ringmx::load {

// Number `index` of the sequence that `seed` begins.
[[nodiscard]] constexpr std::uint64_t random_number(std::uint64_t seed, std::uint64_t index) {
    std::uint64_t value = seed + (index + 1) * 0x9e3779b97f4a7c15; // 2^64 / golden ratio, odd
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
    value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
    return value ^ (value >> 31);
}

} // namespace ringmx::load
