// One transaction of a `spool` listener: from its first routed recipient to "queued as ID".
//
//   RCPT     answered at once, by route
//   octets ▶ kept, up to inline_bytes_max ─────────────────────▶ one record: envelope and content
//          ▶ beyond that: chunk records, as they come ─▶ all durable ─▶ a record of the envelope
//                                                                     ▼ durable
//                                          250 "queued as ID", and the queue has the message
//
// Chunks of a client that takes hours don't keep the segments of hours: where one that is to be used
// again has some, they are written anew (leave()).
// Room: reserved for SIZE=, else as data comes; a message that gets none is read to its end and
//       answered 452 4.3.1. What can't be written now (the journal is full, memory is short) waits,
//       and reading pauses.
// Left: a client that leaves before its last octet leaves nothing; one that leaves after it changes
//       nothing.
// Bounds: content in memory up to inline_bytes_max plus what one receive brings, and a chunk that is
//         written anew; the envelope by envelope_bytes_max, so that it fits in a record.
// Thread: one worker's.
// Errors: replies to the client.
// Source: CONTRACT 4 (spool mode).
#pragma once

#include "base/address.h"
#include "base/slab.h"
#include "smtp/envelope.h"
#include "spool/journal.h"
#include "spool/queue_entry.h"
#include "spool/stored_message.h"
#include "worker/content.h"
#include "worker/only_place.h"
#include "worker/transaction.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ringmx::worker {

class ClientConnection;
class MailQueue;
class Worker;
struct ReadRecord;
struct Snapshot;

class SpoolIntake final : public Transaction {
  public:
    // Above this the content streams to disk, in records of about this size.
    static constexpr std::size_t inline_bytes_max = 256 * 1024;
    // Recipients and their parameters beyond it get 452 4.5.3: with it and inline content, or with
    // the places of chunks, a record is within spool::record_bytes_max.
    static constexpr std::size_t envelope_bytes_max = 160 * 1024;
    // When memory is short, what has come goes to disk in pieces of at least so much.
    static constexpr std::size_t chunk_bytes_min = 16 * 1024;

    SpoolIntake(Handle self, Worker& worker, MailQueue& queue, ClientConnection& client);
    SpoolIntake(const SpoolIntake&) = delete;
    SpoolIntake& operator=(const SpoolIntake&) = delete;

    [[nodiscard]] Handle handle() const { return self_; }

    // Of Transaction.
    void add_recipient(std::string_view mailbox, const smtp::RecipientParameters& parameters,
                       std::uint32_t pool_index, std::string_view key) override;
    void refuse_recipient(const RecipientRefusal& refusal, std::string_view mailbox) override;
    void begin_data() override;
    void begin_chunks() override;
    [[nodiscard]] bool content(const Slice& whole, Bytes part, bool is_literal) override;
    void end_content() override;
    void client_spoke() override {}
    void abandon(observe::RejectReason reason) override;
    void client_left() override { client_ = {}; }
    void send_client_away() override;
    void cut() override;
    void relieve() override;
    void log_message_refusal(const smtp::Reply& reply, observe::RejectReason reason,
                             std::string_view after) override;
    void fail_for_memory() override;
    [[nodiscard]] bool is_final_submitted() const override { return is_stored_; }
    [[nodiscard]] bool content_begun() const override { return content_begun_; }
    [[nodiscard]] bool content_ended() const override { return content_ended_; }
    [[nodiscard]] bool owes_client() const override { return content_ended_; }
    [[nodiscard]] std::size_t held_bytes() const override { return content_.bytes(); }
    [[nodiscard]] std::size_t progress_bytes() const override {
        return chunked_bytes_ + content_.bytes();
    }

    // From the queue: of a record of this message (JournalObserver). The hold on `place` passes to
    // this transaction, or to the queue with the message.
    void on_durable(const spool::Commit::Record& record, const spool::RecordPlace& place,
                    const spool::Commit& commit);
    void on_failed(const spool::Commit::Record& record, bool is_written, int error);
    void on_removed(); // the marks are durable that remove what may have been written of it
    void try_again();  // the journal may have room now
    // A chunk of it that is in that segment moves to another one. False: it has none there, or it can't be
    // read for now.
    bool leave(std::uint32_t segment);
    void on_record(ReadRecord record); // of the chunk that moves
    [[nodiscard]] std::uint64_t bytes_in(std::uint32_t segment) const;
    // No marks will be written in this run: the next one may find what was refused.
    void expect_no_removal();

  private:
    struct Chunk {
        spool::ChunkPlace place;
        std::uint32_t segment = 0;
    };

    void store_chunk();
    void write_moving_chunk();
    void end_move();
    void store_message();
    // Of a configuration that is not the worker's any more.
    [[nodiscard]] bool is_out_of_date() const;
    [[nodiscard]] spool::Commit::Append append_message(std::span<const Slice> content);
    void wait_for_journal();
    [[nodiscard]] bool reserve(std::uint64_t bytes);
    void set_reserved(std::uint64_t bytes);
    void note_content();
    void write_trace_field();
    void taken(const spool::RecordPlace& place, const spool::Commit& commit,
               const spool::Commit::Record& record);
    void log_accepted(const smtp::Reply& reply);
    // 451 or 452 now or at the message's end; what is on disk of it is nothing.
    void fail(const smtp::Reply& reply, observe::RejectReason reason);
    void answer_client(const smtp::Reply& reply);
    void let_go_of_chunks();
    void count_envelope(std::ptrdiff_t bytes);
    void end();
    [[nodiscard]] ClientConnection* client();

    Handle self_;
    Worker& worker_;
    MailQueue& queue_;
    std::shared_ptr<const Snapshot> snapshot_;
    Handle client_;
    std::optional<std::uint64_t> declared_size_bytes_;
    spool::StoredMessage message_; // whole once the content is, and every chunk durable
    OnlyPlace place_;              // of its recipients
    bool is_unix_peer_ = false;
    std::uint64_t id_;
    std::string id_text_;
    WireForm form_ = WireForm::stuffed;
    SliceList content_; // not yet in a chunk
    std::vector<Chunk> chunks_;
    std::uint32_t chunks_in_flight_ = 0;        // written or moved
    std::optional<std::uint32_t> moving_chunk_; // while it is where it was
    std::vector<Slice> moving_content_;         // until it is with the journal
    std::uint64_t chunked_bytes_ = 0;
    std::uint32_t losses_ = 0; // SpoolLog's, at the first chunk
    std::uint64_t reserved_bytes_ = 0;
    std::size_t envelope_size_ = 0;     // as stored
    std::ptrdiff_t envelope_bytes_ = 0; // as counted with the worker
    Instant content_ended_at_{};
    bool starts_with_space_ = false;
    bool content_begun_ = false;
    bool content_ended_ = false;
    bool is_waiting_ = false; // for the journal
    bool is_stored_ = false;  // its message record is with the journal: it can't be taken back
    bool is_failed_ = false;  // answered; marks that remove it are on their way
    bool ended_ = false;
};

} // namespace ringmx::worker
