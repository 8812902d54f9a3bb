#include "policy/verification_cache.h"

#include "base/ascii.h"
#include "base/assert.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <fmt/format.h>
#include <system_error>
#include <xxhash.h>

namespace ringmx::policy {
namespace {

// Times are kept in these: 32 bits of them are over eight years.
constexpr Duration tick = 64ms;
// Stands in a kept text where the recipient was named; no reply has it (a control).
constexpr char recipient_mark = '\1';
constexpr std::string_view plain_text = "Recipient address rejected";
// Room that is asked for at once, and costs nothing until it is used.
constexpr std::size_t entries_reserved_max = std::size_t{4} << 20U;

std::uint32_t ticks_at(Instant time) {
    const auto ticks = time.time_since_epoch() / tick;
    return static_cast<std::uint32_t>(std::clamp<std::int64_t>(ticks, 0, UINT32_MAX - 1));
}

// What the backend said, with a mark wherever it named the recipient, so that such a reply is one
// text for all recipients.
std::string marked(std::string_view text, std::string_view mailbox) {
    std::string out;
    text = text.substr(0, ReplyTable::text_bytes_max);
    while (!text.empty()) {
        if (!mailbox.empty() && equal_ignoring_case(text.substr(0, mailbox.size()), mailbox)) {
            out += recipient_mark;
            text.remove_prefix(mailbox.size());
        } else {
            out += text.front() == recipient_mark ? '?' : text.front();
            text.remove_prefix(1);
        }
    }
    return out;
}

// "5.1.1 words"
std::string with_status(const RecipientRefusal& refusal, std::string_view words) {
    return fmt::format("{}.{}.{} {}", refusal.enhanced[0], refusal.enhanced[1], refusal.enhanced[2],
                       words);
}

// What with_status() has made.
RecipientRefusal read_refusal(std::uint16_t code, std::string_view text) {
    RecipientRefusal refusal{code, {}, text};
    for (std::uint16_t& number : refusal.enhanced) {
        const char* const end = refusal.text.data() + refusal.text.size();
        const auto [stop, error] = std::from_chars(refusal.text.data(), end, number);
        RINGMX_ASSERT(error == std::errc() && stop != end);
        refusal.text.remove_prefix(static_cast<std::size_t>(stop - refusal.text.data()) + 1);
    }
    return refusal;
}

} // namespace

VerificationCache::VerificationCache(std::uint32_t entries_max, std::uint64_t seed)
    : entries_max_(entries_max), seed_(seed),
      index_(std::bit_ceil(std::size_t{entries_max_} + entries_max_ / 2 + 1)) {
    entries_.reserve(std::min<std::size_t>(entries_max_, entries_reserved_max));
}

VerificationCache::Key VerificationCache::key_of(std::string_view pool,
                                                 std::string_view recipient) const {
    // One hash keys the other: no text of both could be read in two ways.
    const std::uint64_t pool_seed = XXH3_64bits_withSeed(pool.data(), pool.size(), seed_);
    const XXH128_hash_t hash =
        XXH3_128bits_withSeed(recipient.data(), recipient.size(), pool_seed ^ seed_);
    return {hash.high64, hash.low64};
}

std::size_t VerificationCache::place_of(const Key& key) const {
    std::size_t place = home_of(key);
    while (index_[place] != 0 && entries_[index_[place] - 1].key != key) {
        place = (place + 1) & (index_.size() - 1);
    }
    return place;
}

std::optional<VerificationCache::Answer> VerificationCache::find(const Key& key, Instant now) {
    const std::uint32_t found = index_[place_of(key)];
    if (found == 0) {
        return std::nullopt;
    }
    const Entry& entry = entries_[found - 1];
    if (ticks_at(now) >= entry.expires) {
        forget(found - 1);
        return std::nullopt;
    }
    return answer_of(entry);
}

VerificationCache::Answer VerificationCache::answer_of(const Entry& entry) const {
    if (entry.code == 0) {
        return {};
    }
    const std::string_view text = replies_.text(entry.reply);
    return {text.empty() ? RecipientRefusal{entry.code, {5, 1, 1}, plain_text}
                         : read_refusal(entry.code, text)};
}

std::string VerificationCache::text_for(const Answer& answer, std::string_view mailbox) {
    std::string text;
    for (const char octet : answer.refusal.text) {
        if (octet == recipient_mark) {
            text += mailbox;
        } else {
            text += octet;
        }
    }
    return text;
}

void VerificationCache::accept(const Key& key, Instant now, Duration time) {
    put(key, 0, 0, now, time);
}

void VerificationCache::refuse(const Key& key, const RecipientRefusal& refusal,
                               std::string_view mailbox, Instant now, Duration time) {
    RINGMX_ASSERT(refusal.code != 0);
    const std::uint16_t reply = replies_.take(with_status(refusal, marked(refusal.text, mailbox)),
                                              with_status(refusal, plain_text));
    put(key, refusal.code, reply, now, time);
}

void VerificationCache::put(const Key& key, std::uint16_t code, std::uint16_t reply, Instant now,
                            Duration time) {
    if (const std::uint32_t known = index_[place_of(key)]; known != 0) {
        forget(known - 1);
    }
    if (entries_max_ == 0) {
        replies_.release(reply);
        return;
    }
    if (entries_.size() < entries_max_) {
        next_ = static_cast<std::uint32_t>(entries_.size());
        entries_.emplace_back();
    } else {
        next_ = next_ + 1 < entries_max_ ? next_ + 1 : 0;
        if (entries_[next_].expires != 0) {
            forget(next_);
        }
    }
    entries_[next_] = {key, ticks_at(now + time) + 1, reply, code};
    index_[place_of(key)] = next_ + 1;
    ++used_;
    ++put_total_;
}

// Closes the gap that it leaves in the index, so that no lookup ends there too early.
void VerificationCache::forget(std::uint32_t position) {
    Entry& entry = entries_[position];
    std::size_t gap = place_of(entry.key);
    const std::size_t mask = index_.size() - 1;
    for (std::size_t place = (gap + 1) & mask; index_[place] != 0; place = (place + 1) & mask) {
        const std::size_t home = home_of(entries_[index_[place] - 1].key);
        if (((place - home) & mask) >= ((place - gap) & mask)) {
            index_[gap] = index_[place];
            gap = place;
        }
    }
    index_[gap] = 0;
    replies_.release(entry.reply);
    entry.expires = 0;
    --used_;
}

void VerificationCache::purge() {
    entries_.clear();
    std::ranges::fill(index_, 0);
    next_ = 0;
    used_ = 0;
    replies_ = {};
}

bool VerificationCache::purge(const Key& key) {
    const std::uint32_t found = index_[place_of(key)];
    if (found != 0) {
        forget(found - 1);
    }
    return found != 0;
}

std::optional<VerificationCache::Listed> VerificationCache::look_up(const Key& key,
                                                                    Instant now) const {
    const std::uint32_t found = index_[place_of(key)];
    return found == 0 ? std::nullopt : listed(entries_[found - 1], now);
}

std::optional<VerificationCache::Listed> VerificationCache::listed(const Entry& entry,
                                                                   Instant now) const {
    const std::uint32_t ticks = ticks_at(now);
    if (ticks >= entry.expires) {
        return std::nullopt;
    }
    return Listed{entry.key, answer_of(entry), (entry.expires - ticks) * tick};
}

// Places are numbered by put_total_: the oldest that there still is has the number
// put_total_ - entries_.size(). A cursor is one more than the number of the next.
std::size_t VerificationCache::list(std::uint64_t& cursor, std::span<Listed> page,
                                    Instant now) const {
    const std::uint64_t oldest = put_total_ - entries_.size();
    std::uint64_t number = std::max(cursor == 0 ? 0 : cursor - 1, oldest);
    const std::uint64_t end = std::min(put_total_, number + looks_max);
    std::size_t count = 0;
    for (; number < end && count < page.size(); ++number) {
        const auto behind_newest = static_cast<std::uint32_t>(put_total_ - 1 - number);
        const std::uint32_t size = static_cast<std::uint32_t>(entries_.size());
        if (const auto one = listed(entries_[(next_ + size - behind_newest) % size], now)) {
            page[count++] = *one;
        }
    }
    cursor = number < put_total_ ? number + 1 : 0;
    return count;
}

std::size_t VerificationCache::memory_bytes() const {
    return entries_.capacity() * sizeof(Entry) + index_.capacity() * sizeof(std::uint32_t);
}

} // namespace ringmx::policy
