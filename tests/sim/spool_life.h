// A spool's life by seed: several workers on a disk with faults, clients that send by DATA and BDAT,
// backends with moods, restarts of the process and of the machine at any moment, with another number
// of workers.
//
// In the end all is calm, the queue empties, and: what was acknowledged was taken by a backend;
// nothing was taken that was not sent; contents are what they were.
// Errors: failures of the test that calls.
#pragma once

#include <cstdint>

namespace ringmx::sim {

struct SpoolLifeTally {
    std::uint64_t acknowledged = 0;
    std::uint64_t duplicates = 0; // taken again
    std::uint64_t restarts = 0;
    std::uint64_t refused = 0; // by 4xx
};

void run_spool_life(std::uint64_t seed, SpoolLifeTally& tally);

} // namespace ringmx::sim
