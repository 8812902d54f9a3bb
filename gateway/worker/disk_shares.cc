#include "worker/disk_shares.h"

#include "base/assert.h"

#include <algorithm>
#include <utility>

namespace ringmx::worker {

DiskShare DiskShares::take(std::uint16_t place) {
    RINGMX_ASSERT(free_ > 0);
    --free_;
    if (place != spool::no_pool) {
        auto holder = find(place);
        if (holder == holders_.end()) {
            holder = holders_.insert(holder, {.place = place});
        }
        ++holder->count;
        ++holder->undecided;
    }
    judge_holders();
    return {.place = place};
}

void DiskShares::give_back(const DiskShare& share) {
    ++free_;
    if (share.place != spool::no_pool) {
        const auto holder = find(share.place);
        RINGMX_ASSERT(holder != holders_.end());
        --holder->count;
        holder->undecided -= share.has_begun ? 0 : 1;
        judge(*holder);
        if (holder->count == 0) {
            holders_.erase(holder);
        }
    }
    judge_holders();
}

void DiskShares::note_wait(const DiskShare& share) {
    if (share.place != spool::no_pool) {
        window(share.place) = 1;
        judge(holder_of(share.place));
    }
}

void DiskShares::note_begin(DiskShare& share, bool at_once) {
    if (std::exchange(share.has_begun, true) || share.place == spool::no_pool) {
        return;
    }
    const auto holder = find(share.place);
    RINGMX_ASSERT(holder != holders_.end());
    --holder->undecided;
    if (at_once) {
        window(share.place) = std::min(2 * window(share.place), dispatches_max_);
    }
    judge(*holder);
}

void DiskShares::rest(std::uint16_t place) {
    if (std::ranges::find(resting_, place) == resting_.end()) {
        resting_.push_back(place);
        judge(holder_of(place));
    }
}

void DiskShares::end_rests() { judge_resting(std::exchange(resting_, {})); }

void DiskShares::places_changed() {
    judge_holders();
    judge_resting(resting_);
}

std::vector<DiskShares::Holder>::iterator DiskShares::find(std::uint16_t place) {
    return std::ranges::find(holders_, place, &Holder::place);
}

DiskShares::Holder DiskShares::holder_of(std::uint16_t place) const {
    const auto holder = std::ranges::find(holders_, place, &Holder::place);
    return holder != holders_.end() ? *holder : Holder{.place = place};
}

std::uint32_t& DiskShares::window(std::uint16_t place) {
    if (place >= windows_.size()) {
        windows_.resize(place + std::size_t{1}, dispatches_max_);
    }
    return windows_[place];
}

bool DiskShares::is_crowded(const Holder& holder) const {
    const auto [place, count, undecided] = holder;
    if (place == spool::no_pool || places_.pool_index(place) == WaitingPlaces::none ||
        !places_.are_several()) {
        return false;
    }
    const bool has_its_share = count > 0 && count >= share_of_free * free_;
    const bool fills_its_window = place < windows_.size() && undecided >= windows_[place];
    return has_its_share || fills_its_window ||
           std::ranges::find(resting_, place) != resting_.end();
}

void DiskShares::judge(const Holder& holder) {
    if (is_crowded(holder)) {
        index_.crowd(holder.place);
    } else {
        index_.uncrowd(holder.place);
    }
}

void DiskShares::judge_holders() {
    for (const Holder& holder : holders_) {
        judge(holder);
    }
}

void DiskShares::judge_resting(std::span<const std::uint16_t> resting) {
    for (const std::uint16_t place : resting) {
        judge(holder_of(place));
    }
}

} // namespace ringmx::worker
