// A spool's life by seed: several workers on a disk whose writes and reads fail, clients that send by
// DATA and BDAT, backends with moods that refuse for good too, restarts of the process and of the
// machine at any moment, with another number of workers. What failed is held, or its sender is told.
//
// In the end all is calm, an operator tries again what is held, the queue empties, and: what was
// acknowledged was taken by a backend or reported as refused; nothing was held or reported that
// nobody refused, nothing taken that was not sent; contents are what they were.
// Errors: failures of the test that calls.
#pragma once

#include <cstdint>

namespace ringmx::sim {

struct SpoolLifeTally {
    std::uint64_t acknowledged = 0;
    std::uint64_t duplicates = 0; // taken again
    std::uint64_t restarts = 0;
    std::uint64_t refused = 0; // by 4xx
    std::uint64_t held = 0;
    std::uint64_t reported = 0;
};

void run_spool_life(std::uint64_t seed, SpoolLifeTally& tally);

} // namespace ringmx::sim
