// Whole workers of the load on a simulated network: what they count is what the server saw.
#include "load/worker.h"

#include "sim/sim_port.h"
#include "sim/worker_backend.h"

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>

namespace ringmx::load {
namespace {

constexpr const char* server_address = "10.1.0.1:25";

class LoadRig {
  public:
    explicit LoadRig(std::uint64_t seed = 1, sim::BackendProfile profile = {})
        : network(network_options(seed)), server(network, server_address, profile) {
        options.to = SocketAddress::parse(server_address).value();
        options.connections = 5;
        options.size = {1000, 20000};
        options.seed = seed;
    }

    static sim::Options network_options(std::uint64_t seed) {
        sim::Options made;
        made.seed = seed;
        return made;
    }

    const Result& run(std::uint64_t messages = 0, const std::function<void(Worker&)>& before = {}) {
        Share share;
        share.clients = options.connections;
        share.messages = messages;
        auto source = MessageSource::open(options, "run", false);
        worker = std::make_unique<Worker>(options, share, std::make_unique<sim::SimPort>(network),
                                          std::move(source.value()), RecordFile());
        if (before) {
            before(*worker);
        }
        worker->run(network.now());
        while (network.step()) { // what is still on its way to the server
        }
        const Result& result = worker->result();
        EXPECT_EQ(result.accepted + result.tempfailed + result.rejected + result.errors,
                  result.sent);
        EXPECT_EQ(result.part(Part::message).count(), result.accepted);
        std::uint64_t seconds_total = 0;
        for (const Second& second : result.seconds) {
            seconds_total += second.accepted + second.failed;
        }
        EXPECT_LE(seconds_total, result.sent); // those that were never sent have no second
        EXPECT_EQ(worker->progress().in_flight.load(), 0U);
        EXPECT_TRUE(server.violations.empty()) << server.violations.front();
        return result;
    }

