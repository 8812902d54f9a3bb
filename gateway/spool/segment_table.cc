#include "spool/segment_table.h"

#include "base/assert.h"
#include "base/mutation.h"

#include <algorithm>
#include <utility>

namespace ringmx::spool {

std::uint32_t SegmentTable::add(int descriptor, std::uint64_t size_bytes, bool is_written) {
    RINGMX_ASSERT(size_bytes % block_bytes == 0 && size_bytes > block_bytes);
    const std::uint32_t index = take_index();
    Segment& added = segments_[index];
    added.descriptor = descriptor;
    added.size_bytes = size_bytes;
    added.is_written = is_written;
    spares_.push_back(index);
    ++files_count_;
    return index;
}

// Nobody names one that is discarded: who does, holds it.
std::uint32_t SegmentTable::take_index() {
    const auto gone = std::ranges::find(segments_, Segment::State::discarded, &Segment::state);
    if (gone == segments_.end()) {
        segments_.emplace_back();
        return count() - 1;
    }
    *gone = {};
    return static_cast<std::uint32_t>(gone - segments_.begin());
}

std::uint32_t SegmentTable::adopt(int descriptor, const SegmentName& name, std::uint64_t size_bytes,
                                  std::vector<Segment::Marked> marked) {
    Segment& adopted = segments_.emplace_back();
    adopted.descriptor = descriptor;
    adopted.size_bytes = size_bytes;
    adopted.state = Segment::State::sealed;
    adopted.name = name;
    adopted.marked = std::move(marked);
    ++files_count_;
    look_.reset();
    return count() - 1;
}

std::optional<std::uint32_t> SegmentTable::open(const Nonce& nonce) {
    if (spares_.empty()) {
        return std::nullopt;
    }
    const std::uint32_t index = spares_.front();
    spares_.erase(spares_.begin());
    Segment& opening = segments_[index];
    set_state(opening, Segment::State::opening);
    opening.nonce = nonce;
    opening.previous = opening.name;
    opening.name = {generation_, worker_, ++lives_};
    opening.used_bytes = opening.durable_bytes = block_bytes;
    return index;
}

void SegmentTable::opened(std::uint32_t index) {
    Segment& segment = segments_[index];
    if (segment.state == Segment::State::opening) {
        set_state(segment, Segment::State::writing);
        last_opened_ = index;
        home_gone(std::exchange(segment.previous, {}));
    }
}

void SegmentTable::close(std::uint32_t index) {
    Segment& segment = segments_[index];
    RINGMX_ASSERT(segment.state == Segment::State::writing);
    set_state(segment, segment.is_damaged ? Segment::State::sealed : Segment::State::full);
    reclaim();
}

void SegmentTable::seal(std::uint32_t index) {
    set_state(segments_[index], Segment::State::sealed);
    segments_[index].may_resume = false;
}

void SegmentTable::fail(std::uint32_t index) {
    Segment& failed = segments_[index];
    failed.may_resume = failed.may_resume || failed.state == Segment::State::writing;
    set_state(failed, Segment::State::sealed);
}

std::optional<std::uint32_t> SegmentTable::resume_last(std::uint64_t behind_bytes_max) {
    if (segments_.empty()) {
        return std::nullopt;
    }
    Segment& last = segments_[last_opened_];
    if (last.state != Segment::State::sealed || !last.may_resume || last.is_damaged ||
        last.used_bytes - last.durable_bytes > behind_bytes_max) {
        return std::nullopt;
    }
    set_state(last, Segment::State::writing);
    last.may_resume = false;
    return last_opened_;
}

void SegmentTable::note_damage(std::uint32_t index) {
    Segment& damaged = segments_[index];
    damaged.is_damaged = true;
    if (damaged.state == Segment::State::full) {
        seal(index);
    }
}

bool SegmentTable::seal_spare() {
    if (spares_.empty()) {
        return false;
    }
    seal(spares_.back());
    spares_.pop_back();
    return true;
}

void SegmentTable::seal_spares_not_written() {
    std::erase_if(spares_, [this](std::uint32_t index) {
        const bool is_sealed = !segments_[index].is_written && segments_[index].name.life != 0;
        if (is_sealed) {
            seal(index);
        }
        return is_sealed;
    });
}

bool SegmentTable::has_written_spare() const {
    return std::ranges::any_of(spares_,
                               [this](std::uint32_t index) { return segments_[index].is_written; });
}

void SegmentTable::seal_all() {
    for (std::uint32_t index = 0; index < count(); ++index) {
        const Segment::State state = segments_[index].state;
        if (state != Segment::State::leaving && state != Segment::State::discarded) {
            seal(index);
        }
    }
    spares_.clear();
}

std::uint64_t SegmentTable::spare_bytes(std::uint32_t kept) const {
    std::uint64_t bytes = 0;
    for (std::size_t place = 0; place + kept < spares_.size(); ++place) {
        bytes += segments_[spares_[place]].size_bytes - block_bytes;
    }
    return bytes;
}

void SegmentTable::set_state(Segment& segment, Segment::State state) {
    segment.state = state;
    look_.reset();
}

void SegmentTable::leave(std::uint32_t index) {
    set_state(segments_[index], Segment::State::leaving);
}

void SegmentTable::discarded(std::uint32_t index) {
    Segment& segment = segments_[index];
    RINGMX_ASSERT(
        (segment.state == Segment::State::sealed || segment.state == Segment::State::leaving) &&
        !is_needed(segment));
    set_state(segment, Segment::State::discarded);
    --files_count_;
    segment.descriptor = -1;
    home_gone(segment.previous);
    home_gone(segment.name);
}

void SegmentTable::hold(std::uint32_t index) {
    if (segments_[index].holds++ == 0) {
        note_needs(segments_[index]);
    }
}

void SegmentTable::release(std::uint32_t index) {
    Segment& segment = segments_[index];
    RINGMX_ASSERT(segment.holds > 0);
    if (--segment.holds == 0) {
        note_needs(segment);
    }
}

// Of one that is written to it says nothing yet what it holds.
void SegmentTable::note_needs(const Segment& segment) {
    if (segment.is_closed()) {
        look_.reset();
        reclaim();
    }
}

void SegmentTable::note_mark(std::uint32_t index, const SegmentName& home) {
    Segment& segment = segments_[index];
    if (home == segment.name) {
        return; // they go together
    }
    const auto known = std::ranges::find(segment.marked, home, &Segment::Marked::home);
    if (known != segment.marked.end()) {
        ++known->marks;
    } else if (may_be_there(home)) {
        segment.marked.push_back({home, 1});
        look_.reset();
    }
}

bool SegmentTable::may_be_there(const SegmentName& home) const {
    if (!is_own(home)) {
        return !gone_homes_.contains(home);
    }
    return std::ranges::any_of(segments_, [&](const Segment& segment) {
        return segment.state != Segment::State::discarded &&
               (segment.name == home || segment.previous == home);
    });
}

void SegmentTable::home_gone(const SegmentName& home) {
    if (!is_own(home)) { // a mark about it may be on its way to the disk
        gone_homes_.insert(home);
    }
    for (Segment& segment : segments_) {
        std::erase_if(segment.marked,
                      [&](const Segment::Marked& marked) { return marked.home == home; });
    }
    look_.reset();
    reclaim();
}

bool SegmentTable::is_needed(const Segment& segment) {
    RINGMX_MUTATE(recycled_with_live_marks, return segment.holds > 0);
    return segment.holds > 0 || !segment.marked.empty();
}

void SegmentTable::reclaim() {
    for (std::uint32_t index = 0; index < count(); ++index) {
        Segment& segment = segments_[index];
        if (segment.state == Segment::State::full && !is_needed(segment)) {
            set_state(segment, Segment::State::spare);
            spares_.push_back(index);
        }
    }
}

const SegmentTable::Look& SegmentTable::look() const {
    if (look_) {
        return *look_;
    }
    Look look;
    look.reclaimable_count = count_reclaimable();
    for (std::uint32_t index = count(); index > 0; --index) {
        const Segment& segment = segments_[index - 1];
        look.leaving_count += segment.state == Segment::State::leaving ? 1U : 0U;
        if (segment.state == Segment::State::sealed) {
            look.has_sealed_held = look.has_sealed_held || segment.holds > 0;
            if (!is_needed(segment)) {
                look.to_discard = index - 1; // in the end the first one
            }
        }
    }
    return look_.emplace(look);
}

bool SegmentTable::is_own(const SegmentName& name) const {
    return name.generation == generation_ && name.worker == worker_;
}

bool SegmentTable::waits_for_another_run(const Segment& segment) const {
    return segment.is_closed() && is_own(segment.name) &&
           !std::ranges::all_of(segment.marked, [this](const Segment::Marked& marked) {
               return is_own(marked.home);
           });
}

std::uint32_t SegmentTable::count_reclaimable() const {
    std::uint64_t oldest_needed = UINT64_MAX;
    for (const Segment& segment : segments_) {
        if ((segment.is_closed() && segment.holds > 0) || waits_for_another_run(segment)) {
            oldest_needed = std::min(oldest_needed, segment.name.life);
        }
    }
    return static_cast<std::uint32_t>(std::ranges::count_if(segments_, [&](const Segment& segment) {
        return segment.state == Segment::State::full && segment.holds == 0 &&
               segment.name.life < oldest_needed;
    }));
}

std::optional<std::uint32_t> SegmentTable::oldest_held(std::uint64_t behind_life) const {
    std::optional<std::uint32_t> oldest;
    for (std::uint32_t index = 0; index < count(); ++index) {
        const Segment& segment = segments_[index];
        if (segment.state == Segment::State::full && segment.holds > 0 &&
            segment.name.life > behind_life &&
            (!oldest || segment.name.life < segments_[*oldest].name.life)) {
            oldest = index;
        }
    }
    return oldest;
}

} // namespace ringmx::spool
