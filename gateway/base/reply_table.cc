#include "base/reply_table.h"

#include "base/assert.h"

namespace ringmx {

std::string_view kept_reply(std::string_view text) {
    if (text.size() <= ReplyTable::text_bytes_max) {
        return text;
    }
    std::size_t end = ReplyTable::text_bytes_max;
    while (end > ReplyTable::text_bytes_max - 4 &&
           (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) {
        --end;
    }
    return text.substr(0, end);
}

std::uint16_t ReplyTable::take(std::string_view text, std::string_view fallback) {
    return take_within(text, fallback, texts_max - fallbacks_reserved);
}

std::uint16_t ReplyTable::take_lesser(std::string_view text, std::string_view fallback) {
    return take_within(text, fallback, lesser_max);
}

std::uint16_t ReplyTable::take_within(std::string_view text, std::string_view fallback,
                                      std::size_t room) {
    const std::uint16_t index = take_if_room(kept_reply(text), room);
    return index != 0 || text.empty() ? index : take_if_room(kept_reply(fallback), texts_max);
}

void ReplyTable::release(std::uint16_t index) {
    if (index == 0) {
        return;
    }
    Texts::pointer& text = by_index_[index - 1U];
    RINGMX_ASSERT(text != nullptr && text->second.takes > 0);
    if (--text->second.takes == 0) {
        text_bytes_ -= text->first.capacity();
        texts_.erase(texts_.find(text->first));
        text = nullptr;
        free_.push_back(index);
    }
}

std::string_view ReplyTable::text(std::uint16_t index) const {
    return index == 0 ? std::string_view{} : by_index_[index - 1U]->first;
}

std::size_t ReplyTable::memory_bytes() const {
    constexpr std::size_t node_bytes = sizeof(Texts::value_type) + 2 * sizeof(void*);
    return texts_.size() * node_bytes + text_bytes_ + texts_.bucket_count() * sizeof(void*) +
           by_index_.capacity() * sizeof(Texts::pointer) + free_.capacity() * sizeof(free_[0]);
}

std::uint16_t ReplyTable::take_if_room(std::string_view text, std::size_t room) {
    if (text.empty()) {
        return 0;
    }
    auto found = texts_.find(text);
    if (found == texts_.end()) {
        if (texts_.size() >= room) {
            return 0;
        }
        if (free_.empty()) {
            by_index_.push_back(nullptr);
            free_.push_back(static_cast<std::uint16_t>(by_index_.size()));
        }
        found = texts_.emplace(text, Use{free_.back(), 0}).first;
        free_.pop_back();
        by_index_[found->second.index - 1U] = &*found;
        text_bytes_ += found->first.capacity();
    }
    ++found->second.takes;
    return found->second.index;
}

} // namespace ringmx
