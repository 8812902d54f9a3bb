// Where simulated workers get their segments: what the keeper's thread does in the program, on a
// simulated disk, a little later.
//
//   SimSegments segments(network, disk, options);
//   segments.begin_run(wakers);                      the first generation
//   … workers with segments.supply(index) …
//   (the ports and workers are destroyed) disk.crash();
//   segments.begin_run(wakers);                      the next one
//   AdoptedQueue& queue = segments.recover();        what the runs before left
//
// recover() reads all segments of earlier runs; they are deleted when nothing needs them any more,
// and the workers told so. Every file on the disk is a segment of this.
// Thread: the network's.
// Errors: News::failed: by hand (request_error), or when there are files_max files.
#pragma once

#include "adopted_segments.h"
#include "queue_reader.h"
#include "sim/sim_disk.h"
#include "sim/sim_network.h"

#include "ring/port.h"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <vector>

namespace ringmx::sim {

class SimSegments {
  public:
    struct Options {
        std::uint64_t segment_bytes = 2UL << 20U;
        std::size_t files_max = SIZE_MAX; // over all runs: the disk is full
        // Over all runs: the spool takes what it may, and more is for marks alone.
        std::size_t files_for_mail_max = SIZE_MAX;
        Duration request_time = 5ms; // at_once takes a tenth
    };

    SimSegments(SimNetwork& network, SimDisk& disk, const Options& options);
    ~SimSegments();
    SimSegments(const SimSegments&) = delete;
    SimSegments& operator=(const SimSegments&) = delete;

    // `wakers`: of the workers, by index. Supplies of the run before are gone.
    void begin_run(const std::vector<ring::Waker*>& wakers);
    [[nodiscard]] std::uint32_t generation() const { return generation_; }
    [[nodiscard]] worker::SegmentSupply& supply(std::uint32_t worker);
    // Once a run. What becomes of `messages` is the caller's affair; `segments` are moved away, see
    // adopted().
    [[nodiscard]] AdoptedQueue& recover();
    // The segment that RecoveredMessage::segment and ::chunk_segments name.
    [[nodiscard]] worker::AdoptedSegment& adopted(std::uint32_t index) { return *pointers_[index]; }
    [[nodiscard]] const std::vector<worker::AdoptedSegment*>& all_adopted() const {
        return pointers_;
    }
    // Of each segment that was read.
    [[nodiscard]] const std::vector<SegmentReport>& reports() const { return reports_; }

    // By hand.
    int request_error = 0;                  // while not 0, requests fail with it
    void lose(int error);                   // every worker is told that what it writes is not safe
    void tell_file_system_error(int error); // found by a look; 0: it is over
    void set_files_max(std::size_t count) { options_.files_max = count; }
    void set_files_for_mail_max(std::size_t count) { options_.files_for_mail_max = count; }

    [[nodiscard]] std::uint64_t refused_requests() const { return refused_requests_; } // so far
    [[nodiscard]] std::size_t own_files() const { return own_.size(); } // of this run
    [[nodiscard]] std::size_t adopted_files() const;                    // of earlier ones
    // As they were then, of all runs.
    [[nodiscard]] const std::vector<std::vector<std::byte>>& set_aside() const {
        return set_aside_;
    }

  private:
    static constexpr Duration look_every = 1s;

    class Supply;
    void create(std::uint32_t worker, worker::SegmentSupply::Urgency urgency);
    void discard(int file, bool is_damaged);
    void delete_unneeded();
    void look(); // and again and again while there is something of earlier runs
    [[nodiscard]] bool is_over() const {
        return disk_.files().size() >= options_.files_for_mail_max;
    }
    void tell(std::uint32_t worker, const worker::SegmentSupply::News& news);
    void tell_all(const worker::SegmentSupply::News& news);
    // Runs it later, if this run goes on until then.
    void later(Duration time, std::function<void()> action);

    SimNetwork& network_;
    SimDisk& disk_;
    Options options_;
    std::uint32_t generation_ = 0;
    std::uint64_t refused_requests_ = 0;
    std::vector<std::unique_ptr<Supply>> supplies_;
    std::map<int, std::uint32_t> own_; // files of this run, and whose they are
    std::unique_ptr<AdoptedSegments> adopted_;
    std::vector<worker::AdoptedSegment*> pointers_;
    AdoptedQueue queue_;
    std::vector<SegmentReport> reports_;
    std::vector<std::vector<std::byte>> set_aside_;
};

} // namespace ringmx::sim
