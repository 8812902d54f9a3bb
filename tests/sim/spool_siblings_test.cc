// A backend whose connections are all in use, or that has all that is read at a time, and its siblings
// in the same pool: their due mail goes past its backlog, and its own in order all the same.
#include "sim/fairness_scene.h"

#include "upstream/slot_table.h"

#include <string>
#include <tuple>

namespace ringmx::sim {
namespace {

class SpoolSiblings : public FairnessScene {
  protected:
    explicit SpoolSiblings(const RigOptions& options = made(100, 1)) : FairnessScene(options) {}

    // What is tried once is not due again by itself.
    static RigOptions made(std::uint32_t connections_max, std::size_t pools_count) {
        RigOptions options = QueueScene::options();
        options.segments_max = 20;
        options.settings = [=](Settings& settings) {
            settings.spool.retry.initial = settings.spool.retry.maximum = 8h;
            settings.pools.resize(pools_count);
            settings.routes.resize(pools_count);
            for (PoolSettings& pool : settings.pools) {
                pool.max_connections = connections_max;
                pool.messages_per_connection = 1'000'000;
            }
        };
        return options;
    }

    static std::uint32_t slot_of(std::string_view recipient) {
        return upstream::SlotTable::slot_of(
            upstream::hash_key(recipient.substr(1, recipient.size() - 2)));
    }
    // One whom the hash gives to this backend of the first pool; each `which` another one.
    [[nodiscard]] std::string recipient_of(std::uint32_t backend, int which = 0) const {
        const upstream::SlotTable table(rig.settings().pools[0].backends);
        for (int number_tried = 0;; ++number_tried) {
            const std::string recipient = "<u" + std::to_string(number_tried) + "@one.example>";
            if (table.first(slot_of(recipient)) == backend && which-- == 0) {
                return recipient;
            }
        }
    }
    static constexpr const char* added_address = "10.1.0.9:25";

