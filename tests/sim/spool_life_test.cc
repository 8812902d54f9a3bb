// Spools' lives by seed; see spool_life.h. A failing seed prints itself, and how to run it alone.
#include "sim/spool_life.h"
#include "sim/worker_seeds.h"

#include <gtest/gtest.h>

namespace ringmx::sim {
namespace {

TEST(SpoolLife, WhatWasAcknowledgedIsDeliveredAsItWasOrReportedAndNothingElseIs) {
    const Seeds seeds = Seeds::chosen(40);
    SpoolLifeTally tally;
    run_seeds(seeds, "SpoolLife", [&](std::uint64_t seed) { run_spool_life(seed, tally); });
    if (!HasFailure() && seeds.count() > 1) {
        EXPECT_GT(tally.acknowledged, 5 * seeds.count()) << "there is too little to judge";
        EXPECT_GT(tally.refused, 0U);
        EXPECT_GT(tally.held, 0U);
        EXPECT_GT(tally.reported, 0U);
        EXPECT_GT(tally.removed, 0U);
        EXPECT_GT(tally.put_on_hold, 0U);
        EXPECT_GT(tally.let_go, 0U);
        EXPECT_GT(tally.full_writes, 0U);
        EXPECT_GT(tally.full_files, 0U);
        EXPECT_GT(tally.full_refusals, 0U);
        EXPECT_GT(tally.resumed, 0U);
    }
    RecordProperty("acknowledged", std::to_string(tally.acknowledged));
    RecordProperty("duplicates", std::to_string(tally.duplicates));
    RecordProperty("full_files", std::to_string(tally.full_files));
    RecordProperty("full_refusals", std::to_string(tally.full_refusals));
    RecordProperty("full_writes", std::to_string(tally.full_writes));
    RecordProperty("held", std::to_string(tally.held));
    RecordProperty("let_go", std::to_string(tally.let_go));
    RecordProperty("put_on_hold", std::to_string(tally.put_on_hold));
    RecordProperty("removed", std::to_string(tally.removed));
    RecordProperty("reported", std::to_string(tally.reported));
    RecordProperty("restarts", std::to_string(tally.restarts));
    RecordProperty("resumed", std::to_string(tally.resumed));
}

// Or a failing seed could not be looked into.
TEST(SpoolLife, ASeedReplays) {
    const Seeds seeds = Seeds::chosen(4);
    run_seeds(seeds, "SpoolLife", [](std::uint64_t seed) {
        SpoolLifeTally first;
        SpoolLifeTally again;
        run_spool_life(seed, first);
        run_spool_life(seed, again);
        EXPECT_TRUE(first == again);
        EXPECT_NE(first.disk_crc, 0U);
    });
}

} // namespace
} // namespace ringmx::sim
