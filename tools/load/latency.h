// A histogram of times with three significant digits, in the manner of HdrHistogram: 1 µs to 1 h,
// each bucket at most a thousandth of its value wide, so that quantiles are right to 0.1%.
//
// Shape:  fine: 2,048 buckets of 1 µs, then 1,024 for each doubling. Coarse: 256, then 128 for each
//         doubling, right to 0.8%, for where many are kept (one for each second of a run).
// Memory: 8 octets a bucket. Fine: 182 KiB, allocated with the first record(). Coarse: up to the
//         doubling of the longest time recorded, say 10 KiB at 20 ms.
// Cost:   record() is a few instructions and one cache line.
// Thread: one; add() merges those of several when their owners have ended, or copies.
// Errors: none; times over an hour count as an hour, under 1 µs as 1 µs. Parts of a microsecond
//         count as a whole one, so that no quantile flatters.
#pragma once

#include "base/instant.h"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace ringmx::load {

class Latency {
  public:
    static constexpr std::uint64_t microseconds_max = 3'600'000'000;

    enum class Resolution : std::uint8_t { fine, coarse };

    Latency() = default;
    explicit Latency(Resolution resolution)
        : exact_bits_(resolution == Resolution::fine ? fine_bits : coarse_bits) {}

    void record(Duration time);
    void add(const Latency& other);
    void clear(); // keeps its memory

    [[nodiscard]] std::uint64_t count() const { return count_; }
    // The time that `quantile` (0 to 1) of the records do not pass, in microseconds; 0 when empty.
    // 1 is the maximum, exactly.
    [[nodiscard]] std::uint64_t at(double quantile) const;
    [[nodiscard]] std::uint64_t maximum() const { return maximum_; }
    [[nodiscard]] double mean() const;

    struct Bucket {
        std::uint64_t least; // microseconds
        std::uint64_t most;
        std::uint64_t count;
    };
    // Those that are not empty, in order.
    [[nodiscard]] std::vector<Bucket> buckets() const;

  private:
    // Times below 2^exact_bits_ have a bucket each; every doubling above has half as many.
    static constexpr unsigned fine_bits = 11;
    static constexpr unsigned coarse_bits = 8;

    [[nodiscard]] std::size_t index_of(std::uint64_t microseconds) const;
    [[nodiscard]] Bucket bucket(std::size_t index) const;
    void put(std::uint64_t microseconds, std::uint64_t times);

    std::vector<std::uint64_t> counts_;
    std::uint64_t count_ = 0;
    std::uint64_t maximum_ = 0;
    double sum_ = 0; // microseconds
    unsigned exact_bits_ = fine_bits;
};

} // namespace ringmx::load
