// Worlds by seed; see world.h. A failing seed prints itself, and how to run it alone.
#include "sim/worker_seeds.h"
#include "sim/world.h"

#include <gtest/gtest.h>

namespace ringmx::sim {
namespace {

TEST(World, KeepsItsPromisesInTroubleAndGetsAllMailThroughInPeace) {
    const Seeds seeds = Seeds::chosen(120);
    WorldTally tally;
    run_seeds(seeds, "World", [&](std::uint64_t seed) { run_world(seed, tally); });
    if (!HasFailure() && seeds.count() > 1) {
        EXPECT_GT(tally.through, 10 * seeds.count()) << "there is too little to judge";
    }
    RecordProperty("through", std::to_string(tally.through));
    RecordProperty("possible_duplicates", std::to_string(tally.duplicates));
    RecordProperty("critical_turns", std::to_string(tally.critical_turns));
    RecordProperty("exact", std::to_string(tally.exact));
}

} // namespace
} // namespace ringmx::sim
