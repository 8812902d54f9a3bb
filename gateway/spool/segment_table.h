// The segment files of one worker: which life each is in, what in it is still needed, and which may
// be used again.
//
//   spare ─▶ opening ─▶ writing ─▶ full ──▶ spare (nothing in it is needed any more)
//            (header is   │
//             written)    ▼
//                       sealed (a write failed) ─▶ discarded (nothing in it is needed any more)
//                         └▶ writing, the last one alone and where there is no other
//   One that has what can't be read is sealed too, and its file kept when it is discarded.
//
// A segment is needed while one of these holds:
// - a live message's record or chunk is in it (hold() and release());
// - a mark in it is about a message whose record stands in another segment that still is there:
//   without the mark a restart would find that message alive (note_mark()). A spare segment is
//   still there until its next life's header is durable: only then are marks about its old life
//   about nothing, and forgotten here. Spares are opened in the order in which they became so,
//   hence none pins another for ever. The same goes for a later record of a message that another
//   segment may have too (a write that failed, a message that was moved): marks name the later one;
// - a commit to it is under way (hold() too).
//
// Segments of earlier generations are homes too, by name; that they are gone is told by
// home_gone(). An own life that is gone already can't come back, and a mark about it (a late
// removal of what a failed write may have left) needs nothing.
// Thread: one worker.
// Errors: none.
#pragma once

#include "spool/format.h"
#include "spool/stored_message.h"

#include <cstdint>
#include <optional>
#include <set>
#include <vector>

namespace ringmx::spool {

struct Segment {
    enum class State : std::uint8_t { spare, opening, writing, full, sealed, leaving, discarded };
    struct Marked {
        SegmentName home;
        std::uint32_t marks = 0;
    };

    int descriptor = -1;
    std::uint64_t size_bytes = 0;
    bool is_written = true; // through; one that is merely allocated takes half the commits a second
    State state = State::spare;
    Nonce nonce{};
    SegmentName name;     // of this life
    SegmentName previous; // of the last one, until this one's header is durable; then {}
    std::uint64_t used_bytes = 0;
    std::uint64_t durable_bytes = 0; // to the end of the last write that is
    std::uint32_t holds = 0;
    std::vector<Marked> marked;
    bool may_resume = false; // sealed by a write that failed behind its header
    bool is_damaged = false; // something in it can't be read: its file is not to be deleted

    [[nodiscard]] std::uint64_t room_bytes() const { return size_bytes - used_bytes; }
    // No more is written to it, and it is there.
    [[nodiscard]] bool is_closed() const { return state == State::full || state == State::sealed; }
};

class SegmentTable {
  public:
    SegmentTable(std::uint32_t generation, std::uint16_t worker)
        : generation_(generation), worker_(worker) {}

    // A file of `size_bytes` octets, all of them allocated; its index until it is discarded.
    std::uint32_t add(int descriptor, std::uint64_t size_bytes, bool is_written = true);
    // A segment of an earlier run, which is only read: as if sealed.
    std::uint32_t adopt(int descriptor, const SegmentName& name, std::uint64_t size_bytes,
                        std::vector<Segment::Marked> marked);
    [[nodiscard]] const Segment& at(std::uint32_t index) const { return segments_[index]; }
    [[nodiscard]] std::uint32_t count() const {
        return static_cast<std::uint32_t>(segments_.size());
    }
    [[nodiscard]] std::uint32_t spare_count() const {
        return static_cast<std::uint32_t>(spares_.size());
    }
    [[nodiscard]] bool has_written_spare() const;
    // Room in all spare ones but the `kept` that are opened last.
    [[nodiscard]] std::uint64_t spare_bytes(std::uint32_t kept) const;
    // Files that there are, and those of them that will not be deleted soon.
    [[nodiscard]] std::uint32_t files_count() const { return files_count_; }
    [[nodiscard]] std::uint32_t staying_count() const {
        return files_count_ - look().leaving_count;
    }

