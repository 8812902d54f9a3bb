// Seeds of the crash model (crash_model.h).
//
// RINGMX_SPOOL_SEEDS=N runs N seeds instead of a few; RINGMX_SPOOL_SEED=S runs that one.
#include "unit/spool/crash_model.h"

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

} // namespace
} // namespace ringmx::spool
