// The journal and the recovery against a model, over several runs that each end in a crash: nothing
// acknowledged is lost, nothing is invented or changed, what an operator did stays done, and what
// was under way is done or not.
//
// Disks fail meanwhile, and fill up for a while: writes and new files get ENOSPC then.
// Errors: failures of the test that calls.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace ringmx::spool {

// What schedules are for: one in which it never happens shows nothing of it.
enum class CrashSight : std::uint8_t {
    acknowledged,
    used_again, // segments
    stale_record,
    copied_record,
    copied_record_of_ours,
    torn_record,
    write_error,
    short_write,
    full_write,
    full_file, // none was to be had
    goes_on,   // acknowledged behind a time of a full disk, in the same run
    resumed,   // segments that went on behind a failed write
    moved,
    copy_failed, // of a message that was moved; it may stand where that was
    read_error,  // of recovery
    refused,
    // At a crash:
    hold_not_done,
    hold_done,
    release_not_done,
    release_done,
    remove_not_done,
    remove_done,
    failed_for_good, // some of a message's recipients, found so
    count_
};
inline constexpr std::array<std::string_view, static_cast<std::size_t>(CrashSight::count_)>
    crash_sight_names = {"acknowledged",
                         "used again",
                         "stale record looked at",
                         "copied record looked at",
                         "copied record of the same life looked at",
                         "torn record",
                         "write error",
                         "short write",
                         "write to a full disk",
                         "no file for a full disk",
                         "goes on after a full disk",
                         "segment goes on",
                         "moved",
                         "copy failed",
                         "read error",
                         "refused",
                         "hold under way, not done",
                         "hold under way, done",
                         "release under way, not done",
                         "release under way, done",
                         "remove under way, not done",
                         "remove under way, done",
                         "failed for good"};

struct CrashTally {
    std::array<std::uint64_t, static_cast<std::size_t>(CrashSight::count_)> seen{};
    std::uint32_t disk_crc = 0; // of what each crash left on the disk

    bool operator==(const CrashTally&) const = default;

    void add(CrashSight sight, std::uint64_t times = 1) {
        seen[static_cast<std::size_t>(sight)] += times;
    }
};

// `crash_at`: each run ends behind so many steps, whatever is under way then; else by chance.
void run_crash_model(std::uint64_t seed, CrashTally& tally,
                     std::optional<std::uint64_t> crash_at = std::nullopt);

} // namespace ringmx::spool
