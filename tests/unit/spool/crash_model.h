// The journal and the recovery against a model, over several runs that each end in a crash: nothing
// acknowledged is lost, nothing is invented or changed, what an operator removed stays removed.
//
// Errors: failures of the test that calls.
#pragma once

#include <cstdint>

namespace ringmx::spool {

// What the schedules reached.
struct CrashTally {
    std::uint64_t acknowledged = 0;
    std::uint64_t lives_max = 0; // of one worker's segments
    std::uint64_t failures = 0;  // writes
    std::uint64_t resumed = 0;   // segments that went on behind one
};

void run_crash_model(std::uint64_t seed, CrashTally& tally);

} // namespace ringmx::spool
