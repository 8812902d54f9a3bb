// The thread that does the blocking work on the spool's files: segments for the workers, deletion,
// and a look every second whether the files are still there and can be written.
//
//   worker ── request, discard, released ──▶ keeper        (a ring each way; the keeper's eventfd,
//          ◀── segment, failed, home_gone, lost …──        the worker's waker)
//
// New segments are written through in the background, several workers' by turns; one that mail
// waits for is given out as soon as it is allocated. What is given out is durable: the file's size
// and its entry in the folder.
// A segment of an earlier run is deleted when no worker holds it and no mark in it matters, durably
// before its home is said to be gone, and its space is given back in parts; a damaged one is set aside
// instead. What can't be deleted or
// set aside (a file system that is read-only for a while) is tried again with each look, a discarded
// segment likewise.
// What earlier runs left counts: while it and this run's segments would take more than they may, a
// request fails as on a full disk; but each worker gets the two that it needs to empty the spool, and
// more if it can't write a mark otherwise.
// When the directory or a segment is gone every worker (the segment's) is told `lost`; requests fail
// until there is a directory again. When its file system becomes read-only, and when it is no more,
// they are told so before mail finds out.
//
// Life:   construct, supply() to the workers, start(); adopt() once; stop() when every worker has left
//         its loop, before its ring ends: a waker is the ring's. Supplies may be called until the
//         keeper is destroyed.
// Bound:  at most as many discards on their way as a worker may have segments.
// Thread: main's, save supplies (their worker's) and the work itself.
// Errors: News::failed and notices.
#pragma once

#include "adopted_files.h"
#include "deleted_files.h"
#include "new_segment.h"
#include "owned_descriptor.h"
#include "ring/port.h"
#include "spool_directory.h"
#include "spool_notices.h"
#include "spool_recovery.h"
#include "spool_sizes.h"
#include "worker/segment_supply.h"

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace ringmx {

class SpoolKeeper {
  public:
    // `wakers`: of the workers, by index. `look_every`: at the files.
    SpoolKeeper(SpoolDirectory directory, const SpoolSizes& sizes,
                const std::vector<ring::Waker*>& wakers, SpoolNotices& notices,
                Duration look_every = 1s);
    ~SpoolKeeper();
    SpoolKeeper(const SpoolKeeper&) = delete;
    SpoolKeeper& operator=(const SpoolKeeper&) = delete;

    [[nodiscard]] worker::SegmentSupply& supply(std::uint32_t worker);
    void start();
    // Takes over all but the messages; the segments that they name, by index. These live as long as
    // the keeper.
    [[nodiscard]] std::vector<worker::AdoptedSegment*> adopt(RecoveredSpool& recovered);
    void stop();

  private:
    class Supply;
    // A segment of this run.
    struct Own {
        std::uint32_t worker = 0;
        std::string name;
        OwnedDescriptor file;
        bool is_lost = false;
        bool is_leaving = false; // discarded, and still to be deleted
        bool is_damaged = false; // then set aside instead
    };

    void run();
    void wake();
    void wait(Instant until);
    void obey(std::uint32_t worker);
    void begin(std::uint32_t worker, bool is_for_marks);
    [[nodiscard]] bool would_be_over();
    [[nodiscard]] std::uint32_t segments_of(std::uint32_t worker) const;
    [[nodiscard]] bool work(); // a step of what is being made; false: nothing is
    void step(std::uint32_t worker);
    void give(std::uint32_t worker);
    void fail(std::uint32_t worker, const Error& error);
    void discard(int descriptor, bool is_damaged);
    // False: the file is still there.
    [[nodiscard]] bool delete_own(int descriptor, Own& own);
    [[nodiscard]] std::optional<Error> delete_file(const Own& own) const;
    [[nodiscard]] std::optional<Error> move_aside(const Own& own);
    void delete_leaving();
    void take_adopted();
    void delete_unneeded();
    void look();
    void look_at_segments();
    void look_at_file_system();
    void tell_all(const worker::SegmentSupply::News& news);

    SpoolDirectory directory_;
    SpoolSizes sizes_;
    SpoolNotices& notices_;
    Duration look_every_;
    std::vector<std::unique_ptr<Supply>> supplies_;
    OwnedDescriptor doorbell_;
    std::atomic<bool> is_stopped_{false};
    std::atomic<bool> is_released_{false}; // some holds are zero

    std::mutex arriving_mutex_;
    std::optional<RecoveredSpool> arriving_;

    // The thread's.
    std::map<int, Own> own_;
    std::vector<OwnedDescriptor> in_doubt_; // deleted, and perhaps not for good
    std::vector<std::uint32_t> numbers_;    // of the last segment of each worker
    std::uint32_t next_ = 0;                // whose turn it is to be written
    bool has_earlier_ = true;               // files of earlier runs
    std::uint64_t earlier_bytes_ = 0;       // what they took when that could be seen last
    bool is_lost_ = false;                  // the directory
    int write_error_ = 0;                   // of its file system
    bool is_buffered_told_ = false;
    bool is_refused_told_ = false;
    std::string lasting_fault_; // why the directory can't be opened again
    DeletedFiles deleted_;
    AdoptedFiles adopted_;
    std::thread thread_;
};

} // namespace ringmx
