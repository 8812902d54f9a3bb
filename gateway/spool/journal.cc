#include "spool/journal.h"

#include "base/assert.h"
#include "base/mutation.h"
#include "base/reply_table.h"
#include "spool/zeros.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <fcntl.h>
#include <utility>

namespace ringmx::spool {
namespace {

// What one record of marks may have, so that many waiting ones don't fill a commit.
constexpr std::size_t marks_record_bytes_max = 128 * 1024;
// With those that go with the last.
constexpr std::size_t marks_room_bytes = marks_record_bytes_max + 64 * 1024;
static_assert(record_bytes_max <= commit_bytes_max - marks_room_bytes);
// A commit is tried at one more place.
constexpr std::size_t attempts_max = 2;
// A disk that fails is not asked again at once: each failure costs a segment.
constexpr Duration failure_pause = 1s;

} // namespace

int segment_open_flags() {
    int flags = O_RDWR | O_DSYNC | O_CLOEXEC;
    RINGMX_MUTATE(no_sync_flag, flags &= ~O_DSYNC);
    return flags;
}

struct Journal::Slot {
    // waiting: to be placed (anew).
    enum class State : std::uint8_t { free, gathering, waiting, writing };

    Slot(BufferPool& pool, std::uint32_t number) : commit(pool) { write.slot = number; }

