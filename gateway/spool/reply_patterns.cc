#include "spool/reply_patterns.h"

#include "base/assert.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace ringmx::spool {

std::uint16_t ReplyPatterns::take(Parts parts) {
    return take_within(std::move(parts), patterns_max - plain_reserved,
                       parts_max - plain_parts_reserved);
}

std::uint16_t ReplyPatterns::take_plain(Parts parts) {
    return take_within(std::move(parts), patterns_max, parts_max);
}

std::uint16_t ReplyPatterns::take_within(Parts parts, std::size_t patterns, std::size_t room) {
    RINGMX_ASSERT(!parts.empty() && parts.front().first == 0);
    if (parts.size() == 1) {
        return parts.front().reply;
    }
    auto found = patterns_.find(parts);
    const bool has_room = patterns_.size() < patterns && parts_count_ + parts.size() <= room;
    if (found != patterns_.end() || !has_room) {
        release_replies(parts);
    }
    if (found == patterns_.end()) {
        if (!has_room) {
            return 0;
        }
        if (free_.empty()) {
            free_.push_back(static_cast<std::uint16_t>(by_index_.size()));
            by_index_.push_back(nullptr);
        }
        parts_count_ += parts.size();
        parts.shrink_to_fit();
        found = patterns_.emplace(std::move(parts), Use{free_.back(), 0}).first;
        free_.pop_back();
        by_index_[found->second.index] = &*found;
    }
    ++found->second.takes;
    return pattern_bit | found->second.index;
}

void ReplyPatterns::release(std::uint16_t number) {
    if ((number & pattern_bit) == 0) {
        replies_.release(number);
        return;
    }
    Patterns::pointer& place = by_index_[number & ~pattern_bit];
    RINGMX_ASSERT(place != nullptr && place->second.takes > 0);
    if (--place->second.takes > 0) {
        return;
    }
    release_replies(place->first);
    parts_count_ -= place->first.size();
    free_.push_back(place->second.index);
    patterns_.erase(patterns_.find(place->first));
    place = nullptr;
}

void ReplyPatterns::release_replies(const Parts& parts) {
    for (const Part& part : parts) {
        replies_.release(part.reply);
    }
}

std::uint16_t ReplyPatterns::reply(std::uint16_t number, std::uint32_t recipient) const {
    if ((number & pattern_bit) == 0) {
        return number;
    }
    const Parts& parts = pattern(number).first;
    return std::prev(std::ranges::upper_bound(parts, recipient, {}, &Part::first))->reply;
}

ReplyPatterns::Parts ReplyPatterns::parts(std::uint16_t number) const {
    return (number & pattern_bit) == 0 ? Parts{{0, number}} : pattern(number).first;
}

const ReplyPatterns::Patterns::value_type& ReplyPatterns::pattern(std::uint16_t number) const {
    const Patterns::pointer place = by_index_[number & ~pattern_bit];
    RINGMX_ASSERT(place != nullptr);
    return *place;
}

std::size_t ReplyPatterns::memory_bytes() const {
    // A node of the map: the value, three pointers and a colour.
    constexpr std::size_t node_bytes = sizeof(Patterns::value_type) + 4 * sizeof(void*);
    return patterns_.size() * node_bytes + parts_count_ * sizeof(Part) +
           by_index_.capacity() * sizeof(Patterns::pointer) + free_.capacity() * sizeof(free_[0]);
}

} // namespace ringmx::spool