    // As its probes say.
    void set_up(std::size_t pool_index, std::size_t backend, bool is_up) {
        const PoolSettings& pool = rig.settings().pools[pool_index];
        const auto state = rig.lasting->states.state_of(pool.name, pool.backends[backend].address);
        for (std::uint32_t times = 0; times < pool.health.failures + pool.health.successes;
             ++times) {
            state->probe_result(is_up, pool.health);
        }
        EXPECT_EQ(state->is_up(), is_up);
    }
    void send_some(int count_sent, const std::string& to) {
        for (int sent = 0; sent < count_sent; ++sent) {
            (void)send_numbered(sent, to);
        }
    }
};

class SpoolSiblingsCases
    : public SpoolSiblings,
      public ::testing::WithParamInterface<std::tuple<bool, std::uint32_t, std::size_t>> {
  protected:
    SpoolSiblingsCases() : SpoolSiblings(made(std::get<1>(GetParam()), std::get<2>(GetParam()))) {}
};

TEST_P(SpoolSiblingsCases, ASiblingsMailPassesABacklogThatIsSlowAndItsOwnGoesInOrder) {
    const auto [by_restart, connections_max, pools_count] = GetParam();
    ScriptedBackend& slow = deferring(Rig::first_address);
    ScriptedBackend& other = deferring(Rig::second_address);
    (void)send_backlog(recipient_of(0));
    send_some(3, recipient_of(1));
    const std::uint64_t reads = reads_until_others_have_theirs(slow, other, by_restart);
    if (connections_max >= backlog / 2) {
        EXPECT_LE(reads, by_restart ? backlog + 30U : 30U);
        EXPECT_EQ(count(QueueState::active), pools_count == 1 ? 24U : 18U);
        const std::uint64_t reads_before = rig.disk.reads;
        EXPECT_LT(turns_in(30s), 250U) << "some looks a second at whether it is out";
        EXPECT_EQ(rig.disk.reads, reads_before);
    } else {
        expect_that_few_are_read_again();
        EXPECT_EQ(parked_max, 0U) << "its backend is up, and takes what was woken";
    }
    EXPECT_TRUE(rig.run_until([&] { return rig.queued() == 0; }, 4h));
    expect_in_order(slow);
    rig.finish();
}

INSTANTIATE_TEST_SUITE_P(Ways, SpoolSiblingsCases,
                         ::testing::Combine(::testing::Bool(), ::testing::Values(100U, 2U),
                                            ::testing::Values(1U, 2U)));

class SpoolSiblingsWays : public SpoolSiblings, public ::testing::WithParamInterface<bool> {
  protected:
    SpoolSiblingsWays() : SpoolSiblings(made(2, 1)) {}
};

// Whom the slow one keeps waiting is another one's part of the same messages.
TEST_P(SpoolSiblingsWays, ABacklogForBothIsPassedTooAndTheQuickOneHasItsPartSoon) {
    ScriptedBackend& slow = deferring(Rig::first_address);
    ScriptedBackend& other = deferring(Rig::second_address);
    send_some(60, recipient_of(0) + " " + recipient_of(1));
    send_some(3, recipient_of(1, 1));
    rig.run_for(10s);
    slow.judge = slowly;
    other.judge = nullptr;
    make_all_due(GetParam());
    const auto taken_alone = [&] {
        return std::ranges::count_if(other.messages, [&](const auto& message) {
            return message->taken &&
                   message->recipients[0].find(recipient_of(1, 1)) != std::string::npos;
        });
    };
    EXPECT_TRUE(rig.run_until([&] { return taken_alone() == 3; }, 3s));
    EXPECT_TRUE(rig.run_until([&] { return taken(other) == 63; }, 30s));
    EXPECT_TRUE(rig.run_until([&] { return rig.queued() == 0; }, 4h));
    EXPECT_EQ(taken(slow), 60U);
    rig.finish();
}

INSTANTIATE_TEST_SUITE_P(Ways, SpoolSiblingsWays, ::testing::Bool());

// What is under way there hangs; nobody waits for that to end.
TEST_F(SpoolSiblings, WhatIsPassedOverGoesToTheNextChoiceOnceItsBackendIsOut) {
    ScriptedBackend& slow = deferring(Rig::first_address);
    ScriptedBackend& other = rig.backend(Rig::second_address);
    (void)send_backlog(recipient_of(0));
    rig.run_for(10s);
    slow.judge = slowly;
    make_all_due(false);
    rig.run_for(5s);
    EXPECT_EQ(count(QueueState::active), 24U);
    set_up(0, 0, false);
    EXPECT_TRUE(rig.run_until([&] { return taken(other) == backlog - 24U; }, 5s));
    EXPECT_TRUE(rig.run_until([&] { return rig.queued() == 0; }, 2 * slow_reply));
    rig.finish();
}

class SpoolSiblingsFull : public SpoolSiblings {
  protected:
    SpoolSiblingsFull() : SpoolSiblings(made(2, 1)) {}
};

// The one that stands in meanwhile is full, with a backlog of its own.
TEST_F(SpoolSiblingsFull, MailOfABackendThatComesBackGoesThereAtOnce) {
    ScriptedBackend& back = deferring(Rig::first_address);
    ScriptedBackend& slow = deferring(Rig::second_address);
    send_some(50, recipient_of(1));
    (void)send_backlog(recipient_of(0));
    rig.run_for(10s);
    slow.judge = slowly;
    back.judge = nullptr;
    set_up(0, 0, false);
    make_all_due(false);
    rig.run_for(30s);
    EXPECT_EQ(taken(back), 0U);
    const std::uint64_t reads = rig.disk.reads;
    EXPECT_LT(turns_in(1min), 1500U);
    EXPECT_LT(rig.disk.reads - reads, 2U * 2U * 12U) << "one of each kind waits in vain";
    set_up(0, 0, true);
    EXPECT_TRUE(rig.run_until([&] { return taken(back) >= backlog - 10U; }, 8s));
    EXPECT_TRUE(rig.run_until([&] { return rig.queued() == 0; }, 4h));
    EXPECT_EQ(taken(back) + taken(slow), backlog + 50U);
    rig.finish();
}

// An operator who adds one does not have to wait for the one that is full.
TEST_F(SpoolSiblingsFull, MailThatANewBackendGetsByTheHashGoesThereAtOnce) {
    ScriptedBackend& slow = deferring(Rig::first_address);
    std::vector<std::string> recipients;
    for (int which = 0; which < 90; ++which) {
        recipients.push_back(recipient_of(0, which));
        (void)send_numbered(which, recipients.back());
    }
    rig.run_for(10s);
    slow.judge = slowly;
    make_all_due(false);
    rig.run_for(10s);
    ScriptedBackend& added = rig.backend(added_address);
    rig.reload([](Settings& settings) {
        BackendSettings& backend = settings.pools[0].backends.emplace_back();
        backend = settings.pools[0].backends[0];
        backend.address = added_address;
        backend.host = "10.1.0.9";
    });
    const upstream::SlotTable table(rig.settings().pools[0].backends);
    const auto moved = static_cast<std::size_t>(
        std::ranges::count_if(recipients, [&](const std::string& recipient) {
            return table.first(slot_of(recipient)) == 2;
        }));
    EXPECT_GT(moved, 20U);
    EXPECT_TRUE(rig.run_until([&] { return taken(added) + 4 >= moved; }, 10s));
    EXPECT_TRUE(rig.run_until([&] { return rig.queued() == 0; }, 4h));
    rig.finish();
}

class SpoolSiblingsWoken : public SpoolSiblings {
  protected:
    SpoolSiblingsWoken() : SpoolSiblings(impatient()) {}
    static RigOptions impatient() {
        RigOptions options = made(8, 1);
        options.settings = [set = options.settings](Settings& settings) {
            set(settings);
            settings.timeouts.backend_wait = 1s;
        };
        return options;
    }
};

// It was parked, and its backend takes it now; what is new for the other one times out all the time.
TEST_F(SpoolSiblingsWoken, ABacklogIsNotPutToSleepByNewMailThatASiblingKeepsWaiting) {
    constexpr std::size_t parked = 1500;
    ScriptedBackend& slow = rig.backend(Rig::first_address);
    ScriptedBackend& other = rig.backend(Rig::second_address);
    slow.judge = slowly;
    other.judge = [](const Asked& asked) { // 400 a second
        return Judged{.text = asked.ordinary, .after = is_content(asked) ? 20ms : 0ms};
    };
    set_up(0, 0, false);
    set_up(0, 1, false);
    Client& client = rig.greeted();
    const auto send_to = [&](const std::string& recipient) {
        EXPECT_TRUE(send_message(rig, client, "a: b\r\n\r\nc\r\n", recipient).starts_with("250"));
    };
    const std::string to_slow = recipient_of(0);
    const std::string to_other = recipient_of(1);
    for (std::size_t sent = 0; sent < parked; ++sent) {
        send_to(to_other);
    }
    EXPECT_EQ(count(QueueState::parked), parked);
    set_up(0, 0, true);
    set_up(0, 1, true);
    const Instant begun = rig.network.now();
    while (rig.network.now() < begun + 6s) {
        send_to(to_slow);
        rig.run_for(50ms);
    }
    EXPECT_EQ(taken(other), parked);
    EXPECT_EQ(count(QueueState::parked), 0U);
    rig.finish();
}

class SpoolSiblingsAndOthers : public SpoolSiblings {
  protected:
    SpoolSiblingsAndOthers() : SpoolSiblings(made(2, 2)) {}
};

// The other recipient's pool is dead, his own was full for a moment.
TEST_F(SpoolSiblingsAndOthers, WhoOnlyHadToWaitIsNotKeptByWhoWaitsForLong) {
    ScriptedBackend& slow = rig.backend(Rig::first_address);
    std::vector<Instant> offered;
    slow.judge = [&](const Asked& asked) {
        if (is_content(asked)) {
            offered.push_back(rig.network.now());
        }
        return Judged{.text = asked.ordinary, .after = is_content(asked) ? 30s : 0s};
    };
    set_up(1, 0, false);
    send_some(2, recipient_of(0));
    (void)send("<a@far.example>", recipient_of(0) + " <u@two.example>");
    EXPECT_TRUE(rig.run_until([&] { return offered.size() == 3; }, 1h));
    EXPECT_GE(offered.back() - offered.front(), 30s);
    EXPECT_LT(offered.back() - offered.front(), 31s);
    rig.run_for(40s);
    EXPECT_EQ(rig.queued(), 1);
    set_up(1, 0, true);
    ScriptedBackend& last = rig.backend(Rig::third_address);
    EXPECT_TRUE(rig.run_until([&] { return rig.queued() == 0; }, 5s));
    EXPECT_EQ(taken(last), 1U);
    rig.finish();
}

} // namespace
} // namespace ringmx::sim
