#include "worker/disk_shares.h"

#include "base/assert.h"

#include <algorithm>
#include <utility>

namespace ringmx::worker {

DiskShare DiskShares::take(std::uint16_t place) {
    RINGMX_ASSERT(free_ > 0);
    --free_;
    DiskShare share{.place = place};
    if (place != spool::no_pool) {
        count(place);
        ++use(place).undecided;
        if (const std::uint16_t pool = places_.pool_of(place); pool != place) {
            share.pool = pool;
            count(pool);
        }
    }
    judge_holders();
    return share;
}

void DiskShares::give_back(const DiskShare& share) {
    ++free_;
    waiting_ -= share.waits ? 1 : 0;
    if (share.place != spool::no_pool) {
        RINGMX_ASSERT(use_of(share.place).count > 0);
        --use(share.place).count;
        use(share.place).undecided -= share.has_begun ? 0 : 1;
    }
    if (share.pool != spool::no_pool) {
        RINGMX_ASSERT(use_of(share.pool).count > 0);
        --use(share.pool).count;
    }
    judge_holders();
    std::erase_if(holders_, [&](std::uint16_t place) { return uses_[place].count == 0; });
}

void DiskShares::note_wait(DiskShare& share) {
    if (share.place == spool::no_pool) {
        return;
    }
    if (places_.is_of_several(share.place)) {
        return; // they have no turns, and must not use up those of others
    }
    if (!share.has_begun && !std::exchange(share.waits, true)) {
        ++waiting_;
    }
    use(share.place).window = 1;
    judge(share.place);
}

void DiskShares::note_begin(DiskShare& share, bool at_once) {
    waiting_ -= std::exchange(share.waits, false) ? 1 : 0;
    if (std::exchange(share.has_begun, true) || share.place == spool::no_pool) {
        return;
    }
    Use& had = use(share.place);
    --had.undecided;
    if (at_once && had.window != 0) {
        had.window = std::min(2 * had.window, dispatches_max_);
    }
    judge(share.place);
}

void DiskShares::rest(std::uint16_t place) {
    if (!std::exchange(use(place).rests, true)) {
        resting_.push_back(place);
        judge(place);
    }
}

void DiskShares::end_rests() {
    const std::uint32_t waiting_max = dispatches_max_ / 2;
    const auto ended =
        resting_.begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(
                               waiting_max - std::min(waiting_max, waiting_), resting_.size()));
    const std::vector<std::uint16_t> awake(resting_.begin(), ended);
    resting_.erase(resting_.begin(), ended);
    for (const std::uint16_t place : awake) {
        use(place).rests = false;
        judge(place);
    }
    for (const std::uint16_t place : resting_) {
        judge(place); // it may be out
    }
    judge_holders();
}

bool DiskShares::need_watch() const {
    const auto may_be_out = [&](std::uint16_t place) { return places_.may_be_out(place); };
    return !resting_.empty() || std::ranges::any_of(holders_, may_be_out);
}

void DiskShares::places_changed() {
    for (std::uint16_t place = 0; place < places_.count(); ++place) {
        if (place < uses_.size()) {
            uses_[place].has_share = has_share(place);
        }
        judge(place);
    }
}

DiskShares::Use& DiskShares::use(std::uint16_t place) {
    if (place >= uses_.size()) {
        uses_.resize(place + std::size_t{1});
    }
    return uses_[place];
}

void DiskShares::count(std::uint16_t place) {
    if (use(place).count++ == 0) {
        holders_.push_back(place);
    }
}

// A pool, or what is of none any more.
bool DiskShares::has_share(std::uint16_t pool) const {
    const std::uint32_t count = use_of(pool).count;
    return places_.are_several_pools() && count > 0 && count >= share_of_free * free_;
}

// How many more it may have, if nobody else takes any.
std::uint32_t DiskShares::left_to(std::uint16_t pool) const {
    if (!places_.are_several_pools()) {
        return free_;
    }
    const std::uint32_t bound = share_of_free * free_;
    const std::uint32_t count = std::min(use_of(pool).count, bound);
    return (bound - count + share_of_free) / (share_of_free + 1);
}

bool DiskShares::is_crowded(std::uint16_t place) const {
    if (place == spool::no_pool || places_.pool_index(place) == WaitingPlaces::none) {
        return false;
    }
    const std::uint16_t pool = places_.pool_of(place);
    if (has_share(pool)) {
        return true;
    }
    const bool is_alone = place == pool && !places_.are_several_pools();
    if (is_alone || places_.is_out(place)) {
        return false;
    }
    const Use use = use_of(place);
    const bool has_its_part =
        place != pool && use.count > 0 && use.count >= share_of_free * left_to(pool);
    const bool fills_its_window = use.window != 0 && use.undecided >= use.window;
    return has_its_part || fills_its_window || use.rests;
}

void DiskShares::judge(std::uint16_t place) {
    if (is_crowded(place)) {
        index_.crowd(place);
    } else {
        index_.uncrowd(place);
    }
}

// All of them, whether they have some or not: their pool has reached its share, or left it.
void DiskShares::judge_parts(std::uint16_t pool) {
    if (use(pool).has_share != has_share(pool)) {
        use(pool).has_share = has_share(pool);
        for (const std::uint16_t part : places_.parts_of(pool)) {
            judge(part);
        }
    }
}

void DiskShares::judge_holders() {
    for (const std::uint16_t place : holders_) {
        if (places_.pool_of(place) == place) {
            judge_parts(place);
        }
        judge(place);
    }
}

} // namespace ringmx::worker
