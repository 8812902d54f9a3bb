// A queued message while it is being forwarded: envelope and content in memory, its recipients
// spread over backends, and what became of each.
//
//   start() ─▶ route and hash each pending recipient ─▶ a Forwarding for each backend
//           ◀─ set_outcome() …, forwarding_ended() ─▶ the last one: MailQueue::finish()
//
// Content comes from the commit that has just been durable, or from the log.
// Bounds: MailQueue's, on how many there are and on what they hold.
// Thread: one worker's.
// Errors: outcomes.
#pragma once

#include "base/slab.h"
#include "observe/counters.h"
#include "smtp/reply.h"
#include "spool/queue_index.h"
#include "spool/stored_message.h"
#include "worker/disk_shares.h"
#include "worker/spool_log.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ringmx::worker {

class Forwarding;
class MailQueue;
class Worker;
struct Snapshot;

struct Outcome {
    enum class Kind : std::uint8_t {
        none,       // not tried: its forwarding was given up
        delivered,  //
        relayed,    // delivered, and the backend does not tell a sender who asked to hear of it
        failed,     // for good
        deferred,   // tried, and to be tried again
        no_backend, // nobody takes mail for it now
        pool_hold,  // its pool is on hold
    };
    Kind kind = Kind::none;
    std::uint16_t pool = spool::no_pool; // what it goes to, or waits for: one of WaitingPlaces
    std::string reply = {};              // "550 5.1.1 no such user"
    smtp::EnhancedCode status = {};      // of the reply
    bool is_own = false;                 // the reply is our own word, no backend's
    bool was_dialed = false;             // a connection to a backend was tried, and was lost
    // Whose reply it is; of the snapshot.
    std::string_view pool_name = {};
    std::string_view backend = {};
    std::string_view backend_host = {}; // empty for a Unix path

    [[nodiscard]] static Outcome own(Kind kind, std::uint16_t pool, const smtp::Reply& reply);
    [[nodiscard]] std::string_view text() const; // of the reply
};

class Dispatch {
  public:
    Dispatch(Handle self, Worker& worker, MailQueue& queue, std::uint64_t id,
             spool::QueueIndex::Slot slot, bool is_from_disk);
    Dispatch(const Dispatch&) = delete;
    Dispatch& operator=(const Dispatch&) = delete;
    ~Dispatch();

    // Begins with the message and its inline content, if it has that.
    void start(spool::StoredMessage message, std::vector<Slice> content);
    void start(ReadRecord record); // likewise, of the message's record; an error ends it

    [[nodiscard]] Handle handle() const { return self_; }
    [[nodiscard]] std::uint64_t id() const { return id_; }
    [[nodiscard]] const std::string& id_text() const { return id_text_; }
    [[nodiscard]] spool::QueueIndex::Slot slot() const { return slot_; }
    [[nodiscard]] bool is_from_disk() const { return is_from_disk_; }
    // Of the dispatches from disk; none: it has none yet. The queue's to change.
    [[nodiscard]] const std::optional<DiskShare>& share() const { return share_; }
    [[nodiscard]] std::optional<DiskShare>& share() { return share_; }
    [[nodiscard]] const spool::StoredMessage& message() const { return message_; }
    [[nodiscard]] const std::vector<Slice>& content() const { return content_; }
    [[nodiscard]] const std::shared_ptr<const Snapshot>& snapshot() const { return snapshot_; }
    [[nodiscard]] const std::vector<Outcome>& outcomes() const { return outcomes_; }
    // An errno: the message could not be read.
    [[nodiscard]] int error() const { return error_; }
    // Where a chunk stands.
    [[nodiscard]] spool::RecordPlace chunk_place(std::uint32_t index) const;

    // `backend_index`: in the pool, whose reply it is, or the hash's choice where none was found;
    // of no meaning elsewhere.
    void set_outcome(std::uint32_t recipient, Outcome::Kind kind, std::uint32_t pool_index,
                     std::uint32_t backend_index, const smtp::Reply& reply, bool is_own);
    void note_dialed(std::uint32_t recipient) { outcomes_[recipient].was_dialed = true; }
    void forwarding_ended(Forwarding& forwarding);
    // Gives up what waits for a connection, if all of it does: memory is short, or an operator
    // wants it. False: something is under way.
    bool postpone();
    void cut();

  private:
    void route();
    [[nodiscard]] std::uint32_t backend_for(std::uint32_t pool_index, std::uint64_t key_hash) const;

    Handle self_;
    Worker& worker_;
    MailQueue& queue_;
    std::shared_ptr<const Snapshot> snapshot_;
    std::uint64_t id_;
    std::string id_text_;
    spool::QueueIndex::Slot slot_;
    bool is_from_disk_;
    std::optional<DiskShare> share_;
    bool is_routing_ = false;
    int error_ = 0;
    spool::StoredMessage message_;
    std::vector<Slice> content_;
    std::vector<Outcome> outcomes_; // of each recipient
    std::vector<Handle> forwardings_;
    std::ptrdiff_t counted_bytes_ = 0; // with the worker
};

} // namespace ringmx::worker
