// What becomes of queued mail where attempts end as they seldom do: with long replies for many
// recipients, with the backend's "not now", while memory is short, while a report is written.
#include "sim/queue_scene.h"

#include <cerrno>
#include <gmock/gmock.h>

namespace ringmx::sim {
namespace {

using ::testing::StartsWith;

class QueueOutcomes : public QueueScene {
  protected:
    explicit QueueOutcomes(const RigOptions& made = options()) : QueueScene(made) {}

    static std::string recipients(int count) {
        std::string all;
        for (int index = 0; index < count; ++index) {
            all += (index > 0 ? " <u" : "<u") + std::to_string(index) + "@two.example>";
        }
        return all;
    }
    static std::string reply_of(std::size_t lines) {
        std::string reply;
        for (std::size_t line = 1; line <= lines; ++line) {
            reply += std::string("550") + (line < lines ? "-" : " ") + "5.7.1 " +
                     std::string(400, 'x') + "\r\n";
        }
        return reply;
    }
    // Refused at its end, by a reply of so many lines.
    std::uint64_t send_refused(int count, std::size_t lines, std::string_view content) {
        ScriptedBackend& backend = rig.backend(Rig::third_address);
        backend.answer = [lines](const std::string& command) {
            return command == "." || command == "chunk" ? std::optional(reply_of(lines))
                                                        : std::nullopt;
        };
        const std::uint64_t id = send("<a@far.example>", recipients(count), content);
        EXPECT_TRUE(rig.run_until([&] { return show(id).state == QueueState::failed; }, 1min));
        return id;
    }
    void expect_all_failed(std::uint64_t id, std::size_t count) {
        const QueueRow row = show(id);
        EXPECT_EQ(row.state, QueueState::failed);
        ASSERT_EQ(row.recipients.size(), count);
        for (const QueueRow::Recipient& recipient : row.recipients) {
            EXPECT_EQ(recipient.state, RecipientState::failed);
        }
    }
    // The segments that there are are left by what is in them.
    void move_everything() {
        rig.disk.write_error = EIO;
        Client& client = rig.greeted();
        (void)rig.ask(client, "MAIL FROM:<a@far.example>\r\n");
        (void)rig.ask(client, "RCPT TO:<u@two.example>\r\n");
        (void)rig.ask(client, "DATA\r\n");
        EXPECT_THAT(rig.ask(client, "a: b\r\n\r\nc\r\n.\r\n"), StartsWith("451"));
        rig.disk.write_error = 0;
        rig.run_for(10min);
    }
    // Clients send until memory is short, none of it being written.
    void make_memory_short() {
        rig.disk.stall();
        std::string part;
        while (part.size() < 200'000) {
            part += std::string(1000, 'x') + "\r\n";
        }
        std::vector<Client*> clients;
        for (int count = 0; count < 60; ++count) {
            clients.push_back(&rig.greeted());
            (void)rig.ask(*clients.back(), "MAIL FROM:<a@far.example>\r\n");
            (void)rig.ask(*clients.back(), "RCPT TO:<u@two.example>\r\n");
            EXPECT_THAT(rig.ask(*clients.back(), "DATA\r\n"), StartsWith("354"));
        }
        for (Client* const client : clients) {
            rig.send(*client, part);
        }
        for (int turns = 0; turns < 20000 && rig.worker->pressure() == worker::Pressure::none;
             ++turns) {
            rig.turn();
        }
        EXPECT_NE(rig.worker->pressure(), worker::Pressure::none);
    }
};

TEST_F(QueueOutcomes, ManyWhoFailWithALongReplyFailForGood) {
    for (const std::size_t lines : {2U, 20U}) {
        const std::uint64_t id = send_refused(1000, lines, "a: b\r\n\r\nc\r\n");
        expect_all_failed(id, 1000);
        EXPECT_THAT(show(id).recipients[999].last_reply, StartsWith("550 5.7.1 xxx"));
        rig.run_for(2s); // marks that nobody waits for are written
        rig.restart(1, true);
        expect_all_failed(id, 1000);
        EXPECT_EQ(change(Kind::remove, id), Result::done);
    }
    rig.finish();
}

// Its record has their replies then, beside content that was as large as may be before.
TEST_F(QueueOutcomes, WhatManyFailedOfIsStillThereWhenItWasMoved) {
    std::string large = "a: b\r\n\r\n";
    while (large.size() < 255'000) {
        large += std::string(998, 'c') + "\r\n";
    }
    const std::uint64_t id = send_refused(1000, 1, large);
    rig.run_for(2s);
    move_everything();
    expect_all_failed(id, 1000);
    rig.restart(1, true);
    expect_all_failed(id, 1000);
    rig.finish();
}

TEST_F(QueueOutcomes, APoolThatWentAwayBetweenMailAndRcptIsNotLookedUp) {
    ScriptedBackend& backend = rig.backend(Rig::third_address);
    Client& client = rig.greeted();
    EXPECT_THAT(rig.ask(client, "MAIL FROM:<a@far.example>\r\n"), StartsWith("250"));
    rig.reload([](Settings& settings) { settings.pools[1].name = "renamed"; });
    EXPECT_THAT(rig.ask(client, "RCPT TO:<u@two.example>\r\n"), StartsWith("250"));
    EXPECT_THAT(rig.ask(client, "DATA\r\n"), StartsWith("354"));
    EXPECT_THAT(rig.ask(client, "a: b\r\n\r\nc\r\n.\r\n"), StartsWith("250"));
    EXPECT_TRUE(rig.run_until([&] { return rig.queued() == 0; }, 1min));
    EXPECT_EQ(taken(backend), 1U);
    rig.finish();
}

TEST_F(QueueOutcomes, ABackendThatSaysNotNowIsTriedOnSchedule) {
    ScriptedBackend& backend = rig.backend(Rig::third_address);
    for (const char* const answer : {"421 4.7.0 too busy\r\n", ScriptedBackend::drop_now}) {
        for (const char* const verb : {"MAIL", "RCPT", "."}) {
            if (answer == ScriptedBackend::drop_now && verb == std::string_view("MAIL")) {
                continue; // that is a fault of the connection, and counts towards its being down
            }
            if (answer == ScriptedBackend::drop_now && verb == std::string_view(".")) {
                continue; // it may have been taken
            }
            const std::string said = std::string(answer) + " to " + verb;
            backend.answer = [=](const std::string& command) {
                return command.starts_with(verb) || (*verb == '.' && command == "chunk")
                           ? std::optional<std::string>(answer)
                           : std::nullopt;
            };
            const std::size_t before = backend.connections;
            const std::uint64_t id = send_waiting();
            rig.run_for(10min);
            EXPECT_LE(backend.connections - before, 6U) << said;
            const QueueRow row = show(id);
            EXPECT_EQ(row.state, QueueState::due) << said;
            EXPECT_GT(row.attempts, 0U) << said;
            EXPECT_LE(row.attempts, 6U) << said;
            EXPECT_THAT(row.recipients[0].last_reply, StartsWith("451")) << said;
            backend.answer = nullptr;
            EXPECT_TRUE(rig.run_until([&] { return rig.queued() == 0; }, 10h)) << said;
        }
    }
    rig.finish();
}

TEST_F(QueueOutcomes, ARetryTimeOfOneStepOfTheClockHoldsNobodyUp) {
    rig.reload([](Settings& settings) {
        settings.spool.retry.initial = settings.spool.retry.maximum = 100ms;
        settings.pools[1].backends[0].weight = 0;
    });
    (void)send_waiting();
    rig.run_for(1min);
    EXPECT_EQ(rig.queued(), 1);
    rig.finish();
}

// Somebody else was to hear of it, and the operator wants all of them tried again.
TEST_F(QueueOutcomes, WhoIsReleasedWhileAReportIsWrittenIsTriedAgain) {
    ScriptedBackend& backend = rig.backend(Rig::third_address);
    ScriptedBackend& first = rig.backend(Rig::first_address);
    ScriptedBackend& second = rig.backend(Rig::second_address);
    backend.answer = [](const std::string& command) -> std::optional<std::string> {
        if (!command.starts_with("RCPT")) {
            return std::nullopt;
        }
        return command.find("<u0@") != std::string::npos ? "550 5.1.1 no such user\r\n"
                                                         : "450 4.2.0 later\r\n";
    };
    const std::uint64_t id = send("<a@one.example>", recipients(2));
    rig.run_for(5s);
    ASSERT_EQ(show(id).recipients[0].state, RecipientState::failed);
    rig.reload([](Settings& settings) { settings.spool.on_failure = OnFailure::bounce; });
    backend.answer = [this](const std::string& command) -> std::optional<std::string> {
        if (!command.starts_with("RCPT")) {
            return std::nullopt;
        }
        rig.disk.stall();
        return "550 5.1.1 no such user\r\n";
    };
    ASSERT_TRUE(rig.run_until([&] { return rig.disk.under_way() > 0; }, 1h)) << "of the report";
    EXPECT_TRUE(rig.worker->post({.kind = worker::Inbox::Kind::question,
                                  .question = {.number = 1, .kind = Kind::retry, .id = id}}));
    rig.run_for(1s);
    backend.answer = nullptr;
    rig.disk.resume();
    EXPECT_TRUE(rig.run_until([&] { return rig.queued() == 0; }, 1h));
    EXPECT_EQ(taken(backend), 1U) << "one of two was to be reported";
    EXPECT_EQ(taken(first) + taken(second), 1U);
    rig.finish();
}

TEST_F(QueueOutcomes, WhatWasRemovedIsGoneThoughAReportOfItFails) {
    ScriptedBackend& backend = rig.backend(Rig::third_address);
    rig.reload([](Settings& settings) { settings.spool.on_failure = OnFailure::bounce; });
    backend.hold();
    refuse(backend, "550 5.1.1 no such user\r\n");
    const std::uint64_t id = send("<a@one.example>", "<u@two.example>");
    rig.run_for(2s);
    rig.disk.stall();
    EXPECT_TRUE(rig.worker->post({.kind = worker::Inbox::Kind::question,
                                  .question = {.number = 1, .kind = Kind::remove, .id = id}}));
    rig.run_for(1s);
    ASSERT_EQ(rig.disk.under_way(), 1U) << "the mark";
    rig.disk.when_it_may_end([this] { rig.disk.write_error = EIO; });
    backend.go_on();
    rig.run_for(1s);
    ASSERT_EQ(rig.disk.under_way(), 2U) << "and the report";
    rig.disk.resume();
    EXPECT_TRUE(rig.run_until([&] { return rig.queued() == 0; }, 5s));
    rig.disk.write_error = 0;
    rig.run_for(10s);
    rig.finish();
}

class QueueOutcomesWithLittleMemory : public QueueOutcomes {
  protected:
    QueueOutcomesWithLittleMemory() : QueueOutcomes(little()) {}