    Commit commit;
    State state = State::free;
    std::uint32_t segment = 0;
    std::vector<SegmentName> failed_in; // some of it may be there
    JournalWrite write;
    std::vector<WaitingMark> marks; // in this commit
    // A segment's header.
    alignas(block_bytes) std::array<std::byte, block_bytes> block{};
    iovec piece{};
};

Journal::Journal(BufferPool& pool, SegmentTable& segments, std::function<Nonce()> make_nonce)
    : segments_(segments), make_nonce_(std::move(make_nonce)) {
    for (std::uint32_t number = 0; number <= writes_max; ++number) { // one gathers
        slots_.push_back(std::make_unique<Slot>(pool, number));
    }
    header_ = std::make_unique<Slot>(pool, static_cast<std::uint32_t>(slots_.size()));
}

Journal::~Journal() = default;

Journal::Slot* Journal::free_slot() {
    const auto free = std::ranges::find(slots_, Slot::State::free, &Slot::state);
    return free == slots_.end() ? nullptr : free->get();
}

Commit::Append Journal::append(const Commit::Record& record, Bytes head,
                               std::span<const Slice> content) {
    if (gathering_ == nullptr) {
        gathering_ = free_slot();
        if (gathering_ == nullptr) {
            return Commit::Append::full;
        }
        gathering_->state = Slot::State::gathering;
    }
    // What never stops would leave marks no place, and marks are what makes room.
    return gathering_->commit.append(
        record, head, content, commit_bytes_max - (waiting_marks_.empty() ? 0 : marks_room_bytes));
}

void Journal::append_mark(const Mark& mark, std::uint64_t owner, bool is_awaited, Instant now) {
    const std::string_view reply = kept_reply(mark.reply);
    waiting_marks_.push_back({mark, std::string(reply), owner, is_awaited});
    if (const auto strays = strays_.find(mark.id); strays != strays_.end()) {
        for (const SegmentName& home : strays->second) {
            if (home != mark.home) {
                waiting_marks_.push_back({mark, std::string(reply), 0, is_awaited, true});
                waiting_marks_.back().mark.home = home;
                awaited_marks_ += is_awaited ? 1U : 0U;
            }
        }
    }
    awaited_marks_ += is_awaited ? 1U : 0U;
    marks_since_ = std::min(marks_since_, now);
}

bool Journal::is_due(Instant now) const {
    const bool has_records = gathering_ != nullptr && !gathering_->commit.empty();
    return has_records || awaited_marks_ > 0 ||
           (!waiting_marks_.empty() && now - marks_since_ >= lazy_time);
}

// As many waiting marks as fit become a record of the commit.
bool Journal::take_marks(Slot& slot) {
    body_.clear();
    std::size_t count = 0;
    while (count < waiting_marks_.size() &&
           (body_.size() < marks_record_bytes_max || waiting_marks_[count].goes_with_the_last)) {
        WaitingMark& waiting = waiting_marks_[count++];
        waiting.mark.reply = waiting.reply;
        spool::append_mark(body_, waiting.mark);
    }
    if (count == 0) {
        return true;
    }
    if (slot.commit.append({.type = RecordType::marks}, as_bytes(body_), {}) !=
        Commit::Append::taken) {
        return false; // they go with the next one
    }
    const auto end = waiting_marks_.begin() + static_cast<std::ptrdiff_t>(count);
    for (auto taken = waiting_marks_.begin(); taken != end; ++taken) {
        awaited_marks_ -= taken->is_awaited ? 1U : 0U;
    }
    slot.marks.insert(slot.marks.end(), std::make_move_iterator(waiting_marks_.begin()),
                      std::make_move_iterator(end));
    waiting_marks_.erase(waiting_marks_.begin(), end);
    if (waiting_marks_.empty()) {
        marks_since_ = never;
    }
    return true;
}

const JournalWrite* Journal::next_write(Instant now) {
    if (now < quiet_until_) {
        return nullptr;
    }
    const auto waiting = std::ranges::find(slots_, Slot::State::waiting, &Slot::state);
    if (waiting != slots_.end()) {
        return place(**waiting);
    }
    if (!is_due(now)) {
        return nullptr;
    }
    if (gathering_ == nullptr) {
        gathering_ = free_slot();
        if (gathering_ == nullptr) {
            return nullptr;
        }
        gathering_->state = Slot::State::gathering;
    }
    const auto under_way = std::ranges::count(slots_, Slot::State::writing, &Slot::state);
    if (under_way >= static_cast<std::ptrdiff_t>(writes_max)) {
        return nullptr;
    }
    Slot& slot = *gathering_;
    if (slot.commit.empty() && awaited_marks_ == 0 && has_no_place()) {
        wants_segment_ = true; // marks that nobody waits for wait for it as they are
        return nullptr;
    }
    if (!take_marks(slot) && slot.commit.empty()) {
        return nullptr; // no memory for them now
    }
    gathering_ = nullptr;
    slot.state = Slot::State::waiting;
    return place(slot);
}

bool Journal::has_no_place() const {
    return !current_ && header_->state == Slot::State::free && segments_.spare_count() == 0;
}

// Into the segment under way, or else a spare one is opened first.
const JournalWrite* Journal::place(Slot& slot) {
    const std::uint64_t bytes = slot.commit.padded_bytes();
    if (current_ && segments_.at(*current_).room_bytes() < bytes &&
        segments_.at(*current_).state == Segment::State::writing) {
        segments_.close(*current_);
        current_.reset();
    }
    if (!current_) { // one header at a time, though its segment be forsaken
        return header_->state == Slot::State::writing ? nullptr : open_segment();
    }
    const Segment& segment = segments_.at(*current_);
    if (segment.state != Segment::State::writing) {
        return nullptr; // its header is not durable yet
    }
    std::uint64_t oldest_in_doubt = sequence_;
    for (const std::unique_ptr<Slot>& other : slots_) {
        if (other->state == Slot::State::writing) {
            oldest_in_doubt = std::min(oldest_in_doubt, other->commit.records().front().sequence);
        }
    }
    slot.state = Slot::State::writing;
    slot.segment = *current_;
    slot.commit.place(segment.nonce, segment.used_bytes, sequence_, oldest_in_doubt);
    sequence_ += slot.commit.records().size();
    slot.write.descriptor = segment.descriptor;
    slot.write.offset = segment.used_bytes;
    slot.write.pieces = slot.commit.pieces();
    slot.write.bytes = bytes;
    segments_.use(*current_, bytes);
    RINGMX_MUTATE(last_block_rewritten, segments_.use(*current_, -block_bytes));
    segments_.hold(slot.segment);
    return &slot.write;
}

const JournalWrite* Journal::open_segment() {
    current_ = segments_.open(make_nonce_());
    wants_segment_ = !current_;
    if (!current_) {
        return nullptr;
    }
    const Segment& segment = segments_.at(*current_);
    encode_segment_header({.nonce = segment.nonce,
                           .generation = segment.name.generation,
                           .worker = segment.name.worker,
                           .life = segment.name.life,
                           .size_bytes = segment.size_bytes},
                          header_->block);
    header_->piece = {header_->block.data(), header_->block.size()};
    header_->state = Slot::State::writing;
    header_->segment = *current_;
    header_->write.descriptor = segment.descriptor;
    header_->write.offset = 0;
    header_->write.pieces = {&header_->piece, 1};
    header_->write.bytes = block_bytes;
    segments_.hold(header_->segment);
    return &header_->write;
}

void Journal::written(std::uint32_t slot_number, std::int64_t result, Instant now,
                      JournalObserver& observer) {
    const bool is_header = slot_number == header_->write.slot;
    Slot& slot = is_header ? *header_ : *slots_[slot_number];
    RINGMX_ASSERT(slot.state == Slot::State::writing);
    const std::uint32_t segment = slot.segment;
    const bool is_whole = result == static_cast<std::int64_t>(slot.write.bytes);
    if (!is_whole) {
        ++totals_.failures;
        sequence_ = round_up(sequence_, sequence_stretch);
        segments_.fail(segment);
        if (current_ == segment) {
            current_.reset();
        }
    }
    if (is_header) {
        slot.state = Slot::State::free;
        if (is_whole) {
            if (segments_.at(segment).state == Segment::State::opening) { // else it was forsaken
                segments_.opened(segment);
            }
        } else {
            quiet_until_ = now + failure_pause;
            give_up(result < 0 ? static_cast<int>(-result) : ENOSPC, observer);
        }
        segments_.release(segment);
        return;
    }
    if (!is_whole) {
        slot.failed_in.push_back(segments_.at(segment).name);
    }
    if (is_whole) {
        ++totals_.commits;
        totals_.records += slot.commit.records().size();
        totals_.bytes += slot.write.bytes;
        settle(slot, observer);
    } else if (slot.failed_in.size() < attempts_max) {
        slot.state = Slot::State::waiting;
    } else {
        quiet_until_ = now + failure_pause;
        fail(slot, result < 0 ? static_cast<int>(-result) : ENOSPC, observer);
    }
    segments_.release(segment);
}

// Every record of the commit is safe.
void Journal::settle(Slot& slot, JournalObserver& observer) {
    segments_.note_durable(slot.segment, slot.write.offset + slot.write.bytes);
    for (const WaitingMark& marked : slot.marks) {
        segments_.note_mark(slot.segment, marked.mark.home);
    }
    // Marks about these records name this segment: it stays while others may have them too.
    for (const SegmentName& other : slot.failed_in) {
        segments_.note_mark(slot.segment, other);
    }
    for (const Commit::Record& record : slot.commit.records()) {
        if (record.type != RecordType::marks) {
            segments_.hold(slot.segment);
            observer.durable(record,
                             {slot.segment, slot.write.offset + record.start, record.record_bytes},
                             slot.commit);
        }
    }
    for (const WaitingMark& marked : slot.marks) {
        if (marked.owner != 0) {
            observer.mark_durable(marked.owner);
        }
    }
    slot.marks.clear();
    slot.failed_in.clear();
    slot.commit.clear();
    slot.state = Slot::State::free;
}

// Marks that nobody waits for are tried again with a later commit. What may be on the disk all the
// same is removed by marks as soon as some can be written.
void Journal::fail(Slot& slot, int error, JournalObserver& observer) {
    for (const Commit::Record& record : slot.commit.records()) {
        if (record.type == RecordType::marks) {
            continue;
        }
        if (record.type == RecordType::message && record.is_copy) {
            note_stray(record.id, slot.failed_in);
        } else if (record.type == RecordType::message) {
            for (const SegmentName& home : slot.failed_in) {
                waiting_marks_.push_back(
                    {.mark = {.kind = MarkKind::removed, .id = record.id, .home = home},
                     .goes_with_the_last = home != slot.failed_in.front()});
            }
            if (!slot.failed_in.empty()) {
                waiting_marks_.back().owner = record.owner;
            }
        }
        observer.failed(record, !slot.failed_in.empty(), error);
    }
    for (WaitingMark& marked : slot.marks) {
        if (marked.is_awaited && marked.owner != 0) {
            RINGMX_MUTATE(operators_remove_lost, observer.mark_durable(marked.owner); continue);
            observer.mark_failed(marked.owner, error);
        } else if (!marked.is_awaited) {
            waiting_marks_.push_back(std::move(marked));
        }
    }
    if (!waiting_marks_.empty()) {
        marks_since_ = Instant{}; // at once
    }
    slot.marks.clear();
    slot.failed_in.clear();
    slot.commit.clear();
    slot.state = Slot::State::free;
}

// What is gone of those that are known is forgotten.
void Journal::note_stray(std::uint64_t id, const std::vector<SegmentName>& segments) {
    for (auto known = strays_.begin(); known != strays_.end();) {
        std::erase_if(known->second,
                      [this](const SegmentName& name) { return !segments_.may_be_there(name); });
        known = known->second.empty() ? strays_.erase(known) : std::next(known);
    }
    std::vector<SegmentName>& strays = strays_[id];
    for (const SegmentName& name : segments) { // each once: a write may fail twice in one
        if (std::ranges::find(strays, name) == strays.end()) {
            strays.push_back(name);
        }
    }
}

void Journal::give_up(int error, JournalObserver& observer) {
    wants_segment_ = false;
    for (const std::unique_ptr<Slot>& slot : slots_) {
        if (slot->state == Slot::State::waiting) {
            fail(*slot, error, observer);
        }
    }
}

void Journal::resume_segment() {
    if (!current_) {
        current_ = segments_.resume_last(zeros_max - writes_max * commit_bytes_max);
    }
}

void Journal::leave_unwritten_segment() {
    if (current_ && !segments_.at(*current_).is_written &&
        segments_.at(*current_).state == Segment::State::writing) {
        segments_.close(*current_);
        current_.reset();
    }
}

void Journal::forsake_segments() {
    segments_.seal_all();
    current_.reset();
}

Instant Journal::deadline() const {
    const bool has_more = std::ranges::any_of(slots_, [](const std::unique_ptr<Slot>& slot) {
        return slot->state == Slot::State::waiting ||
               (slot->state == Slot::State::gathering && !slot->commit.empty());
    });
    if (has_more && quiet_until_ != Instant{}) {
        return quiet_until_; // past: what it waits for is a completion
    }
    return waiting_marks_.empty() ? never : std::max(quiet_until_, marks_since_ + lazy_time);
}

bool Journal::idle() const {
    return waiting_marks_.empty() && header_->state == Slot::State::free &&
           std::ranges::all_of(slots_, [](const std::unique_ptr<Slot>& slot) {
               return slot->state == Slot::State::free || slot->commit.empty();
           });
}

std::uint64_t Journal::room_bytes(std::uint32_t kept) const {
    return segments_.spare_bytes(kept) + (current_ ? segments_.at(*current_).room_bytes() : 0);
}

} // namespace ringmx::spool
