#include "upstream/connection_book.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

namespace ringmx::upstream {
namespace {

constexpr Instant start{1h};

struct ConnectionBookTest : testing::Test {
    PoolSettings settings;
    BackendRegistry registry;
    SharedCounters shares{256};
    ConnectionBook here{0, shares, 0};
    ConnectionBook there{1, shares, 0};
    std::unique_ptr<Pool> pool;
    TransactionHandle next_transaction = 1;
    std::vector<IdleConnection> closing;

    ConnectionBookTest() {
        settings.name = "main";
        settings.max_connections = 2;
        for (int i = 1; i <= 3; ++i) {
            BackendSettings backend;
            backend.address = "10.0.0." + std::to_string(i) + ":25";
            settings.backends.push_back(backend);
        }
    }
    void build() { pool = std::make_unique<Pool>(settings, registry); }

    // A request that the hash gives to `backend`.
    [[nodiscard]] Request request(std::uint32_t backend, std::uint64_t client = 0) {
        if (!pool) {
            build();
        }
        Request made;
        made.pool = pool.get();
        made.client_key = client;
        made.transaction = next_transaction++;
        made.deadline = start + 5s;
        for (std::uint32_t i = 0; settings.hash != HashKey::none; ++i) {
            made.key_hash = hash_key("user" + std::to_string(i) + "@example.com");
            if (pool->table.first(SlotTable::slot_of(made.key_hash)) == backend) {
                break;
            }
        }
        return made;
    }
    Lease dialled(ConnectionBook& book, std::uint32_t backend, std::uint64_t client = 0) {
        Answer answer = book.acquire(request(backend, client), {}, start);
        EXPECT_EQ(answer.verdict, Verdict::dial);
        EXPECT_EQ(answer.lease.backend_index, backend);
        book.transaction_answered(answer.lease);
        return answer.lease;
    }
    void end_closing() {
        for (const IdleConnection& idle : closing) {
            here.connection_ended(idle.state_id);
        }
        closing.clear();
    }
    void take_out(std::uint32_t backend) {
        for (int i = 0; i < 3; ++i) {
            pool->states[backend]->connection_failed(false, settings.health, start);
        }
    }
    [[nodiscard]] std::uint32_t open(std::uint32_t backend) const {
        return pool->states[backend]->connections_open();
    }
    static std::vector<std::uint32_t> wakes(ConnectionBook& book) {
        std::vector<std::uint32_t> list(book.wakes().begin(), book.wakes().end());
        book.clear_wakes();
        return list;
    }
};

TEST_F(ConnectionBookTest, TheHashsBackendIsDialledThenReusedNewestFirst) {
    Lease one = dialled(here, 1);
    Lease two = dialled(here, 1);
    EXPECT_EQ(here.give_back(one, 101, start).kept, Kept::idle);
    EXPECT_EQ(here.give_back(two, 102, start).kept, Kept::idle);
    EXPECT_EQ(here.idle_count(), 2U);
    const Answer answer = here.acquire(request(1), {}, start);
    EXPECT_EQ(answer.verdict, Verdict::reuse);
    EXPECT_EQ(answer.connection, 102U);
    EXPECT_EQ(here.acquire(request(2), {}, start).verdict, Verdict::dial);
    EXPECT_EQ(open(1), 2U);
}

TEST_F(ConnectionBookTest, AFullBackendIsWaitedForNotPassedOver) {
    Lease one = dialled(here, 0);
    Lease two = dialled(here, 0);
    const Request waiting = request(0);
    EXPECT_EQ(here.acquire(waiting, {}, start).verdict, Verdict::wait);
    EXPECT_FALSE(here.next_grant(start));
    const GiveBack back = here.give_back(one, 7, start);
    ASSERT_EQ(back.kept, Kept::handed_over);
    EXPECT_EQ(back.grant.transaction, waiting.transaction);
    EXPECT_EQ(back.grant.answer.connection, 7U);
    EXPECT_EQ(back.grant.answer.lease.backend_index, 0U);
    EXPECT_FALSE(here.has_waiting());
    here.retire(two);
    EXPECT_EQ(open(0), 1U);
}

TEST_F(ConnectionBookTest, ARetiredConnectionLetsTheOldestWaitingTransactionDial) {
    Lease one = dialled(here, 0);
    Lease two = dialled(here, 0);
    const Request first = request(0);
    const Request second = request(0);
    ASSERT_EQ(here.acquire(first, {}, start).verdict, Verdict::wait);
    ASSERT_EQ(here.acquire(second, {}, start).verdict, Verdict::wait);
    here.retire(one);
    EXPECT_EQ(here.acquire(request(0), {}, start).verdict, Verdict::wait) << "others came first";
    const auto grant = here.next_grant(start);
    ASSERT_TRUE(grant);
    EXPECT_EQ(grant->transaction, first.transaction);
    EXPECT_EQ(grant->answer.verdict, Verdict::dial);
    EXPECT_FALSE(here.next_grant(start));
    EXPECT_EQ(here.waiting_count(), 2U);
    here.retire(two);
    EXPECT_EQ(here.next_grant(start)->transaction, second.transaction);
}

TEST_F(ConnectionBookTest, AWaitEndsInRefusalAtItsDeadline) {
    (void)dialled(here, 0);
    (void)dialled(here, 0);
    const Request waiting = request(0);
    ASSERT_EQ(here.acquire(waiting, {}, start).verdict, Verdict::wait);
    EXPECT_EQ(here.next_deadline(), start + 5s);
    EXPECT_FALSE(here.next_grant(start + 4999ms));
    const auto grant = here.next_grant(start + 5s);
    ASSERT_TRUE(grant);
    EXPECT_EQ(grant->transaction, waiting.transaction);
    EXPECT_EQ(grant->answer.verdict, Verdict::refuse);
    EXPECT_FALSE(here.next_grant(start + 5s));
    EXPECT_EQ(here.next_deadline(), never);
}

TEST_F(ConnectionBookTest, ACancelledWaitIsForgotten) {
    Lease one = dialled(here, 0);
    (void)dialled(here, 0);
    const Answer first = here.acquire(request(0), {}, start);
    const Request kept = request(0);
    ASSERT_EQ(here.acquire(kept, {}, start).verdict, Verdict::wait);
    here.cancel(first.waiter);
    EXPECT_EQ(here.give_back(one, 1, start).grant.transaction, kept.transaction);
    EXPECT_FALSE(here.has_waiting());
}

TEST_F(ConnectionBookTest, ABackendThatIsOutIsPassedOverForItsNextChoice) {
    const Request made = request(0);
    take_out(0);
    const Answer answer = here.acquire(made, {}, start);
    EXPECT_EQ(answer.verdict, Verdict::dial);
    EXPECT_EQ(answer.lease.backend_index, pool->table.next(SlotTable::slot_of(made.key_hash), 0));
}

TEST_F(ConnectionBookTest, FailoverNoneRefusesWhenTheFirstChoiceIsOut) {
    settings.failover = Failover::none;
    const Request made = request(0);
    take_out(0);
    EXPECT_EQ(here.acquire(made, {}, start).verdict, Verdict::refuse);
    const std::uint16_t tried[] = {1};
    EXPECT_EQ(here.acquire(request(1), tried, start).verdict, Verdict::refuse);
}

TEST_F(ConnectionBookTest, TriedBackendsAreNotOfferedAgain) {
    const Request made = request(0);
    const std::uint32_t next = pool->table.next(SlotTable::slot_of(made.key_hash), 0);
    std::vector<std::uint16_t> tried = {0};
    EXPECT_EQ(here.acquire(made, tried, start).lease.backend_index, next);
    tried = {0, 1, 2};
    EXPECT_EQ(here.acquire(made, tried, start).verdict, Verdict::refuse);
}

TEST_F(ConnectionBookTest, AHeldPoolAndADrainedOneRefuse) {
    settings.hold = true;
    Request made = request(0);
    EXPECT_EQ(here.acquire(made, {}, start).verdict, Verdict::refuse);
    settings.hold = false;
    for (BackendSettings& backend : settings.backends) {
        backend.weight = 0;
    }
    const Pool drained(settings, registry);
    made.pool = &drained;
    EXPECT_EQ(here.acquire(made, {}, start).verdict, Verdict::refuse);
}

TEST_F(ConnectionBookTest, DialFailuresTakeABackendOutAndItsWaitingTransactionsMoveOn) {
    settings.max_connections = 1;
    Answer dialling = here.acquire(request(0), {}, start);
    const Request waiting = request(0);
    ASSERT_EQ(here.acquire(waiting, {}, start).verdict, Verdict::wait);
    pool->states[0]->connection_failed(false, settings.health, start);
    pool->states[0]->connection_failed(false, settings.health, start);
    here.dial_failed(dialling.lease, start);
    EXPECT_FALSE(dialling.lease.held);
    EXPECT_FALSE(pool->states[0]->is_up());
    const auto grant = here.next_grant(start);
    ASSERT_TRUE(grant);
    EXPECT_EQ(grant->answer.verdict, Verdict::dial);
    EXPECT_NE(grant->answer.lease.backend_index, 0U);
    EXPECT_EQ(open(0), 0U);
}

TEST_F(ConnectionBookTest, TheTrialOfABackendIsOneConnectionAndAnAbandonedOneIsOfferedAgain) {
    const Request made = request(0);
    take_out(0);
    const Instant due = start + 5s + 10ms;
    Answer trial = here.acquire(made, {}, due);
    EXPECT_EQ(trial.lease.backend_index, 0U);
    EXPECT_TRUE(trial.lease.trial);
    EXPECT_NE(there.acquire(made, {}, due).lease.backend_index, 0U);
    here.retire(trial.lease);
    trial = there.acquire(made, {}, due);
    EXPECT_TRUE(trial.lease.trial);
    there.transaction_answered(trial.lease);
    EXPECT_TRUE(pool->states[0]->is_up());
    EXPECT_FALSE(trial.lease.trial);
}

TEST_F(ConnectionBookTest, AnIdleConnectionServesAsTheTrial) {
    settings.max_connections = 1;
    Lease lease = dialled(here, 0);
    ASSERT_EQ(here.give_back(lease, 5, start).kept, Kept::idle);
    take_out(0);
    const Request made = request(0);
    EXPECT_NE(here.acquire(made, {}, start).lease.backend_index, 0U);
    Answer trial = here.acquire(made, {}, start + 6s);
    EXPECT_EQ(trial.verdict, Verdict::reuse);
    EXPECT_TRUE(trial.lease.trial);
    here.transaction_answered(trial.lease);
    EXPECT_TRUE(pool->states[0]->is_up());
    ASSERT_EQ(here.give_back(trial.lease, 5, start + 6s).kept, Kept::idle);
}

TEST_F(ConnectionBookTest, ATrialThatIsGivenBackUnansweredIsOfferedAgain) {
    const Request made = request(0);
    take_out(0);
    Answer trial = here.acquire(made, {}, start + 6s);
    ASSERT_TRUE(trial.lease.trial);
    ASSERT_EQ(here.give_back(trial.lease, 5, start + 6s).kept, Kept::idle);
    EXPECT_FALSE(pool->states[0]->is_up());
    trial = here.acquire(made, {}, start + 6s);
    EXPECT_TRUE(trial.lease.trial);
    here.let_go(trial.lease);
}

TEST_F(ConnectionBookTest, ThePreferredBackendComesFirstWhileItIsNotTried) {
    for (const HashKey hash : {HashKey::recipient, HashKey::none}) {
        settings.hash = hash;
        for (std::uint32_t preferred = 0; preferred < 3; ++preferred) {
            Request made = request(0);
            made.preferred = preferred;
            Answer answer = here.acquire(made, {}, start);
            EXPECT_EQ(answer.lease.backend_index, preferred);
            here.retire(answer.lease);
            const std::uint16_t tried[] = {static_cast<std::uint16_t>(preferred)};
            answer = here.acquire(made, tried, start);
            EXPECT_NE(answer.lease.backend_index, preferred);
            here.retire(answer.lease);
        }
    }
}

TEST_F(ConnectionBookTest, IdleConnectionsExpireOldestFirst) {
    settings.idle_timeout = 30s;
    Lease one = dialled(here, 0);
    Lease two = dialled(here, 0);
    Lease three = dialled(here, 1);
    (void)here.give_back(one, 1, start);
    (void)here.give_back(two, 2, start + 10s);
    (void)here.give_back(three, 3, start + 20s);
    EXPECT_EQ(here.next_deadline(), start + 30s);
    here.expire_idle(start + 30s, closing);
    ASSERT_EQ(closing.size(), 1U);
    EXPECT_EQ(closing[0].connection, 1U);
    EXPECT_EQ(here.next_deadline(), start + 40s);
    end_closing();
    EXPECT_EQ(open(0), 1U);
    EXPECT_TRUE(here.remove_idle(*pool->states[0], 2));
    here.connection_ended(pool->states[0]->id());
    EXPECT_FALSE(here.remove_idle(*pool->states[0], 2));
    here.take_all_idle(closing);
    EXPECT_EQ(closing.back().connection, 3U);
    end_closing();
    EXPECT_EQ(here.idle_count(), 0U);
    EXPECT_EQ(open(0) + open(1), 0U);
}

TEST_F(ConnectionBookTest, IdleTimeoutOffKeepsConnections) {
    settings.idle_timeout = 0s;
    Lease one = dialled(here, 0);
    (void)here.give_back(one, 1, start);
    here.expire_idle(start + 1000h, closing);
    EXPECT_TRUE(closing.empty());
}

TEST_F(ConnectionBookTest, OneClientHoldsItsShareOverAllWorkersAndOthersGoOn) {
    settings.max_connections = 8; // a share of 2
    constexpr std::uint64_t client = 77;
    Lease one = dialled(here, 0, client);
    Lease two = dialled(there, 0, client);
    const Request held_back = request(0, client);
    ASSERT_EQ(here.acquire(held_back, {}, start).verdict, Verdict::wait);
    EXPECT_EQ(here.acquire(request(0, 78), {}, start).verdict, Verdict::dial) << "another client";
    EXPECT_EQ(here.acquire(request(0, 0), {}, start).verdict, Verdict::dial) << "an exempt one";
    EXPECT_EQ(here.acquire(request(1, client), {}, start).verdict, Verdict::dial)
        << "another backend";
    EXPECT_FALSE(here.next_grant(start));
    (void)there.give_back(two, 9, start);
    EXPECT_EQ(wakes(there), std::vector<std::uint32_t>{0});
    const auto grant = here.next_grant(start);
    ASSERT_TRUE(grant);
    EXPECT_EQ(grant->transaction, held_back.transaction);
    here.retire(one);
}

TEST_F(ConnectionBookTest, AHandedOverConnectionPassesTransactionsHeldBackByTheirShare) {
    settings.max_connections = 2; // a share of 1
    constexpr std::uint64_t greedy = 77;
    Lease one = dialled(here, 0, greedy);
    Lease two = dialled(here, 0);
    ASSERT_EQ(here.acquire(request(0, greedy), {}, start).verdict, Verdict::wait);
    const Request other = request(0, 78);
    ASSERT_EQ(here.acquire(other, {}, start).verdict, Verdict::wait);
    const GiveBack back = here.give_back(two, 2, start);
    ASSERT_EQ(back.kept, Kept::handed_over);
    EXPECT_EQ(back.grant.transaction, other.transaction);
    EXPECT_EQ(here.give_back(one, 1, start).kept, Kept::handed_over) << "now its share is free";
}

TEST_F(ConnectionBookTest, AConnectionThatEndsWakesAWorkerThatWaits) {
    settings.max_connections = 1;
    Lease lease = dialled(here, 0);
    ASSERT_EQ(there.acquire(request(0), {}, start).verdict, Verdict::wait);
    here.retire(lease);
    EXPECT_EQ(wakes(here), std::vector<std::uint32_t>{1});
    EXPECT_EQ(there.next_grant(start)->answer.verdict, Verdict::dial);
}

TEST_F(ConnectionBookTest, AnotherWorkersIdleConnectionIsYielded) {
    settings.max_connections = 1;
    Lease lease = dialled(here, 0);
    ASSERT_EQ(here.give_back(lease, 4, start).kept, Kept::idle);
    ASSERT_EQ(there.acquire(request(0), {}, start).verdict, Verdict::wait);
    ASSERT_EQ(wakes(there), std::vector<std::uint32_t>{0});
    here.expire_idle(start, closing);
    ASSERT_EQ(closing.size(), 1U);
    EXPECT_EQ(closing[0].connection, 4U);
    EXPECT_FALSE(there.next_grant(start)) << "it is not closed yet";
    end_closing();
    EXPECT_EQ(wakes(here), std::vector<std::uint32_t>{1});
    EXPECT_EQ(there.next_grant(start)->answer.verdict, Verdict::dial);
}

TEST_F(ConnectionBookTest, AConnectionIsClosedWhenOnlyAnotherWorkerWaitsForIt) {
    settings.max_connections = 1;
    Lease lease = dialled(here, 0);
    ASSERT_EQ(there.acquire(request(0), {}, start).verdict, Verdict::wait);
    EXPECT_EQ(here.give_back(lease, 4, start).kept, Kept::close);
    EXPECT_EQ(open(0), 1U) << "it is not closed yet";
    EXPECT_TRUE(wakes(here).empty());
    here.connection_ended(pool->states[0]->id());
    EXPECT_EQ(open(0), 0U);
    EXPECT_EQ(wakes(here), std::vector<std::uint32_t>{1});
}

TEST_F(ConnectionBookTest, OneConnectionIsClosedForAWaitingWorkerAtATime) {
    Lease one = dialled(here, 0);
    Lease two = dialled(here, 0);
    ASSERT_EQ(there.acquire(request(0), {}, start).verdict, Verdict::wait);
    EXPECT_EQ(here.give_back(one, 4, start).kept, Kept::close);
    EXPECT_EQ(here.give_back(two, 5, start).kept, Kept::idle) << "one is on its way to them";
    here.expire_idle(start, closing);
    EXPECT_TRUE(closing.empty());
    here.connection_ended(pool->states[0]->id());
    EXPECT_EQ(there.next_grant(start)->answer.verdict, Verdict::dial);
}

// Else two workers wake one another until it has ended.
TEST_F(ConnectionBookTest, WhoClosesOneForTheOthersIsNotAskedAgainMeanwhile) {
    settings.max_connections = 2;
    Lease one = dialled(here, 0);
    Lease two = dialled(here, 0);
    ASSERT_EQ(here.give_back(one, 4, start).kept, Kept::idle);
    ASSERT_EQ(here.give_back(two, 5, start).kept, Kept::idle);
    ASSERT_EQ(there.acquire(request(0), {}, start).verdict, Verdict::wait);
    ASSERT_EQ(wakes(there), std::vector<std::uint32_t>{0});
    here.expire_idle(start, closing);
    ASSERT_EQ(closing.size(), 1U);
    EXPECT_FALSE(there.next_grant(start));
    EXPECT_TRUE(wakes(there).empty()) << "it has done what it can";
    here.expire_idle(start, closing);
    EXPECT_EQ(closing.size(), 1U);

    here.connection_ended(pool->states[0]->id());
    EXPECT_EQ(wakes(here), std::vector<std::uint32_t>{1});
    EXPECT_EQ(there.next_grant(start)->answer.verdict, Verdict::dial);
    here.expire_idle(start, closing); // and it may be asked for the other one
    ASSERT_EQ(there.acquire(request(0), {}, start).verdict, Verdict::wait);
    EXPECT_EQ(wakes(there), std::vector<std::uint32_t>{0});
}

TEST_F(ConnectionBookTest, AConnectionThatWasLetGoCountsUntilItHasEnded) {
    settings.max_connections = 1;
    Lease lease = dialled(here, 0);
    const Request waiting = request(0);
    ASSERT_EQ(here.acquire(waiting, {}, start).verdict, Verdict::wait);
    here.let_go(lease);
    EXPECT_FALSE(here.next_grant(start));
    here.connection_ended(pool->states[0]->id());
    EXPECT_EQ(here.next_grant(start)->answer.verdict, Verdict::dial);
}

TEST_F(ConnectionBookTest, AnotherWorkerIsNotStarvedByHandovers) {
    settings.max_connections = 1;
    Lease lease = dialled(here, 0);
    ASSERT_EQ(there.acquire(request(0), {}, start).verdict, Verdict::wait);
    for (std::uint32_t i = 0; i < 20; ++i) {
        ASSERT_EQ(here.acquire(request(0), {}, start).verdict, Verdict::wait);
    }
    std::uint32_t handovers = 0;
    for (;;) {
        const GiveBack back = here.give_back(lease, 1, start);
        if (back.kept != Kept::handed_over) {
            EXPECT_EQ(back.kept, Kept::close);
            break;
        }
        ++handovers;
        lease = back.grant.answer.lease;
    }
    here.connection_ended(pool->states[0]->id());
    EXPECT_EQ(handovers, ConnectionBook::handovers_max);
    EXPECT_EQ(wakes(here), std::vector<std::uint32_t>{1});
}

// We are awake and would be faster than whom we have woken; but what he has no use for is ours.
TEST_F(ConnectionBookTest, ThePlaceOfAConnectionThatEndedIsLeftForAWhileToWhomItWakes) {
    settings.max_connections = 1;
    for (const bool is_used : {true, false}) {
        const std::uint32_t backend = is_used ? 0 : 1;
        ConnectionBook we(0, shares, 0);
        ConnectionBook they(1, shares, 0);
        Lease lease = dialled(we, backend);
        ASSERT_EQ(they.acquire(request(backend), {}, start).verdict, Verdict::wait);
        ASSERT_EQ(we.acquire(request(backend), {}, start).verdict, Verdict::wait);
        we.retire(lease);
        EXPECT_EQ(wakes(we), std::vector<std::uint32_t>{1});
        EXPECT_FALSE(we.next_grant(start));
        EXPECT_LE(we.next_deadline(), start + ConnectionBook::promise_time);
        if (is_used) {
            EXPECT_EQ(they.next_grant(start)->answer.verdict, Verdict::dial);
        }
        EXPECT_EQ(we.next_grant(start + ConnectionBook::promise_time).has_value(), !is_used);
    }
}

TEST_F(ConnectionBookTest, AWakeThatCameTooLateIsPassedOn) {
    settings.max_connections = 1;
    ConnectionBook third(2, shares, 0);
    Lease lease = dialled(here, 0);
    const Answer late = there.acquire(request(0), {}, start);
    ASSERT_EQ(late.verdict, Verdict::wait);
    ASSERT_EQ(third.acquire(request(0), {}, start).verdict, Verdict::wait);
    here.retire(lease);
    ASSERT_EQ(wakes(here), std::vector<std::uint32_t>{1});
    there.cancel(late.waiter); // its client left before the wake came
    EXPECT_EQ(wakes(there), std::vector<std::uint32_t>{2});
    EXPECT_TRUE(third.next_grant(start));
}

// Each looked, took a share, found the backend full, gave the share back and so woke the other: two
// workers at full load for as long as the backend was full.
TEST_F(ConnectionBookTest, AFullBackendDoesNotMakeWorkersWakeOneAnother) {
    settings.max_connections = 2; // a share of 1
    constexpr std::uint64_t greedy = 77;
    (void)dialled(here, 0, greedy);
    Lease other = dialled(here, 0);
    for (ConnectionBook* book : {&here, &there}) {
        ASSERT_EQ(book->acquire(request(0, greedy), {}, start).verdict, Verdict::wait);
        ASSERT_EQ(book->acquire(request(0, 78), {}, start).verdict, Verdict::wait);
    }
    for (ConnectionBook* book : {&here, &there, &here, &there}) {
        book->clear_wakes();
        EXPECT_FALSE(book->next_grant(start));
        EXPECT_TRUE(wakes(*book).empty());
    }
    here.retire(other);
    EXPECT_EQ(wakes(here), std::vector<std::uint32_t>{1});
    EXPECT_TRUE(there.next_grant(start));
}

TEST_F(ConnectionBookTest, AWakeForOneHeldBackByItsShareIsPassedOn) {
    settings.max_connections = 4; // a share of 1
    constexpr std::uint64_t greedy = 77;
    ConnectionBook third(2, shares, 0);
    (void)dialled(here, 0, greedy);
    (void)dialled(here, 0);
    (void)dialled(here, 0);
    Lease lease = dialled(here, 0);
    ASSERT_EQ(there.acquire(request(0, greedy), {}, start).verdict, Verdict::wait);
    ASSERT_EQ(third.acquire(request(0), {}, start).verdict, Verdict::wait);
    here.retire(lease);
    ASSERT_EQ(wakes(here), std::vector<std::uint32_t>{1});
    EXPECT_FALSE(there.next_grant(start));
    EXPECT_EQ(wakes(there), std::vector<std::uint32_t>{2});
    EXPECT_TRUE(third.next_grant(start));
}

TEST_F(ConnectionBookTest, RoundRobinFollowsTheWeights) {
    settings.hash = HashKey::none;
    settings.max_connections = 1000;
    settings.backends[0].weight = 200;
    std::vector<int> dials(3);
    for (int i = 0; i < 400; ++i) {
        ++dials[here.acquire(request(0), {}, start).lease.backend_index];
    }
    EXPECT_EQ(dials, (std::vector<int>{200, 100, 100}));
}

TEST_F(ConnectionBookTest, WorkersBeginTheirRoundRobinApart) {
    settings.hash = HashKey::none;
    ConnectionBook other(2, shares, 1);
    const Answer first = here.acquire(request(0), {}, start);
    EXPECT_NE(other.acquire(request(0), {}, start).lease.backend_index, first.lease.backend_index);
}

TEST_F(ConnectionBookTest, RoundRobinGoesOnWhereThereIsRoom) {
    settings.hash = HashKey::none;
    settings.max_connections = 1;
    std::vector<Lease> leases;
    for (int i = 0; i < 3; ++i) {
        Answer answer = here.acquire(request(0), {}, start);
        ASSERT_EQ(answer.verdict, Verdict::dial);
        leases.push_back(answer.lease);
    }
    EXPECT_EQ(here.acquire(request(0), {}, start).verdict, Verdict::wait);
    here.retire(leases[2]);
    ASSERT_TRUE(here.next_grant(start));
    take_out(0);
    take_out(1);
    take_out(2);
    EXPECT_EQ(here.acquire(request(0), {}, start).verdict, Verdict::refuse);
}

TEST_F(ConnectionBookTest, ConnectionsOfAnOtherKindAreNotReusedAfterAReload) {
    Lease lease = dialled(here, 0);
    (void)here.give_back(lease, 3, start);
    PoolSettings changed = settings;
    changed.tls = BackendTls::none;
    const Pool reloaded(changed, registry);
    Request made = request(0);
    made.pool = &reloaded;
    EXPECT_EQ(here.acquire(made, {}, start).verdict, Verdict::dial);
    changed.tls = settings.tls;
    changed.max_connections = 5;
    const Pool same_kind(changed, registry);
    made.pool = &same_kind;
    EXPECT_EQ(here.acquire(made, {}, start).verdict, Verdict::reuse);
}

} // namespace
} // namespace ringmx::upstream