    static RigOptions little() {
        RigOptions made = options();
        made.memory_bytes_max = 4UL << 20U;
        made.settings = [](Settings& settings) {
            settings.pools[0].hold = true;
            settings.pools[1].max_connections = 1;
            settings.timeouts.backend_wait = 1h;
        };
        return made;
    }
};

TEST_F(QueueOutcomesWithLittleMemory, WhoWasGivenUpForOthersDoesNotWaitForAnothersHold) {
    ScriptedBackend& backend = rig.backend(Rig::third_address);
    backend.hold();
    (void)send_waiting(); // has the one connection
    const std::uint64_t id = send("<a@far.example>", "<h@one.example> <u@two.example>");
    rig.run_for(2s);
    EXPECT_EQ(show(id).state, QueueState::active);
    make_memory_short();
    rig.run_for(2s);
    rig.disk.resume();
    backend.go_on();
    rig.run_for(1min);
    EXPECT_EQ(show(id).recipients[0].state, RecipientState::pending);
    EXPECT_EQ(show(id).recipients[1].state, RecipientState::delivered);
    rig.finish();
}

TEST_F(QueueOutcomesWithLittleMemory, WhatIsDueMeanwhileDoesNotKeepTheWorkerBusy) {
    (void)send("<a@far.example>", "<h@one.example>");
    make_memory_short();
    rig.reload([](Settings& settings) { settings.pools[0].hold = false; });
    const Instant begun = rig.network.now();
    for (int turns = 0; turns < 3000; ++turns) {
        rig.turn();
    }
    EXPECT_NE(rig.worker->pressure(), worker::Pressure::none);
    EXPECT_GT(rig.network.now() - begun, 2min) << "it was due by then";
    rig.disk.resume();
    rig.finish();
}

} // namespace
} // namespace ringmx::sim
