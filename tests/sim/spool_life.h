// A spool's life by seed: several workers on a disk whose writes and reads fail, clients that send by
// DATA and BDAT, backends with moods that refuse for good too, restarts of the process and of the
// machine at any moment, with another number of workers. What failed is held, or its sender is told.
// Some disks do not fail but fill up for a while, so that neither writes nor new segments have room;
// mail is answered 452 4.3.1 then, and taken again once there is. Operators remove mail meanwhile.
//
// In the end all is calm, an operator tries again what is held, the queue empties, and: what was
// acknowledged was taken by a backend, reported as refused, or removed; nothing was held or reported
// that nobody refused, nothing taken that was not sent, or was removed before the last start;
// contents are what they were.
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
    std::uint64_t removed = 0;
    // Of disks that fill up:
    std::uint64_t full_writes = 0;
    std::uint64_t full_files = 0;    // segments that were not to be had
    std::uint64_t full_refusals = 0; // clients that were told
    std::uint64_t resumed = 0;       // times that mail was taken again in the same life
};

void run_spool_life(std::uint64_t seed, SpoolLifeTally& tally);

} // namespace ringmx::sim
