#include "sink/greylist.h"

#include <xxhash.h>

namespace ringmx::sink {

bool Greylist::passes(std::string_view sender, std::string_view recipient, Instant now) {
    const std::uint64_t pair = XXH3_64bits_withSeed(recipient.data(), recipient.size(),
                                                    XXH3_64bits(sender.data(), sender.size()));
    const std::lock_guard guard(mutex_);
    const auto [entry, is_new] = first_seen_.try_emplace(pair, now);
    if (!is_new) {
        return now - entry->second >= delay_;
    }
    if (in_order_.size() < entries_) {
        in_order_.push_back(pair);
    } else {
        first_seen_.erase(in_order_[oldest_]);
        in_order_[oldest_] = pair;
        oldest_ = (oldest_ + 1) % entries_;
    }
    return false;
}

} // namespace ringmx::sink
