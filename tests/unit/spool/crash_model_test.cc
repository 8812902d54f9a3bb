// Seeds of the crash model (crash_model.h).
//
// RINGMX_SPOOL_SEEDS=N runs N seeds instead of a few; RINGMX_SPOOL_SEED=S runs that one.
#include "unit/spool/crash_model.h"

#include <cstdlib>
#include <gtest/gtest.h>

namespace ringmx::spool {
namespace {

std::uint64_t number_from(const char* variable, std::uint64_t otherwise) {
    const char* const text = std::getenv(variable);
    return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

TEST(SpoolCrash, NothingAcknowledgedIsLostAndNothingRemovedComesBack) {
    const std::uint64_t only = number_from("RINGMX_SPOOL_SEED", 0);
    const std::uint64_t count = number_from("RINGMX_SPOOL_SEEDS", 80);
    CrashTally tally;
    for (std::uint64_t seed = only == 0 ? 1 : only; seed <= (only == 0 ? count : only); ++seed) {
        run_crash_model(seed, tally);
        ASSERT_FALSE(HasFailure())
            << "again: RINGMX_SPOOL_SEED=" << seed << " spool_tests --gtest_filter=SpoolCrash.*";
    }
    if (only == 0) { // the schedules do reach what they are for
        EXPECT_GT(tally.acknowledged, 100U * count);
        EXPECT_GT(tally.lives_max, 4U) << "no segment was used again";
        EXPECT_GT(tally.failures, 0U);
        EXPECT_GT(tally.resumed, 0U);
    }
}

} // namespace
} // namespace ringmx::spool
