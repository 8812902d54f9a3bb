// Where the queue's messages stand on the disk, and the marks about them: what is held until when.
#include "worker/mail_queue.h"

#include "worker/worker.h"

#include "spool/message_id.h"

#include <algorithm>
#include <utility>

namespace ringmx::worker {

using observe::LogEvent;
using observe::LogRecord;
using spool::MarkKind;

void MailQueue::append_mark(Slot slot, MarkKind kind, std::uint32_t recipient,
                            std::string_view reply) {
    const spool::QueueEntry& entry = index_.at(slot);
    log_.journal().append_mark({.kind = kind,
                                .id = entry.id,
                                .recipient = recipient,
                                .home = log_.name_of(entry.segment),
                                .at = worker_.wall_time(),
                                .reply = reply},
                               0, false, worker_.now());
}

std::vector<std::uint32_t> MailQueue::segments_of(Slot slot) const {
    std::vector<std::uint32_t> segments = {index_.at(slot).segment};
    if (const spool::QueueExtra* const extra = index_.extra(slot)) {
        segments.insert(segments.end(), extra->chunk_segments.begin(), extra->chunk_segments.end());
    }
    return segments;
}

// The last mark about a message. Its segments are held until that is durable.
void MailQueue::end_message(Slot slot, MarkKind kind, std::uint32_t recipient) {
    const spool::QueueEntry& entry = index_.at(slot);
    append_last_mark(entry.id, kind, recipient, log_.name_of(entry.segment), all_segments_of(slot));
    index_.erase(slot);
}

// And those of copies that may be on the disk.
std::vector<std::uint32_t> MailQueue::all_segments_of(Slot slot) {
    std::vector<std::uint32_t> segments = segments_of(slot);
    const std::vector<std::uint32_t> copies = take_copies(index_.at(slot).id);
    segments.insert(segments.end(), copies.begin(), copies.end());
    return segments;
}

std::vector<std::uint32_t> MailQueue::take_copies(std::uint64_t id) {
    const auto copies = copies_.extract(id);
    return copies ? std::move(copies.mapped()) : std::vector<std::uint32_t>();
}

std::size_t MailQueue::copies_in(std::uint64_t id, std::uint32_t segment) const {
    const auto copies = copies_.find(id);
    return copies == copies_.end()
               ? 0
               : static_cast<std::size_t>(std::ranges::count(copies->second, segment));
}

void MailQueue::keep_copy(std::uint64_t id, const spool::SegmentName& home,
                          std::vector<std::uint32_t> chunk_segments) {
    if (!index_.find(id)) { // its last mark didn't know of it
        append_last_mark(id, MarkKind::removed, spool::every_recipient, home,
                         std::move(chunk_segments));
    } else if (!chunk_segments.empty()) {
        std::vector<std::uint32_t>& kept = copies_[id];
        kept.insert(kept.end(), chunk_segments.begin(), chunk_segments.end());
    }
}

// `segments`: held once each until then.
void MailQueue::append_last_mark(std::uint64_t id, MarkKind kind, std::uint32_t recipient,
                                 const spool::SegmentName& home,
                                 std::vector<std::uint32_t> segments) {
    Ending* const ending = endings_.create();
    RINGMX_ASSERT(ending != nullptr);
    ending->segments = std::move(segments);
    log_.journal().append_mark(
        {.kind = kind, .id = id, .recipient = recipient, .home = home, .at = worker_.wall_time()},
        owner_of(*ending), false, worker_.now());
}

// No mark says that it is over: where the disk comes to itself before its files are set aside, a
// restart finds it.
void MailQueue::set_aside(std::uint64_t id, int error) {
    const std::optional<Slot> slot = index_.find(id);
    if (!slot) {
        return;
    }
    if (LogRecord* record =
            worker_.log().begin(LogEvent::notice, LogLevel::error, worker_.wall_time())) {
        const Error cause{"read of a queued message (given up: what has it will be set aside)",
                          error, spool::id_text(id)};
        record->detail(cause.message());
        worker_.log().commit();
    }
    worker_.counters().queue_set_aside_total.add();
    for (const std::uint32_t segment : all_segments_of(*slot)) {
        log_.note_damage(segment);
        log_.release(segment);
    }
    index_.erase(*slot);
}

// Marks name the new place from now on; those that named the old one go with it.
void MailQueue::moved(std::uint64_t id, const spool::RecordPlace& place,
                      std::vector<std::uint32_t> chunk_segments) {
    const std::optional<Slot> slot = index_.find(id);
    if (!slot) { // it ended meanwhile, where it was: so does the copy
        chunk_segments.insert(chunk_segments.begin(), place.segment);
        append_last_mark(id, MarkKind::removed, spool::every_recipient, log_.name_of(place.segment),
                         std::move(chunk_segments));
        return;
    }
    spool::QueueEntry& entry = index_.at(*slot);
    const std::vector<std::uint32_t> old_segments = segments_of(*slot);
    log_.note_move(place.segment, log_.name_of(entry.segment));
    entry.set_place(place.segment, place.offset, place.record_bytes);
    if (!chunk_segments.empty()) {
        index_.set_chunk_segments(*slot, std::move(chunk_segments));
    }
    for (const std::uint32_t segment : old_segments) {
        log_.release(segment);
    }
    // Whatever is there of an earlier copy, this one is later, and whole: that one's chunks are nobody's.
    for (const std::uint32_t segment : take_copies(id)) {
        log_.release(segment);
    }
}

} // namespace ringmx::worker
