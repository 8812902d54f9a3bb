// Takes over what earlier runs left in the spool's directory, on a thread of its own: reads every
// segment, paced by the disk alone, while new mail is taken already.
//
// What is no segment, a segment of another version, or one that is in the wrong folder is set aside;
// what can't be read stays for the next run. Each is a notice, and stops nothing.
//
// Life:   start(), then take() until it gives the result. The destructor stops and joins.
// Memory: as QueueReader.
// Thread: main's, save the reading itself.
// Errors: are notices.
#pragma once

#include "owned_descriptor.h"
#include "queue_reader.h"
#include "ring/port.h"
#include "spool_directory.h"
#include "spool_notices.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace ringmx {

// An earlier run's folder, locked; removed when its last segment is.
struct EarlierRun {
    std::uint32_t generation = 0;
    OwnedDescriptor folder;
    OwnedDescriptor lock;
};

struct AdoptedFile {
    std::size_t run = 0; // in RecoveredSpool::runs
    std::string name;
    OwnedDescriptor file;
    // To be set aside rather than deleted: it is damaged, or a message is of which it has a part.
    bool is_damaged = false;
    bool has_remains = false;
    bool stays = false;      // it, or another, can't be read: another run may be luckier
    bool is_lost = false;    // somebody deleted it
    bool is_leaving = false; // nothing needs it, and it could not be deleted or set aside yet
};

struct RecoveredSpool {
    AdoptedQueue queue;                                         // without its messages, which are
    std::vector<std::vector<spool::RecoveredMessage>> messages; // each worker's
    std::vector<AdoptedFile> files;                             // of queue.segments
    std::vector<EarlierRun> runs;
    // In all.
    std::uint64_t bytes = 0;
    std::uint64_t records = 0;
    std::uint64_t torn = 0;
    std::uint64_t lost = 0;
    std::uint64_t unreadable_blocks = 0;
    std::uint64_t unreadable_files = 0;
    std::uint64_t set_aside = 0;
};

class SpoolRecovery {
  public:
    // `waker` is woken once there is a result, for as many workers.
    SpoolRecovery(const SpoolDirectory& directory, std::size_t workers, SpoolNotices& notices,
                  ring::Waker& waker);
    ~SpoolRecovery();
    SpoolRecovery(const SpoolRecovery&) = delete;
    SpoolRecovery& operator=(const SpoolRecovery&) = delete;

    void start();
    [[nodiscard]] std::optional<RecoveredSpool> take(); // nullopt: none yet
    [[nodiscard]] bool is_over() const { return is_over_; }
    // How far it is; the total is known once all folders have been listed.
    [[nodiscard]] std::uint64_t bytes_read() const { return bytes_read_.load(relaxed); }
    [[nodiscard]] std::uint64_t bytes_total() const { return bytes_total_.load(relaxed); }
    [[nodiscard]] std::uint64_t bytes_left() const {
        return bytes_total() - std::min(bytes_read(), bytes_total());
    }

  private:
    static constexpr auto relaxed = std::memory_order_relaxed;
    struct Found {
        std::size_t run = 0;
        std::string name;
        std::string path;
        OwnedDescriptor file;
        std::uint64_t size_bytes = 0;
    };

    struct Judged { // one of ours
        std::string path;
        std::uint64_t size_bytes = 0;
        SegmentReport report;
    };

    void run();
    void list();
    void list_run(std::uint32_t generation);
    void open_segment(std::size_t run, const std::string& name);
    void read(Found& found);
    void judge(Found& found, const SegmentReport& report);
    void put_aside(const Found& found, const std::string& why);
    void forget(const Found& found);
    void note_unread(const std::string& path, int error, std::uint32_t generation);
    void note_damage(const Judged& judged);
    [[nodiscard]] std::string run_path(std::uint32_t generation) const;

    std::string path_;
    std::size_t workers_;
    std::uint32_t own_generation_;
    OwnedDescriptor directory_;
    SpoolNotices& notices_;
    ring::Waker& waker_;

    // The thread's until is_done_.
    QueueReader reader_;
    std::vector<Found> found_;
    std::vector<Judged> judged_; // as RecoveredSpool::files
    RecoveredSpool result_;
    std::uint64_t bytes_done_ = 0; // of the files that are

    std::atomic<std::uint64_t> bytes_read_{0};
    std::atomic<std::uint64_t> bytes_total_{0};
    std::atomic<bool> is_stopped_{false};
    std::atomic<bool> is_done_{false};
    bool is_over_ = false; // the result was taken
    std::thread thread_;
};

} // namespace ringmx
