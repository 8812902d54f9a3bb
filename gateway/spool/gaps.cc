#include "spool/gaps.h"

#include <algorithm>
#include <iterator>

namespace ringmx::spool {

void SegmentGaps::record(const RecordHeader& header) {
    const std::uint64_t stretch = stretch_of(header.sequence);
    const std::uint64_t stretch_begin = stretch * sequence_stretch;
    std::uint64_t expected = header.sequence;
    if (next_sequence_ == 0) {
        first_sequence_ = header.sequence;
        has_its_beginning_ = header.offset == block_bytes;
        expected -= has_its_beginning_ || header.sequence == stretch_begin ? 0 : 1;
    } else {
        expected = std::max(next_sequence_, stretch_begin);
    }
    if (expected < header.sequence) {
        holes_.push_back({expected, header.sequence});
    }
    if (header.in_doubt > 0) {
        std::uint64_t& sure = sure_[stretch];
        const std::uint64_t end = header.sequence + 1;
        sure = std::max(sure, end - std::min<std::uint64_t>(header.in_doubt, end));
    }
    next_sequence_ = header.sequence + 1;
}

std::uint64_t SegmentGaps::below(const Hole& hole, std::uint64_t sure) {
    return std::min(hole.end, sure) - std::min(hole.first, sure);
}

std::uint64_t SegmentGaps::lost() const {
    std::uint64_t lost = 0;
    for (const Hole& hole : holes_) {
        const auto sure = sure_.find(stretch_of(hole.first));
        lost += sure == sure_.end() ? 0 : below(hole, sure->second);
    }
    return lost;
}

void RunGaps::add(const SegmentName& name, const SegmentGaps& gaps) {
    for (const auto& [stretch, below] : gaps.sure_) {
        std::uint64_t& sure = sure_[{name.generation, name.worker, stretch}];
        sure = std::max(sure, below);
    }
    lives_[name] = gaps;
}

std::uint64_t RunGaps::lost_beside(const SegmentName& name) const {
    const auto found = lives_.find(name);
    if (found == lives_.end() || found->second.next_sequence_ == 0) {
        return 0;
    }
    const SegmentGaps& life = found->second;
    std::vector<SegmentGaps::Hole> holes = life.holes_;
    SegmentName behind = name;
    ++behind.life;
    const auto next = lives_.find(behind);
    if (next != lives_.end() && next->second.has_its_beginning_ &&
        stretch_of(next->second.first_sequence_) == stretch_of(life.next_sequence_)) {
        holes.push_back({life.next_sequence_, next->second.first_sequence_});
    }
    std::uint64_t lost = 0;
    for (const SegmentGaps::Hole& hole : holes) {
        const auto sure = sure_.find({name.generation, name.worker, stretch_of(hole.first)});
        lost += sure == sure_.end() ? 0 : SegmentGaps::below(hole, sure->second);
    }
    return lost - life.lost();
}

} // namespace ringmx::spool
