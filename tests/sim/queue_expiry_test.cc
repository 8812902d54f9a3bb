// When queued mail is given up, and how long it is not: the time that it waited for a pool on hold
// does not count, whatever restarts come between.
#include "sim/queue_scene.h"

#include <functional>
#include <string>

namespace ringmx::sim {
namespace {

using QueueExpiry = QueueScene;

void expire_soon(Settings& settings) { settings.spool.retry.expire = 10min; }
void hold(Settings& settings) { settings.pools[1].hold = true; }
void let_go(Settings& settings) { settings.pools[1].hold = false; }

// Nobody is asked, so that nothing takes time but the waiting.
TEST_F(QueueExpiry, NothingExpiresEarlyNorMuchLater) {
    rig.reload([](Settings& settings) {
        settings.spool.retry.expire = 10s;
        settings.pools[1].backends[0].weight = 0;
    });
    for (int count = 0; count < 20; ++count) {
        rig.run_for(370ms); // at any part of a second
        const std::uint64_t id = send_waiting();
        const WallTime accepted = show(id).created;
        const spool::QueueIndex& index = rig.worker->queue()->index();
        const auto has_failed = [&] {
            return index.state(index.find(id).value()) == QueueState::failed;
        };
        ASSERT_TRUE(rig.run_until(has_failed, 1min));
        EXPECT_GE(rig.port.wall_time() - accepted, 10s);
        EXPECT_LE(rig.port.wall_time() - accepted, 11s + 500ms);
    }
    rig.finish();
}

TEST_F(QueueExpiry, AHoldThatOutlastsTheExpiryLeavesMailItsWholeTime) {
    rig.reload([](Settings& settings) {
        expire_soon(settings);
        hold(settings);
    });
    (void)refusing("450 4.2.0 later\r\n");
    const std::uint64_t id = send_waiting();
    rig.run_for(1h);
    EXPECT_EQ(show(id).state, QueueState::pool_hold);
    rig.reload(let_go);
    rig.run_for(9min + 50s);
    EXPECT_EQ(show(id).state, QueueState::due);
    EXPECT_GT(show(id).attempts, 3U);
    rig.run_for(20s);
    EXPECT_EQ(show(id).state, QueueState::failed);
    rig.finish();
}

// Its backend is out by then: nobody tries it, and it waits for that one as long as new mail would.
TEST_F(QueueExpiry, ItsWholeTimeIsLeftToMailThatFindsNoBackendWhenItsPoolIsLetGo) {
    rig.reload([](Settings& settings) {
        expire_soon(settings);
        hold(settings);
    });
    const std::uint64_t id = send_waiting();
    rig.run_for(1h);
    rig.reload(let_go);
    rig.run_for(9min + 30s);
    EXPECT_EQ(show(id).state, QueueState::parked);
    rig.run_for(6min); // what is parked is looked at when it would have been tried
    EXPECT_EQ(show(id).state, QueueState::failed);
    rig.finish();
}

// The hold is over before the restart, goes on over it, or ends while nothing runs; and the message
// is where it was, or was moved meanwhile.
TEST_F(QueueExpiry, ARestartForgetsNeitherAHoldNorThatItIsOver) {
    const std::function<void()> restarts[] = {
        [&] {
            rig.reload(let_go);
            rig.run_for(1min);
            rig.restart(1, true);
        },
        [&] {
            rig.restart(1, true);
            rig.run_for(30min);
            rig.reload(let_go);
        },
        [&] { rig.restart(1, true, let_go); },
    };
    (void)refusing("450 4.2.0 later\r\n");
    (void)rig.backend(Rig::first_address);
    (void)rig.backend(Rig::second_address);
    std::string large = "a: b\r\n\r\n";
    while (large.size() < 500'000) {
        large += std::string(900, 'x') + "\r\n";
    }
    struct Way {
        bool is_moved = false;
        bool is_held_later = false; // than it was accepted
    };
    for (const auto& restart : restarts) {
        for (const auto [is_moved, is_held_later] :
             {Way{}, Way{.is_moved = true}, Way{.is_held_later = true}, Way{true, true}}) {
            rig.reload([&](Settings& settings) {
                expire_soon(settings);
                settings.pools[1].hold = !is_held_later;
            });
            const std::uint64_t id = send_waiting();
            rig.reload(hold);
            rig.run_for(1min); // by then it is tried again
            const auto place = [&] {
                const spool::QueueIndex& index = rig.worker->queue()->index();
                return index.at(index.find(id).value()).segment;
            };
            const std::uint32_t segment = place();
            // Segments are needed again, and it would keep one of them.
            for (int count = 0; is_moved && count < 500 && place() == segment; ++count) {
                (void)send("<a@far.example>", "<u@one.example>", large);
            }
            rig.run_for(1h);
            EXPECT_EQ(place() != segment, is_moved);
            restart();
            rig.run_for(8min);
            EXPECT_EQ(show(id).state, QueueState::due) << is_moved;
            EXPECT_GT(show(id).attempts, 1U);
            rig.run_for(3min);
            EXPECT_EQ(show(id).state, QueueState::failed) << is_moved;
            EXPECT_EQ(change(Kind::remove, id), Result::done);
        }
    }
    rig.finish();
}

// Its record says so, but for what came before the hold.
TEST_F(QueueExpiry, MailForAPoolOnHoldIsWrittenOnce) {
    const auto marks = [&] {
        rig.run_for(10s);
        return rig.counters.spool_records_total.value() -
               rig.counters.messages_accepted_total.value();
    };
    (void)refusing("450 4.2.0 later\r\n");
    (void)send_waiting();
    EXPECT_EQ(marks(), 0U);
    rig.reload(hold);
    rig.run_for(1h);
    EXPECT_EQ(marks(), 1U);
    for (int count = 0; count < 5; ++count) {
        (void)send_waiting();
    }
    EXPECT_EQ(marks(), 1U);
    rig.finish();
}

TEST_F(QueueExpiry, NobodyOfAMessageExpiresWhileAPoolOfOneOfThemIsOnHold) {
    rig.reload([](Settings& settings) {
        expire_soon(settings);
        settings.spool.retry.maximum = 2min;
        settings.pools[0].hold = settings.pools[1].hold = true;
    });
    (void)refusing("450 4.2.0 later\r\n");
    ScriptedBackend& first = rig.backend(Rig::first_address);
    ScriptedBackend& second = rig.backend(Rig::second_address);
    const std::uint64_t id = send("<a@far.example>", "<u@one.example> <u@two.example>");
    rig.run_for(1h);
    rig.reload(let_go);
    const std::uint64_t reads = rig.disk.reads;
    rig.run_for(1h); // the other one's is not
    EXPECT_LT(rig.disk.reads - reads, 50U) << "it is tried at its times only";
    QueueRow row = show(id);
    EXPECT_EQ(row.state, QueueState::parked);
    EXPECT_EQ(row.recipients.at(0).state, RecipientState::pending);
    EXPECT_EQ(row.recipients.at(1).state, RecipientState::pending);
    rig.reload([](Settings& settings) { settings.pools[0].hold = false; });
    rig.run_for(9min + 50s);
    row = show(id);
    EXPECT_EQ(row.recipients.at(0).state, RecipientState::delivered);
    EXPECT_EQ(row.recipients.at(1).state, RecipientState::pending);
    EXPECT_EQ(taken(first) + taken(second), 1U);
    rig.run_for(1h);
    EXPECT_EQ(show(id).recipients.at(1).state, RecipientState::failed);
    rig.finish();
}

// Whatever it was that the operator let go: one that was held or had failed, or one that only waits
// for its next attempt. The machine may stop behind his answer.
TEST_F(QueueExpiry, WhatAnOperatorLetsGoHasItsWholeTimeAnewOverRestartsToo) {
    rig.reload(expire_soon);
    (void)refusing("450 4.2.0 later\r\n");
    struct Way {
        Kind kind;
        QueueState before; // what it is when the operator comes,
        Duration after;    // so long after it was accepted
    };
    for (const auto& [kind, before, after] :
         {Way{Kind::release, QueueState::on_hold, 1h}, Way{Kind::retry, QueueState::on_hold, 1h},
          Way{Kind::retry, QueueState::failed, 1h}, Way{Kind::release, QueueState::failed, 1h},
          Way{Kind::retry, QueueState::due, 8min}, Way{Kind::release, QueueState::due, 8min}}) {
        for (const bool restarts : {false, true}) {
            const std::uint64_t id = send_waiting();
            rig.run_for(1s);
            if (before == QueueState::on_hold) {
                EXPECT_EQ(change(Kind::hold, id), Result::done);
            }
            rig.run_for(after);
            ASSERT_EQ(show(id).state, before);
            EXPECT_EQ(change(kind, id), Result::done);
            if (restarts) {
                rig.restart(1, true);
            }
            rig.run_for(9min + 50s);
            EXPECT_EQ(show(id).state, QueueState::due) << static_cast<int>(before) << restarts;
            EXPECT_EQ(show(id).recipients.at(0).state, RecipientState::pending);
            rig.run_for(20s);
            EXPECT_EQ(show(id).state, QueueState::failed) << static_cast<int>(before) << restarts;
            EXPECT_EQ(change(Kind::remove, id), Result::done);
        }
    }
    rig.finish();
}

// It fails long after it was accepted, and is kept for as long as any.
TEST_F(QueueExpiry, WhatFailsAfterAHoldIsKeptForItsWholeTime) {
    rig.reload([](Settings& settings) {
        settings.spool.held.max_age = 100min;
        hold(settings);
    });
    (void)refusing("550 5.1.1 no such user\r\n");
    const std::uint64_t id = send_waiting();
    rig.run_for(200min);
    rig.reload(let_go);
    rig.run_for(90min);
    EXPECT_EQ(show(id).state, QueueState::failed);
    rig.restart(1, true);
    rig.run_for(8min);
    EXPECT_EQ(show(id).state, QueueState::failed);
    rig.run_for(10min);
    EXPECT_EQ(change(Kind::show, id), Result::unknown);
    rig.finish();
}

} // namespace
} // namespace ringmx::sim