    Options options;
    sim::SimNetwork network;
    sim::ScriptedBackend server;
    std::unique_ptr<Worker> worker;
};

TEST(LoadWorker, EveryWayToSendArrivesWhole) {
    for (std::uint64_t seed = 1; seed <= 16; ++seed) {
        LoadRig rig(
            seed, {.lmtp = seed % 5 == 0, .pipelining = seed % 3 != 0, .chunking = seed % 4 != 0});
        rig.options.lmtp = rig.server.profile.lmtp;
        rig.options.pipelining = seed % 2 == 0;
        rig.options.chunking = seed / 2 % 2 == 0;
        rig.options.messages_per_connection = seed % 7;
        rig.options.recipients = {1, 4};
        const Result& result = rig.run(60);
        EXPECT_EQ(result.accepted, 60U) << "seed " << seed;
        EXPECT_EQ(rig.server.taken_count(), 60U);
        std::uint64_t octets = 0;
        for (const auto& message : rig.server.messages) {
            octets += message->octets.size();
            EXPECT_TRUE(message->octets.starts_with("Message-ID: <run."));
        }
        EXPECT_EQ(octets, result.octets);
        if (rig.options.messages_per_connection != 0) {
            EXPECT_GE(result.connections, 60 / rig.options.messages_per_connection);
        }
        EXPECT_EQ(rig.server.connections_gone, rig.server.connections);
    }
}

TEST(LoadWorker, WhatFailsIsCountedByWhatTheServerDid) {
    for (std::uint64_t seed = 1; seed <= 40; ++seed) {
        LoadRig rig(seed);
        rig.options.pipelining = seed % 2 == 0;
        rig.options.chunking = seed % 3 == 0;
        rig.options.recipients = {1, 3};
        rig.options.timeout = 30s;
        sim::Random random(seed);
        rig.server.answer = [&](const std::string& command) -> std::optional<std::string> {
            switch (random.between(0, 40)) {
            case 0:
                return "450 4.2.1 later\r\n";
            case 1:
                return "550 5.1.1 no\r\n";
            case 2:
                return sim::ScriptedBackend::drop_now;
            case 3:
                return "421 4.3.2 bye\r\n";
            case 4:
                return command == "."
                           ? std::optional<std::string>(sim::ScriptedBackend::say_nothing)
                           : std::nullopt;
            default:
                return std::nullopt;
            }
        };
        const Result& result = rig.run(100);
        EXPECT_EQ(result.sent, 100U) << "seed " << seed;
        // The scripted server takes a BDAT whatever it said to MAIL and RCPT before.
        EXPECT_LE(result.accepted, rig.server.taken_count()) << "seed " << seed;
        if (!rig.options.pipelining || !rig.options.chunking) {
            EXPECT_EQ(result.accepted, rig.server.taken_count()) << "seed " << seed;
        }
        EXPECT_GT(result.accepted, 0U);
        EXPECT_LE(result.lost, result.errors);
    }
}

// One second's worth of answers stops for five: those that were due meanwhile show it, each by what
// it had to wait.
TEST(LoadWorker, StallOfTheServerShowsInEveryMessageThatWasDueMeanwhile) {
    LoadRig rig;
    rig.options.size = {1000, 1000};
    rig.options.rate = Rate{.from_per_second = 20, .to_per_second = 20};
    rig.options.arrivals = Arrivals::even;
    rig.options.duration = 20s;
    rig.network.schedule(8s, [&] { rig.server.hold(); });
    rig.network.schedule(13s, [&] { rig.server.go_on(); });
    const Result& open = rig.run();
    EXPECT_EQ(open.sent, 400U);
    EXPECT_EQ(open.accepted, 400U);
    EXPECT_EQ(open.late, 0U);
    // 100 messages were due in those 5 s: half of them waited over 2.5 s.
    EXPECT_GE(open.part(Part::message).maximum(), 4'900'000U);
    EXPECT_GE(open.part(Part::message).at(1.0 - 50.0 / 400), 2'000'000U);

    LoadRig closed;
    closed.options.size = {1000, 1000};
    closed.options.duration = 20s;
    closed.network.schedule(8s, [&] { closed.server.hold(); });
    closed.network.schedule(13s, [&] { closed.server.go_on(); });
    const Result& result = closed.run();
    // The same stall, asked by whoever waits for answers: one slow message a connection.
    EXPECT_GE(result.part(Part::message).maximum(), 4'900'000U);
    EXPECT_LT(result.part(Part::message).at(0.9), 2'000'000U);
}

TEST(LoadWorker, ServerThatIsNotThereIsAskedNowAndThen) {
    LoadRig rig;
    rig.options.to = SocketAddress::parse("10.9.9.9:25").value();
    rig.options.duration = 10s;
    const Result& result = rig.run();
    EXPECT_EQ(result.errors, result.sent);
    EXPECT_GE(result.sent, 5U);
    EXPECT_LE(result.sent, 600U); // five clients, each every 100 ms at most
    EXPECT_EQ(result.failures.begin()->first, "connect: Connection refused");
}

TEST(LoadWorker, BlackHoleEndsByTheTimeout) {
    LoadRig rig;
    rig.network.black_hole(rig.options.to);
    rig.options.timeout = 7s;
    const Result& result = rig.run(5);
    EXPECT_EQ(result.failures.at("connect: timeout"), 5U);
}

TEST(LoadWorker, IdleConnectionThatTheServerClosesIsMadeAnew) {
    LoadRig rig;
    rig.options.connections = 1;
    rig.options.rate = Rate{.from_per_second = 1, .to_per_second = 1};
    rig.options.arrivals = Arrivals::even;
    for (int second = 1; second < 10; ++second) {
        rig.network.schedule(second * 1s + 500ms, [&] { rig.server.close_all(); });
    }
    const Result& result = rig.run(10);
    EXPECT_EQ(result.accepted, 10U);
    EXPECT_GE(result.connections, 9U);
}

TEST(LoadWorker, StopEndsWhatIsUnderWayAndCountsWhatWasDue) {
    LoadRig rig;
    rig.options.connections = 2;
    rig.options.rate = Rate{.from_per_second = 10, .to_per_second = 10};
    rig.options.arrivals = Arrivals::even;
    rig.options.duration = 10min;
    rig.server.answer = [](const std::string& command) -> std::optional<std::string> {
        return command == "." ? std::optional<std::string>(sim::ScriptedBackend::say_nothing)
                              : std::nullopt;
    };
    const Result& result = rig.run(
        0, [&](Worker& worker) { rig.network.schedule(5s, [&worker] { worker.request_stop(); }); });
    EXPECT_EQ(result.failures.at("end of data: stopped"), 2U);
    EXPECT_EQ(result.lost, 2U);
    EXPECT_NEAR(static_cast<double>(result.failures.at("due, but never sent")), 48, 3);
}

} // namespace
} // namespace ringmx::load
