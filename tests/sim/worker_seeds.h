// Which seeds a random simulation runs, and how it says which one failed.
//
//   RINGMX_SEED=n       that one alone
//   RINGMX_SEEDS=n      1 to n
//   RINGMX_SEEDS=m-n    m to n
//   neither             1 to what the test says; builds with sanitizers, which are several times
//                       slower, run a part of that
//
// Thread: one.
#pragma once

#include "base/sanitizers.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>

namespace ringmx::sim {

#if defined(RINGMX_THREAD_SANITIZER)
inline constexpr std::uint64_t slowness = 10;
#elif defined(RINGMX_ADDRESS_SANITIZER)
inline constexpr std::uint64_t slowness = 3;
#else
inline constexpr std::uint64_t slowness = 1;
#endif

struct Seeds {
    std::uint64_t first = 1;
    std::uint64_t last = 1;

    [[nodiscard]] std::uint64_t count() const { return last - first + 1; }

    [[nodiscard]] static Seeds chosen(std::uint64_t ordinary_count) {
        Seeds seeds;
        seeds.last = std::max<std::uint64_t>(1, ordinary_count / slowness);
        if (const char* one = std::getenv("RINGMX_SEED")) {
            seeds.first = seeds.last = std::strtoull(one, nullptr, 10);
        } else if (const char* range = std::getenv("RINGMX_SEEDS")) {
            char* end = nullptr;
            seeds.last = std::strtoull(range, &end, 10);
            if (*end == '-') {
                seeds.first = seeds.last;
                seeds.last = std::strtoull(end + 1, nullptr, 10);
            }
        }
        return seeds;
    }
};

// Runs `one_seed` for each, up to the first that fails.
// `test`: as tools/simulate knows it.
template <typename OneSeed> void run_seeds(const Seeds& seeds, const char* test, OneSeed one_seed) {
    for (std::uint64_t seed = seeds.first; seed <= seeds.last; ++seed) {
        SCOPED_TRACE("again: tools/simulate --seeds 1 --from " + std::to_string(seed) + " --test " +
                     test);
        one_seed(seed);
        if (::testing::Test::HasFailure()) {
            return;
        }
    }
}

} // namespace ringmx::sim
