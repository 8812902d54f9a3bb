// A message's octets while the worker holds them, and how they change form on the way to a backend.
//
// SliceList: slices in order. A piece of at least shared_piece_bytes_min octets is shared, never
//            copied; smaller ones are gathered in memory of their own, so that there are at most
//            2 * size / shared_piece_bytes_min + 2 slices whatever the pieces are.
// Content:   what came from the client, in the form it came in (stuffed: DATA, raw: BDAT), with a
//            cursor for what has been sent. The beginning is kept as long as it is small
//            (replayable_bytes_max), so that another backend can be tried.
//
// Thread: one worker.
// Errors: false when the pool has no memory: nothing is appended then.
// Source: RFC 5321, 4.5.2; RFC 3030.
#pragma once

#include "base/buffer.h"
#include "smtp/dot_stuffing.h"

#include <cstdint>
#include <span>
#include <vector>

namespace ringmx::worker {

// Below this a copy costs less than carrying a slice through the kernel, and the number of slices
// stays bounded.
inline constexpr std::size_t shared_piece_bytes_min = 512;
// A message that grows over this is streamed while it arrives; up to this it is sent whole, and can
// be sent again.
inline constexpr std::size_t replayable_bytes_max = 256 * 1024;

class SliceList {
  public:
    // `part` lies inside `whole`.
    [[nodiscard]] bool append(BufferPool& pool, const Slice& whole, Bytes part);
    [[nodiscard]] bool append_copy(BufferPool& pool, Bytes octets);

    [[nodiscard]] std::size_t bytes() const { return bytes_; }
    [[nodiscard]] std::vector<Slice>& slices() { return slices_; }
    // Forgets the first `count` slices.
    void drop_front(std::size_t count);
    void clear();

  private:
    std::vector<Slice> slices_;
    Draft draft_;
    std::size_t bytes_ = 0;
};

enum class WireForm : std::uint8_t { stuffed, raw };

class Content {
  public:
    void begin(WireForm form);
    [[nodiscard]] bool append(BufferPool& pool, const Slice& whole, Bytes part);
    [[nodiscard]] bool append_copy(BufferPool& pool, Bytes octets);
    void clear();

    [[nodiscard]] std::size_t received_bytes() const { return dropped_bytes_ + list_.bytes(); }
    [[nodiscard]] std::size_t held_bytes() const { return list_.bytes(); }
    [[nodiscard]] std::size_t unsent_bytes() const {
        return received_bytes() - cursor_.taken_bytes;
    }
    // Whether sending may begin anew: nothing of the beginning is gone.
    [[nodiscard]] bool replayable() const { return dropped_bytes_ == 0; }
    void rewind();

    // Gives everything not yet taken, in the form asked for, to `out`; false when the pool has no
    // memory for it: nothing is taken then, and what `out` has is of no use.
    [[nodiscard]] bool take(BufferPool& pool, WireForm form, SliceList& out);
    // What must follow stuffed content that was taken to its end.
    [[nodiscard]] std::string_view terminator() const;
    // Forgets what has been taken, if the message is too large to be sent again, or when memory is
    // wanted more than another try.
    void drop_taken(bool is_memory_short);
    // Copies slices that pin more memory than they need into memory of their own, as far as the pool
    // has it.
    void compact(BufferPool& pool);

  private:
    struct Cursor {
        std::size_t next = 0;   // slices before this one are taken,
        std::size_t offset = 0; // and so many octets of this one (the last may still grow)
        std::size_t taken_bytes = 0;
        smtp::Stuffer stuffer;
        smtp::Unstuffer unstuffer;
    };

    SliceList list_;
    Cursor cursor_;
    std::size_t dropped_bytes_ = 0;
    WireForm form_ = WireForm::stuffed;
};

} // namespace ringmx::worker
