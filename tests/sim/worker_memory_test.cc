// A worker whose memory is little or gone: what clients are told, what is held for them, and that
// everything goes on when there is room again.
#include "sim/worker_scenes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <ranges>
#include <vector>

namespace ringmx::sim {
namespace {

using ::testing::StartsWith;
using worker::Pressure;

RigOptions with_little_memory(const std::function<void(Settings&)>& change = {}) {
    RigOptions options = Single::options([change](Settings& settings) {
        settings.pools[0].max_connections = 200;
        settings.limits.exempt = {Network::parse("192.0.2.0/24").value()};
        settings.timeouts.backend_hold = Duration{0};
        if (change) {
            change(settings);
        }
    });
    options.memory_bytes_max = 4UL << 20U;
    return options;
}

// All of them in DATA, with one recipient, at about the same time.
std::vector<Client*> clients_in_data(Rig& rig, std::size_t count) {
    std::vector<Client*> clients;
    while (clients.size() < count) {
        clients.push_back(&rig.connect());
        rig.send(*clients.back(), "EHLO client.example\r\n");
    }
    const auto all_hear = [&](const char* start) {
        for (Client* const client : clients) {
            EXPECT_THAT(rig.reply(*client), StartsWith(start));
        }
    };
    all_hear("220");
    all_hear("250");
    for (Client* const client : clients) {
        rig.send(*client, "MAIL FROM:<a@b.example>\r\nRCPT TO:<user@one.example>\r\nDATA\r\n");
    }
    all_hear("250 2.1.0");
    all_hear("250 2.1.5");
    all_hear("354");
    return clients;
}

// Together they are more than the memory; whoever has a backend connection is streamed.
TEST(WorkerMemory, ManySlowSendersFinishWithLittleMemory) {
    Single single(with_little_memory());
    Rig& rig = single.rig;
    const std::vector<Client*> clients = clients_in_data(rig, 150);
    for (int round = 0; round < 20; ++round) {
        for (Client* const client : clients) {
            rig.send(*client, std::string(4000, 'x') + "\r\n");
        }
        rig.run_for(1s);
    }
    std::size_t taken_count = 0;
    for (Client* const client : clients) {
        const std::string said = rig.ask(*client, ".\r\n");
        EXPECT_TRUE(said == taken || said.starts_with("452 4.3.1")) << said;
        taken_count += said == taken ? 1U : 0U;
    }
    EXPECT_EQ(single.backend.taken_count(), taken_count);
    EXPECT_GT(taken_count, 140U);
    Client& later = rig.with_recipient();
    EXPECT_THAT(rig.ask(later, "DATA\r\n"), StartsWith("354"));
    EXPECT_EQ(rig.ask(later, "x\r\n.\r\n"), taken);
    rig.finish();
}

// A backend that does not read: what clients send can't go on. Nobody's memory is anybody's death.
TEST(WorkerMemory, WhenMemoryIsOutNewMailIsRefusedAndTakenAgainLater) {
    Single single(with_little_memory());
    Rig& rig = single.rig;
    const std::vector<Client*> clients = clients_in_data(rig, 100);
    Client& late = rig.greeted();
    single.backend.stop_reading();
    std::string message;
    while (message.size() < 200'000) {
        message += std::string(1000, 'x') + "\r\n";
    }
    for (Client* const client : clients) {
        rig.send(*client, message);
    }
    rig.run_for(5s);
    EXPECT_NE(rig.worker->pressure(), Pressure::none);
    EXPECT_THAT(rig.ask(late, "MAIL FROM:<a@b.example>\r\n"), StartsWith("452 4.3.1"));
    single.backend.go_on_reading();
    std::size_t taken_count = 0;
    for (Client* const client : clients) {
        const std::string said = rig.ask(*client, ".\r\n");
        EXPECT_TRUE(said == taken || said.starts_with("452 4.3.1")) << said;
        taken_count += said == taken ? 1U : 0U;
    }
    EXPECT_GT(taken_count, 0U);
    EXPECT_EQ(rig.worker->pressure(), Pressure::none);
    EXPECT_EQ(single.message(late), taken);
    EXPECT_EQ(single.backend.taken_count(), taken_count + 1);
    rig.finish();
}

// Nobody sends a message that could be failed: commands that wait for an answer fill the memory.
TEST(WorkerMemory, WhenWaitingCommandsTakeAllTheMemoryThoseWithMostGoAndTheOthersGoOn) {
    Single single(with_little_memory());
    Rig& rig = single.rig;
    single.backend.answer = always("RCPT", ScriptedBackend::say_nothing);
    std::vector<Client*> clients;
    while (clients.size() < 150) {
        clients.push_back(&rig.connect());
        rig.send(*clients.back(), "EHLO client.example\r\nMAIL FROM:<a@b.example>\r\n"
                                  "RCPT TO:<user@one.example>\r\n");
    }
    for (Client* const client : clients) {
        EXPECT_THAT(rig.reply(*client), StartsWith("220"));
        EXPECT_THAT(rig.reply(*client), StartsWith("250"));
        EXPECT_THAT(rig.reply(*client), StartsWith("250 2.1.0"));
    }
    constexpr int noops = 60;
    std::string commands;
    for (int count = 0; count < noops; ++count) {
        commands += "NOOP " + std::string(1000, 'x') + "\r\n";
    }
    for (Client* const client : clients) {
        rig.send(*client, commands);
    }
    rig.run_for(10s);
    Client& late = rig.greeted();
    EXPECT_THAT(rig.ask(late, "MAIL FROM:<a@b.example>\r\n"), StartsWith("452 4.3.1"));
    single.backend.answer = {};
    single.backend.close_all();
    std::size_t gone = 0;
    for (Client* const client : clients) {
        const std::string said = rig.reply(*client);
        if (said.starts_with("421 4.3.1")) {
            ++gone;
            continue;
        }
        EXPECT_TRUE(said.starts_with("451 4.4.1") || said.starts_with("250 2.1.5")) << said;
        for (int count = 0; count < noops; ++count) {
            ASSERT_THAT(rig.reply(*client), StartsWith("250 2.0.0"));
        }
    }
    EXPECT_GT(gone, 0U);
    EXPECT_LT(gone, 110U); // the memory is enough for the others
    EXPECT_EQ(rig.worker->pressure(), Pressure::none);
    rig.finish();
}

constexpr int refused_count = 50000;

// `command` again and again; each is answered by what begins with `start`.
void expect_refusals(Rig& rig, Client& client, const std::string& command, const char* start) {
    constexpr int batch = 100;
    for (int count = 0; count < refused_count; count += batch) {
        std::string commands;
        for (int one = 0; one < batch; ++one) {
            commands += command;
        }
        rig.send(client, commands);
        for (int one = 0; one < batch; ++one) {
            ASSERT_THAT(rig.reply(client), StartsWith(start)) << "after " << count;
        }
        ASSERT_EQ(rig.worker->pressure(), Pressure::none) << "after " << count;
    }
}

TEST(WorkerMemory, RefusedRecipientsAreForgottenAndTheAcceptedOneIsDelivered) {
    Single single(with_little_memory());
    Client& client = single.rig.with_recipient();
    expect_refusals(single.rig, client, "RCPT TO:<somebody@two.example>\r\n", "452 4.5.3");
    EXPECT_THAT(single.rig.ask(client, "RCPT TO:<other@one.example>\r\n"), StartsWith("250"));
    EXPECT_THAT(single.rig.ask(client, "DATA\r\n"), StartsWith("354"));
    EXPECT_EQ(single.rig.ask(client, "x\r\n.\r\n"), taken);
    ASSERT_EQ(single.backend.taken_count(), 1U);
    EXPECT_EQ(single.backend.messages[0]->recipients.size(), 2U);
    single.rig.finish();
}

TEST(WorkerMemory, RecipientsOfAPoolThatIsDownAreForgotten) {
    Rig rig(with_little_memory());
    Client& client = rig.greeted();
    (void)rig.ask(client, "MAIL FROM:<a@b.example>\r\n");
    expect_refusals(rig, client, "RCPT TO:<user@one.example>\r\n", "451 4.4.1");
    EXPECT_THAT(rig.ask(client, "DATA\r\n"), StartsWith("554 5.5.1"));
    rig.finish();
}

TEST(WorkerMemory, RecipientsThatTheBackendRefusesAreForgotten) {
    Single single(with_little_memory());
    single.backend.answer = always("RCPT TO:<no", "450 4.2.1 Not now\r\n");
    Client& client = single.rig.with_recipient();
    expect_refusals(single.rig, client, "RCPT TO:<nobody@one.example>\r\n", "450 4.2.1");
    EXPECT_THAT(single.rig.ask(client, "DATA\r\n"), StartsWith("354"));
    EXPECT_EQ(single.rig.ask(client, "x\r\n.\r\n"), taken);
    single.rig.finish();
}

// A client whose answer is awaited sends on, an octet at a time.
TEST(WorkerMemory, OctetsThatWaitTakeLittleMoreMemoryThanTheirNumber) {
    RigOptions options = Single::options();
    options.network.segment_bytes_max = 1;
    Single single(options);
    Client& client = single.rig.greeted();
    single.backend.answer = always("RCPT", ScriptedBackend::say_nothing);
    single.rig.send(client, "MAIL FROM:<a@b.example>\r\nRCPT TO:<user@one.example>\r\n");
    single.rig.run_for(1s);
    EXPECT_EQ(single.backend.count_of("RCPT"), 1U);
    // What lies in the buffers that are posted anyway costs nothing more.
    const std::size_t before = single.rig.worker->pool().bytes_in_use();
    constexpr std::size_t octets = 60000;
    std::string noops;
    while (noops.size() < octets) {
        noops += "NOOP\r\n";
    }
    single.rig.send(client, noops);
    std::size_t most = 0;
    (void)single.rig.run_until(
        [&] {
            most = std::max(most, single.rig.worker->pool().bytes_in_use());
            return false;
        },
        20s);
    EXPECT_LE(most, before + 3 * octets + 2UL * 64 * 1024);
    single.backend.answer = {};
    single.backend.close_all(); // with that the wait is over
    EXPECT_THAT(single.rig.reply(client), StartsWith("250 2.1.0"));
    EXPECT_THAT(single.rig.reply(client), StartsWith("451 4.4.1"));
    for (std::size_t count = 0; count < noops.size() / 6; ++count) {
        ASSERT_THAT(single.rig.reply(client), StartsWith("250 2.0.0")) << count;
    }
    single.rig.finish();
}

// Takes memory until no more than `left` octets may be had.
std::vector<Draft> take_memory(BufferPool& pool, std::size_t left) {
    std::vector<Draft> taken;
    for (const std::uint32_t size : std::views::reverse(BufferPool::draft_sizes)) {
        while (pool.bytes_max() - pool.bytes_in_use() >= size + left) {
            taken.push_back(pool.draft(size));
        }
    }
    return taken;
}

TEST(WorkerMemory, WithoutMemoryForCommandsTheirConnectionIsDroppedAndTheClientTold) {
    Single single(with_little_memory());
    std::vector<Draft> hoard;
    const std::string mailbox = std::string(60, 'u') + "@" + "one.example";
    single.backend.answer = [&](const std::string& command) -> Said {
        if (command.starts_with("EHLO")) {
            // The worker's next words are MAIL and RCPT, for which it is too little.
            hoard = take_memory(single.rig.worker->pool(), 128);
        }
        return std::nullopt;
    };
    Client& client = single.rig.greeted();
    (void)single.rig.ask(client, "MAIL FROM:<" + std::string(64, 's') + "@b.example>\r\n");
    EXPECT_THAT(single.rig.ask(client, "RCPT TO:<" + mailbox + ">\r\n"), StartsWith("45"));
    hoard.clear();
    single.backend.answer = {};
    EXPECT_EQ(single.backend.count_of("MAIL"), 0U);
    EXPECT_EQ(single.open_now(), 0U);
    EXPECT_THAT(single.rig.ask(client, "RSET\r\n"), StartsWith("250"));
    EXPECT_EQ(single.message(client), taken);
    single.rig.finish();
}

TEST(WorkerMemory, WithoutMemoryForAReplyTheClientIsToldSoAndClosed) {
    Single single(with_little_memory());
    Client& client = single.rig.greeted();
    std::vector<Draft> hoard = take_memory(single.rig.worker->pool(), 0);
    EXPECT_EQ(single.rig.ask(client, "NOOP\r\n"),
              "421 4.3.1 Insufficient memory, closing channel\r\n");
    EXPECT_EQ(single.rig.reply(client), "(closed)");
    hoard.clear();
    EXPECT_EQ(single.rig.counters.connections_lost_total.value(), 0U) << "it was us";
    EXPECT_EQ(single.message(single.rig.greeted()), taken);
    single.rig.finish();
}

// There is none while completions are looked at, and all of it again at the end of each turn: a want
// that pressure never tells of.
TEST(WorkerMemory, WhoFoundNoneWithinATurnGoesOnWhenThereIsSome) {
    RigOptions options = with_little_memory();
    options.spool = true;
    Single single(options, {.chunking = false});
    Rig& rig = single.rig;
    worker::Worker& worker = *rig.worker;
    std::string content; // a part of it is more than a reply's receive buffer gives back
    while (content.size() < 500'000) {
        content += std::string(900, 'x') + "\r\n";
    }
    Client& client = rig.with_recipient();
    EXPECT_THAT(rig.ask(client, "DATA\r\n"), StartsWith("354"));
    EXPECT_THAT(rig.ask(client, content + ".\r\n"), StartsWith("250 2.0.0 Ok: queued as "));
    ASSERT_TRUE(rig.run_until([&] { return single.backend.count_of("DATA") == 1; }));
    for (int count = 0; count < 40 && worker.pool().refusals_total() == 0; ++count) {
        const std::shared_ptr<const worker::Snapshot> snapshot = worker.snapshot();
        (void)rig.network.step(); // what wakes the worker below lets no time pass
        auto hoard = std::make_shared<std::vector<Draft>>(take_memory(worker.pool(), 0));
        // It goes with the first of these, when the second takes that one's place.
        ASSERT_TRUE(worker.post({.snapshot = {std::move(hoard), snapshot.get()}}));
        ASSERT_TRUE(worker.post({.snapshot = snapshot}));
        rig.turn();
        ASSERT_EQ(worker.pressure(), Pressure::none);
    }
    EXPECT_GT(worker.pool().refusals_total(), 0U);
    EXPECT_EQ(single.backend.taken_count(), 0U);
    EXPECT_TRUE(rig.run_until([&] { return single.backend.taken_count() == 1; }, 1s));
    rig.finish();
}

TEST(WorkerMemory, WithoutMemoryForEhloTheBackendIsNotToBlame) {
    Single single(with_little_memory());
    std::vector<Draft> hoard;
    single.backend.answer = [&](const std::string& command) -> Said {
        if (command == "connect") {
            hoard = take_memory(single.rig.worker->pool(), 0);
        }
        return std::nullopt;
    };
    for (int count = 0; count < 5; ++count) { // more failures than a backend may have
        Client& client = single.rig.greeted();
        (void)single.rig.ask(client, "MAIL FROM:<a@b.example>\r\n");
        single.rig.send(client, "RCPT TO:<user@one.example>\r\n");
        single.rig.run_for(1s);
        hoard.clear();
        single.rig.run_for(1s);
    }
    EXPECT_EQ(single.backend.count_of("EHLO"), 0U);
    single.backend.answer = {};
    EXPECT_TRUE(single.rig.lasting->states.state_of("one", Rig::first_address)->is_up());
    EXPECT_EQ(single.message(single.rig.greeted()), taken);
    single.rig.finish();
}

// Every message is with the backend, which does not answer; what the clients send behind it takes
// all the memory. Who has to go may have been taken: it counts as a duplicate to come.
TEST(WorkerMemory, ClientsThatAwaitTheFinalReplyGoLastAndCountAsPossibleDuplicates) {
    Single single(with_little_memory());
    Rig& rig = single.rig;
    const std::vector<Client*> clients = clients_in_data(rig, 150);
    single.backend.hold();
    std::string commands;
    while (commands.size() < 60'000) {
        commands += "NOOP " + std::string(1000, 'x') + "\r\n";
    }
    for (Client* const client : clients) {
        rig.send(*client, "x\r\n.\r\n" + commands);
    }
    rig.run_for(20s);
    single.backend.go_on();
    std::uint64_t told_taken = 0;
    std::uint64_t sent_away = 0;
    for (Client* const client : clients) {
        const std::string said = rig.reply(*client);
        told_taken += said == taken ? 1U : 0U;
        sent_away += said.starts_with("421 4.3.1") ? 1U : 0U;
    }
    EXPECT_EQ(told_taken + sent_away, clients.size());
    EXPECT_GT(sent_away, 0U);
    EXPECT_EQ(single.backend.taken_count(), clients.size());
    EXPECT_EQ(rig.counters.messages_accepted_total.value(), clients.size());
    const auto& failures = rig.worker->snapshot()->pools[0]->rows[0]->workers[0].failures;
    EXPECT_EQ(failures[observe::ForwardFailure::possible_duplicate].value(), sent_away);
    EXPECT_EQ(rig.counters.messages_rejected[observe::RejectReason::no_memory].value(), 0U);
    rig.finish();
}

} // namespace
} // namespace ringmx::sim
