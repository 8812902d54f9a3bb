// A queue's index, and how tests of it add messages and take those that are due.
//
// Thread: one.
// Errors: none.
#pragma once

#include "spool/queue_index.h"

#include <cstdint>
#include <gtest/gtest.h>
#include <vector>

namespace ringmx::spool {

inline constexpr Instant start{1000s};
// The larger of a step of time; what is due is due by then.
inline constexpr Duration step = 135ms;

class QueueIndexScene : public testing::Test {
  protected:
    using Slot = QueueIndex::Slot;
    using Ids = std::vector<std::uint64_t>;

    Slot add(std::uint64_t id) { return index.add(message(id)); }
    Slot adopt(std::uint64_t id) { return index.adopt(message(id)); }
    Slot add_due(std::uint64_t id, std::uint16_t pool) {
        const Slot slot = add(id);
        index.set_pool(slot, pool);
        index.set_due(slot, start);
        return slot;
    }
    static QueueIndex::Message message(std::uint64_t id) {
        return {.id = id,
                .segment = 3,
                .offset = id * 4096,
                .record_bytes = 700,
                .stored_bytes = id,
                .recipients_count = 2,
                .accepted_at_s = static_cast<std::uint32_t>(1'000'000 + id),
                .expires_from_s = static_cast<std::uint32_t>(1'000'000 + id)};
    }
    // Whose turn it is, by id; each is taken.
    std::vector<std::uint64_t> take_due(Instant now) {
        std::vector<std::uint64_t> ids;
        while (const auto slot = index.next_due(now)) {
            ids.push_back(index.at(*slot).id);
            index.set_active(*slot);
        }
        return ids;
    }
    std::vector<std::uint64_t> in_order_of_age() {
        std::vector<std::uint64_t> ids;
        for (auto slot = index.first_after(0); slot;
             slot = index.first_after(index.at(*slot).age)) {
            ids.push_back(index.at(*slot).id);
        }
        return ids;
    }
    std::uint64_t count(QueueState state) { return index.sum(state).messages; }
    void set_last_replies(Slot slot, const std::vector<QueueIndex::LastReply>& replies) {
        index.set_last_replies(slot, replies);
    }

    QueueIndex index;
};

} // namespace ringmx::spool