    // A spare one begins a life; nothing when there is none. Its state is `opening`.
    [[nodiscard]] std::optional<std::uint32_t> open(const Nonce& nonce);
    void opened(std::uint32_t index); // the header is durable
    void close(std::uint32_t index);  // no more is written to it in this life
    void use(std::uint32_t index, std::uint64_t bytes) { segments_[index].used_bytes += bytes; }
    void note_durable(std::uint32_t index, std::uint64_t end_bytes) {
        Segment& segment = segments_[index];
        segment.durable_bytes = std::max(segment.durable_bytes, end_bytes);
    }
    void seal(std::uint32_t index); // nor in any later one
    void fail(std::uint32_t index); // a write failed: as if sealed
    // The life that began last goes on, behind all that was tried to be written in it, if it ended
    // with a write that failed, and if that is no more than so many octets. (An earlier one may not:
    // marks stand behind what they are about, else two segments could need one another.)
    [[nodiscard]] std::optional<std::uint32_t> resume_last(std::uint64_t behind_bytes_max);
    void note_damage(std::uint32_t index);
    void seal_all();                // nothing is written to any of those that there are
    bool seal_spare();              // one fewer; false: there is none
    void seal_spares_not_written(); // of those that had a life
    // A sealed one that is not needed any more: the owner deletes its file, then says discarded();
    // leave() if that takes a while. Nothing: there is none.
    [[nodiscard]] std::optional<std::uint32_t> next_to_discard() const { return look().to_discard; }
    void leave(std::uint32_t index);
    void discarded(std::uint32_t index);

    void hold(std::uint32_t index);
    void release(std::uint32_t index);
    void note_mark(std::uint32_t index, const SegmentName& home);
    // Whether a restart could find records of that life; of other runs only their owner knows.
    [[nodiscard]] bool may_be_there(const SegmentName& home) const;
    // A segment of an earlier generation is gone.
    void home_gone(const SegmentName& home);

    // Closed segments that hold nothing, and wait only for marks in them to be about nothing: each
    // becomes spare when the one before it has begun its next life, so that what is written goes
    // round. Those behind the oldest that is held, or waits for one of another run, don't.
    [[nodiscard]] std::uint32_t reclaimable_count() const { return look().reclaimable_count; }

    // The closed segment whose life is the oldest among those that are held and began later than
    // `behind_life`, for moving what they hold elsewhere: what later ones have marks about goes first.
    [[nodiscard]] std::optional<std::uint32_t> oldest_held(std::uint64_t behind_life = 0) const;
    // A closed one has marks about what another run left, or others of this: its end is not this
    // table's.
    [[nodiscard]] bool waits_for_another_run(const Segment& segment) const;
    // Of the life that began last.
    [[nodiscard]] std::uint64_t newest_life() const { return lives_; }

    // There is a sealed one that is held.
    [[nodiscard]] bool has_sealed_held() const { return look().has_sealed_held; }

  private:
    // What is asked in each turn, and changes with few of them: looked for when it may have changed.
    struct Look {
        std::uint32_t reclaimable_count = 0;
        std::uint32_t leaving_count = 0;
        std::optional<std::uint32_t> to_discard;
        bool has_sealed_held = false;
    };
    [[nodiscard]] std::uint32_t take_index();
    [[nodiscard]] const Look& look() const;
    [[nodiscard]] bool is_own(const SegmentName& name) const;
    [[nodiscard]] std::uint32_t count_reclaimable() const;
    void set_state(Segment& segment, Segment::State state);
    void note_needs(const Segment& segment); // they may have changed
    [[nodiscard]] static bool is_needed(const Segment& segment);
    void reclaim();

    std::uint32_t generation_;
    std::uint16_t worker_;
    std::uint64_t lives_ = 0;
    std::uint32_t last_opened_ = 0;
    std::vector<Segment> segments_;
    std::vector<std::uint32_t> spares_; // the first is opened next
    std::uint32_t files_count_ = 0;
    std::set<SegmentName> gone_homes_; // of earlier generations: as many as there were
    mutable std::optional<Look> look_;
};

} // namespace ringmx::spool
