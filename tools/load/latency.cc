#include "load/latency.h"

#include "base/assert.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace ringmx::load {

void Latency::record(Duration time) {
    constexpr std::int64_t nanoseconds_max = std::int64_t{microseconds_max} * 1000;
    const std::int64_t nanoseconds = std::clamp(time.count(), std::int64_t{1}, nanoseconds_max);
    const auto microseconds = static_cast<std::uint64_t>(nanoseconds + 999) / 1000;
    put(microseconds, 1);
    maximum_ = std::max(maximum_, microseconds);
    sum_ += static_cast<double>(nanoseconds) / 1000;
}

void Latency::add(const Latency& other) {
    for (const Bucket& theirs : other.buckets()) {
        put(theirs.most, theirs.count);
    }
    maximum_ = std::max(maximum_, other.maximum_);
    sum_ += other.sum_;
}

void Latency::clear() {
    std::ranges::fill(counts_, 0);
    count_ = 0;
    maximum_ = 0;
    sum_ = 0;
}

std::uint64_t Latency::at(double quantile) const {
    if (count_ == 0) {
        return 0;
    }
    const auto records = static_cast<double>(count_);
    // A product that should be whole may come out just above: 0.55 * 100 is 55.00000000000001.
    const double rank = std::ceil(std::clamp(quantile, 0.0, 1.0) * records * (1 - 4e-16));
    if (quantile >= 1 || rank >= records) {
        return maximum_;
    }
    const std::uint64_t wanted = std::max<std::uint64_t>(static_cast<std::uint64_t>(rank), 1);
    std::uint64_t seen = 0;
    for (std::size_t index = 0; index < counts_.size(); ++index) {
        seen += counts_[index];
        if (seen >= wanted) {
            return std::min(bucket(index).most, maximum_);
        }
    }
    return maximum_;
}

double Latency::mean() const { return count_ == 0 ? 0 : sum_ / static_cast<double>(count_); }

std::vector<Latency::Bucket> Latency::buckets() const {
    std::vector<Bucket> filled;
    for (std::size_t index = 0; index < counts_.size(); ++index) {
        if (counts_[index] != 0) {
            filled.push_back(bucket(index));
        }
    }
    return filled;
}

// Above the exact ones a time's first exact_bits_ bits choose its bucket:
//
//   fine      0 … 2047 | 2048, 2050, … 4094 | 4096, 4100, … 8188 | …
//   index     0 … 2047 | 2048 …        3071 | 3072 …        4095 | …
std::size_t Latency::index_of(std::uint64_t microseconds) const {
    const auto bits = static_cast<unsigned>(std::bit_width(microseconds));
    if (bits <= exact_bits_) {
        return microseconds;
    }
    const unsigned shift = bits - exact_bits_;
    const std::size_t half = std::size_t{1} << (exact_bits_ - 1);
    return shift * half + (microseconds >> shift);
}

Latency::Bucket Latency::bucket(std::size_t index) const {
    const std::size_t half = std::size_t{1} << (exact_bits_ - 1);
    if (index < 2 * half) {
        return {.least = index, .most = index, .count = counts_[index]};
    }
    const std::size_t doublings = (index - 2 * half) / half;
    const std::size_t shift = doublings + 1;
    RINGMX_ASSERT(shift < 64);
    const std::uint64_t least = (index - shift * half) << shift;
    return {
        .least = least, .most = least + (std::uint64_t{1} << shift) - 1, .count = counts_[index]};
}

void Latency::put(std::uint64_t microseconds, std::uint64_t times) {
    const std::size_t index = index_of(std::min(microseconds, microseconds_max));
    if (index >= counts_.size()) {
        const std::size_t half = std::size_t{1} << (exact_bits_ - 1);
        const bool whole = exact_bits_ == fine_bits;
        counts_.resize(whole ? index_of(microseconds_max) + 1 : (index / half + 1) * half);
    }
    counts_[index] += times;
    count_ += times;
}

} // namespace ringmx::load
