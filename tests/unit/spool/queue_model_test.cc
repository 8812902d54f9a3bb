// The queue's index against a plain model, which does the same by looking at everything: random
// operations, by seed.
//
// RINGMX_QUEUE_SEED=S runs that one seed.
#include "spool/queue_index.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <gtest/gtest.h>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace ringmx::spool {
namespace {

constexpr std::uint16_t pools_count = 4;
constexpr int looked_at_max = 64; // what one next_due() looks at, and what it passes over
constexpr std::size_t actions_count = 11;
constexpr std::uint32_t recipients_count = 5;
constexpr std::int64_t tick_ns = 1LL << 27U;

struct Known {
    std::int64_t age = 0; // negative for adopted mail
    QueueState state = QueueState::active;
    std::optional<std::int64_t> tick; // of its next attempt
    bool is_ready = false;            // its time was seen to have come
    bool is_aside = false;            // and then it was passed over
    std::uint16_t pool = no_pool;
    std::uint64_t stored_bytes = 0;
    std::array<std::string, recipients_count> replies; // of those who pend
    std::map<std::uint32_t, std::pair<RecipientState, std::string>> settled;

    [[nodiscard]] bool waits_for_pool() const {
        return state == QueueState::parked || state == QueueState::pool_hold;
    }
};

class Comparison {
  public:
    explicit Comparison(std::uint64_t seed) : random_(seed) {
        std::array<double, actions_count> weights{};
        for (double& weight : weights) {
            weight = static_cast<double>(1 + below(20)); // each seed has a mixture of its own
        }
        draw_ = std::discrete_distribution<std::size_t>(weights.begin(), weights.end());
    }

    void run() {
        for (int times = 0; times < 4000 && !testing::Test::HasFailure(); ++times) {
            act();
            compare_sums();
            if (times % 256 == 0) {
                compare_all();
            }
        }
        compare_all();
        while (!known_.empty() && !testing::Test::HasFailure()) {
            erase();
        }
        compare_all();
        compare_sums();
    }

  private:
    std::uint64_t below(std::uint64_t end) { return random_() % end; }
    bool chance(std::uint64_t of) { return below(of) == 0; }

    void act() {
        static constexpr void (Comparison::* actions[])() = {
            &Comparison::add,      &Comparison::erase, &Comparison::schedule, &Comparison::park,
            &Comparison::hold,     &Comparison::wake,  &Comparison::take_due, &Comparison::page,
            &Comparison::annotate, &Comparison::crowd, &Comparison::name_pool};
        static_assert(std::size(actions) == actions_count);
        (this->*actions[draw_(random_)])();
    }

    // Any message, by its id; none if there is none.
    std::optional<std::uint64_t> any() {
        if (known_.empty()) {
            return std::nullopt;
        }
        const auto found = known_.lower_bound(random_());
        return found != known_.end() ? found->first : known_.begin()->first;
    }
    QueueIndex::Slot slot_of(std::uint64_t id) {
        const auto slot = index_.find(id);
        EXPECT_TRUE(slot);
        return slot.value_or(0);
    }
    // As the index keeps it.
    static std::int64_t tick_of(Instant instant) {
        return instant.time_since_epoch().count() / tick_ns;
    }
    Instant some_time() {
        return now_ + Duration{static_cast<std::int64_t>(below(64)) * tick_ns / 8};
    }

    void add() {
        for (std::uint64_t left = 1 + below(20); left > 0; --left) {
            const std::uint64_t id = random_();
            const bool is_adopted = chance(3);
            Known& known = known_[id];
            known.age = is_adopted ? INT64_MIN + ++added_ : ++added_;
            known.stored_bytes = below(1000);
            const QueueIndex::Message message{
                .id = id, .stored_bytes = known.stored_bytes, .recipients_count = recipients_count};
            (void)(is_adopted ? index_.adopt(message) : index_.add(message));
        }
    }

