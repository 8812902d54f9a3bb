// Seeds of the crash model (crash_model.h).
//
// RINGMX_SPOOL_SEEDS=N runs N seeds instead of a few; RINGMX_SPOOL_SEED=S runs that one.
#include "sim/worker_seeds.h"
#include "unit/spool/crash_model.h"

#include <algorithm>
#include <cstdlib>
#include <gtest/gtest.h>
#include <string>

namespace ringmx::spool {
namespace {

std::uint64_t number_from(const char* variable, std::uint64_t otherwise) {
    const char* const text = std::getenv(variable);
    return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

TEST(SpoolCrash, NothingAcknowledgedIsLostAndWhatOperatorsDidStaysDone) {
    const std::uint64_t only = number_from("RINGMX_SPOOL_SEED", 0);
    const std::uint64_t count = number_from("RINGMX_SPOOL_SEEDS", 80);
    CrashTally tally;
    for (std::uint64_t seed = only == 0 ? 1 : only; seed <= (only == 0 ? count : only); ++seed) {
        run_crash_model(seed, tally);
        ASSERT_FALSE(HasFailure())
            << "again: RINGMX_SPOOL_SEED=" << seed << " spool_tests --gtest_filter=SpoolCrash.*";
    }
    for (std::size_t sight = 0; sight < tally.seen.size(); ++sight) {
        const std::string name(crash_sight_names[sight]);
        // The schedules do reach what they are for.
        EXPECT_TRUE(only != 0 || tally.seen[sight] > 0) << name;
        std::string key = name;
        for (char& letter : key) {
            letter = letter == ' ' || letter == ',' ? '_' : letter;
        }
        RecordProperty(key, std::to_string(tally.seen[sight]));
    }
    EXPECT_TRUE(only != 0 ||
                tally.seen[static_cast<std::size_t>(CrashSight::acknowledged)] > 50U * count);
}

// Chance leaves out most moments of a run: here none is, from its first step on, with what the runs
// before left behind.
TEST(SpoolCrash, ACrashBehindAnyStepLosesNothingAcknowledged) {
    constexpr std::uint64_t seeds = std::max<std::uint64_t>(1, 10 / sim::slowness);
    constexpr std::uint64_t steps = 80; // of each of the runs
    CrashTally tally;
    for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
        for (std::uint64_t step = 1; step <= steps; ++step) {
            run_crash_model(seed, tally, step);
            ASSERT_FALSE(HasFailure()) << "seed " << seed << ", behind step " << step;
        }
    }
    for (const CrashSight sight :
         {CrashSight::acknowledged, CrashSight::torn_record, CrashSight::moved,
          CrashSight::hold_done, CrashSight::hold_not_done, CrashSight::release_done,
          CrashSight::remove_done, CrashSight::remove_not_done, CrashSight::failed_for_good}) {
        const auto index = static_cast<std::size_t>(sight);
        EXPECT_TRUE(sim::slowness > 1 || tally.seen[index] > 0) << crash_sight_names[index];
    }
}

// Or a failing seed could not be looked into.
TEST(SpoolCrash, ASeedReplays) {
    for (std::uint64_t seed = 1; seed <= 5; ++seed) {
        CrashTally first;
        CrashTally again;
        run_crash_model(seed, first);
        run_crash_model(seed, again);
        EXPECT_TRUE(first == again) << seed;
        EXPECT_NE(first.disk_crc, 0U);
    }
}

} // namespace
} // namespace ringmx::spool
