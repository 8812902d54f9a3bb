// A commit while it is gathered and written: records one behind the other in memory of the worker's
// pool, as a whole number of 4 KiB blocks.
//
//   append() ▶ … ▶ append() ▶ place() ▶ pieces() are written ▶ content() may be kept
//                               ▲                    │
//                               └── elsewhere ◀── it failed
//
// The octets are copied once, and the CRC of each body is taken in the same pass. Headers are made
// by place(), when it is known where the commit goes; a commit that must be written elsewhere is
// placed anew.
// Memory: own-size blocks of the pool, page-aligned, so that O_DIRECT takes them.
// Bound:  commit_bytes_max.
// Thread: one worker.
// Errors: append() takes all or nothing.
#pragma once

#include "base/buffer.h"
#include "spool/format.h"

#include <cstdint>
#include <span>
#include <sys/uio.h>
#include <vector>

namespace ringmx::spool {

// At 1 MiB the time of a write is that of its octets (367 µs), not of the round trip to the device.
inline constexpr std::size_t commit_bytes_max = 1024 * 1024;
// What one record may have: the largest piece that is appended whole.
inline constexpr std::size_t record_bytes_max = commit_bytes_max / 2;

class Commit {
  public:
    struct Record {
        RecordType type = RecordType::message;
        std::uint64_t id = 0;
        std::uint64_t owner = 0; // whatever the caller wants to be told again
        std::uint32_t part = 0;
        std::uint32_t start = 0; // in the commit
        std::uint32_t record_bytes = 0;
        std::uint32_t content_bytes = 0; // at the record's end
        std::uint32_t body_crc = 0;
        std::uint64_t sequence = 0; // once placed
        bool is_copy = false; // of a message that is safe elsewhere: failing, it removes nothing
    };

    explicit Commit(BufferPool& pool) : pool_(pool) {}
    Commit(Commit&&) = delete;
    ~Commit();

    enum class Append : std::uint8_t { taken, full, no_memory };
    // `head` and then the slices of `content` are the body. `owner` and the rest as in Record.
    // Full: the commit would have more than `bytes_max`.
    [[nodiscard]] Append append(Record record, Bytes head, std::span<const Slice> content,
                                std::size_t bytes_max = commit_bytes_max);

    [[nodiscard]] bool empty() const { return records_.empty(); }
    [[nodiscard]] std::uint64_t padded_bytes() const { return round_up(used_, block_bytes); }
    [[nodiscard]] std::span<const Record> records() const { return records_; }

    // Gives the records their headers; `sequence` is the first one's, the others count on.
    // `oldest_in_doubt`: that of the first record under way, this commit's if there is no other.
    void place(const Nonce& nonce, std::uint64_t offset, std::uint64_t sequence,
               std::uint64_t oldest_in_doubt);
    // What is written at the place's offset; valid until the next append() or place().
    [[nodiscard]] std::span<const iovec> pieces() const { return pieces_; }

    // References to a record's content, appended to `out`. Only of a commit that has been placed:
    // its content does not change any more.
    void content(const Record& record, std::vector<Slice>& out) const;

    // Gives up its memory (what content() gave stays) and is as new.
    void clear();

  private:
    struct Piece {
        Block* block = nullptr;
        std::uint32_t start = 0; // in the commit
    };
    [[nodiscard]] bool reserve(std::size_t bytes);
    void write(Bytes octets);
    [[nodiscard]] std::byte* at(std::uint32_t offset) const;
    [[nodiscard]] const Piece& piece_at(std::uint32_t offset) const;

    BufferPool& pool_;
    std::vector<Piece> blocks_;
    std::vector<Record> records_;
    std::vector<iovec> pieces_;
    std::uint32_t used_ = 0;
    std::uint32_t capacity_ = 0;
};

} // namespace ringmx::spool