    void erase() {
        for (std::uint64_t left = 1 + below(20); left > 0 && !known_.empty(); --left) {
            const std::uint64_t id = *any();
            index_.erase(slot_of(id));
            known_.erase(id);
            ASSERT_EQ(index_.find(id), std::nullopt);
            forget_empty_pools();
        }
    }

    // What it waited for, it does not any more.
    Known& settle(std::uint64_t id, QueueState state) {
        Known& known = known_.at(id);
        known.tick.reset();
        known.is_ready = false;
        known.is_aside = false;
        known.state = state;
        forget_empty_pools();
        return known;
    }
    // A pool is awake as long as somebody waits for it.
    void forget_empty_pools() {
        std::erase_if(awake_, [&](std::uint16_t pool) {
            return std::ranges::none_of(known_, [&](const auto& one) {
                return one.second.waits_for_pool() && one.second.pool == pool;
            });
        });
    }

    void schedule() {
        const Instant when = some_time();
        for (std::uint64_t left = chance(10) ? 200 : 1; left > 0 && !known_.empty(); --left) {
            const std::uint64_t id = *any();
            settle(id, QueueState::due).tick = tick_of(when);
            index_.set_due(slot_of(id), when);
        }
    }

    void park() {
        for (std::uint64_t left = 1 + below(8); left > 0 && !known_.empty(); --left) {
            const std::uint64_t id = *any();
            const auto pool = static_cast<std::uint16_t>(below(pools_count));
            const bool is_held = chance(4);
            const Instant second_line = chance(3) ? never : some_time();
            Known& known = settle(id, is_held ? QueueState::pool_hold : QueueState::parked);
            known.pool = pool;
            awake_.erase(pool);
            if (is_held) {
                index_.hold_for_pool(slot_of(id), pool);
            } else {
                if (second_line != never) {
                    known.tick = tick_of(second_line);
                }
                index_.park(slot_of(id), pool, second_line);
            }
        }
    }

    void hold() {
        const auto id = any();
        if (!id) {
            return;
        }
        switch (below(3)) {
        case 0:
            settle(*id, QueueState::on_hold);
            return index_.hold(slot_of(*id));
        case 1:
            settle(*id, QueueState::failed);
            return index_.fail(slot_of(*id));
        default:
            settle(*id, QueueState::active);
            return index_.set_active(slot_of(*id));
        }
    }

    void wake() {
        const auto pool = static_cast<std::uint16_t>(below(pools_count + 1));
        index_.wake(pool);
        awake_.insert(pool);
        forget_empty_pools();
    }

    void crowd() {
        const auto pool = static_cast<std::uint16_t>(below(pools_count));
        if (chance(2)) {
            crowded_.erase(pool);
            return index_.uncrowd(pool);
        }
        if (std::ranges::any_of(known_, [&](const auto& one) { return one.second.pool == pool; })) {
            crowded_.insert(pool);
            index_.crowd(pool);
        }
    }

    void name_pool() {
        const auto id = any();
        if (id && !known_.at(*id).waits_for_pool() && !known_.at(*id).is_aside) {
            known_.at(*id).pool =
                chance(4) ? no_pool : static_cast<std::uint16_t>(below(pools_count));
            index_.set_pool(slot_of(*id), known_.at(*id).pool);
        }
    }

    [[nodiscard]] bool is_crowded(const Known& known) const {
        return crowded_.contains(known.pool);
    }
    // The oldest, or nothing if that has to be passed over; at most so many of those are.
    std::optional<std::uint64_t> pass_over_crowded() {
        std::map<std::int64_t, std::uint64_t> ready; // ids by age
        for (const auto& [id, known] : known_) {
            if (known.is_ready && !known.is_aside) {
                ready.emplace(known.age, id);
            }
        }
        int passed = 0;
        for (const auto& [age, id] : ready) {
            Known& known = known_.at(id);
            if (!is_crowded(known)) {
                break;
            }
            if (passed++ == looked_at_max) {
                return std::nullopt;
            }
            known.is_aside = true;
        }
        std::optional<std::uint64_t> oldest;
        for (const auto& [id, known] : known_) {
            if (is_ready(known) && !is_crowded(known) &&
                (!oldest || known.age < known_.at(*oldest).age)) {
                oldest = id;
            }
        }
        return oldest;
    }

