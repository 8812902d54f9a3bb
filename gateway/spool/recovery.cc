#include "spool/recovery.h"

#include "base/mutation.h"
#include "spool/message_id.h"

#include <algorithm>
#include <ranges>
#include <unordered_set>
#include <utility>

namespace ringmx::spool {
namespace {

bool is_over(RecipientState state) {
    return state == RecipientState::delivered || state == RecipientState::bounced;
}

// They are in order.
RecoveredMessage::Recipient& recipient_of(RecoveredMessage& message, std::uint32_t index) {
    const auto place =
        std::ranges::lower_bound(message.settled, index, {}, &RecoveredMessage::Recipient::index);
    const bool is_known = place != message.settled.end() && place->index == index;
    return is_known ? *place : *message.settled.insert(place, {index, {}, {}});
}

} // namespace

std::size_t Recovery::ChunkHash::operator()(const ChunkKey& key) const {
    const std::uint64_t mixed = (key.segment.life << 20U) ^ key.offset ^
                                std::uint64_t{key.segment.generation} << 44U ^
                                std::uint64_t{key.segment.worker} << 34U;
    return std::hash<std::uint64_t>{}(mixed * 0x9E3779B97F4A7C15U);
}

void Recovery::begin_segment(std::uint32_t segment, const SegmentHeader& header) {
    segment_ = segment;
    name_ = {header.generation, header.worker, header.life};
    if (segments_.size() <= segment) {
        segments_.resize(segment + 1);
    }
    segments_[segment].name = name_;
}

void Recovery::record(const RecordHeader& header, Bytes body) {
    switch (header.type) {
    case RecordType::message:
        message_record(header, body);
        return;
    case RecordType::chunk:
        records_->chunks.insert_or_assign({name_, header.offset},
                                          FoundChunk{header.id, header.record_bytes, segment_});
        return;
    case RecordType::marks:
        marks_record(header, body);
        return;
    }
    ++unreadable_records_; // of a type that is not known here
}

void Recovery::message_record(const RecordHeader& header, Bytes body) {
    std::optional<StoredMessage> stored = read_message_body(body);
    if (!stored) {
        ++unreadable_records_;
        senseless_.push_back(header.id);
        return;
    }
    Found read;
    read.order = {name_.generation, header.sequence};
    read.chunks = std::move(stored->chunks);
    read.message = {.id = header.id,
                    .offset = header.offset,
                    .segment = segment_,
                    .record_bytes = header.record_bytes,
                    .stored_bytes = header.record_bytes,
                    .recipients_count = static_cast<std::uint32_t>(stored->recipients.size()),
                    .accepted_at = stored->accepted_at,
                    .expires_from = stored->expires_from,
                    .is_on_hold = stored->is_on_hold,
                    .waits_for_pool = stored->waits_for_pool,
                    .settled = {},
                    .chunk_segments = {}};
    for (std::uint32_t index = 0; index < read.message.recipients_count; ++index) {
        StoredRecipient& recipient = stored->recipients[index];
        if (recipient.state != RecipientState::pending) {
            read.message.settled.push_back(
                {index, recipient.state, std::move(recipient.last_reply)});
        }
    }
    const auto [position, is_first] = records_->messages.try_emplace(header.id);
    Found& latest = position->second;
    if (is_first) {
        latest = std::move(read);
        return;
    }
    if (read.order > latest.order) {
        std::swap(read, latest);
    }
    depends_on(latest.message.segment, segments_[read.message.segment].name);
    read.message.settled = {}; // nobody asks for it
    earlier_.push_back(std::move(read));
}

// What is in this one is needed while `home` is there: a mark about a message there, or the later record
// of one, whose segment the marks about it name.
void Recovery::depends_on(std::uint32_t segment, const SegmentName& home) {
    if (home == segments_[segment].name) {
        return; // they go together
    }
    std::vector<Segment::Marked>& marked = segments_[segment].marked;
    const auto known = std::ranges::find(marked, home, &Segment::Marked::home);
    if (known != marked.end()) {
        ++known->marks;
    } else {
        marked.push_back({home, 1});
    }
}

void Recovery::marks_record(const RecordHeader& header, Bytes body) {
    MarksReader reader(body);
    std::size_t count = 0;
    while (const std::optional<Mark> mark = reader.next()) {
        ++count;
        // As if each message went out as soon as its record had been read.
        RINGMX_MUTATE(delivered_before_adopted,
                      if (records_->messages.contains(mark->id) &&
                          records_->messages[mark->id].message.segment != segment_) continue);
        RINGMX_MUTATE(marks_elsewhere_unread, if (mark->home != name_) continue);
        marks_.push_back({{name_.generation, header.sequence},
                          marks_.size(),
                          mark->id,
                          segment_,
                          mark->recipient,
                          mark->kind,
                          mark->at,
                          std::string(mark->reply)});
        depends_on(segment_, mark->home);
        std::uint32_t& since = segments_[segment_].marks_since;
        since = std::min(since, unpacked_id(mark->id).generation);
    }
    unreadable_records_ += count == 0 || reader.unreadable() > 0 ? 1U : 0U;
}

// `is_final_round`: only what is final whatever came later.
void Recovery::apply(const FoundMark& mark, bool is_final_round) {
    const auto position = records_->messages.find(mark.id);
    if (position == records_->messages.end()) {
        return;
    }
    Found& found = position->second;
    RecoveredMessage& message = found.message;
    const bool is_final = mark.kind == MarkKind::delivered || mark.kind == MarkKind::removed;
    if (is_final != is_final_round || (!is_final && mark.order <= found.order)) {
        return;
    }
    // Written anew after a write that failed, it stands behind a release that was given later.
    if (mark.kind == MarkKind::failed && mark.at <= message.expires_from) {
        return;
    }
    const bool is_for_all = mark.recipient == every_recipient;
    if (!is_for_all && mark.recipient >= message.recipients_count) {
        ++unreadable_records_;
        return;
    }
    switch (mark.kind) {
    case MarkKind::delivered:
    case MarkKind::removed:
    case MarkKind::failed: {
        const RecipientState state = mark.kind == MarkKind::delivered ? RecipientState::delivered
                                     : mark.kind == MarkKind::removed ? RecipientState::bounced
                                                                      : RecipientState::failed;
        if (mark.kind == MarkKind::failed) {
            message.failed_at = std::max(message.failed_at, mark.at);
        }
        const std::uint32_t first = is_for_all ? 0 : mark.recipient;
        const std::uint32_t last = is_for_all ? message.recipients_count : mark.recipient + 1;
        for (std::uint32_t index = first; index < last; ++index) {
            RecoveredMessage::Recipient& recipient = recipient_of(message, index);
            if (!is_over(recipient.state)) {
                recipient.state = state;
                recipient.reply = mark.reply;
            }
        }
        break;
    }
    case MarkKind::hold:
        message.is_on_hold = true;
        break;
    case MarkKind::release:
        message.is_on_hold = message.waits_for_pool = false;
        message.expires_from = mark.at;
        std::erase_if(message.settled, [](const RecoveredMessage::Recipient& recipient) {
            return recipient.state == RecipientState::failed;
        });
        break;
    case MarkKind::pool_hold:
        message.waits_for_pool = true;
        break;
    case MarkKind::pool_release:
        message.waits_for_pool = false;
        message.expires_from = mark.at;
        break;
    }
}

// A mark names one record of its message. It is about all that came before it: one that could not be
// read when it was written may be read now, and later alone be left. (Of what came behind it none, or
// two segments could need one another.)
void Recovery::note_what_marks_are_about() {
    const auto note = [this](const FoundMark& mark, const Found& record) {
        const std::vector<Segment::Marked>& marked = segments_[mark.segment].marked;
        const SegmentName& home = segments_[record.message.segment].name;
        if (record.order < mark.order &&
            std::ranges::find(marked, home, &Segment::Marked::home) == marked.end()) {
            depends_on(mark.segment, home);
        }
    };
    for (const FoundMark& mark : marks_) {
        if (const auto latest = records_->messages.find(mark.id);
            latest != records_->messages.end()) {
            note(mark, latest->second);
        }
        const auto copies = std::ranges::equal_range(
            earlier_, mark.id, {}, [](const Found& found) { return found.message.id; });
        for (const Found& copy : copies) {
            note(mark, copy);
        }
    }
}

// Of none of its recipients is anything left to do.
bool Recovery::is_known_to_be_over(const Found& found) {
    const auto over = std::ranges::count_if(
        found.message.settled,
        [](const RecoveredMessage::Recipient& recipient) { return is_over(recipient.state); });
    return over == static_cast<std::ptrdiff_t>(found.message.recipients_count);
}

void Recovery::note_unfinished() {
    const auto is_unfinished = [this](std::uint64_t id) {
        const auto found = records_->messages.find(id);
        return found == records_->messages.end() || !is_known_to_be_over(found->second);
    };
    for (const auto& [id, found] : records_->messages) {
        if (!is_known_to_be_over(found)) {
            note_unfinished(found.message.segment, id);
        }
    }
    for (const Found& found : earlier_) {
        if (is_unfinished(found.message.id)) {
            note_unfinished(found.message.segment, found.message.id);
        }
    }
    for (const auto& [key, chunk] : records_->chunks) {
        if (is_unfinished(chunk.id)) {
            note_unfinished(chunk.segment, chunk.id);
        }
    }
}

void Recovery::note_unfinished(std::uint32_t segment, std::uint64_t id) {
    std::uint32_t& since = segments_[segment].unfinished_since;
    since = std::min(since, unpacked_id(id).generation);
}

// Chunks of which no record was found are of a message that was never accepted.
void Recovery::note_remains() {
    std::unordered_set<std::uint64_t> ids(damaged_.begin(), damaged_.end());
    for (const std::uint64_t id : senseless_) {
        if (!records_->messages.contains(id)) {
            ids.insert(id);
        }
    }
    if (ids.empty()) {
        return;
    }
    for (const std::uint64_t id : damaged_) {
        segments_[records_->messages.at(id).message.segment].has_remains = true;
    }
    for (const Found& found : earlier_) {
        if (ids.contains(found.message.id)) {
            segments_[found.message.segment].has_remains = true;
        }
    }
    for (const auto& [key, chunk] : records_->chunks) {
        if (ids.contains(chunk.id)) {
            segments_[chunk.segment].has_remains = true;
        }
    }
}

// What became of the recipients until the latest record was written it alone tells, whichever has the
// content.
bool Recovery::find_content(Found& latest) {
    if (find_chunks(latest)) {
        return true;
    }
    RecoveredMessage& message = latest.message;
    const auto copies = std::ranges::equal_range(
        earlier_, message.id, {}, [](const Found& found) { return found.message.id; });
    for (Found& copy : std::views::reverse(copies)) {
        if (copy.message.recipients_count == message.recipients_count && find_chunks(copy)) {
            message.segment = copy.message.segment;
            message.offset = copy.message.offset;
            message.record_bytes = copy.message.record_bytes;
            message.stored_bytes = copy.message.stored_bytes;
            message.chunk_segments = std::move(copy.message.chunk_segments);
            return true;
        }
    }
    return false;
}

bool Recovery::find_chunks(Found& found) {
    const SegmentName home = segments_[found.message.segment].name;
    for (const ChunkPlace& chunk : found.chunks) {
        const SegmentName segment{home.generation, home.worker, chunk.life};
        const auto position = records_->chunks.find({segment, chunk.offset});
        if (position == records_->chunks.end() || position->second.id != found.message.id ||
            position->second.record_bytes != chunk.record_bytes) {
            return false;
        }
        found.message.chunk_segments.push_back(position->second.segment);
        found.message.stored_bytes += chunk.record_bytes;
    }
    return true;
}

void Recovery::finish() {
    std::ranges::sort(marks_, {},
                      [](const FoundMark& mark) { return std::pair(mark.order, mark.position); });
    for (const bool is_final_round : {false, true}) {
        for (const FoundMark& mark : marks_) {
            apply(mark, is_final_round);
        }
    }
    std::ranges::sort(earlier_, {},
                      [](const Found& found) { return std::pair(found.message.id, found.order); });
    note_what_marks_are_about();
    marks_ = std::vector<FoundMark>();
    note_unfinished();
    take_live();
    note_remains();
    records_.reset();
    earlier_ = std::vector<Found>();
}

// They are put in order before they are moved: there may be millions.
void Recovery::take_live() {
    struct Live {
        WallTime accepted_at;
        std::uint64_t id;
        RecoveredMessage* message;
    };
    std::vector<Live> live;
    live.reserve(records_->messages.size());
    for (auto& [id, found] : records_->messages) {
        if (is_known_to_be_over(found)) {
            continue;
        }
        if (find_content(found)) {
            live.push_back({found.message.accepted_at, id, &found.message});
        } else {
            damaged_.push_back(id);
        }
    }
    const auto key = [](const Live& one) { return std::pair(one.accepted_at, one.id); };
    std::ranges::sort(live, {}, key);
    RINGMX_MUTATE(adopted_out_of_order, std::ranges::reverse(live));
    messages_.reserve(live.size());
    for (const Live& one : live) {
        messages_.push_back(std::move(*one.message));
    }
}

const std::vector<Segment::Marked>& Recovery::marked(std::uint32_t segment) const {
    return segments_[segment].marked;
}

bool Recovery::has_remains(std::uint32_t segment) const { return segments_[segment].has_remains; }

// A record of a message may stand in any run since the one that took it. So the rest of what is here may
// be unread; and so may a record of a message that is over, or will be, which would be alive again if
// no mark about it were left. Only what later runs than a mark's wrote has the mark's state in itself.
bool Recovery::stays_for(std::uint32_t segment, const std::set<std::uint32_t>& unread) const {
    const Contents& contents = segments_[segment];
    const auto marked = unread.lower_bound(contents.marks_since);
    return (!unread.empty() && *unread.rbegin() >= contents.unfinished_since) ||
           (marked != unread.end() && *marked <= contents.name.generation);
}

} // namespace ringmx::spool
