// What a crash left on the crash model's disk, read as a start reads it.
//
// Thread: one.
// Errors: contents that can't be put together say so in their place.
#pragma once

#include "sim/sim_disk.h"
#include "spool/gaps.h"
#include "spool/recovery.h"
#include "spool/scanner.h"
#include "unit/spool/crash_sights.h"

#include <cstdint>
#include <string>
#include <vector>

namespace ringmx::spool {

class CrashRecovery {
  public:
    struct Found {
        int file = -1;
        SegmentHeader header;
    };

    explicit CrashRecovery(sim::SimDisk& disk);

    [[nodiscard]] Recovery& recovery() { return recovery_; }
    // By the number that Recovery has for them.
    [[nodiscard]] const std::vector<Found>& segments() const { return segments_; }
    // Never used, or no record is in them.
    [[nodiscard]] const std::vector<int>& empty_files() const { return empty_files_; }
    [[nodiscard]] const CrashSights& sights() const { return sights_; }
    // What would be told as damage.
    [[nodiscard]] std::uint64_t lost() const { return lost_; }
    [[nodiscard]] std::uint64_t torn() const { return torn_; }
    [[nodiscard]] std::uint64_t unreadable_blocks() const { return unreadable_blocks_; }

    [[nodiscard]] std::string content_of(const RecoveredMessage& message) const;

  private:
    void read(int file);
    [[nodiscard]] std::string body_at(const Found& segment, std::uint64_t offset) const;

    sim::SimDisk& disk_;
    SegmentScanner scanner_;
    Recovery recovery_;
    std::vector<Found> segments_;
    std::vector<int> empty_files_;
    CrashSights sights_;
    RunGaps gaps_;
    std::uint64_t lost_ = 0;
    std::uint64_t torn_ = 0;
    std::uint64_t unreadable_blocks_ = 0;
};

} // namespace ringmx::spool