    [[nodiscard]] bool is_ready(const Known& known) const {
        return known.is_ready || (known.waits_for_pool() && awake_.contains(known.pool));
    }

    // Those whose time has come, at most so many of the earliest.
    void look_at_times() {
        using Candidate = std::tuple<std::int64_t, std::int64_t, Known*>;
        std::vector<Candidate> candidates;
        for (auto& [id, known] : known_) {
            if (known.tick && !known.is_ready && *known.tick <= tick_of(now_)) {
                candidates.emplace_back(*known.tick, known.age, &known);
            }
        }
        std::ranges::sort(candidates);
        candidates.resize(std::min<std::size_t>(candidates.size(), looked_at_max));
        for (const Candidate& candidate : candidates) {
            Known& known = *std::get<Known*>(candidate);
            known.is_ready = true;
            known.state = QueueState::due;
        }
        forget_empty_pools();
    }

    void take_due() {
        now_ += Duration{static_cast<std::int64_t>(below(16)) * tick_ns / 8};
        for (std::uint64_t left = 1 + below(30); left > 0; --left) {
            const auto slot = index_.next_due(now_);
            look_at_times();
            const std::optional<std::uint64_t> expected = pass_over_crowded();
            ASSERT_EQ(slot.has_value(), expected.has_value());
            if (!slot) {
                return;
            }
            ASSERT_EQ(index_.at(*slot).id, *expected);
            ASSERT_EQ(index_.state(*slot), QueueState::due);
            if (chance(2)) {
                settle(*expected, QueueState::active);
                index_.set_active(*slot);
            } else {
                index_.erase(*slot);
                known_.erase(*expected);
                forget_empty_pools();
            }
        }
    }

    // Goes on from where an earlier page ended, whatever has happened since.
    void page() {
        std::vector<std::pair<std::int64_t, std::uint64_t>> expected;
        for (const auto& [id, known] : known_) {
            if (!page_begins_ || known.age > *page_begins_) {
                expected.emplace_back(known.age, id);
            }
        }
        std::ranges::sort(expected);
        expected.resize(std::min<std::size_t>(expected.size(), 1 + below(50)));
        for (const auto& [age, id] : expected) {
            const auto slot = index_.first_after(cursor_);
            ASSERT_TRUE(slot);
            ASSERT_EQ(index_.at(*slot).id, id);
            cursor_ = index_.at(*slot).age;
            page_begins_ = age;
        }
        if (expected.empty()) {
            ASSERT_EQ(index_.first_after(cursor_), std::nullopt);
            cursor_ = 0;
            page_begins_.reset();
        }
    }

    void annotate() {
        const auto id = any();
        if (!id) {
            return;
        }
        Known& known = known_.at(*id);
        const QueueIndex::Slot slot = slot_of(*id);
        const std::string text = "45" + std::to_string(below(100));
        const auto recipient = static_cast<std::uint32_t>(below(recipients_count));
        switch (below(4)) {
        case 0:
            return reply_to_some(known, slot);
        case 1: {
            const RecipientState state =
                chance(2) ? RecipientState::failed : RecipientState::delivered;
            known.settled[recipient] = {state, text};
            return index_.settle(slot, recipient, state, text, "");
        }
        case 2:
            std::erase_if(known.settled, [&](const auto& one) {
                const bool has_failed = one.second.first == RecipientState::failed;
                if (has_failed) {
                    known.replies.at(one.first) = one.second.second;
                }
                return has_failed;
            });
            return index_.unsettle_failed(slot);
        default:
            known.stored_bytes = below(1000);
            return index_.set_stored_bytes(slot, known.stored_bytes);
        }
    }

