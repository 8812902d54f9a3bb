// The queue's index: what was said of a message's recipients, and what only few messages have.
#include "spool/queue_index.h"

#include <algorithm>
#include <utility>

namespace ringmx::spool {

namespace {

// A node of the map: the value, three pointers and a colour.
constexpr std::size_t extra_node_bytes =
    sizeof(std::pair<const QueueIndex::Slot, QueueExtra>) + 4 * sizeof(void*);

std::string_view code_of(std::string_view reply) { return reply.substr(0, 3); }

} // namespace

void QueueIndex::set_last_replies(Slot slot, std::span<const LastReply> replies) {
    std::uint16_t number = patterns_.take(parts_of(slot, replies, false));
    if (number == 0) {
        number = patterns_.take_plain(parts_of(slot, replies, true));
    }
    patterns_.release(std::exchange(at(slot).last_reply, number));
}

// Each reply taken once for each part.
ReplyPatterns::Parts QueueIndex::parts_of(Slot slot, std::span<const LastReply> replies,
                                          bool is_plain) {
    ReplyPatterns::Parts parts;
    for (const auto& [recipient, given] : replies) {
        const std::string_view text = given ? *given : last_reply(slot, recipient);
        const std::string_view code = code_of(text);
        append_part(parts, recipient, replies_.take(is_plain ? code : text, code));
    }
    return parts;
}

void QueueIndex::append_part(ReplyPatterns::Parts& parts, std::uint32_t recipient,
                             std::uint16_t reply) {
    if (parts.empty()) {
        parts.push_back({0, reply});
    } else if (parts.back().reply != reply) {
        parts.push_back({recipient, reply});
    } else {
        replies_.release(reply);
    }
}

const QueueExtra* QueueIndex::extra(Slot slot) const {
    return at(slot).has_extra ? &extras_.find(slot)->second : nullptr;
}

void QueueIndex::settle(Slot slot, std::uint32_t recipient, RecipientState state,
                        std::string_view text, std::string_view fallback) {
    std::vector<QueueExtra::Settled>& settled = make_extra(slot).settled;
    const auto place = std::ranges::lower_bound(settled, recipient, {}, //
                                                &QueueExtra::Settled::recipient);
    // Each message that was delivered may have a text of its own, its number there.
    const std::uint16_t reply = state == RecipientState::delivered
                                    ? replies_.take_lesser(text, fallback)
                                    : replies_.take(text, fallback);
    if (place != settled.end() && place->recipient == recipient) {
        replies_.release(place->reply);
        *place = {recipient, state, reply};
        return;
    }
    const std::size_t capacity = settled.capacity();
    settled.insert(place, {recipient, state, reply});
    extra_bytes_ += (settled.capacity() - capacity) * sizeof(QueueExtra::Settled);
}

void QueueIndex::unsettle_failed(Slot slot) {
    if (!at(slot).has_extra) {
        return;
    }
    std::vector<QueueExtra::Settled>& settled = extras_.find(slot)->second.settled;
    std::map<std::uint32_t, std::optional<std::string_view>> parts; // by their first
    for (const ReplyPatterns::Part& part : patterns_.parts(at(slot).last_reply)) {
        parts.try_emplace(part.first);
    }
    for (const QueueExtra::Settled& one : settled) {
        if (one.state == RecipientState::failed) {
            parts[one.recipient] = reply(one.reply);
            if (one.recipient + 1 < at(slot).recipients_count) {
                parts.try_emplace(one.recipient + 1);
            }
        }
    }
    std::vector<LastReply> replies;
    replies.reserve(parts.size());
    for (const auto& [first, text] : parts) {
        replies.push_back({first, text});
    }
    set_last_replies(slot, replies);
    std::erase_if(settled, [&](const QueueExtra::Settled& one) {
        if (one.state != RecipientState::failed) {
            return false;
        }
        replies_.release(one.reply);
        return true;
    });
}

void QueueIndex::set_chunk_segments(Slot slot, std::vector<std::uint32_t> segments) {
    std::vector<std::uint32_t>& kept = make_extra(slot).chunk_segments;
    segments.shrink_to_fit();
    extra_bytes_ -= kept.capacity() * sizeof(kept[0]);
    kept = std::move(segments);
    extra_bytes_ += kept.capacity() * sizeof(kept[0]);
}

QueueExtra& QueueIndex::make_extra(Slot slot) {
    QueueEntry& entry = at(slot);
    if (!entry.has_extra) {
        entry.has_extra = true;
        extra_bytes_ += extra_node_bytes;
    }
    return extras_[slot];
}

void QueueIndex::drop_extra(Slot slot) {
    if (!at(slot).has_extra) {
        return;
    }
    const auto found = extras_.find(slot);
    for (const QueueExtra::Settled& one : found->second.settled) {
        replies_.release(one.reply);
    }
    extra_bytes_ -= extra_node_bytes +
                    found->second.settled.capacity() * sizeof(QueueExtra::Settled) +
                    found->second.chunk_segments.capacity() * sizeof(std::uint32_t);
    extras_.erase(found);
    at(slot).has_extra = false;
}

} // namespace ringmx::spool
