#include "worker/mover.h"

#include "worker/mail_queue.h"
#include "worker/worker.h"

#include <algorithm>
#include <cerrno>
#include <utility>

namespace ringmx::worker {

using spool::QueueState;

namespace {

// Spare segments below which room is made, so that it is there before mail is refused; fewer where
// there are few in all.
constexpr std::uint32_t spares_wanted_max = 3;
// Of the segments that mail is in, so many must wait for each that is moved though it is mostly mail.
constexpr std::uint32_t waiting_share = 8;
constexpr std::uint32_t message_part = 0; // of a read; a chunk's is its number plus one

} // namespace

bool Mover::lacks_spares() const {
    const SpoolLog& log = queue_.log();
    const spool::SegmentTable& segments = log.segments();
    const std::uint32_t files = std::min(segments.files_count(), log.segments_max());
    return !log.may_grow() && segments.spare_count() + segments.reclaimable_count() <
                                  std::min(spares_wanted_max, files / 4 + 1);
}

bool Mover::lacks_room() const {
    const SpoolLog& log = queue_.log();
    return !log.may_grow() && log.room_bytes() < spool::room_kept_bytes + log.segment_bytes() / 2;
}

// What a write has failed in, or what is not in the directory any more, is left as soon as may be;
// else segments are, while few are spare. Those of earlier runs come first: what later ones have marks
// about waits for them.
std::optional<std::uint32_t> Mover::choose() {
    if (const auto sealed = choose_sealed()) {
        return sealed;
    }
    const bool lacks_spares = this->lacks_spares();
    const bool is_short = lacks_spares || lacks_room();
    if (worker_.now() >= look_at_adopted_at_) {
        look_at_adopted_at_ = worker_.now() + pause;
        if (is_short) {
            queue_.log().note_what_is_in_the_way();
        }
        if (const auto adopted = queue_.log().adopted_in_the_way(last_adopted_)) {
            last_adopted_ = *adopted; // what can't be moved out of it holds up no other one
            return adopted;
        }
    }
    takes_little_only_ = !lacks_spares;
    return is_short ? choose_full() : std::nullopt;
}

// The oldest, then the one behind each that could not be emptied, but none of those that the round itself
// has filled. Looking for the messages of one takes a walk through the whole queue: so many that were
// in vain, so long the pause behind the round.
std::optional<std::uint32_t> Mover::choose_full() {
    if (worker_.now() < look_at_full_at_) {
        return std::nullopt;
    }
    const spool::SegmentTable& segments = queue_.log().segments();
    if (!round_) {
        round_ = Round{.last_life = segments.newest_life()};
    }
    const auto oldest = segments.oldest_held(round_->passed_life);
    if (oldest && segments.at(*oldest).name.life <= round_->last_life) {
        return oldest;
    }
    look_at_full_at_ = worker_.now() + std::min(pause * round_->passed_count, pause_max);
    round_.reset();
    return std::nullopt;
}

// The next one each time. What can't be moved now (it is under way, an operator changes it) is tried in
// a later round.
std::optional<std::uint32_t> Mover::choose_sealed() {
    const spool::SegmentTable& segments = queue_.log().segments();
    if (!segments.has_sealed_held() || worker_.now() < look_at_sealed_at_) {
        return std::nullopt;
    }
    while (next_sealed_ < segments.count()) {
        const std::uint32_t index = next_sealed_++;
        const spool::Segment& segment = segments.at(index);
        if (segment.state == spool::Segment::State::sealed && segment.holds > 0) {
            return index;
        }
    }
    next_sealed_ = 0;
    look_at_sealed_at_ = worker_.now() + pause;
    return std::nullopt;
}

void Mover::run() {
    moves_.for_each([this](Move& move) { advance(move); });
    if (!may_begin() || worker_.now() < rest_until_) {
        return;
    }
    if (victim_ && !is_closed(*victim_)) { // it goes on, or is another one by now
        victim_.reset();
    }
    if (!victim_) {
        victim_ = queue_.log().error() == 0 ? choose() : std::nullopt;
        if (!victim_) {
            return;
        }
        looked_until_ = 0;
        found_.clear();
        is_given_up_ = false;
        found_bytes_ = unfinished_bytes();
    }
    if (looked_until_ != UINT64_MAX) {
        look_for_messages();
    }
    while (!found_.empty() && looked_until_ == UINT64_MAX && moves_.used() < moves_max) {
        const auto slot = queue_.index().find(found_.back());
        found_.pop_back();
        if (slot && queue_.index().state(*slot) != QueueState::active &&
            !has_flag(queue_.index().at(*slot), transient_flags)) {
            begin(*slot);
        }
    }
    const bool is_over = looked_until_ == UINT64_MAX && found_.empty() && moves_.used() == 0;
    if (is_over && (is_given_up_ || !moves_unfinished())) {
        end_victim();
    }
}

// What is in the victim of messages that are still coming.
std::uint64_t Mover::unfinished_bytes() {
    std::uint64_t bytes = 0;
    queue_.intakes().for_each(
        [&](const SpoolIntake& intake) { bytes += intake.bytes_in(*victim_); });
    return bytes;
}

// A few of them at a time; false: there are none, or no memory for them.
bool Mover::moves_unfinished() {
    std::uint32_t count = 0;
    queue_.intakes().for_each([&](SpoolIntake& intake) {
        if (count < moves_max && intake.leave(*victim_)) {
            ++count;
        }
    });
    return count > 0;
}

bool Mover::is_closed(std::uint32_t segment) const {
    return (segment & adopted_segment) != 0 || queue_.log().segments().at(segment).is_closed();
}

// It may still be held by what is not the index's, by others, or by what could not be moved now.
void Mover::end_victim() {
    const std::uint32_t victim = *std::exchange(victim_, std::nullopt);
    if ((victim & adopted_segment) != 0) {
        if (!queue_.log().is_adopted_held(victim)) {
            look_at_adopted_at_ = worker_.now(); // for the next one
        }
        return;
    }
    const spool::Segment& segment = queue_.log().segments().at(victim);
    if (round_ && segment.holds > 0 && segment.state == spool::Segment::State::full) {
        round_->passed_life = segment.name.life;
        ++round_->passed_count;
    }
}

// Where most of a segment is mail that waits the spool is simply full, unless many others that hold
// nothing can't be used again as long as it is there: it, and not an older one that could not be
// emptied either, or that a file of an earlier run keeps. (While only room is scarce, what is written
// anew takes of it: a few messages may.)
bool Mover::is_worth_it() const {
    if ((*victim_ & adopted_segment) != 0) {
        return true;
    }
    const spool::SegmentTable& segments = queue_.log().segments();
    const spool::Segment& victim = segments.at(*victim_);
    if (victim.state != spool::Segment::State::full) {
        return true;
    }
    if (takes_little_only_) {
        const std::uint64_t padding_bytes = found_.size() * spool::block_bytes / moves_max;
        return found_bytes_ + padding_bytes <= victim.size_bytes / 8;
    }
    if (found_bytes_ <= victim.size_bytes / 2) {
        return true;
    }
    if (round_ && round_->passed_count > 0) {
        return false;
    }
    std::uint32_t held = 0;
    std::uint32_t waiting = 0;
    for (std::uint32_t index = 0; index < segments.count(); ++index) {
        const spool::Segment& segment = segments.at(index);
        if (segment.name.life < victim.name.life && segments.waits_for_another_run(segment)) {
            return false;
        }
        if (segment.state == spool::Segment::State::full) {
            ++(segment.holds > 0 ? held : waiting);
        }
    }
    return waiting * waiting_share >= held;
}

void Mover::look_for_messages() {
    spool::QueueIndex& index = queue_.index();
    for (std::uint32_t count = 0; count < entries_looked_at; ++count) {
        const auto slot = index.first_after(looked_until_);
        if (!slot) {
            looked_until_ = UINT64_MAX;
            break;
        }
        const spool::QueueEntry& entry = index.at(*slot);
        looked_until_ = entry.age;
        const spool::QueueExtra* const extra = index.extra(*slot);
        std::uint64_t records = 1;
        std::uint64_t records_there = entry.segment == *victim_ ? 1 : 0;
        if (extra != nullptr) {
            records += extra->chunk_segments.size();
            records_there +=
                static_cast<std::uint64_t>(std::ranges::count(extra->chunk_segments, *victim_));
        }
        if (records_there > 0 || queue_.copies_in(entry.id, *victim_) > 0) {
            found_.push_back(entry.id);
            found_bytes_ += entry.stored_bytes * records_there / records;
        }
    }
    if (!is_worth_it()) {
        found_.clear();
        looked_until_ = UINT64_MAX;
        is_given_up_ = true;
    }
}

void Mover::begin(spool::QueueIndex::Slot slot) {
    Move* const move = moves_.create();
    RINGMX_ASSERT(move != nullptr);
    spool::QueueEntry& entry = queue_.index().at(slot);
    set_flag(entry, moving_flag, true);
    move->id = entry.id;
    read(*move, message_part);
}

void Mover::advance(Move& move) {
    if (move.is_busy) {
        return;
    }
    if (!move.is_read) {
        read(move, message_part);
    } else if (!move.content.empty() && move.next_chunk < move.message.chunks.size()) {
        write_chunk(move);
    } else if (move.next_chunk < move.message.chunks.size()) {
        read(move, move.next_chunk + 1);
    } else {
        write_message(move);
    }
}

// What there is no memory for now is tried again in the next turn.
void Mover::read(Move& move, std::uint32_t part) {
    const auto slot = queue_.index().find(move.id);
    if (!slot) {
        give_up(move);
        return;
    }
    const spool::QueueEntry& entry = queue_.index().at(*slot);
    spool::RecordPlace place{entry.segment, entry.offset,
                             static_cast<std::uint32_t>(entry.record_bytes)};
    if (part != message_part) {
        const spool::ChunkPlace& chunk = move.message.chunks[part - 1];
        place = {queue_.index().extra(*slot)->chunk_segments[part - 1], chunk.offset,
                 chunk.record_bytes};
    }
    move.is_busy = queue_.log().read(place, move.id, move.self, MailQueue::mover_part | part);
}

void Mover::on_record(Handle handle, std::uint32_t part, ReadRecord record) {
    Move& move = moves_.existing(handle);
    move.is_busy = false;
    if (part != message_part && record.error == 0) {
        move.content = std::move(record.body);
        write_chunk(move);
        return;
    }
    const int error = record.error != 0 ? record.error : EBADMSG;
    std::optional<ReadMessage> message =
        part == message_part ? message_of(std::move(record)) : std::nullopt;
    if (!message) {
        give_up_unread(move, error);
        return;
    }
    move.message = std::move(message->head);
    move.content = std::move(message->content);
    move.is_read = true;
    advance(move);
}

void Mover::give_up_unread(Move& move, int error) {
    const std::uint64_t id = move.id;
    // Only where that is in the way of others: the disk may come to itself.
    const bool is_adopted = victim_ && (*victim_ & adopted_segment) != 0;
    const bool is_in_the_way = is_adopted || lacks_spares() || lacks_room();
    give_up(move);
    std::erase_if(unreadable_, [this](const Unreadable& each) {
        return !queue_.index().find(each.id).has_value();
    });
    const auto known = std::ranges::find(unreadable_, id, &Unreadable::id);
    if (known == unreadable_.end()) {
        if (unreadable_.size() < unreadable_max) {
            unreadable_.push_back({id, worker_.now()});
        }
    } else if (is_in_the_way && worker_.now() - known->since >= unreadable_patience) {
        unreadable_.erase(known);
        queue_.set_aside(id, error);
    }
}

void Mover::write_chunk(Move& move) {
    if (move.next_chunk == 0) {
        move.losses = queue_.log().losses();
    }
    move.is_busy = queue_.log().journal().append({.type = spool::RecordType::chunk,
                                                  .id = move.id,
                                                  .owner = MailQueue::owner_of_move(move.self),
                                                  .part = move.next_chunk},
                                                 {}, move.content) == spool::Commit::Append::taken;
}

// With the states that its recipients have now: marks that come later have a later number.
void Mover::write_message(Move& move) {
    const auto slot = queue_.index().find(move.id);
    const bool are_chunks_safe =
        move.chunk_segments.empty() || queue_.log().losses() == move.losses;
    if (!slot || !are_chunks_safe) {
        give_up(move);
        return;
    }
    std::erase_if(unreadable_, // all of it was read
                  [&move](const Unreadable& each) { return each.id == move.id; });
    const spool::QueueEntry& entry = queue_.index().at(*slot);
    move.home = queue_.log().name_of(entry.segment);
    move.message.is_on_hold = queue_.index().state(*slot) == QueueState::on_hold;
    move.message.waits_for_pool = has_flag(entry, pool_hold_flag);
    move.message.expires_from = WallTime{std::chrono::seconds(entry.expires_from_s)};
    for (spool::StoredRecipient& recipient : move.message.recipients) {
        recipient.state = spool::RecipientState::pending;
    }
    if (const spool::QueueExtra* const extra = queue_.index().extra(*slot)) {
        for (const spool::QueueExtra::Settled& settled : extra->settled) {
            spool::StoredRecipient& recipient = move.message.recipients[settled.recipient];
            recipient.state = settled.state;
            recipient.last_reply = queue_.index().reply(settled.reply);
        }
    }
    std::size_t content_bytes = 0;
    for (const Slice& slice : move.content) {
        content_bytes += slice.size();
    }
    std::string& head = queue_.scratch();
    head.clear();
    spool::append_message_body(head, move.message);
    if (spool::record_header_bytes + head.size() + content_bytes > spool::record_bytes_max) {
        for (spool::StoredRecipient& recipient : move.message.recipients) {
            recipient.last_reply.clear(); // without them it is as large as where it was
        }
        head.clear();
        spool::append_message_body(head, move.message);
    }
    move.is_busy =
        queue_.log().journal().append({.type = spool::RecordType::message,
                                       .id = move.id,
                                       .owner = MailQueue::owner_of_move(move.self),
                                       .is_copy = true},
                                      as_bytes(head), move.content) == spool::Commit::Append::taken;
}

void Mover::on_durable(Handle handle, const spool::Commit::Record& record,
                       const spool::RecordPlace& place) {
    Move& move = moves_.existing(handle);
    move.is_busy = false;
    move.content.clear();
    if (record.type == spool::RecordType::chunk) {
        spool::ChunkPlace& chunk = move.message.chunks[move.next_chunk++];
        chunk = {queue_.log().name_of(place.segment).life, place.offset, place.record_bytes};
        move.chunk_segments.push_back(place.segment);
        advance(move);
        return;
    }
    queue_.moved(move.id, place, std::exchange(move.chunk_segments, {}));
    end(move);
}

void Mover::on_failed(Handle handle, const spool::Commit::Record& record, bool is_written) {
    Move& move = moves_.existing(handle);
    move.is_busy = false;
    rest_until_ = worker_.now() + pause;
    if (is_written && record.type == spool::RecordType::message) {
        queue_.keep_copy(move.id, move.home, std::exchange(move.chunk_segments, {}));
    }
    give_up(move);
}

void Mover::give_up(Move& move) {
    for (const std::uint32_t segment : move.chunk_segments) {
        queue_.log().release(segment);
    }
    end(move);
}

void Mover::end(Move& move) {
    if (const auto slot = queue_.index().find(move.id)) {
        set_flag(queue_.index().at(*slot), moving_flag, false);
    }
    moves_.destroy(move);
}

bool Mover::may_begin() const {
    return !worker_.draining() && worker_.pressure() == Pressure::none;
}

// What is under way wakes the worker by itself, and so does the end of the pressure.
Instant Mover::deadline() const {
    const bool has_more =
        victim_ && (looked_until_ != UINT64_MAX || (!found_.empty() && moves_.used() < moves_max));
    return has_more && may_begin() ? std::max(rest_until_, worker_.now()) : never;
}

} // namespace ringmx::worker
