#include "observe/counters.h"

#include <gtest/gtest.h>
#include <set>
#include <vector>

namespace ringmx::observe {
namespace {

template <typename Reason> void expect_distinct_names() {
    std::set<std::string_view> names;
    for (std::size_t index = 0; index < CountersBy<Reason>::size; ++index) {
        const std::string_view name = name_of(static_cast<Reason>(index));
        EXPECT_FALSE(name.empty());
        EXPECT_TRUE(names.insert(name).second) << name;
    }
}

TEST(Counters, EveryReasonHasItsOwnName) {
    expect_distinct_names<RejectReason>();
    expect_distinct_names<RefuseReason>();
    expect_distinct_names<RecipientReason>();
    expect_distinct_names<ForwardFailure>();
}

TEST(Counters, AMessageWhoseRecipientsWereRefusedHasTheirReason) {
    for (std::size_t index = 0; index < CountersBy<RecipientReason>::size; ++index) {
        const auto reason = static_cast<RecipientReason>(index);
        if (reason == RecipientReason::recipients_limit || reason == RecipientReason::other_pool) {
            EXPECT_EQ(reject_reason(reason), RejectReason::abandoned); // never the whole story
        } else {
            EXPECT_EQ(name_of(reject_reason(reason)), name_of(reason));
        }
    }
}

TEST(Counters, AWorkerThatDoesNotBeatIsFound) {
    WorkerCounters first;
    WorkerCounters second;
    const std::vector<const WorkerCounters*> workers = {&first, &second};
    const Instant start{100s};
    first.beat(start);
    second.beat(start);
    EXPECT_EQ(stalled_worker(workers, start + 5s, 5s), std::nullopt);
    first.beat(start + 3s);
    EXPECT_EQ(stalled_worker(workers, start + 6s, 5s), std::optional<std::size_t>(1));
    second.beat(start + 6s);
    EXPECT_EQ(stalled_worker(workers, start + 6s, 5s), std::nullopt);
}

TEST(Counters, ABackendsCountsSurviveAReloadThatDropsItAndBringsItBack) {
    BackendRegistry registry(2);
    registry.begin_config();
    BackendRow& row = registry.row("store", "10.0.1.1:25");
    BackendCounters* const counters = &row.workers[1];
    counters->messages_forwarded_total.add(3);

    registry.begin_config();
    (void)registry.row("store", "10.0.1.2:25");
    EXPECT_FALSE(row.configured);

    registry.begin_config();
    BackendRow& again = registry.row("store", "10.0.1.1:25");
    EXPECT_EQ(&again, &row);
    EXPECT_TRUE(again.configured);
    EXPECT_EQ(counters->messages_forwarded_total.value(), 3U);
    EXPECT_EQ(registry.rows().size(), 2U);
}

TEST(Counters, TheSameBackendInTwoPoolsIsTwoRows) {
    BackendRegistry registry(1);
    EXPECT_NE(&registry.row("a", "10.0.1.1:25"), &registry.row("b", "10.0.1.1:25"));
}

} // namespace
} // namespace ringmx::observe
