// Mail that is acknowledged from the spool, on whole workers: taken, forwarded, tried again, kept over
// restarts.
#include "sim/spool_scenes.h"

#include <cstdlib>
#include <gtest/gtest.h>
#include <map>
#include <optional>
#include <utility>

namespace ringmx::sim {
namespace {

TEST(Spool, AMessageIsQueuedThenForwarded) {
    Rig rig(spooling());
    ScriptedBackend& first = rig.backend(Rig::first_address);
    ScriptedBackend& second = rig.backend(Rig::second_address);
    Client& client = rig.greeted();
    const std::string reply = send_message(rig, client, "Subject: x\r\n\r\n..body\r\n");
    EXPECT_TRUE(reply.starts_with("250 2.0.0 Ok: queued as ")) << reply;
    ASSERT_TRUE(rig.run_until([&] { return taken(first).size() + taken(second).size() == 1; }));
    const std::string octets = taken(first).empty() ? taken(second)[0] : taken(first)[0];
    EXPECT_TRUE(octets.starts_with("Received: from client.example")) << octets;
    EXPECT_TRUE(octets.ends_with("Subject: x\r\n\r\n.body\r\n")) << octets;
    EXPECT_NE(octets.find(reply.substr(24, 13)), std::string::npos) << octets;
    EXPECT_TRUE(rig.run_until([&] { return rig.queued() == 0; }));
    rig.finish();
}

TEST(Spool, NobodyIsToldBeforeItIsDurable) {
    Rig rig(spooling());
    (void)rig.backend(Rig::first_address);
    (void)rig.backend(Rig::second_address);
    Client& client = rig.with_recipient();
    EXPECT_TRUE(rig.ask(client, "DATA\r\n").starts_with("354"));
    rig.run_for(1s);
    rig.disk.stall();
    rig.send(client, "Subject: x\r\n\r\nbody\r\n.\r\n");
    rig.run_for(10s);
    EXPECT_EQ(client.take_reply(), "");
    rig.disk.resume();
    EXPECT_TRUE(rig.reply(client).starts_with("250 2.0.0 Ok: queued as "));
    rig.finish();
}

TEST(Spool, WhatGoesAtOnceIsNeverReadFromTheDisk) {
    Rig rig(spooling());
    ScriptedBackend& backend = rig.backend(Rig::third_address);
    Client& client = rig.greeted();
    const std::uint64_t before = rig.disk.reads;
    for (std::size_t count = 1; count <= 20; ++count) { // all that is not in chunks
        const std::string content = count % 2 == 0 ? content_of_100_kb() : "one\r\n";
        EXPECT_TRUE(send_message(rig, client, content, "<u@two.example>").starts_with("250"));
        ASSERT_TRUE(rig.run_until([&] { return taken(backend).size() == count; }));
    }
    ASSERT_TRUE(rig.run_until([&] { return rig.queued() == 0; }));
    EXPECT_EQ(rig.disk.reads, before);
    rig.finish();
}

TEST(Spool, ALargeMessageGoesToTheDiskInParts) {
    Rig rig(spooling());
    ScriptedBackend& backend = rig.backend(Rig::third_address);
    Client& client = rig.greeted();
    std::string content;
    while (content.size() < 1'500'000) {
        content += "a line of this message that is fairly long, " + std::to_string(content.size()) +
                   "\r\n";
    }
    EXPECT_TRUE(send_message(rig, client, content, "<user@two.example>").starts_with("250 2.0.0"));
    ASSERT_TRUE(rig.run_until([&] { return taken(backend).size() == 1; }));
    EXPECT_TRUE(taken(backend)[0].ends_with(content));
    EXPECT_TRUE(rig.run_until([&] { return rig.queued() == 0; }));
    rig.finish();
}

// More than can be under way to the disk: each is read on when there is room again.
TEST(Spool, ManyLargeMessagesAtOnceAreAllTaken) {
    RigOptions options = spooling();
    options.segments_max = 40;
    options.memory_bytes_max = 256UL << 20U;
    Rig rig(options);
    rig.reload([](Settings& settings) { settings.limits.minimum_data_rate_bytes = 0; });
    ScriptedBackend& backend = rig.backend(Rig::third_address);
    std::string content;
    while (content.size() < 1'048'000) {
        content += "a line of this message that is fairly long, " + std::to_string(content.size()) +
                   "\r\n";
    }
    std::vector<Client*> clients;
    for (int count = 0; count < 20; ++count) {
        Client& client = rig.greeted();
        clients.push_back(&client);
        EXPECT_TRUE(rig.ask(client, "MAIL FROM:<sender@far.example>\r\n").starts_with("250"));
        EXPECT_TRUE(rig.ask(client, "RCPT TO:<u@two.example>\r\n").starts_with("250"));
        EXPECT_TRUE(rig.ask(client, "DATA\r\n").starts_with("354"));
    }
    rig.disk.stall();
    for (Client* const client : clients) {
        rig.send(*client, content + ".\r\n");
    }
    rig.run_for(1s);
    rig.disk.resume();
    for (Client* const client : clients) {
        const std::string reply = rig.reply(*client);
        EXPECT_TRUE(reply.starts_with("250 2.0.0")) << reply;
    }
    ASSERT_TRUE(rig.run_until([&] { return taken(backend).size() == clients.size(); }));
    for (const std::string& octets : taken(backend)) {
        EXPECT_TRUE(octets.ends_with(content));
    }
    rig.finish();
}

// What a backend takes is known once it was connected to; the pool takes what one of its backends
// takes.
TEST(Spool, ASizeThatNoBackendOfThePoolTakesIsRefusedAtRcpt) {
    Rig rig(spooling());
    const auto size_of = [](const char* stated) {
        return [stated](const std::string& command) -> std::optional<std::string> {
            return command.starts_with("EHLO") ? std::optional(stated) : std::nullopt;
        };
    };
    ScriptedBackend& first = rig.backend(Rig::first_address);
    ScriptedBackend& second = rig.backend(Rig::second_address);
    first.answer = second.answer = size_of("250-backend\r\n250 SIZE 1000\r\n");
    Client& client = rig.greeted();
    const auto ask = [&](std::string_view size) {
        (void)rig.ask(client, "RSET\r\n");
        EXPECT_TRUE(rig.ask(client, "MAIL FROM:<a@far.example> SIZE=" + std::string(size) + "\r\n")
                        .starts_with("250"));
        return rig.ask(client, "RCPT TO:<user@one.example>\r\n");
    };
    const std::string accepted = "250 2.1.5 Ok\r\n";
    EXPECT_EQ(ask("1001"), accepted) << "nothing is known yet";
    std::size_t sent = 0;
    while (first.connections == 0 || second.connections == 0) {
        ASSERT_LT(++sent, 100U);
        (void)rig.ask(client, "RSET\r\n");
        const std::string to = "<u" + std::to_string(sent) + "@one.example>";
        EXPECT_TRUE(send_message(rig, client, "a: b\r\n\r\nc\r\n", to).starts_with("250"));
        ASSERT_TRUE(rig.run_until([&] { return rig.queued() == 0; }));
        if (first.connections + second.connections == 1) {
            EXPECT_EQ(ask("1001"), accepted) << "of one it is not known";
        }
    }
    EXPECT_EQ(ask("700"), accepted);
    EXPECT_EQ(ask("1000"), "552 5.3.4 Message too large for this recipient\r\n")
        << "with our Received field";
    EXPECT_EQ(rig.ask(client, "RCPT TO:<user@two.example>\r\n"), accepted) << "another pool";
    rig.finish();
}

TEST(Spool, WithoutABackendMailWaitsAndGoesWhenThereIsOne) {
    Rig rig(spooling());
    Client& client = rig.greeted();
    for (int count = 0; count < 20; ++count) {
        const std::string body = "Subject: " + std::to_string(count) + "\r\n\r\nx\r\n";
        EXPECT_TRUE(send_message(rig, client, body, "<user@two.example>").starts_with("250 2.0.0"));
    }
    rig.run_for(10min);
    EXPECT_EQ(rig.queued(), 20);
    ScriptedBackend& backend = rig.backend(Rig::third_address);
    ASSERT_TRUE(rig.run_until([&] { return rig.queued() == 0; }, 6h));
    EXPECT_EQ(taken(backend).size(), 20U);
    rig.finish();
}

TEST(Spool, AReloadThatReordersPoolsLosesNobody) {
    Rig rig(spooling());
    Client& client = rig.greeted();
    EXPECT_TRUE(
        send_message(rig, client, "a: b\r\n\r\nc\r\n", "<u@two.example>").starts_with("250"));
    rig.run_for(1min);
    EXPECT_EQ(rig.queued(), 1);
    rig.reload([](Settings& settings) { // a pool before the others
        PoolSettings added = settings.pools[0];
        added.name = "a";
        settings.pools.insert(settings.pools.begin(), added);
        for (RouteSettings& route : settings.routes) {
            ++route.pool_index;
        }
    });
    EXPECT_TRUE(
        send_message(rig, client, "a: b\r\n\r\nd\r\n", "<u@two.example>").starts_with("250"));
    rig.run_for(1min);
    ScriptedBackend& backend = rig.backend(Rig::third_address);
    ASSERT_TRUE(rig.run_until([&] { return rig.queued() == 0; }, 10min));
    EXPECT_EQ(taken(backend).size(), 2U);
    rig.finish();
}

TEST(Spool, ATemporaryRefusalIsTriedAgainOnSchedule) {
    Rig rig(spooling());
    ScriptedBackend& backend = rig.backend(Rig::third_address);
    int refusals = 3;
    backend.answer = [&](const std::string& command) -> std::optional<std::string> {
        if (command.starts_with("RCPT") && refusals > 0) {
            --refusals;
            return "450 4.2.0 greylisted\r\n";
        }
        return std::nullopt;
    };
    Client& client = rig.greeted();
    EXPECT_TRUE(
        send_message(rig, client, "a: b\r\n\r\nc\r\n", "<u@two.example>").starts_with("250"));
    rig.run_for(5s);
    EXPECT_EQ(rig.queued(), 1);
    EXPECT_EQ(refusals, 2);
    // 30 s, 1 min, 2 min, each within a fifth.
    rig.run_for(4min);
    EXPECT_EQ(refusals, 0);
    EXPECT_EQ(rig.queued(), 0);
    EXPECT_EQ(taken(backend).size(), 1U);
    rig.finish();
}

TEST(Spool, ARefusalForGoodHoldsTheMessage) {
    Rig rig(spooling());
    ScriptedBackend& backend = rig.backend(Rig::third_address);
    backend.answer = [](const std::string& command) -> std::optional<std::string> {
        return command.starts_with("RCPT") ? std::optional("550 5.1.1 no such user\r\n")
                                           : std::nullopt;
    };
    Client& client = rig.greeted();
    EXPECT_TRUE(
        send_message(rig, client, "a: b\r\n\r\nc\r\n", "<u@two.example>").starts_with("250"));
    rig.run_for(2h);
    EXPECT_EQ(rig.queued(), 1);
    EXPECT_EQ(backend.messages.size(), 1U);
    rig.finish();
}

TEST(Spool, AMessageThatNobodyTakesExpires) {
    RigOptions options = spooling();
    options.settings = [](Settings& settings) { settings.spool.retry.expire = 10min; };
    Rig rig(options);
    Client& client = rig.greeted();
    EXPECT_TRUE(
        send_message(rig, client, "a: b\r\n\r\nc\r\n", "<u@two.example>").starts_with("250"));
    rig.run_for(11min);
    EXPECT_EQ(rig.queued(), 1); // held, visible
    ScriptedBackend& backend = rig.backend(Rig::third_address);
    rig.run_for(1h);
    EXPECT_EQ(backend.messages.size(), 0U);
    rig.finish();
}

// The time is used up: the last attempt is when it ends, not the one whose next would be too late.
TEST(Spool, TheLastAttemptIsWhenTheMessageExpires) {
    RigOptions options = spooling();
    options.settings = [](Settings& settings) { settings.spool.retry.expire = 10min; };
    Rig rig(options);
    std::vector<WallTime> attempts;
    ScriptedBackend& backend = rig.backend(Rig::third_address);
    backend.answer = [&](const std::string& command) -> std::optional<std::string> {
        if (!command.starts_with("RCPT")) {
            return std::nullopt;
        }
        attempts.push_back(rig.port.wall_time());
        return "450 4.2.0 later\r\n";
    };
    Client& client = rig.greeted();
    EXPECT_TRUE(
        send_message(rig, client, "a: b\r\n\r\nc\r\n", "<u@two.example>").starts_with("250"));
    rig.run_for(1h);
    ASSERT_GT(attempts.size(), 3U); // at 0, 30 s, 90 s, …
    EXPECT_GE(attempts.back() - attempts.front(), 10min);
    EXPECT_LE(attempts.back() - attempts.front(), 10min + 2s); // times are kept in seconds
    rig.finish();
}

TEST(Spool, WhatWasPromisedOutlivesTheMachine) {
    for (const bool machine_stops : {false, true}) {
        Rig rig(spooling(2));
        Client& client = rig.greeted();
        for (int count = 0; count < 10; ++count) {
            const std::string body = "Subject: " + std::to_string(count) + "\r\n\r\nx\r\n";
            EXPECT_TRUE(send_message(rig, client, body, "<u@two.example>").starts_with("250"));
        }
        rig.restart(3, machine_stops);
        rig.run_for(1s);
        EXPECT_EQ(rig.queued(), 10);
        ScriptedBackend& backend = rig.backend(Rig::third_address);
        ASSERT_TRUE(rig.run_until([&] { return rig.queued() == 0; }, 6h));
        EXPECT_EQ(taken(backend).size(), 10U);
        rig.run_for(1s); // marks
        rig.restart(1, machine_stops);
        rig.run_for(1s);
        EXPECT_EQ(rig.queued(), 0);
        EXPECT_EQ(taken(backend).size(), 10U);
        rig.finish();
    }
}

// By who copied it, or by the disk.
TEST(Spool, TheLastWholeMessageOfACutFileIsDelivered) {
    for (const std::string& content :
         {std::string("Subject: x\r\n\r\nx\r\n"), content_of_100_kb()}) {
        Rig rig(spooling());
        Client& client = rig.greeted();
        EXPECT_TRUE(send_message(rig, client, content, "<u@two.example>").starts_with("250"));
        for (const int file : rig.disk.files()) {
            std::vector<std::byte>& octets = rig.disk.octets(file);
            while (!octets.empty() && octets.back() == std::byte{0}) {
                octets.pop_back();
            }
            EXPECT_TRUE(octets.empty() || octets.size() % spool::block_bytes != 0);
        }
        rig.restart(1, true);
        ScriptedBackend& backend = rig.backend(Rig::third_address);
        EXPECT_TRUE(rig.run_until([&] { return taken(backend).size() == 1; }, 6h));
        EXPECT_TRUE(rig.run_until([&] { return rig.queued() == 0; }));
        rig.finish();
    }
}

TEST(Spool, AfterARestartTheOldestGoFirst) {
    RigOptions options = spooling(2);
    options.settings = [](Settings& settings) { settings.pools[1].max_connections = 1; };
    Rig rig(options);
    constexpr int messages = 200;
    constexpr int shuffled_max = 2 * worker::MailQueue::disk_dispatches_max; // read at a time
    for (int count = 0; count < messages; ++count) {
        Client& client = rig.greeted(); // of either worker
        const std::string body = "Number: " + std::to_string(count) + "\r\n\r\nx\r\n";
        EXPECT_TRUE(send_message(rig, client, body, "<u@two.example>").starts_with("250"));
    }
    rig.restart(1, true);
    ScriptedBackend& backend = rig.backend(Rig::third_address);
    ASSERT_TRUE(rig.run_until([&] { return backend.taken_count() == messages; }, 6h));
    int place = 0;
    for (const std::string& octets : taken(backend)) {
        const int number = std::stoi(octets.substr(octets.find("Number: ") + 8));
        EXPECT_LE(std::abs(number - place++), shuffled_max) << "the oldest waited";
    }
    rig.finish();
}

TEST(Spool, ADrainWhileMessagesAreMovedIsWaitedForInPeace) {
    Rig rig(spooling());
    ScriptedBackend& backend = rig.backend(Rig::third_address);
    backend.answer = [](const std::string& command) -> std::optional<std::string> {
        return command.starts_with("RCPT TO:<bad") ? std::optional("550 5.1.1 no such user\r\n")
                                                   : std::nullopt;
    };
    std::string content;
    while (content.size() < 100'000) {
        content += "a: " + std::string(900, 'x') + "\r\n";
    }
    // Held messages lie in many segments; where the first one that is moved lay, others still lie.
    const spool::QueueIndex& index = rig.worker->queue()->index();
    std::map<std::uint64_t, std::uint32_t> segment_of;
    std::optional<std::uint32_t> victim;
    const auto look = [&] {
        for (auto slot = index.first_after(0); slot && !victim;
             slot = index.first_after(index.at(*slot).age)) {
            const spool::QueueEntry& entry = index.at(*slot);
            const auto [known, is_new] = segment_of.emplace(entry.id, entry.segment);
            victim = known->second == entry.segment ? std::nullopt : std::optional(known->second);
        }
        return victim.has_value();
    };
    Client& busy = rig.with_recipient("<good@two.example>");
    Client& client = rig.greeted();
    for (int count = 0; !victim; ++count) {
        ASSERT_LT(count, 400);
        for (int held = 0; count % 20 == 0 && held < 12; ++held) {
            (void)send_message(rig, client, "a: b\r\n", "<bad@two.example>");
        }
        (void)send_message(rig, client, content, "<good@two.example>");
        (void)rig.ask(busy, "NOOP\r\n");               // it is there still when it is drained
        const Instant end = rig.network.now() + 500ms; // delivered, marked
        (void)rig.run_until([&] { return look() || rig.network.now() >= end; });
    }
    int left = 0;
    for (auto slot = index.first_after(0); slot; slot = index.first_after(index.at(*slot).age)) {
        left += index.at(*slot).segment == *victim ? 1 : 0;
    }
    ASSERT_GT(left, 4) << "more than are moved at a time";
    rig.post(worker::Inbox::Kind::drain);
    const Instant begun = rig.network.now();
    for (int turns = 0; turns < 2000 && rig.network.now() < begun + 5s; ++turns) {
        rig.turn();
    }
    ASSERT_GE(rig.network.now(), begun + 5s) << "it runs without end";
    EXPECT_TRUE(rig.ask(busy, "DATA\r\n").starts_with("354"));
    EXPECT_TRUE(rig.ask(busy, "x: y\r\n.\r\n").starts_with("250"));
    rig.finish();
}

TEST(Spool, WhatIsStillBeingReadWhenTheTimeForDrainingIsOverGoesToNobody) {
    Rig rig(spooling());
    ScriptedBackend& backend = rig.backend(Rig::third_address);
    backend.answer = [](const std::string& command) -> std::optional<std::string> {
        return command.starts_with("RCPT") ? std::optional("451 4.2.0 later\r\n") : std::nullopt;
    };
    Client& client = rig.greeted();
    EXPECT_TRUE(send_message(rig, client, "x: y\r\n", "<u@two.example>").starts_with("250"));
    rig.run_for(5s);
    EXPECT_EQ(backend.count_of("MAIL"), 1U);
    rig.disk.stall();
    rig.run_for(1h);
    rig.post(worker::Inbox::Kind::cut);
    rig.run_for(1s);
    EXPECT_FALSE(rig.finished());
    rig.disk.resume();
    rig.run_for(5s);
    EXPECT_TRUE(rig.finished());
    EXPECT_EQ(backend.count_of("MAIL"), 1U);
    rig.finish();
}

// Even when it has answered some of the transaction: the backend is not left for that.
TEST(Spool, AReusedConnectionThatDropsIsReplacedByAFreshOne) {
    for (const char* how : {ScriptedBackend::drop_now, "421 4.3.2 Closing\r\n"}) {
        Rig rig(spooling());
        BackendProfile profile;
        profile.pipelining = profile.chunking = false;
        ScriptedBackend& backend = rig.backend(Rig::third_address, profile);
        Client& client = rig.greeted();
        EXPECT_TRUE(send_message(rig, client, "a: b\r\n", "<user@two.example>").starts_with("250"));
        ASSERT_TRUE(rig.run_until([&] { return rig.queued() == 0; }));
        ASSERT_EQ(backend.connections, 1U);
        bool is_first = true;
        backend.answer = [&](const std::string& command) -> std::optional<std::string> {
            return command.starts_with("RCPT") && std::exchange(is_first, false)
                       ? std::optional<std::string>(how)
                       : std::nullopt;
        };
        EXPECT_TRUE(send_message(rig, client, "a: b\r\n", "<user@two.example>").starts_with("250"));
        bool has_waited = false; // for the backend to come back
        EXPECT_TRUE(rig.run_until([&] {
            has_waited |= rig.worker->queue()->index().sum(QueueState::parked).messages > 0;
            return rig.queued() == 0;
        }));
        EXPECT_FALSE(has_waited) << how;
        EXPECT_EQ(backend.connections, 2U);
        EXPECT_EQ(taken(backend).size(), 2U);
        rig.finish();
    }
}

} // namespace
} // namespace ringmx::sim
