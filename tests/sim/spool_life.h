// A spool's life by seed: several workers on a disk whose writes and reads fail, clients that send by
// DATA and BDAT to recipients of one pool or of both, backends with moods that refuse for good too,
// restarts of the process and of the machine at any moment, with another number of workers. What failed
// is held, or its sender is told. Some disks do not fail but fill up for a while, so that neither writes
// nor new segments have room; mail is answered 452 4.3.1 then, and taken again once there is. Operators
// hold mail, let it go, try it again and remove it meanwhile.
//
// In the end all is calm, an operator lets go what is held, the queue empties, and all is as the ledger
// wants it (spool_ledger.h). Nothing was held or reported that nobody refused.
// Errors: failures of the test that calls.
#pragma once

#include <cstdint>

namespace ringmx::sim {

struct SpoolLifeTally {
    std::uint64_t acknowledged = 0;
    std::uint64_t duplicates = 0; // taken again, for each recipient
    std::uint64_t restarts = 0;
    std::uint64_t refused = 0; // by 4xx
    std::uint64_t held = 0;
    std::uint64_t reported = 0; // recipients
    // What operators were told is done:
    std::uint64_t removed = 0;
    std::uint64_t put_on_hold = 0;
    std::uint64_t let_go = 0;
    // Of disks that fill up:
    std::uint64_t full_writes = 0;
    std::uint64_t full_files = 0;    // segments that were not to be had
    std::uint64_t full_refusals = 0; // clients that were told
    std::uint64_t resumed = 0;       // times that mail was taken again in the same life
    // Of what is on the disks, at each start and in the end.
    std::uint32_t disk_crc = 0;

    bool operator==(const SpoolLifeTally&) const = default;
};

void run_spool_life(std::uint64_t seed, SpoolLifeTally& tally);

} // namespace ringmx::sim
