// What a spool holds after a crash: the messages that are still to be delivered, from the records of
// all segments of all earlier runs.
//
//   begin_segment() ─▶ record() … for each of its records    … for each segment, in any order
//   finish() ─▶ messages(), and in the segments: what is still needed of each
//
// Only when every segment has been read is anything known: the mark of a message may lie in any.
//
// Of several records of a message (it was moved) the latest counts, with its recipients' states of
// that time; marks of later order are applied to it, and "delivered" and "removed" whatever their
// order, "failed" only if it is of a later time than the last release too. Ids are unique in the
// spool. Where the chunks of the latest are not all there, the content is that of the latest record
// whose chunks are; where there is none the message is damaged.
//
// Memory: about 200 octets a message (for each of its records) or mark found, until finish(), and 112
//         for each live message from then on.
// Thread: one.
// Errors: damaged().
#pragma once

#include "base/bytes.h"
#include "base/mapped_memory.h"
#include "spool/format.h"
#include "spool/segment_table.h"
#include "spool/stored_message.h"

#include <cstdint>
#include <memory>
#include <memory_resource>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

namespace ringmx::spool {

// A message that is live.
struct RecoveredMessage {
    struct Recipient {
        std::uint32_t index = 0;
        RecipientState state = RecipientState::pending; // not pending
        std::string reply;
    };
    std::uint64_t id = 0;
    std::uint64_t offset = 0;  // of its record
    std::uint32_t segment = 0; // where that is; as given to begin_segment()
    std::uint32_t record_bytes = 0;
    std::uint64_t stored_bytes = 0; // its records, in all
    std::uint32_t recipients_count = 0;
    WallTime accepted_at{};
    WallTime expires_from{};
    WallTime failed_at{}; // who failed last, as far as marks tell
    bool is_on_hold = false;
    bool waits_for_pool = false;               // that was on hold
    std::vector<Recipient> settled;            // those that are not pending, in order
    std::vector<std::uint32_t> chunk_segments; // of each of its chunks
};

class Recovery {
  public:
    // `segment`: what the caller calls it.
    void begin_segment(std::uint32_t segment, const SegmentHeader& header);
    void record(const RecordHeader& header, Bytes body);
    void finish();

    // In order of acceptance.
    [[nodiscard]] std::vector<RecoveredMessage>& messages() { return messages_; }
    // Ids of messages that were complete once and are not any more.
    [[nodiscard]] const std::vector<std::uint64_t>& damaged() const { return damaged_; }
    // Bodies that have a right CRC and make no sense, or a part of them does not.
    [[nodiscard]] std::uint64_t unreadable_records() const { return unreadable_records_; }
    // For each segment, which others it has marks about, or later records of.
    [[nodiscard]] const std::vector<Segment::Marked>& marked(std::uint32_t segment) const;
    // Whether a part of a damaged message is in it.
    [[nodiscard]] bool has_remains(std::uint32_t segment) const;
    // Whether what is in files of these generations that could not be read may make it needed.
    [[nodiscard]] bool stays_for(std::uint32_t segment,
                                 const std::set<std::uint32_t>& unread) const;

  private:
    // Which of two records came later.
    struct Order {
        std::uint32_t generation = 0;
        std::uint64_t sequence = 0;
        auto operator<=>(const Order&) const = default;
    };
    struct Found { // a record
        Order order;
        RecoveredMessage message;
        std::vector<ChunkPlace> chunks;
    };
    struct FoundMark {
        Order order;              // of its record
        std::size_t position = 0; // among those found: the order of marks in one record
        std::uint64_t id = 0;
        std::uint32_t segment = 0; // where it is
        std::uint32_t recipient = 0;
        MarkKind kind = MarkKind::delivered;
        WallTime at{};
        std::string reply;
    };
    struct ChunkKey {
        SegmentName segment;
        std::uint64_t offset = 0;
        bool operator==(const ChunkKey&) const = default;
    };
    struct ChunkHash {
        std::size_t operator()(const ChunkKey& key) const;
    };
    struct FoundChunk {
        std::uint64_t id = 0;
        std::uint32_t record_bytes = 0;
        std::uint32_t segment = 0;
    };

    // Of every message and chunk there is. There may be millions, and what runs on must not have their
    // memory for good.
    struct Records {
        MappedMemory pages;
        std::pmr::monotonic_buffer_resource memory{MappedMemory::piece_bytes, &pages};
        std::pmr::unordered_map<std::uint64_t, Found> messages{&memory}; // the latest of each
        std::pmr::unordered_map<ChunkKey, FoundChunk, ChunkHash> chunks{&memory};
    };

    struct Contents { // of a segment
        SegmentName name;
        std::vector<Segment::Marked> marked;
        bool has_remains = false;
        // The runs that took the oldest messages: of those not known to be over of which it has a record
        // or a chunk, and of those that it has marks about.
        std::uint32_t unfinished_since = UINT32_MAX;
        std::uint32_t marks_since = UINT32_MAX;
    };

    void message_record(const RecordHeader& header, Bytes body);
    void marks_record(const RecordHeader& header, Bytes body);
    void depends_on(std::uint32_t segment, const SegmentName& home);
    void apply(const FoundMark& mark, bool is_final_round);
    void note_what_marks_are_about();
    void take_live();
    [[nodiscard]] static bool is_known_to_be_over(const Found& found);
    void note_unfinished();
    void note_unfinished(std::uint32_t segment, std::uint64_t id);
    void note_remains();
    [[nodiscard]] bool find_content(Found& latest);
    [[nodiscard]] bool find_chunks(Found& found);

    std::uint32_t segment_ = 0;
    SegmentName name_;
    std::unique_ptr<Records> records_ = std::make_unique<Records>(); // until finish()
    std::vector<Found> earlier_;
    std::vector<std::uint64_t> senseless_; // ids of records that make no sense
    std::vector<FoundMark> marks_;
    std::vector<Contents> segments_;
    std::vector<RecoveredMessage> messages_;
    std::vector<std::uint64_t> damaged_;
    std::uint64_t unreadable_records_ = 0;
};

} // namespace ringmx::spool
