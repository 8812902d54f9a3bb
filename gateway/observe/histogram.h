// A histogram of durations with fixed buckets, written by one worker and read by the main thread.
//
// Buckets: value <= bound, as Prometheus' `le`; 1-2.5-5 steps from 100 µs (a loopback relay answers
//          in less) to 600 s (the longest that a client waits for the answer to its data: RFC 5321,
//          4.5.3.2.6), and one for what is above.
// Cost:    a table look-up, one comparison, three plain loads and stores; no lock prefix, since
//          there is one writer.
// Thread:  record() by the owner only; the rest by any thread. A reader sees each number whole, but
//          not all of one moment.
#pragma once

#include "base/instant.h"

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace ringmx::observe {

class Histogram {
  public:
    // Nanoseconds.
    static constexpr std::array<std::uint64_t, 21> bounds = {
        100'000,         250'000,        500'000,        1'000'000,       2'500'000,
        5'000'000,       10'000'000,     25'000'000,     50'000'000,      100'000'000,
        250'000'000,     500'000'000,    1'000'000'000,  2'500'000'000,   5'000'000'000,
        10'000'000'000,  30'000'000'000, 60'000'000'000, 120'000'000'000, 300'000'000'000,
        600'000'000'000,
    };
    static constexpr std::size_t buckets_count = bounds.size() + 1;

    // Which bucket a value belongs to; a negative duration (a clock that was set back in a
    // simulation) counts as nothing.
    [[nodiscard]] static constexpr std::size_t bucket_index(std::uint64_t nanoseconds) {
        const std::size_t index =
            first_bound[static_cast<std::size_t>(std::bit_width(nanoseconds))];
        return index + (index < bounds.size() && nanoseconds > bounds[index] ? 1 : 0);
    }

    void record(Duration duration) {
        const std::uint64_t value =
            duration.count() < 0 ? 0 : static_cast<std::uint64_t>(duration.count());
        add(buckets_[bucket_index(value)], 1);
        add(sum_, value);
    }

    [[nodiscard]] std::uint64_t bucket(std::size_t index) const {
        return buckets_[index].load(std::memory_order_relaxed);
    }
    [[nodiscard]] std::uint64_t sum_nanoseconds() const {
        return sum_.load(std::memory_order_relaxed);
    }

  private:
    static void add(std::atomic<std::uint64_t>& number, std::uint64_t value) {
        number.store(number.load(std::memory_order_relaxed) + value, std::memory_order_relaxed);
    }

    // For each bit width, how many bounds are below every value of that width.
    static constexpr std::array<std::uint8_t, 65> first_bound = [] {
        std::array<std::uint8_t, 65> table{};
        for (std::size_t width = 1; width <= 64; ++width) {
            for (const std::uint64_t bound : bounds) {
                table[width] = static_cast<std::uint8_t>(
                    table[width] + (bound < std::uint64_t{1} << (width - 1) ? 1 : 0));
            }
        }
        return table;
    }();
    // One comparison is enough because no two bounds have the same bit width.
    static_assert([] {
        for (std::size_t index = 1; index < bounds.size(); ++index) {
            if (std::bit_width(bounds[index]) == std::bit_width(bounds[index - 1])) {
                return false;
            }
        }
        return true;
    }());

    std::array<std::atomic<std::uint64_t>, buckets_count> buckets_{};
    std::atomic<std::uint64_t> sum_{0};
};

} // namespace ringmx::observe
