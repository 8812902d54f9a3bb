// What a client's octets meet when they come late, early, all at once or with their sender gone; and
// backends with several addresses, long hand-overs, refusals of MAIL.
#include "sim/worker_scenes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

namespace ringmx::sim {
namespace {

using ::testing::StartsWith;

// A chunk's octets come `later` than its command.
void expect_late_chunk_is_taken(Duration later, const std::function<void(Settings&)>& change = {}) {
    Single single(change);
    Client& client = single.rig.with_recipient();
    single.rig.send(client, "BDAT 1000 LAST\r\n");
    single.rig.run_for(later);
    EXPECT_EQ(single.rig.ask(client, std::string(998, 'x') + "\r\n"), taken);
    single.rig.finish();
}

void take_no_rate(Settings& settings) { settings.limits.minimum_data_rate_bytes = 0; }

TEST(WorkerDataRate, ChunkWhoseOctetsComeLaterIsNotTooSlow) {
    expect_late_chunk_is_taken(300ms);
    expect_late_chunk_is_taken(59s);
    expect_late_chunk_is_taken(70s, take_no_rate);
    expect_late_chunk_is_taken(170s, take_no_rate);
}

TEST(WorkerDataRate, ChunkOfAnOldConnectionWhoseOctetsComeLaterIsNotTooSlow) {
    Single single;
    Client& client = single.rig.greeted();
    single.rig.run_for(4min); // with no transaction yet
    (void)single.begin(client);
    single.rig.send(client, "BDAT 1000 LAST\r\n");
    single.rig.run_for(300ms);
    EXPECT_EQ(single.rig.ask(client, std::string(998, 'x') + "\r\n"), taken);
    single.rig.finish();
}

TEST(WorkerDataRate, SecondChunkWhoseOctetsComeLaterIsNotTooSlow) {
    for (const Duration later : {Duration(300ms), Duration(55s)}) {
        Single single;
        Client& client = single.rig.with_recipient();
        EXPECT_THAT(single.rig.ask(client, "BDAT 3\r\nx\r\n"), StartsWith("250 2.0.0"));
        single.rig.run_for(3min);
        single.rig.send(client, "BDAT 1000 LAST\r\n");
        single.rig.run_for(later);
        EXPECT_EQ(single.rig.ask(client, std::string(998, 'x') + "\r\n"), taken);
        single.rig.finish();
    }
}

// Its first minute had enough, and its second is not over.
TEST(WorkerDataRate, PauseWithinTheDataTimeIsNotTooSlowAfterEnoughOctets) {
    Single single;
    Client& client = single.rig.with_recipient();
    single.rig.send(client, "BDAT 20000 LAST\r\n" + std::string(10000, 'x'));
    single.rig.run_for(70s);
    EXPECT_EQ(single.rig.ask(client, std::string(9998, 'x') + "\r\n"), taken);
    single.rig.finish();
}

TEST(WorkerDataRate, DroppedChunkWhoseOctetsComeLaterGetsItsOwnReply) {
    for (const Duration later : {Duration(300ms), Duration(55s)}) {
        Single single;
        Client& client = single.rig.greeted();
        single.rig.run_for(2min);
        for (int count = 0; count < 3; ++count) {
            single.rig.send(client, "BDAT 30000 LAST\r\n");
            single.rig.run_for(later);
            EXPECT_THAT(single.rig.ask(client, std::string(30000, 'x')), StartsWith("503 5.5.1"));
        }
        EXPECT_THAT(single.rig.ask(client, "NOOP\r\n"), StartsWith("250"));
        single.rig.finish();
    }
}

TEST(WorkerDataRate, DrippedChunkThatIsDroppedIsTooSlowToo) {
    Single single;
    Client& client = single.rig.greeted();
    single.rig.send(client, "BDAT 100000 LAST\r\n");
    const Instant before = single.rig.network.now();
    std::string said;
    for (int count = 0; count < 300 && said.empty(); ++count) {
        single.rig.send(client, "x");
        single.rig.run_for(1s);
        said = client.take_reply();
    }
    EXPECT_THAT(said, StartsWith("421 4.4.2"));
    EXPECT_LE(single.rig.network.now() - before, 63s);
    single.rig.finish();
}

// While the backend does not read, nor do we: that time is not the client's.
TEST(WorkerDataRate, TimeInWhichWeDoNotReadIsNotTheClients) {
    Single single([](Settings& settings) { settings.limits.minimum_data_rate_bytes = 50000; });
    Client& client = single.rig.with_recipient();
    (void)single.rig.ask(client, "DATA\r\n");
    single.backend.stop_reading();
    std::string all;
    while (all.size() < 4'000'000) {
        all += std::string(1000, 'x') + "\r\n";
    }
    single.rig.send(client, all);
    single.rig.run_for(4min);
    EXPECT_EQ(client.take_reply(), "");
    single.backend.go_on_reading();
    EXPECT_EQ(single.rig.ask(client, ".\r\n"), taken);
    single.rig.finish();
}

TEST(WorkerInput, RepliesToACommandAndQuitComeWhenTheClientHalfClosesAtOnce) {
    for (std::uint64_t seed = 1; seed <= 300; ++seed) {
        RigOptions options;
        options.network = Options::hostile(seed);
        Rig rig(options);
        Client& client = rig.connect();
        rig.send(client, "EHLO client.example\r\nQUIT\r\n");
        client.socket->end();
        ASSERT_THAT(rig.reply(client), StartsWith("220 ")) << "seed " << seed;
        ASSERT_THAT(rig.reply(client), StartsWith("250-mx.example")) << "seed " << seed;
        ASSERT_THAT(rig.reply(client), StartsWith("221 ")) << "seed " << seed;
        ASSERT_EQ(rig.reply(client), "(closed)") << "seed " << seed;
        rig.finish();
    }
}

TEST(WorkerInput, AWholeSessionInOneBatchGetsItsRepliesWhenTheClientHalfClosesAtOnce) {
    for (std::uint64_t seed = 1; seed <= 100; ++seed) {
        RigOptions options = Single::options();
        options.network = Options::hostile(seed);
        Single single(options);
        Client& client = single.rig.connect();
        single.rig.send(client, "EHLO client.example\r\nMAIL FROM:<a@b.example>\r\n"
                                "RCPT TO:<user@one.example>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n");
        client.socket->end();
        for (const char* const reply :
             {"220 ", "250-", "250 2.1.0", "250 2.1.5", "354 ", "250 2.0.0 Taken", "221 "}) {
            ASSERT_THAT(single.rig.reply(client), StartsWith(reply)) << "seed " << seed;
        }
        EXPECT_EQ(single.backend.taken_count(), 1U);
        single.rig.finish();
    }
}

// The first of a backend's addresses, at which nobody listens.
const char* const deaf_address = "10.9.9.9:25";

RigOptions with_addresses(const std::vector<std::string>& texts) {
    RigOptions options = Single::options();
    for (const std::string& text : texts) {
        options.addresses[Rig::first_address].push_back(SocketAddress::parse(text).value());
    }
    return options;
}

TEST(WorkerAddresses, BackendWhoseFirstAddressRefusesIsReachedAtItsSecond) {
    for (const auto& addresses :
         {std::vector<std::string>{deaf_address, Rig::first_address},
          std::vector<std::string>{deaf_address, "10.9.9.8:25", "10.9.9.7:25", Rig::first_address},
          std::vector<std::string>{Rig::first_address, deaf_address}}) {
        Single single(with_addresses(addresses));
        Client& client = single.rig.greeted();
        for (int count = 0; count < 5; ++count) {
            EXPECT_EQ(single.message(client), taken);
        }
        EXPECT_EQ(single.backend.taken_count(), 5U);
        EXPECT_TRUE(single.rig.lasting->states.state_of("one", Rig::first_address)->is_up());
        single.rig.finish();
    }
}

TEST(WorkerAddresses, BackendWhoseAddressesAllRefuseIs451) {
    Single single(with_addresses({deaf_address, "10.9.9.8:25"}));
    Client& client = single.rig.greeted();
    for (int count = 0; count < 5; ++count) {
        EXPECT_THAT(single.begin(client), StartsWith("451 4.4.1"));
        (void)single.rig.ask(client, "RSET\r\n");
    }
    EXPECT_EQ(single.backend.connections, 0U);
    single.rig.finish();
}

TEST(WorkerAddresses, ClientThatLeavesBetweenTwoAddressesLeavesNothing) {
    for (std::uint64_t seed = 1; seed <= 50; ++seed) {
        RigOptions options = with_addresses({deaf_address, "10.9.9.8:25", Rig::first_address});
        options.network.seed = seed;
        Single single(options);
        Client& client = single.rig.greeted();
        single.rig.send(client, "MAIL FROM:<a@b.example>\r\nRCPT TO:<user@one.example>\r\n");
        single.rig.run_for(Duration(std::chrono::microseconds(10 * seed)));
        client.socket->reset();
        single.rig.finish();
    }
}

std::string behind_trace(const std::string& octets) {
    EXPECT_THAT(octets, StartsWith("Received: from "));
    std::size_t end = 0;
    do {
        end = octets.find("\r\n", end) + 2;
    } while (end < octets.size() && (octets[end] == ' ' || octets[end] == '\t'));
    return octets.substr(end);
}

// By BDAT all octets may be here before the backend has said 354.
class ClientIsGone : public ::testing::TestWithParam<const char*> {};

TEST_P(ClientIsGone, BeforeTheBackendTakesContentAndAllIsStillWellWithIt) {
    const std::string said_to_data = GetParam();
    BackendProfile profile;
    profile.chunking = false;
    Pair pair({}, profile);
    bool waits = false;
    pair.both([&](const std::string& command) -> Said {
        if (command == "DATA" && !waits) {
            waits = true;
            return ScriptedBackend::say_nothing;
        }
        return std::nullopt;
    });
    const std::string message = " begins with a blank\r\nand ends\r\n";
    Client& client = pair.rig.with_recipient();
    pair.rig.send(client, "BDAT " + std::to_string(message.size()) + " LAST\r\n" + message);
    ASSERT_TRUE(pair.rig.run_until([&] { return waits; }, 10s));
    pair.rig.run_for(1s);
    client.socket->close();
    pair.rig.run_for(1s);
    if (said_to_data.empty()) {
        pair.first.close_all();
        pair.second.close_all();
    } else {
        pair.first.begin_data(said_to_data);
        pair.second.begin_data(said_to_data);
    }
    pair.rig.run_for(10s);
    ASSERT_EQ(pair.taken_count(), 1U);
    for (const ScriptedBackend* const backend : {&pair.first, &pair.second}) {
        for (const auto& got : backend->messages) {
            EXPECT_TRUE(!got->taken || behind_trace(got->octets) == "\r\n" + message)
                << got->octets;
        }
    }
    EXPECT_EQ(pair.rig.counters.messages_accepted_total.value(), 1U);
    EXPECT_EQ(pair.rig.counters.message_bytes_accepted_total.value(), message.size());
    pair.rig.finish();
}

INSTANTIATE_TEST_SUITE_P(Backend, ClientIsGone, ::testing::Values("", "354 Go on\r\n"),
                         [](const auto& given) {
                             return *given.param == '\0' ? "Drops" : "SaysGoOnLate";
                         });

// Each leaves its connection to the next without having used it: its client is refused for the
// size that it declares and goes on by RSET, all of which had come before.
TEST(WorkerHandOver, ALongChainOfThoseWhoWaitGoesOnFromTheTurnsOwnStack) {
    Single single([](Settings& settings) {
        settings.pools[0].max_connections = 1;
        settings.pools[0].messages_per_connection = 10000;
        settings.timeouts.backend_wait = 1min;
        settings.timeouts.backend_hold = Duration{0};
        settings.limits.exempt = {Network::parse("192.0.2.0/24").value()};
    });
    single.backend.answer = always("EHLO", "250-backend\r\n250-PIPELINING\r\n250 SIZE 1000\r\n");
    Client& holder = single.rig.with_recipient();
    std::vector<Client*> clients;
    for (int count = 0; count < 5000; ++count) {
        clients.push_back(&single.rig.connect());
        single.rig.send(*clients.back(),
                        "EHLO client.example\r\nMAIL FROM:<a@b.example> SIZE=2000\r\n"
                        "RCPT TO:<user@one.example>\r\nRSET\r\nQUIT\r\n");
    }
    single.rig.run_for(5s);
    EXPECT_GE(single.rig.worker->book().waiting_count(), 4000U);
    (void)single.rig.ask(holder, "RSET\r\n");
    for (Client* const client : clients) {
        for (const char* const reply :
             {"220 ", "250-", "250 2.1.0", "552 5.3.4", "250 2.0.0", "221 "}) {
            ASSERT_THAT(single.rig.reply(*client), StartsWith(reply));
        }
    }
    EXPECT_EQ(single.backend.connections, 1U);
    single.rig.finish();
}

TEST(WorkerContract, ARefusalOfMailIsNoUnknownRecipient) {
    for (const bool pipelined : {true, false}) {
        Single single(
            [](Settings& settings) { settings.limits.unknown_recipients_per_connection = 1; });
        single.backend.answer = [](const std::string& command) -> Said {
            if (command.starts_with("MAIL")) {
                return "550 5.7.1 Not from you\r\n";
            }
            return std::nullopt; // 503 to RCPT
        };
        Client& client = single.rig.greeted();
        (void)single.rig.ask(client, "MAIL FROM:<a@b.example>\r\n");
        const std::string command = "RCPT TO:<user@one.example>\r\n";
        for (int count = 0; count < 5 && pipelined; ++count) {
            single.rig.send(client, command);
        }
        for (int count = 0; count < 5; ++count) {
            EXPECT_THAT(pipelined ? single.rig.reply(client) : single.rig.ask(client, command),
                        StartsWith("550 5.7.1"));
        }
        EXPECT_THAT(single.rig.ask(client, "NOOP\r\n"), StartsWith("250"));
        single.rig.finish();
    }
}

} // namespace
} // namespace ringmx::sim
