// A report to a message's sender, on its way into the queue: a message of its own from <>.
//
//   MailQueue::finish() ─▶ the original's beginning ─▶ the report ─▶ journal ─▶ durable
//                          (in memory, or read)            ▲                      │
//                                                          └── more recipients ◀──┤
//                                                                                 ▼
//                    MailQueue::report_made(): it is in the queue; marks end what it was about
//
// Order:  the marks are appended once the report is durable, never with it: a crash may keep any
//         record of a commit and lose another. So it costs a second report at most, never the only one.
// Failed: what can't be written leaves the original in the queue, to be tried again later.
// Bounds: as many recipients in one report as fit in a record; the others have the next one.
// Memory: what it holds is the pool's; one that waits is given up under pressure.
// Thread: one worker's.
// Errors: MailQueue::report_failed().
// Source: CONTRACT 3 (spool.on_failure), 4 (backends' extensions); RFC 3461, 5.2 and 6; RFC 3464.
#pragma once

#include "base/slab.h"
#include "spool/journal.h"
#include "spool/stored_message.h"
#include "worker/content.h"
#include "worker/spool_log.h"
#include "worker/tally.h"

#include <cstdint>
#include <span>
#include <vector>

namespace ringmx::worker {

class Dispatch;
class MailQueue;
class Worker;

class Report {
  public:
    // Of a read: which part of a message it is for.
    static constexpr std::uint32_t read_part = UINT32_MAX - 1;

    // `dispatch` outlives it. `tally` says whom it is about.
    Report(Handle self, Worker& worker, MailQueue& queue, Dispatch& dispatch, Tally tally);
    Report(const Report&) = delete;
    Report& operator=(const Report&) = delete;

    [[nodiscard]] Handle handle() const { return self_; }
    [[nodiscard]] Dispatch& dispatch() const { return dispatch_; }
    [[nodiscard]] const Tally& tally() const { return tally_; }
    // Whom no report tells of yet.
    [[nodiscard]] std::span<const Reported> rest() const {
        return std::span(tally_.reported).subspan(next_);
    }

    void advance(); // begins, or goes on where it had to wait
    void give_up(); // unless the journal has it

    // From the queue.
    void on_original(ReadRecord record);
    void on_durable(const spool::Commit::Record& record, const spool::RecordPlace& place,
                    const spool::Commit& commit);
    void on_failed();

  private:
    enum class State : std::uint8_t { waiting, reading, storing, over };

    void read_original();
    [[nodiscard]] bool make();
    [[nodiscard]] std::vector<smtp::ReportedRecipient> take_recipients();
    void store();
    void fail();

    Handle self_;
    Worker& worker_;
    MailQueue& queue_;
    Dispatch& dispatch_;
    Tally tally_;
    std::size_t next_ = 0; // of the reported ones
    std::size_t end_ = 0;  // of those in the report under way
    State state_ = State::waiting;
    bool has_original_ = false;
    std::vector<Slice> first_chunk_; // of a message of chunks
    std::uint64_t id_ = 0;
    spool::StoredMessage message_;
    SliceList content_; // empty: to be made
};

} // namespace ringmx::worker
