// Which backend a key belongs to: weighted rendezvous onto a fixed number of slots.
//
//   key -- XXH3, fixed seed --> slot (the top 16 bits) -- table --> first choice
//                                                      -- ranking of scores --> next choices
//
// A slot's score of a backend is -log2(hash(name, slot)) / weight; the lowest wins. So:
// - losing a backend moves exactly its own slots, each to that slot's next choice; adding one
//   takes its share from all; changing a weight moves slots only from or to that backend; the
//   order in the file is irrelevant;
// - weight 0 never wins (it drains), and is no next choice either;
// - every gateway computes the same: an integer logarithm from a table made by integer
//   arithmetic, one IEEE multiplication, no libm, no byte order (XXH3 is defined over bytes). A
//   test holds its digest.
// The number of slots never changes, else every key would move when it did.
//
// Balance, measured with equal weights: slots a backend, deviation over the mean, the fullest.
// -   3 backends: 21,845  0.5%   +0.5%
// -  10 backends:  6,554  1.1%   +2.6%
// - 100 backends:    655  4.0%   +8.3%
// - 500 backends:    131  8.4%  +29.7%
// That is fair dice, sqrt((N-1)/65536); a test holds it to that. Removing one of N moves 1/N of
// the slots, adding one 1/(N+1), within the same deviation.
//
// Bounds: backends_max backends; 128 KiB a table.
// Cost (bench/micro/hash_bench.cc, development machine): hash and first choice 4.4 ns; next()
//   O(backends): 47 ns with 3, 3.8 us with 500, no allocation; building 2.2 ms with 3, 143 ms with
//   500, on the main thread.
// Thread: immutable once built; any.
// Errors: none.
// Source: Thaler and Ravishankar, "Using name-based mappings to increase hit rates" (1998), in
//   its weighted form by -log(u)/w.
#pragma once

#include "base/settings/settings.h"

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace ringmx::upstream {

inline constexpr std::uint32_t slots_count = 65'536;
inline constexpr std::uint32_t backends_max =
    65'535; // an index fits in 16 bits, one value is "none"
inline constexpr std::uint32_t no_backend = UINT32_MAX;

// The hash of a canonical key (lower-cased, A-labels; see base/domain.h), the same on every
// gateway.
[[nodiscard]] std::uint64_t hash_key(std::string_view key);

class SlotTable {
  public:
    // Backend names are their addresses as written; results are indexes into `backends`.
    explicit SlotTable(std::span<const BackendSettings> backends);

    [[nodiscard]] static std::uint32_t slot_of(std::uint64_t key_hash) {
        return static_cast<std::uint32_t>(key_hash >> 48U);
    }
    // no_backend when no backend has a weight.
    [[nodiscard]] std::uint32_t first(std::uint32_t slot) const {
        const std::uint16_t index = first_[slot];
        return index == none16 ? no_backend : index;
    }
    // The choice that follows `previous` in the slot's ranking; no_backend at its end.
    [[nodiscard]] std::uint32_t next(std::uint32_t slot, std::uint32_t previous) const;

    // The candidate that comes first in the slot's ranking; no_backend when there is none.
    [[nodiscard]] std::uint32_t best_of(std::uint32_t slot,
                                        std::span<const std::uint16_t> candidates) const;

    [[nodiscard]] std::uint32_t backends_count() const {
        return static_cast<std::uint32_t>(backends_.size());
    }
    // Backends with a weight, by index: what round robin (hash "none") goes over.
    [[nodiscard]] std::span<const std::uint16_t> weighted() const { return weighted_; }

  private:
    static constexpr std::uint16_t none16 = UINT16_MAX;
    struct Backend {
        std::uint64_t seed;       // hash of the name
        double weight_reciprocal; // 0 for weight 0
    };
    struct Rank {
        double score;
        std::uint64_t seed; // breaks ties, the same way on every gateway
        std::uint32_t index;
        [[nodiscard]] bool before(const Rank& other) const;
    };
    [[nodiscard]] Rank rank(std::uint32_t slot, std::uint32_t index) const;

    std::vector<Backend> backends_;
    std::vector<std::uint16_t> weighted_;
    std::vector<std::uint16_t> first_;
};

} // namespace ringmx::upstream
