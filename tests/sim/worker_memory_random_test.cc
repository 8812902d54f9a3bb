// Little memory and a crowd of clients: most send mail as they should, others flood, stall, read no
// replies or leave; backends stop reading, answer late, die. Whatever happens: memory stays within
// its bound; who behaves gets an answer to everything, and only such answers as the contract knows;
// what worker_promises.h says; and once the others are gone mail flows again.
//
// A failing seed prints itself; worker_seeds.h says how to run it alone, or more of them.
#include "sim/worker_crowd.h"
#include "sim/worker_seeds.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <vector>

namespace ringmx::sim {
namespace {

using worker::Pressure;

// A backend that has trouble now and then, until the time for it is over.
class Trouble {
  public:
    Trouble(Rig& rig, ScriptedBackend& backend, const char* address)
        : rig_(rig), random_(rig.network.random()), backend_(backend),
          address_(SocketAddress::parse(address).value()),
          ends_at_(rig.network.now() + trouble_time) {
        wait();
    }

  private:
    void wait() {
        const Duration time = random_.chance(0.5)
                                  ? std::chrono::milliseconds(random_.between(200, 10'000))
                                  : until_next_wave(rig_.network.now()) - 10ms;
        rig_.network.schedule(time, [this] { next(); });
    }

    void next() {
        backend_.go_on_reading();
        backend_.go_on();
        rig_.network.black_hole(address_, false);
        if (rig_.network.now() >= ends_at_) {
            return;
        }
        switch (random_.below(7)) {
        case 0:
        case 1:
        case 6:
            backend_.stop_reading();
            break;
        case 2:
            backend_.hold();
            break;
        case 3:
            backend_.close_all();
            break;
        case 4:
            backend_.close_all();
            rig_.network.black_hole(address_);
            break;
        default:
            break; // all is well for a while
        }
        wait();
    }

    Rig& rig_;
    Random& random_;
    ScriptedBackend& backend_;
    SocketAddress address_;
    Instant ends_at_;
};

RigOptions with_little_memory(std::uint64_t seed, Random& choice) {
    RigOptions options;
    options.network = Options::hostile(seed);
    options.network.tiny_segments = choice.chance(0.25) ? 0.01 : 0; // each takes many turns
    options.network.incremental_buffers = choice.chance(0.7);
    options.memory_bytes_max = 4UL << 20U;
    options.posted_buffers = choice.chance(0.5) ? 0 : choice.between(2, 16);
    options.settings = [&](Settings& settings) {
        PoolSettings& pool = settings.pools[0];
        pool.protocol = choice.chance(0.3) ? Protocol::lmtp : Protocol::smtp;
        pool.max_connections = static_cast<std::uint32_t>(
            choice.chance(0.3) ? choice.between(2, 20) : choice.between(50, 200));
        pool.health.failures = 1000;
        settings.limits.exempt = {Network::parse("192.0.2.0/24").value()};
        settings.timeouts.backend_hold = choice.chance(0.5) ? Duration{0} : Duration{10s};
        settings.timeouts.backend_reply = 1min;
    };
    return options;
}

// As long as `done` says no; memory is looked at after every turn.
bool run_within_memory(Rig& rig, Tally& tally, const std::function<bool()>& done) {
    BufferPool& pool = rig.worker->pool();
    std::size_t most_in_use = 0;
    std::size_t most_resident = 0;
    const bool is_done = rig.run_until(
        [&] {
            most_in_use = std::max(most_in_use, pool.bytes_in_use());
            most_resident = std::max(most_resident, pool.bytes_resident());
            tally.critical_turns += rig.worker->pressure() == Pressure::critical ? 1U : 0U;
            return done();
        },
        2h);
    EXPECT_LE(most_in_use, pool.bytes_max());
    EXPECT_LE(most_resident, pool.bytes_max());
    return is_done;
}

void run_seed(std::uint64_t seed, Tally& tally) {
    Random choice(seed);
    Promises promises;
    std::vector<std::unique_ptr<CrowdClient>> crowd; // these outlive the rig, which calls them
    std::vector<std::unique_ptr<Trouble>> troubles;
    const RigOptions options = with_little_memory(seed, choice);
    Rig rig(options);
    std::vector<ScriptedBackend*> backends;
    for (const char* address : {Rig::first_address, Rig::second_address}) {
        BackendProfile profile;
        profile.lmtp = rig.settings().pools[0].protocol == Protocol::lmtp;
        profile.pipelining = choice.chance(0.8);
        profile.chunking = choice.chance(0.5);
        backends.push_back(&rig.backend(address, profile));
        troubles.push_back(std::make_unique<Trouble>(rig, *backends.back(), address));
    }
    const std::uint64_t clients_count = choice.between(50, 150);
    const double behaving = choice.chance(0.3) ? 0.15 : 0.6;
    while (crowd.size() < clients_count) {
        crowd.push_back(std::make_unique<CrowdClient>(rig, promises, tally, crowd.size(),
                                                      choice.chance(behaving)));
    }
    const Instant trouble_over_at = rig.network.now() + trouble_time + 30s;
    EXPECT_TRUE(run_within_memory(
        rig, tally,
        [&] { return tally.behaved_under_way == 0 && rig.network.now() > trouble_over_at; }))
        << tally.behaved_under_way << " clients wait for ever";
    EXPECT_TRUE(rig.run_until([&] { return rig.worker->pressure() == Pressure::none; }, 1min));
    Client& fresh = rig.with_recipient();
    EXPECT_TRUE(rig.ask(fresh, "DATA\r\n").starts_with("354"));
    Sent& sent = promises.begin("fresh", choice, 1000);
    sent.recipients = {"user@one.example"};
    sent.ended = true;
    EXPECT_EQ(rig.ask(fresh, stuffed(sent.octets)), "250 2.0.0 Taken by the backend\r\n");
    rig.finish();
    promises.check(backends);
}

TEST(WorkerMemoryRandom, ACrowdWithLittleMemoryIsAnsweredAndMailFlowsAgain) {
    const Seeds seeds = Seeds::chosen(25);
    Tally tally;
    run_seeds(seeds, "WorkerMemoryRandom", [&](std::uint64_t seed) { run_seed(seed, tally); });
    if (!HasFailure() && seeds.count() > 1) {
        EXPECT_GT(tally.accepted, 20 * seeds.count()) << "the trouble leaves too little to judge";
        EXPECT_GT(tally.critical_turns, seeds.count()) << "there is memory for everybody";
    }
    RecordProperty("accepted", std::to_string(tally.accepted));
    RecordProperty("refused", std::to_string(tally.refused));
    RecordProperty("dropped", std::to_string(tally.dropped));
    RecordProperty("critical_turns", std::to_string(tally.critical_turns));
}

} // namespace
} // namespace ringmx::sim
