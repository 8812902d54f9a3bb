// The simulation itself: it is deterministic, its peers do as they are told, and it catches the
// loop's mistakes.
#include "port_harness.h"
#include "sim/sim_port.h"

#include <algorithm>

namespace ringmx::sim {
namespace {

using ring::Completion;
using ring::Harness;
using ring::Opcode;
using ring::Operation;

const SocketAddress address = SocketAddress::parse("10.0.0.1:25").value();

std::vector<Completion> trace_of(std::uint64_t seed) {
    SimNetwork network(Options::hostile(seed));
    SimPort port(network);
    Harness harness(port);
    harness.accept(port.listen(address));
    std::vector<SimSocket*> peers;
    for (int count = 0; count < 10; ++count) {
        peers.push_back(&network.connect(address));
        peers.back()->write(std::string(3000, 'a'));
    }
    std::vector<Completion> trace;
    EXPECT_TRUE(harness.run_until([&] {
        std::ranges::copy(harness.completions(), std::back_inserter(trace));
        harness.completions().clear();
        return std::ranges::all_of(
            peers, [](const SimSocket* peer) { return peer->arrived().size() == 3000; });
    }));
    return trace;
}

bool same(const Completion& one, const Completion& other) {
    return one.token == other.token && one.result == other.result && one.more == other.more &&
           one.buffer_id == other.buffer_id;
}

TEST(Simulation, SeedReplaysARunAndAnotherSeedGivesAnother) {
    const std::vector<Completion> first = trace_of(5);
    EXPECT_TRUE(std::ranges::equal(first, trace_of(5), same));
    EXPECT_FALSE(std::ranges::equal(first, trace_of(6), same));
}

TEST(Simulation, HostileSeedsTakeEveryLiberty) {
    bool ended_early = false;
    bool starved = false;
    bool short_piece = false;
    bool middling_piece = false;
    for (std::uint64_t seed = 1; seed <= 5; ++seed) {
        for (const Completion& completion : trace_of(seed)) {
            ended_early =
                ended_early || (completion.result > 0 && completion.has_buffer && !completion.more);
            starved = starved || completion.result == -ENOBUFS;
            short_piece = short_piece || (completion.has_buffer && completion.result < 20);
            middling_piece =
                middling_piece || (completion.result > 100 && completion.result < 1000);
        }
    }
    EXPECT_TRUE(ended_early);
    EXPECT_TRUE(starved);
    EXPECT_TRUE(short_piece);
    EXPECT_TRUE(middling_piece);
}

class SimPortTest : public testing::Test {
  protected:
    SimNetwork network_{Options{}};
    SimPort port_{network_};
    std::vector<Completion> completions_;
};

TEST_F(SimPortTest, TimeGoesStraightToTheDeadline) {
    const Instant start = port_.now();
    const WallTime wall_start = port_.wall_time();
    EXPECT_EQ(port_.turn({}, start + 24h, completions_), start + 24h);
    EXPECT_EQ(port_.wall_time() - wall_start, Duration(24h));
}

TEST_F(SimPortTest, ScheduledScriptsRunAtTheirTime) {
    const Instant start = port_.now();
    Instant ran;
    network_.schedule(90s, [&] { ran = network_.now(); });
    port_.turn({}, start + 5min, completions_);
    EXPECT_EQ(ran, start + 90s);
}

TEST_F(SimPortTest, ScriptedBackendAnswersAndSeesTheEnd) {
    SimSocket* backend = nullptr;
    network_.listen(address, [&](SimSocket& socket) {
        backend = &socket;
        socket.write("220 backend\r\n");
        socket.on_event = [](SimSocket& self) {
            if (self.take() == "QUIT\r\n") {
                self.write("221 bye\r\n");
                self.close();
            }
        };
    });
    Harness harness(port_);
    Harness::Connection& client = harness.connect(address);
    ASSERT_TRUE(harness.run_until([&] { return client.received == "220 backend\r\n"; }));
    harness.send(client, "QUIT\r\n");
    ASSERT_TRUE(harness.run_until([&] { return client.ended; }));
    EXPECT_EQ(client.received, "220 backend\r\n221 bye\r\n");
    EXPECT_NE(backend, nullptr);
}

TEST_F(SimPortTest, BlackHoleNeverAnswersAndCancelEndsTheConnect) {
    network_.black_hole(address);
    Harness harness(port_);
    Harness::Connection& client = harness.connect(address);
    harness.turn(1h);
    EXPECT_FALSE(client.connected);
    EXPECT_EQ(client.error, 0);
    harness.cancel(client, ring::op_connect);
    ASSERT_TRUE(harness.run_until([&] { return client.in_flight == 0; }));
    EXPECT_EQ(client.error, ECANCELED);
}

TEST_F(SimPortTest, PeerThatConnectsToNobodyIsRefused) {
    SimSocket& peer = network_.connect(address);
    while (network_.step()) {
    }
    EXPECT_EQ(peer.error(), ECONNREFUSED);
}

TEST_F(SimPortTest, PeersAddressIsTheOneItCameFrom) {
    Harness harness(port_);
    harness.accept(port_.listen(address));
    network_.connect(address, IpAddress::parse("192.0.2.7").value());
    ASSERT_TRUE(harness.run_until([&] { return !harness.accepted().empty(); }));
    const int accepted = harness.accepted()[0]->descriptor;
    EXPECT_EQ(port_.peer_address(accepted)->ip.text(), "192.0.2.7");
    EXPECT_EQ(port_.local_address(accepted).value(), address);
}

TEST_F(SimPortTest, PausedPeerMakesTheSendHangAndResumeLetsItThrough) {
    network_.options().socket_buffer_bytes = 1000;
    Harness harness(port_);
    harness.accept(port_.listen(address));
    SimSocket& peer = network_.connect(address);
    peer.pause();
    ASSERT_TRUE(harness.run_until([&] { return !harness.accepted().empty(); }));
    Harness::Connection& server = *harness.accepted()[0];
    harness.send(server, std::string(5000, 'x'));
    for (int count = 0; count < 50; ++count) {
        harness.turn(1s);
    }
    EXPECT_TRUE(server.send_results.empty());
    peer.resume();
    ASSERT_TRUE(harness.run_until([&] { return peer.arrived().size() == 5000; }));
    EXPECT_EQ(server.send_results, std::vector<int>{5000});
}

TEST_F(SimPortTest, AShortSendSaysHowMuchHasLeft) {
    network_.options().short_sends = 1;
    Harness harness(port_);
    harness.accept(port_.listen(address));
    SimSocket& peer = network_.connect(address);
    ASSERT_TRUE(harness.run_until([&] { return !harness.accepted().empty(); }));
    Harness::Connection& server = *harness.accepted()[0];
    harness.send(server, std::string(5000, 'x'));
    ASSERT_TRUE(harness.run_until([&] { return !server.send_results.empty(); }));
    const int left = server.send_results.front();
    EXPECT_GT(left, 0);
    EXPECT_LT(left, 5000);
    for (int count = 0; count < 50; ++count) {
        harness.turn(1s);
    }
    EXPECT_EQ(peer.arrived().size(), static_cast<std::size_t>(left));
}

TEST_F(SimPortTest, ASwallowedConnectionIsSilentAndNobodyIsTold) {
    Harness harness(port_);
    harness.accept(port_.listen(address));
    SimSocket& peer = network_.connect(address);
    ASSERT_TRUE(harness.run_until([&] { return !harness.accepted().empty(); }));
    network_.options().swallow = 1;
    peer.write("hello");
    harness.send(*harness.accepted()[0], "hello");
    for (int count = 0; count < 50; ++count) {
        harness.turn(1s);
    }
    EXPECT_TRUE(peer.swallowed());
    EXPECT_TRUE(peer.arrived().empty());
    EXPECT_FALSE(peer.gone());
    EXPECT_TRUE(harness.accepted()[0]->received.empty());
}

TEST_F(SimPortTest, AClockThatJumpsPassesTheDeadline) {
    network_.options().clock_jump = 1;
    const Instant start = port_.now();
    const WallTime wall_start = port_.wall_time();
    EXPECT_GT(port_.turn({}, start + 1s, completions_), start + 1s);
    EXPECT_NE(port_.wall_time() - wall_start, port_.now() - start);
}

TEST_F(SimPortTest, ResetByThePeerFailsASendThatHangsWithWhatHadLeft) {
    network_.options().socket_buffer_bytes = 1000;
    Harness harness(port_);
    harness.receive_accepted = false;
    harness.accept(port_.listen(address));
    SimSocket& peer = network_.connect(address);
    peer.pause();
    ASSERT_TRUE(harness.run_until([&] { return !harness.accepted().empty(); }));
    Harness::Connection& server = *harness.accepted()[0];
    harness.send(server, std::string(5000, 'x'));
    harness.turn(1s);
    peer.reset();
    ASSERT_TRUE(harness.run_until([&] { return !server.send_results.empty(); }));
    EXPECT_GT(server.send_results[0], 0);
    EXPECT_LT(server.send_results[0], 5000);
    harness.send(server, "more");
    ASSERT_TRUE(harness.run_until([&] { return server.send_results.size() == 2; }));
    EXPECT_EQ(server.send_results[1], -ECONNRESET);
}

TEST_F(SimPortTest, OctetsToAClosedPeerAreAnsweredByAReset) {
    Harness harness(port_);
    harness.accept(port_.listen(address));
    SimSocket& peer = network_.connect(address);
    ASSERT_TRUE(harness.run_until([&] { return !harness.accepted().empty(); }));
    Harness::Connection& server = *harness.accepted()[0];
    peer.close();
    ASSERT_TRUE(harness.run_until([&] { return server.ended; }));
    harness.send(server, "anyone?");
    for (int count = 0; count < 5; ++count) {
        harness.turn(1s);
    }
    harness.send(server, "hello?");
    ASSERT_TRUE(harness.run_until([&] { return server.send_results.size() == 2; }));
    EXPECT_EQ(server.send_results[1], -ECONNRESET);
}

TEST(SeveralPorts, ShareAnAddressAndTakeTurns) {
    SimNetwork network(Options::hostile(9));
    SimPort first(network);
    SimPort second(network);
    Harness one(first);
    Harness two(second);
    one.accept(first.listen(address));
    two.accept(second.listen(address));
    std::vector<SimSocket*> peers;
    for (int count = 0; count < 40; ++count) {
        peers.push_back(&network.connect(address));
        peers.back()->write("ping");
    }
    const auto answered = [&] {
        return std::ranges::all_of(peers,
                                   [](const SimSocket* peer) { return peer->arrived() == "ping"; });
    };
    for (int count = 0; count < 20'000 && !answered(); ++count) {
        one.turn();
        two.turn();
    }
    EXPECT_TRUE(answered());
    EXPECT_GT(one.accepted().size(), 5U);
    EXPECT_GT(two.accepted().size(), 5U);
    // Each closes alone: the other is not turned meanwhile.
    second.stop();
    one.close_all();
    EXPECT_EQ(first.in_flight(), 0U);
    EXPECT_EQ(first.open_descriptors(), 0U);
    first.stop();
    second.resume();
    two.close_all();
}

TEST(SeveralPorts, NoDeadlineIsSkippedForAnother) {
    SimNetwork network{Options{}};
    SimPort first(network);
    SimPort second(network);
    std::vector<Completion> completions;
    const Instant start = network.now();
    Instant reached_first = start;
    Instant reached_second = start;
    std::vector<Instant> stops;
    for (int count = 0; count < 10 && reached_second < start + 30s; ++count) {
        if (reached_first < start + 10s) {
            reached_first = first.turn({}, start + 10s, completions);
        } else {
            first.turn({}, never, completions);
        }
        stops.push_back(network.now());
        reached_second = second.turn({}, start + 30s, completions);
        stops.push_back(network.now());
    }
    EXPECT_NE(std::ranges::find(stops, start + 10s), stops.end());
    EXPECT_EQ(reached_second, start + 30s);
}

using SimPortDeathTest = SimPortTest;

TEST_F(SimPortDeathTest, ClosingUnderAnOperationAborts) {
    const int descriptor = port_.open_socket(address).value();
    Operation operation{};
    operation.code = Opcode::poll_out;
    operation.descriptor = descriptor;
    operation.token = {1, 1, 1};
    port_.turn({&operation, 1}, port_.now(), completions_);
    EXPECT_DEATH(port_.close(descriptor), "1 operations in flight");
}

TEST_F(SimPortDeathTest, TwoOperationsWithOneTokenAbort) {
    Operation operation{};
    operation.code = Opcode::poll_out;
    operation.descriptor = port_.open_socket(address).value();
    operation.token = {1, 1, 1};
    const std::vector<Operation> twice = {operation, operation};
    EXPECT_DEATH(port_.turn(twice, port_.now(), completions_), "in flight already");
}

TEST_F(SimPortDeathTest, BufferProvidedTwiceAborts) {
    std::vector<std::byte> memory(100);
    port_.provide_buffer(3, memory);
    EXPECT_DEATH(port_.provide_buffer(3, memory), "provided already");
}

TEST_F(SimPortDeathTest, WaitingForWhatNeverComesAborts) {
    EXPECT_DEATH(
        {
            for (;;) {
                port_.turn({}, never, completions_);
            }
        },
        "stands still");
}

} // namespace
} // namespace ringmx::sim
