// The files that earlier runs left, from when their messages are known until they are deleted.
//
// A segment's file is deleted when no worker holds it and no mark in it matters; a damaged one, and
// one with a part of a damaged message, is set aside instead; one of which parts can't be read stays.
// A run's folder goes with its last segment.
// What could not be deleted or set aside is still there for a restart, so it is not gone: it is tried
// again by each delete_unneeded().
// Thread: the keeper's. Blocks.
// Errors: notices.
#pragma once

#include "adopted_segments.h"
#include "deleted_files.h"
#include "spool_directory.h"
#include "spool_notices.h"
#include "spool_recovery.h"

#include <cstdint>
#include <string>
#include <vector>

namespace ringmx {

class AdoptedFiles {
  public:
    AdoptedFiles(const SpoolDirectory& directory, SpoolNotices& notices, DeletedFiles& deleted)
        : directory_(directory), notices_(notices), deleted_(deleted) {}

    void adopt(RecoveredSpool recovered); // once; its messages are others' affair
    // Deletes what nothing needs; of the segments that are gone now, durably.
    [[nodiscard]] std::vector<spool::SegmentName> delete_unneeded();
    // Whether somebody deleted one that is needed. `is_over`: the spool takes more than it may.
    void look(bool is_over);

  private:
    // False: the file is still there.
    [[nodiscard]] bool remove(std::uint32_t index);
    void remove_run(const EarlierRun& run);
    [[nodiscard]] std::string path_of(const AdoptedFile& file) const;

    const SpoolDirectory& directory_;
    SpoolNotices& notices_;
    DeletedFiles& deleted_;
    AdoptedSegments segments_;
    std::vector<AdoptedFile> files_;
    std::vector<EarlierRun> runs_;
};

} // namespace ringmx
