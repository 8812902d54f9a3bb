#include "upstream/slot_table.h"

#include "base/assert.h"

#include <array>
#include <bit>
#include <memory>
#include <xxhash.h>

namespace ringmx::upstream {

namespace {

// Part of the mapping: another value would move every key of every gateway.
constexpr std::uint64_t key_seed = 0x72696E676D780001; // "ringmx", version 1
constexpr std::uint64_t name_seed =
    0x72696E676D780002; // apart from keys: a key may be spelt like a backend

// Mixes the bits of x so that each depends on all (the finaliser of SplitMix64: Steele, Lea, Flood,
// 2014).
std::uint64_t mixed(std::uint64_t x) {
    x ^= x >> 30U;
    x *= 0xBF58476D1CE4E5B9;
    x ^= x >> 27U;
    x *= 0x94D049BB133111EB;
    x ^= x >> 31U;
    return x;
}

constexpr unsigned table_bits = 11;
constexpr unsigned fraction_bits = 32; // between two entries of the table
constexpr unsigned logarithm_bits =
    48; // fraction bits of the result: 6 + 48 bits, exact in neither but the same everywhere

// log2(1 + i / 2^table_bits) in logarithm_bits of fraction, by repeated squaring in integers: the
// bits of a logarithm are the carries out of [1, 2).
constexpr std::uint64_t log2_of_mantissa(std::uint64_t i) {
    if (i == std::uint64_t{1} << table_bits) {
        return std::uint64_t{1} << logarithm_bits;
    }
    // 1.31 fixed point, so that a square fits in 64 bits; its error, some 2^-30, is far below what
    // interpolation costs.
    std::uint64_t value = (std::uint64_t{1} << 31U) + (i << (31U - table_bits));
    std::uint64_t result = 0;
    for (unsigned bit = 0; bit < 30; ++bit) {
        value = (value * value) >> 31U;
        result <<= 1U;
        if (value >= std::uint64_t{1} << 32U) {
            value >>= 1U;
            result |= 1U;
        }
    }
    return result << (logarithm_bits - 30U);
}

using LogTable = std::array<std::uint64_t, (std::size_t{1} << table_bits) + 1>;

const LogTable& log_table() {
    static const LogTable table = [] {
        LogTable made{};
        for (std::size_t i = 0; i < made.size(); ++i) {
            made[i] = log2_of_mantissa(i);
        }
        return made;
    }();
    return table;
}

// -log2(hash / 2^64) in fixed point: what an exponential variable is for a hash that is uniform.
// Never negative.
std::uint64_t negative_log2(const LogTable& table, std::uint64_t hash) {
    hash |= 1U; // 0 has no logarithm
    const auto leading = static_cast<unsigned>(std::countl_zero(hash));
    const std::uint64_t mantissa = hash << leading << 1U; // without its leading one
    const std::uint64_t index = mantissa >> (64U - table_bits);
    const std::uint64_t fraction = (mantissa << table_bits) >> (64U - fraction_bits);
    const std::uint64_t low = table[index];
    const std::uint64_t step =
        table[index + 1] - low; // below 2^38: times the fraction needs 70 bits
    const std::uint64_t part = ((step >> 6U) * fraction) >> (fraction_bits - 6U);
    return ((std::uint64_t{leading} + 1U) << logarithm_bits) - low - part;
}

double score(const LogTable& table, std::uint64_t seed, std::uint32_t slot, double reciprocal) {
    // The golden ratio's odd multiple spreads the slots over the space before mixing.
    const std::uint64_t hash = mixed(seed + (std::uint64_t{slot} + 1) * 0x9E3779B97F4A7C15);
    return static_cast<double>(negative_log2(table, hash)) * reciprocal;
}

} // namespace

std::uint64_t hash_key(std::string_view key) {
    return XXH3_64bits_withSeed(key.data(), key.size(), key_seed);
}

bool SlotTable::Rank::before(const Rank& other) const {
    if (score != other.score) {
        return score < other.score;
    }
    return seed != other.seed ? seed < other.seed : index < other.index;
}

SlotTable::Rank SlotTable::rank(std::uint32_t slot, std::uint32_t index) const {
    const Backend& backend = backends_[index];
    return {score(log_table(), backend.seed, slot, backend.weight_reciprocal), backend.seed, index};
}

SlotTable::SlotTable(std::span<const BackendSettings> backends) : first_(slots_count, none16) {
    RINGMX_ASSERT(backends.size() <= backends_max);
    backends_.reserve(backends.size());
    for (const BackendSettings& backend : backends) {
        const std::string& name = backend.address;
        if (backend.weight > 0) {
            weighted_.push_back(static_cast<std::uint16_t>(backends_.size()));
        }
        backends_.push_back({XXH3_64bits_withSeed(name.data(), name.size(), name_seed),
                             backend.weight == 0 ? 0.0 : 1.0 / backend.weight});
    }
    std::vector<Rank> best(slots_count);
    const LogTable& table = log_table();
    for (std::size_t n = 0; n < weighted_.size(); ++n) {
        const std::uint16_t index = weighted_[n];
        const Backend backend = backends_[index];
        for (std::uint32_t slot = 0; slot < slots_count; ++slot) {
            const Rank rank{score(table, backend.seed, slot, backend.weight_reciprocal),
                            backend.seed, index};
            if (n == 0 || rank.before(best[slot])) {
                best[slot] = rank;
            }
        }
    }
    if (!weighted_.empty()) {
        for (std::uint32_t slot = 0; slot < slots_count; ++slot) {
            first_[slot] = static_cast<std::uint16_t>(best[slot].index);
        }
    }
}

std::uint32_t SlotTable::next(std::uint32_t slot, std::uint32_t previous) const {
    RINGMX_ASSERT(slot < slots_count && previous < backends_.size());
    if (backends_[previous].weight_reciprocal == 0.0) {
        return no_backend;
    }
    const Rank after = rank(slot, previous);
    Rank best{};
    bool found = false;
    for (const std::uint16_t index : weighted_) {
        const Rank candidate = rank(slot, index);
        if (after.before(candidate) && (!found || candidate.before(best))) {
            best = candidate;
            found = true;
        }
    }
    return found ? best.index : no_backend;
}

std::uint32_t SlotTable::best_of(std::uint32_t slot,
                                 std::span<const std::uint16_t> candidates) const {
    RINGMX_ASSERT(slot < slots_count);
    Rank best{};
    bool found = false;
    for (const std::uint16_t index : candidates) {
        const Rank candidate = rank(slot, index);
        if (backends_[index].weight_reciprocal != 0.0 && (!found || candidate.before(best))) {
            best = candidate;
            found = true;
        }
    }
    return found ? best.index : no_backend;
}

} // namespace ringmx::upstream