    void reply_to_some(Known& known, QueueIndex::Slot slot) {
        std::vector<QueueIndex::LastReply> replies;
        for (std::uint32_t recipient = 0; recipient < recipients_count; ++recipient) {
            if (known.settled.contains(recipient)) {
                continue;
            }
            replies.push_back({recipient, {}});
            if (chance(2)) {
                known.replies.at(recipient) = "45" + std::to_string(below(3));
                replies.back().text = known.replies.at(recipient);
            }
        }
        if (!replies.empty()) {
            index_.set_last_replies(slot, replies);
        }
    }

    void compare_sums() {
        std::array<QueueIndex::Sum, queue_states_count> expected{};
        Instant deadline = never;
        for (const auto& [id, known] : known_) {
            const QueueState state = is_ready(known) ? QueueState::due : known.state;
            ++expected[static_cast<std::size_t>(state)].messages;
            expected[static_cast<std::size_t>(state)].stored_bytes += known.stored_bytes;
            // What is still to be passed over is something to do.
            const bool is_to_be_passed = known.is_ready && !known.is_aside;
            if (is_ready(known) && (is_to_be_passed || !is_crowded(known))) {
                deadline = Instant::min();
            } else if (known.tick && !known.is_ready) {
                deadline = std::min(deadline, Instant{Duration{*known.tick * tick_ns}});
            }
        }
        for (std::size_t state = 0; state < queue_states_count; ++state) {
            const QueueIndex::Sum sum = index_.sum(static_cast<QueueState>(state));
            ASSERT_EQ(sum.messages, expected[state].messages) << "state " << state;
            ASSERT_EQ(sum.stored_bytes, expected[state].stored_bytes) << "state " << state;
        }
        ASSERT_EQ(index_.sum().messages, known_.size());
        ASSERT_EQ(index_.next_deadline(), deadline);
    }

    void compare_all() {
        for (const auto& [id, known] : known_) {
            const auto slot = index_.find(id);
            ASSERT_TRUE(slot);
            ASSERT_EQ(index_.at(*slot).id, id);
            ASSERT_EQ(index_.at(*slot).stored_bytes, known.stored_bytes);
            ASSERT_EQ(index_.state(*slot), is_ready(known) ? QueueState::due : known.state);
            for (std::uint32_t recipient = 0; recipient < recipients_count; ++recipient) {
                if (!known.settled.contains(recipient)) {
                    ASSERT_EQ(index_.last_reply(*slot, recipient), known.replies.at(recipient));
                }
            }
            std::map<std::uint32_t, std::pair<RecipientState, std::string>> settled;
            if (const QueueExtra* const extra = index_.extra(*slot)) {
                for (const QueueExtra::Settled& one : extra->settled) {
                    settled[one.recipient] = {one.state, std::string(index_.reply(one.reply))};
                }
            }
            ASSERT_EQ(settled, known.settled);
        }
    }

    std::mt19937_64 random_;
    std::discrete_distribution<std::size_t> draw_;
    QueueIndex index_;
    std::map<std::uint64_t, Known> known_;
    std::set<std::uint16_t> awake_; // pools
    std::set<std::uint16_t> crowded_;
    std::int64_t added_ = 0;
    Instant now_{1000s};
    std::uint64_t cursor_ = 0;
    std::optional<std::int64_t> page_begins_;
};

TEST(QueueModel, TheIndexDoesWhatAPlainModelDoes) {
    const char* const wanted = std::getenv("RINGMX_QUEUE_SEED");
    const std::uint64_t first = wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : 1;
    const std::uint64_t last = wanted != nullptr ? first : 20;
    for (std::uint64_t seed = first; seed <= last && !HasFailure(); ++seed) {
        SCOPED_TRACE("RINGMX_QUEUE_SEED=" + std::to_string(seed));
        Comparison(seed).run();
    }
}

} // namespace
} // namespace ringmx::spool
