#include "worker/spool_log.h"

#include "worker/tokens.h"

#include "base/crc32c.h"

#include <algorithm>
#include <cerrno>
#include <utility>

namespace ringmx::worker {
namespace {

constexpr std::uint32_t readings_max = (1U << 24U) - 1; // what a Token can name

} // namespace

// It lies in the body's first block, or is put together.
std::optional<spool::StoredMessage> head_of(const ReadRecord& record, std::size_t& content_start) {
    if (record.error != 0) {
        return std::nullopt;
    }
    const std::size_t body_bytes = record.header.record_bytes - spool::record_header_bytes;
    std::optional<spool::StoredMessage> message =
        spool::read_message_head(record.body.front().bytes(), body_bytes, content_start);
    if (!message) {
        std::string whole;
        for (const Slice& slice : record.body) {
            whole += slice.text();
        }
        message = spool::read_message_head(as_bytes(whole), body_bytes, content_start);
    }
    return message;
}

std::optional<ReadMessage> message_of(ReadRecord record) {
    std::size_t content_start = 0;
    std::optional<spool::StoredMessage> head = head_of(record, content_start);
    if (!head) {
        return std::nullopt;
    }
    ReadMessage message{.head = std::move(*head), .content = {}};
    if (!message.head.chunks.empty()) {
        return message;
    }
    for (Slice& slice : record.body) {
        const std::size_t skip = std::min(content_start, slice.size());
        content_start -= skip;
        slice.remove_prefix(skip);
        if (!slice.empty()) {
            message.content.push_back(std::move(slice));
        }
    }
    return message;
}

SpoolLog::SpoolLog(ring::Loop& loop, std::uint32_t worker, SpoolOptions options,
                   observe::WorkerCounters& counters, spool::JournalObserver& observer,
                   RecordReader& reader)
    : loop_(loop), options_(std::move(options)), counters_(counters), observer_(observer),
      reader_(reader), table_(options_.generation, static_cast<std::uint16_t>(worker)),
      journal_(loop.pool(), table_, options_.make_nonce), readings_(readings_max) {}

SpoolLog::~SpoolLog() {
    readings_.for_each([this](Reading& reading) {
        for (Block* const block : reading.blocks) {
            loop_.pool().release(block);
        }
    });
}

std::uint64_t SpoolLog::room_bytes() const {
    const std::uint64_t each = options_.segment_bytes - spool::block_bytes;
    const std::uint32_t files = table_.files_count();
    std::uint64_t written = journal_.room_bytes() + table_.reclaimable_count() * each;
    written -= std::min(written, (files - std::min(files, segments_max())) * each);
    if (growth_error_ != 0) {
        return written;
    }
    const std::uint32_t growth = segments_max() - std::min(files, segments_max());
    const std::uint32_t kept =
        spool::spares_kept - std::min(table_.spare_count(), spool::spares_kept);
    return written + (growth - std::min(growth, kept)) * each;
}

// Of what new mail leaves free one commit's room is for reports, and all but that of what there is
// beyond its part: a full spool gets rid of what failed.
bool SpoolLog::make_room_for_report(std::uint64_t bytes) {
    const bool has_extra = table_.files_count() > segments_max();
    const std::uint64_t room =
        std::max(room_bytes(), has_extra ? journal_.room_bytes(0) : std::uint64_t{0});
    const bool has_room = room + spool::commit_bytes_max >= bytes + spool::room_kept_bytes;
    wants_room_for_report_ = wants_room_for_report_ || !has_room;
    return has_room && error() == 0;
}

int SpoolLog::error() const {
    if (lost_ != 0) {
        return lost_;
    }
    if (file_system_error_ != 0) {
        return file_system_error_;
    }
    if (write_error_ != 0 && loop_.now() < write_error_until_) {
        return write_error_;
    }
    // A full disk is a full spool: room_bytes() says so.
    const bool is_free = growth_error_ == 0 || growth_error_ == ENOSPC;
    return is_free || journal_.room_bytes() > 0 ? 0 : growth_error_;
}

spool::SegmentName SpoolLog::name_of(std::uint32_t segment) const {
    return (segment & adopted_segment) != 0 ? adopted_[segment & ~adopted_segment]->name
                                            : table_.at(segment).name;
}

std::optional<std::uint32_t> SpoolLog::find_segment(const spool::SegmentName& name) const {
    for (std::uint32_t index = 0; index < table_.count(); ++index) {
        const spool::Segment& segment = table_.at(index);
        if (segment.name == name && segment.state != spool::Segment::State::discarded) {
            return index;
        }
    }
    const auto found = std::ranges::find(adopted_, name, &AdoptedSegment::name);
    if (found == adopted_.end()) {
        return std::nullopt;
    }
    return static_cast<std::uint32_t>(found - adopted_.begin()) | adopted_segment;
}

void SpoolLog::note_what_is_in_the_way() {
    for (std::uint32_t index = 0; index < table_.count(); ++index) {
        const spool::Segment& segment = table_.at(index);
        if (!segment.is_closed() || segment.holds > 0) {
            continue;
        }
        for (const spool::Segment::Marked& marked : segment.marked) {
            const auto found = std::ranges::find(adopted_, marked.home, &AdoptedSegment::name);
            if (found != adopted_.end()) {
                (*found)->is_in_the_way.store(true, std::memory_order_relaxed);
            }
        }
    }
}

std::optional<std::uint32_t> SpoolLog::adopted_in_the_way(std::uint32_t behind) const {
    const auto count = static_cast<std::uint32_t>(adopted_.size());
    for (std::uint32_t step = 1; step <= count; ++step) {
        const std::uint32_t index = ((behind & ~adopted_segment) + step) % count;
        const bool is_in_the_way = adopted_[index]->is_in_the_way.load(std::memory_order_relaxed);
        if (is_in_the_way && is_adopted_held(index)) {
            return index | adopted_segment;
        }
    }
    return std::nullopt;
}

void SpoolLog::release(std::uint32_t segment) {
    if ((segment & adopted_segment) == 0) {
        table_.release(segment);
        return;
    }
    AdoptedSegment& adopted = *adopted_[segment & ~adopted_segment];
    if (adopted.holds.fetch_sub(1, std::memory_order_acq_rel) == 1) {
        options_.supply->released();
    }
}

void SpoolLog::hold(std::uint32_t segment) {
    if ((segment & adopted_segment) == 0) {
        table_.hold(segment);
    } else {
        adopted_[segment & ~adopted_segment]->holds.fetch_add(1, std::memory_order_relaxed);
    }
}

void SpoolLog::note_damage(std::uint32_t segment) {
    if ((segment & adopted_segment) == 0) {
        table_.note_damage(segment);
    } else {
        adopted_[segment & ~adopted_segment]->is_damaged.store(true, std::memory_order_relaxed);
    }
}

int SpoolLog::descriptor_of(std::uint32_t segment) const {
    return (segment & adopted_segment) != 0 ? adopted_[segment & ~adopted_segment]->descriptor
                                            : table_.at(segment).descriptor;
}

const spool::Nonce& SpoolLog::nonce_of(std::uint32_t segment) const {
    return (segment & adopted_segment) != 0 ? adopted_[segment & ~adopted_segment]->nonce
                                            : table_.at(segment).nonce;
}

// Whole blocks around the record, as direct I/O wants it.
bool SpoolLog::read(const spool::RecordPlace& place, std::uint64_t id, Handle reader,
                    std::uint32_t part) {
    Reading* const reading = readings_.create();
    if (reading == nullptr) {
        return false;
    }
    const std::uint64_t first = place.offset / spool::block_bytes * spool::block_bytes;
    std::uint64_t left =
        spool::round_up(place.offset + place.record_bytes, spool::block_bytes) - first;
    while (left > 0) {
        const std::size_t bytes = std::min<std::uint64_t>(left, BufferPool::draft_bytes_max);
        Block* const block = loop_.pool().take_block(bytes);
        if (block == nullptr) {
            for (Block* const taken : reading->blocks) {
                loop_.pool().release(taken);
            }
            readings_.destroy(*reading);
            return false;
        }
        reading->blocks.push_back(block);
        reading->pieces.push_back({block->memory, bytes});
        left -= bytes;
    }
    reading->place = place;
    reading->id = id;
    reading->reader = reader;
    reading->part = part;
    ring::Operation operation{};
    operation.code = ring::Opcode::read_file;
    operation.descriptor = descriptor_of(place.segment);
    operation.pieces = reading->pieces;
    operation.offset = first;
    operation.token = {spool_read_operation, reading->self.slot, reading->self.generation};
    loop_.queue(operation);
    ++operations_;
    hold(place.segment); // its message may end meanwhile
    return true;
}

void SpoolLog::complete(const ring::Completion& completion) {
    if (completion.token.operation == spool_read_operation) {
        complete_read(completion);
        return;
    }
    --operations_;
    write_error_ = std::max(0, -completion.result);
    write_error_until_ = loop_.now() + request_pause;
    resume_pause_ = write_error_ == 0 ? request_pause : resume_pause_;
    counters_.spool_commit.record(loop_.now() - written_at_[completion.token.slot]);
    journal_.written(completion.token.slot, completion.result, loop_.now(), observer_);
}

void SpoolLog::complete_read(const ring::Completion& completion) {
    Reading& reading = readings_.existing({completion.token.slot, completion.token.generation});
    --operations_;
    // The rest of its last block may be missing: recovery takes what is whole of a file that was cut.
    const std::uint64_t wanted =
        reading.place.offset % spool::block_bytes + reading.place.record_bytes;
    ReadRecord record;
    if (completion.result < 0) {
        record.error = -completion.result;
    } else if (static_cast<std::uint64_t>(completion.result) < wanted) {
        record.error = EBADMSG; // the file is shorter than it was
    } else {
        record = judge(reading);
    }
    const Handle reader = reading.reader;
    const std::uint32_t part = reading.part;
    release(reading.place.segment);
    for (Block* const block : reading.blocks) {
        loop_.pool().release(block);
    }
    readings_.destroy(reading);
    reader_.on_record(reader, part, std::move(record));
}

// The record as slices of what was read, if it is the one that was written there.
ReadRecord SpoolLog::judge(const Reading& reading) const {
    ReadRecord record;
    std::size_t skip = reading.place.offset % spool::block_bytes;
    const Bytes beginning(reading.blocks.front()->memory + skip,
                          reading.pieces.front().iov_len - skip);
    const auto header =
        spool::peek_record(beginning, nonce_of(reading.place.segment), reading.place.offset);
    if (!header || header->id != reading.id || header->record_bytes != reading.place.record_bytes) {
        record.error = EBADMSG;
        return record;
    }
    record.header = *header;
    std::size_t left = header->record_bytes - spool::record_header_bytes;
    std::uint32_t crc = 0;
    skip += spool::record_header_bytes;
    for (std::size_t index = 0; index < reading.blocks.size() && left > 0; ++index) {
        const std::size_t bytes = std::min(left, reading.pieces[index].iov_len - skip);
        const Bytes part(reading.blocks[index]->memory + skip, bytes);
        crc = crc32c(crc, part);
        record.body.emplace_back(reading.blocks[index], part);
        left -= bytes;
        skip = 0;
    }
    if (!spool::has_body(beginning, crc)) {
        record.body.clear();
        record.error = EBADMSG;
    }
    return record;
}

void SpoolLog::run() {
    take_news();
    leave_unwritten_segments();
    resume_segment();
    write();
    request_segments();
    discard_segments();
}

void SpoolLog::take_news() {
    SegmentSupply::News news;
    while (options_.supply->take(news)) {
        switch (news.kind) {
        case SegmentSupply::News::Kind::segment:
            is_requested_ = false;
            growth_error_ = lost_ = 0;
            has_no_segment_ = false;
            is_over_ = news.is_over;
            table_.add(news.descriptor, news.size_bytes, news.is_written);
            break;
        case SegmentSupply::News::Kind::failed:
            is_requested_ = false;
            growth_error_ = is_full(news.error) ? ENOSPC : news.error;
            request_at_ = loop_.now() + request_pause;
            break;
        case SegmentSupply::News::Kind::home_gone:
            table_.home_gone(news.home);
            if (growth_error_ == ENOSPC) { // less is taken now
                request_at_ = loop_.now();
            }
            break;
        case SegmentSupply::News::Kind::discarded:
            for (std::uint32_t index = 0; index < table_.count(); ++index) {
                if (table_.at(index).state == spool::Segment::State::leaving &&
                    table_.at(index).descriptor == news.descriptor) {
                    table_.discarded(index);
                }
            }
            break;
        case SegmentSupply::News::Kind::lost:
            lost_ = news.error;
            ++losses_;
            journal_.forsake_segments();
            break;
        case SegmentSupply::News::Kind::file_system:
            file_system_error_ = news.error;
            request_at_ = loop_.now(); // what failed may be had again
            break;
        }
    }
}

// Mail outran the writing through of its segment, as it does after a start: that is made good as soon
// as there is a better one, at the cost of the room in it until its messages are gone.
void SpoolLog::leave_unwritten_segments() {
    if (growth_error_ != 0 || is_over_ ||
        table_.files_count() * segments_that_are_few > segments_max()) {
        return;
    }
    if (table_.has_written_spare()) {
        journal_.leave_unwritten_segment();
    }
    table_.seal_spares_not_written(); // another file takes its place
}

bool SpoolLog::may_resume() const {
    return has_no_segment_ && (!may_request() || growth_error_ == ENOSPC);
}

// Each try that fails costs a part of the room in it.
void SpoolLog::resume_segment() {
    if (may_resume() && loop_.now() >= resume_at_) {
        journal_.resume_segment();
        resume_at_ = loop_.now() + resume_pause_;
        resume_pause_ = std::min(2 * resume_pause_, resume_pause_max);
    }
}

void SpoolLog::write() {
    while (const spool::JournalWrite* const wanted = journal_.next_write(loop_.now())) {
        ring::Operation operation{};
        operation.code = ring::Opcode::write_file;
        operation.descriptor = wanted->descriptor;
        operation.pieces = wanted->pieces;
        operation.offset = wanted->offset;
        operation.token = {spool_write_operation, wanted->slot, 0};
        written_at_[wanted->slot] = loop_.now();
        loop_.queue(operation);
        ++operations_;
        has_no_segment_ = false;
    }
    const bool may_grow = table_.files_count() < segments_max();
    if (journal_.wants_segment() && (growth_error_ != 0 || !may_grow)) {
        has_no_segment_ = true;
        journal_.give_up(growth_error_ != 0 ? growth_error_ : ENOSPC, observer_);
    }
}

void SpoolLog::request_segments() {
    // The first one is wanted now whoever waits for it.
    const bool is_for_marks = has_no_segment_ || wants_room_for_report_;
    const bool at_once = journal_.wants_segment() || is_for_marks || table_.count() == 0;
    const bool may = may_request();
    wants_room_for_report_ = false; // a report that waits asks again
    if (is_requested_ ? is_urgent_ || !at_once
                      : loop_.now() < request_at_ || !may || (!at_once && !wants_spare())) {
        return;
    }
    is_requested_ = true;
    is_urgent_ = at_once;
    using Urgency = SegmentSupply::Urgency;
    options_.supply->request(is_for_marks ? Urgency::for_marks
                             : at_once    ? Urgency::at_once
                                          : Urgency::ahead);
}

// That there may be, for what waits.
std::uint32_t SpoolLog::files_max() const {
    const std::uint32_t extra = extra_segments(segments_max());
    // That the spool is not too large any more, or is there again, is told by a segment alone.
    if (has_no_segment_ || is_over_ || lost_ != 0) {
        return segments_max() + extra;
    }
    return segments_max() + (wants_room_for_report_ ? extra - extra_segments_kept : 0);
}

// What was refused is asked for again even where there are enough: that there may be more is room too,
// and only an answer tells that.
bool SpoolLog::wants_spare() const {
    return is_over_ || lost_ != 0 || growth_error_ != 0 || table_.spare_count() < spares_ahead;
}

void SpoolLog::count_held(std::uint64_t bytes) {
    const std::uint64_t each = options_.segment_bytes - spool::block_bytes;
    held_segments_ = static_cast<std::uint32_t>(
        std::min<std::uint64_t>((bytes + each - 1) / each, options_.held_segments_max));
}

void SpoolLog::discard_segments() {
    // One too many stays: what failed may grow again. So does the last spare one: it may be all that
    // marks can be written to.
    do {
        while (const std::optional<std::uint32_t> index = table_.next_to_discard()) {
            const spool::Segment& segment = table_.at(*index);
            options_.supply->discard(segment.descriptor, segment.is_damaged);
            table_.leave(*index);
        }
    } while (table_.staying_count() > segments_max() + 1 &&
             table_.spare_count() > spool::spares_kept && table_.seal_spare());
}

Instant SpoolLog::deadline() const {
    const bool wants_more = !is_requested_ && may_request() && (has_no_segment_ || wants_spare());
    // What is due already was tried by run(): it waits for a completion or for news.
    const Instant due = std::min(
        {journal_.deadline(), wants_more ? request_at_ : never, may_resume() ? resume_at_ : never});
    return due > loop_.now() ? due : never;
}

} // namespace ringmx::worker
