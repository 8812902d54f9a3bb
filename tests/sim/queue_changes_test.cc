// The changes of operators, on whole workers: what they do, when they are told, and that they outlive
// the machine.
#include "sim/queue_scene.h"

#include <map>
#include <random>

namespace ringmx::sim {
namespace {

using QueueChanges = QueueScene;

TEST_F(QueueChanges, AHeldMessageStaysUntilItIsReleased) {
    const std::uint64_t held = send_waiting();
    const std::uint64_t other = send_waiting();
    EXPECT_EQ(change(Kind::hold, held), Result::done);
    EXPECT_EQ(show(held).state, QueueState::on_hold);
    EXPECT_FALSE(show(held).next_attempt.has_value());
    ScriptedBackend& backend = rig.backend(Rig::third_address);
    EXPECT_EQ(ask({.kind = Kind::retry_all}).changed, 1U); // not the held one
    rig.run_for(24h);
    EXPECT_EQ(list(), Ids{held});
    EXPECT_EQ(taken(backend), 1U);
    EXPECT_EQ(change(Kind::show, other), Result::unknown);
    EXPECT_EQ(change(Kind::release, held), Result::done);
    EXPECT_TRUE(rig.run_until([&] { return rig.queued() == 0; }, 1min));
    EXPECT_EQ(taken(backend), 2U);
    rig.finish();
}

TEST_F(QueueChanges, ReleaseStartsTheTimeAnew) {
    rig.reload([](Settings& settings) { settings.spool.retry.expire = 1h; });
    ScriptedBackend& backend = refusing("450 4.2.0 later\r\n");
    const std::uint64_t id = send_waiting();
    rig.run_for(1s);
    EXPECT_EQ(change(Kind::hold, id), Result::done);
    rig.run_for(10h);
    EXPECT_EQ(change(Kind::release, id), Result::done);
    rig.run_for(50min);
    EXPECT_NE(show(id).state, QueueState::failed) << "it would have been over for long";
    backend.answer = nullptr;
    EXPECT_TRUE(rig.run_until([&] { return rig.queued() == 0; }, 1h));
    EXPECT_EQ(taken(backend), 1U);
    rig.finish();
}

// Who failed is not among those who are being tried, and does not wait for when they are again.
TEST_F(QueueChanges, WhoFailedAndIsReleasedWhileOthersAreTriedGoesAtOnce) {
    rig.reload([](Settings& settings) { settings.spool.retry.initial = 8h; });
    ScriptedBackend& backend = rig.backend(Rig::third_address);
    backend.answer = [gone = 0,
                      later = 0](const std::string& command) mutable -> std::optional<std::string> {
        if (command.starts_with("RCPT TO:<gone") && gone++ == 0) {
            return "550 5.1.1 no\r\n";
        }
        if (command.starts_with("RCPT TO:<later") && later++ < 2) {
            return "450 4.2.0 later\r\n";
        }
        return std::nullopt;
    };
    const std::uint64_t id = send("<a@far.example>", "<gone@two.example> <later@two.example>");
    rig.run_for(10s);
    backend.hold();
    EXPECT_EQ(ask({.kind = Kind::retry_all}).changed, 1U);
    rig.run_for(1s);
    EXPECT_EQ(change(Kind::retry, id), Result::done);
    backend.go_on();
    EXPECT_TRUE(rig.run_until([&] { return rig.queued() == 0; }, 1min));
    rig.finish();
}

TEST_F(QueueChanges, RetryAllMakesWhatWaitsDueNow) {
    (void)refusing("450 4.2.0 later\r\n");
    rig.reload([](Settings& settings) { settings.spool.retry.initial = 1h; });
    for (int count = 0; count < 300; ++count) { // more than are looked at in one turn
        (void)send_waiting();
    }
    rig.run_for(10s);
    EXPECT_EQ(show(list().front()).attempts, 1U);
    EXPECT_EQ(ask({.kind = Kind::retry_all}).changed, 300U);
    rig.run_for(1min);
    EXPECT_EQ(show(list().front()).attempts, 2U);
    EXPECT_EQ(show(list().back()).attempts, 2U);
    rig.finish();
}

TEST_F(QueueChanges, RetryTriesAFailedMessageAgainAndItsTimeStartsAnew) {
    ScriptedBackend& backend = refusing("550 5.1.1 no such user\r\n");
    const std::uint64_t id = send_waiting();
    rig.run_for(10 * 24h);
    EXPECT_EQ(show(id).state, QueueState::failed);
    EXPECT_EQ(show(id).recipients.at(0).state, RecipientState::failed);
    EXPECT_EQ(show(id).attempts, 1U);
    refuse(backend, "450 4.2.0 greylisted\r\n");
    EXPECT_EQ(change(Kind::retry, id), Result::done);
    rig.run_for(1min);
    // Not expired, which it would be by its first time.
    EXPECT_EQ(show(id).state, QueueState::due);
    EXPECT_EQ(show(id).recipients.at(0).state, RecipientState::pending);
    backend.answer = nullptr;
    EXPECT_TRUE(rig.run_until([&] { return rig.queued() == 0; }, 2h));
    EXPECT_EQ(taken(backend), 1U);
    rig.finish();
}

TEST_F(QueueChanges, ARemovedMessageIsGoneAndItsRoomIsFree) {
    const std::string body = "a: b\r\n\r\n" + std::string(900, 'x') + "\r\n";
    std::string content;
    while (content.size() < 1'200'000) { // in chunks
        content += body;
    }
    const std::int64_t room = rig.counters.spool_room_bytes.value();
    const std::uint64_t id = send("<a@far.example>", "<u@two.example>", content);
    EXPECT_EQ(change(Kind::remove, id), Result::done);
    EXPECT_EQ(rig.queued(), 0);
    EXPECT_EQ(change(Kind::remove, id), Result::unknown);
    // What it lay in is used again: as much mail as fits the spool, several times.
    for (int count = 0; count < 40; ++count) {
        EXPECT_EQ(change(Kind::remove, send("<a@far.example>", "<u@two.example>", content)),
                  Result::done);
    }
    EXPECT_GT(rig.counters.spool_room_bytes.value(), room / 2);
    ScriptedBackend& backend = rig.backend(Rig::third_address);
    rig.run_for(24h);
    EXPECT_TRUE(backend.messages.empty());
    rig.finish();
}

TEST_F(QueueChanges, WhatIsBeingForwardedIsHeldOrRemovedWithItsOutcome) {
    ScriptedBackend& backend = rig.backend(Rig::third_address);
    for (const Kind kind : {Kind::hold, Kind::remove}) {
        for (const bool is_taken : {false, true}) {
            backend.hold();
            const std::uint64_t id = send_waiting();
            rig.run_for(2s);
            EXPECT_EQ(show(id).state, QueueState::active);
            EXPECT_EQ(change(kind, id), Result::done);
            EXPECT_EQ(show(id).state, QueueState::active);
            refuse(backend, is_taken ? "250 2.1.5 ok\r\n" : "450 4.2.0 later\r\n");
            backend.go_on();
            rig.run_for(2s);
            if (kind == Kind::hold && !is_taken) {
                EXPECT_EQ(show(id).state, QueueState::on_hold);
                EXPECT_EQ(change(Kind::remove, id), Result::done);
            }
            EXPECT_EQ(rig.queued(), 0);
        }
    }
    EXPECT_EQ(taken(backend), 2U);
    rig.finish();
}

// Its record has been written again, and says that it failed.
TEST_F(QueueChanges, WhatIsHeldWhileItIsForwardedDoesNotExpireByThatAttempt) {
    rig.reload([](Settings& settings) { settings.spool.retry.expire = 1s; });
    ScriptedBackend& backend = rig.backend(Rig::third_address);
    backend.hold();
    backend.answer = [](const std::string& command) -> std::optional<std::string> {
        return command.starts_with("RCPT") ? std::optional("451 4.3.0 later\r\n") : std::nullopt;
    };
    const std::uint64_t id = send_waiting();
    rig.run_for(3s);
    EXPECT_EQ(show(id).state, QueueState::active);
    EXPECT_EQ(change(Kind::hold, id), Result::done);
    backend.go_on();
    rig.run_for(1h);
    EXPECT_EQ(show(id).state, QueueState::on_hold);
    EXPECT_EQ(show(id).recipients[0].state, RecipientState::pending);
    rig.finish();
}

TEST_F(QueueChanges, WhatFailedAndWasMovedIsTriedAgain) {
    ScriptedBackend& backend = rig.backend(Rig::third_address);
    for (const bool restarts : {false, true}) {
        refuse(backend, "550 5.1.1 no such user\r\n");
        const std::uint64_t id = send_waiting();
        rig.run_for(5s);
        ASSERT_EQ(show(id).state, QueueState::failed);
        rig.disk.write_error = EIO; // its segment is left
        Client& client = rig.greeted();
        (void)rig.ask(client, "MAIL FROM:<a@far.example>\r\n");
        (void)rig.ask(client, "RCPT TO:<u@two.example>\r\n");
        (void)rig.ask(client, "DATA\r\n");
        EXPECT_TRUE(rig.ask(client, "a: b\r\n\r\nc\r\n.\r\n").starts_with("451"));
        rig.disk.write_error = 0;
        rig.run_for(10min);
        const std::size_t before = taken(backend);
        backend.answer = nullptr;
        backend.refuse_connections(true);
        EXPECT_EQ(change(Kind::retry, id), Result::done);
        rig.run_for(1s);
        EXPECT_EQ(show(id).recipients[0].state, RecipientState::pending);
        if (restarts) {
            rig.restart(1, true);
        }
        backend.refuse_connections(false);
        rig.run_for(1min);
        EXPECT_EQ(rig.queued(), 0);
        EXPECT_EQ(taken(backend), before + 1);
    }
    rig.finish();
}

TEST_F(QueueChanges, WhatIsHeldWhileItIsReadIsNotForwarded) {
    ScriptedBackend& backend = refusing("450 4.2.0 later\r\n");
    const std::uint64_t id = send_waiting();
    rig.run_for(5s);
    backend.answer = nullptr;
    rig.disk.stall();
    EXPECT_EQ(ask({.kind = Kind::retry_all}).changed, 1U);
    rig.run_for(1s);
    EXPECT_TRUE(rig.worker->post(
        {.kind = worker::Inbox::Kind::question, .question = {.kind = Kind::hold, .id = id}}));
    rig.run_for(1s);
    rig.disk.resume();
    QueueAnswer answer;
    EXPECT_TRUE(rig.run_until([&] { return rig.worker->take_answer(answer); }, 1min));
    rig.run_for(1min);
    EXPECT_EQ(show(id).state, QueueState::on_hold);
    EXPECT_EQ(taken(backend), 0U);
    rig.finish();
}

TEST_F(QueueChanges, ChangesOutliveTheMachine) {
    const std::uint64_t held = send_waiting();
    const std::uint64_t removed = send_waiting();
    const std::uint64_t released = send_waiting();
    EXPECT_EQ(change(Kind::hold, held), Result::done);
    EXPECT_EQ(change(Kind::hold, released), Result::done);
    EXPECT_EQ(change(Kind::release, released), Result::done);
    EXPECT_EQ(change(Kind::remove, removed), Result::done);
    rig.restart(1, true);
    rig.run_for(1s);
    EXPECT_EQ(list(), (Ids{held, released}));
    EXPECT_EQ(show(held).state, QueueState::on_hold);
    ScriptedBackend& backend = rig.backend(Rig::third_address);
    rig.run_for(24h);
    EXPECT_EQ(list(), Ids{held});
    EXPECT_EQ(taken(backend), 1U);
    EXPECT_EQ(change(Kind::remove, held), Result::done); // in a segment of the run before
    rig.restart(1, true);
    rig.run_for(1s);
    EXPECT_TRUE(list().empty());
    EXPECT_EQ(rig.segments.adopted_files(), 0U);
    rig.finish();
}

TEST_F(QueueChanges, FailedMessagesLeaveWhenTheyAreTooOldOrTooManyOldestFirst) {
    (void)refusing("550 5.1.1 no such user\r\n");
    rig.reload([](Settings& settings) {
        settings.spool.held.max_age = 100h;
        settings.spool.held.max_size_bytes = 1'000'000;
    });
    const std::string content = "a: b\r\n\r\n" + std::string(900, 'x') + "\r\n";
    const std::uint64_t held = send_waiting();
    rig.run_for(10s);
    EXPECT_EQ(change(Kind::hold, held), Result::done);
    const std::uint64_t first = send_waiting();
    rig.run_for(99h);
    EXPECT_EQ(list(), (Ids{held, first}));
    std::string large = content;
    while (large.size() < 200'000) {
        large += content.substr(8);
    }
    Ids ids;
    for (int count = 0; count < 7; ++count) { // of which four fit, and not all five
        ids.push_back(send("<a@far.example>", "<u@two.example>", large));
    }
    rig.run_for(2 * worker::HeldBudget::interval_max);
    EXPECT_EQ(list(), (Ids{held, ids[3], ids[4], ids[5], ids[6]}));
    EXPECT_EQ(rig.counters.queue_held_removed_total.value(), 4U);
    rig.run_for(110h);
    EXPECT_EQ(list(), Ids{held}); // an operator's affair
    rig.restart(1, true);
    rig.run_for(1s);
    EXPECT_EQ(list(), Ids{held});
    rig.finish();
}

// It counts from the failure, be that long after the acceptance, and over a restart.
TEST_F(QueueChanges, AFailedMessageStaysForItsTimeAndNotMuchLonger) {
    ScriptedBackend& backend = refusing("450 4.2.0 later\r\n");
    rig.reload([](Settings& settings) {
        settings.spool.retry.expire = 10h;
        settings.spool.held.max_age = 8s;
    });
    (void)send_waiting();
    rig.run_for(5h);
    refuse(backend, "550 5.1.1 no such user\r\n");
    const auto has_failed = [&] {
        return rig.counters.queue_messages_by_state[static_cast<std::size_t>(QueueState::failed)]
                   .value() == 1;
    };
    ASSERT_TRUE(rig.run_until(has_failed, 2h));
    rig.run_for(4s);
    rig.restart(1, true);
    rig.run_for(2s);
    EXPECT_EQ(list().size(), 1U);
    rig.run_for(8s);
    EXPECT_EQ(list(), Ids{});
    rig.finish();
}

// Messages that stay are moved out of segments that are needed again, while operators change them.
TEST_F(QueueChanges, ChangesOutliveTheMachineWhileMessagesAreMoved) {
    (void)rig.backend(Rig::first_address);
    (void)rig.backend(Rig::second_address);
    const std::string line = std::string(900, 'x') + "\r\n";
    std::string large = "a: b\r\n\r\n";
    while (large.size() < 200'000) {
        large += line;
    }
    std::mt19937 random(11);
    const auto below = [&](std::size_t count) {
        return std::uniform_int_distribution<std::size_t>(0, count - 1)(random);
    };
    struct Kept {
        std::uint64_t id = 0;
        std::uint32_t segment = 0;
        QueueState state = QueueState::parked; // or anything that waits
    };
    std::vector<Kept> kept;
    std::map<std::uint64_t, std::pair<std::size_t, Kind>> asked; // by number: whose, and what
    const auto segment_of = [&](std::uint64_t id) {
        const spool::QueueIndex& index = rig.worker->queue()->index();
        return index.at(index.find(id).value()).segment;
    };
    const auto take_answers = [&] {
        QueueAnswer answer;
        while (rig.worker->take_answer(answer)) {
            const auto [who, what] = asked.at(answer.question);
            if (answer.result == Result::done) {
                kept[who].state = what == Kind::hold      ? QueueState::on_hold
                                  : what == Kind::release ? QueueState::parked
                                                          : QueueState::failed; // stands for gone
            } else {
                EXPECT_EQ(answer.result,
                          kept[who].state == QueueState::failed ? Result::unknown : Result::busy);
            }
            asked.erase(answer.question);
        }
    };
    for (int count = 0; count < 600; ++count) {
        if (count % 12 == 0) {
            const std::uint64_t id = send_waiting();
            kept.push_back({.id = id, .segment = segment_of(id)});
        }
        (void)send("<a@far.example>", "<u@one.example>", large);
        take_answers();
        while (asked.size() < 6) {
            const std::size_t who = below(kept.size());
            const Kind what = below(20) == 0  ? Kind::remove
                              : below(2) == 0 ? Kind::hold
                                              : Kind::release;
            const bool is_asked = std::ranges::any_of(
                asked, [&](const auto& each) { return each.second.first == who; });
            if (!is_asked && kept[who].state != QueueState::failed) {
                asked[++number] = {who, what};
                EXPECT_TRUE(rig.worker->post(
                    {.kind = worker::Inbox::Kind::question,
                     .question = {.number = number, .kind = what, .id = kept[who].id}}));
            } else if (below(4) == 0) {
                break;
            }
        }
    }
    EXPECT_TRUE(rig.run_until([&] {
        take_answers();
        return asked.empty();
    }));
    std::size_t moved = 0;
    Ids there;
    Ids held;
    for (const Kept& each : kept) {
        if (each.state == QueueState::failed) {
            continue;
        }
        there.push_back(each.id);
        moved += segment_of(each.id) != each.segment ? 1U : 0U;
        if (each.state == QueueState::on_hold) {
            held.push_back(each.id);
        }
    }
    EXPECT_GT(moved, 10U);
    EXPECT_LT(there.size(), kept.size());
    EXPECT_GT(held.size(), 5U);
    rig.restart(1, true);
    rig.run_for(1s);
    EXPECT_EQ(list(), there);
    EXPECT_EQ(list({.state = QueueState::on_hold}), held);
    rig.finish();
}

TEST_F(QueueChanges, NobodyIsToldBeforeAChangeIsDurable) {
    const std::uint64_t id = send_waiting();
    for (const Kind kind : {Kind::hold, Kind::release, Kind::remove}) {
        rig.disk.stall();
        EXPECT_TRUE(rig.worker->post({.kind = worker::Inbox::Kind::question,
                                      .question = {.number = 9, .kind = kind, .id = id}}));
        QueueAnswer answer;
        rig.run_for(10s);
        EXPECT_FALSE(rig.worker->take_answer(answer));
        // Another one has to wait its turn.
        EXPECT_TRUE(rig.worker->post({.kind = worker::Inbox::Kind::question,
                                      .question = {.number = 10, .kind = kind, .id = id}}));
        EXPECT_TRUE(rig.run_until([&] { return rig.worker->take_answer(answer); }, 1min));
        EXPECT_EQ(answer.question, 10U);
        EXPECT_EQ(answer.result, Result::busy);
        rig.disk.resume();
        EXPECT_TRUE(rig.run_until([&] { return rig.worker->take_answer(answer); }, 1min));
        EXPECT_EQ(answer.question, 9U);
        EXPECT_EQ(answer.result, Result::done);
    }
    EXPECT_TRUE(
        rig.run_until([&] { return rig.queued() == 0; }, 1min)); // an attempt may be under way
    rig.finish();
}

TEST_F(QueueChanges, ADiskThatFailsIsTold) {
    const std::uint64_t id = send_waiting();
    rig.disk.write_error = EIO;
    const QueueAnswer answer = ask(Kind::remove, id);
    EXPECT_EQ(answer.result, Result::not_durable);
    EXPECT_EQ(answer.error, EIO);
    EXPECT_EQ(rig.queued(), 1);
    rig.disk.write_error = 0;
    rig.run_for(5s);
    EXPECT_EQ(change(Kind::remove, id), Result::done);
    EXPECT_EQ(rig.queued(), 0);
    rig.finish();
}

} // namespace
} // namespace ringmx::sim
