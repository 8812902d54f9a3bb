// The prober on a simulated network.
#include "sim/sim_port.h"
#include "sim/worker_backend.h"

#include "ring/receive_buffers.h"
#include "worker/prober.h"

#include "policy/routes.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace ringmx::sim {
namespace {

// Where a backend has more addresses than its own, the first of them refuses.
class TwoAddressesOfOne final : public worker::Addresses {
  public:
    [[nodiscard]] std::vector<SocketAddress> of(const BackendSettings& backend) override {
        std::vector<SocketAddress> all = literal_.of(backend);
        if (backend.address == two) {
            all.insert(all.begin(), SocketAddress::parse("10.2.0.1:25").value());
        }
        return all;
    }

    std::string two;

  private:
    worker::LiteralAddresses literal_;
};

class ProberTest : public ::testing::TestWithParam<bool> {};

// Silent ones keep their probes for longer than from one to the next.
TEST_P(ProberTest, BackendsThatSayNothingDoNotTakeEveryProbe) {
    SimNetwork network{Options()};
    Settings settings;
    settings.pools.emplace_back().name = "one";
    std::string last;
    for (std::uint32_t index = 0; index <= worker::Prober::probes_max; ++index) {
        BackendSettings& backend = settings.pools[0].backends.emplace_back();
        backend.host = fmt::format("10.1.{}.{}", index / 250, index % 250 + 1);
        backend.port = 25;
        backend.address = last = backend.host + ":25";
        network.black_hole(SocketAddress::parse(last).value(), index < worker::Prober::probes_max);
    }
    ASSERT_LT(settings.pools[0].health.interval, settings.timeouts.backend_connect);
    ScriptedBackend backend(network, last, {});
    auto routes = policy::Routes::build(settings);
    ASSERT_TRUE(routes.has_value());
    worker::Lasting lasting(1, 100, 1);
    TwoAddressesOfOne addresses;
    addresses.two = GetParam() ? last : "";

    SimPort port(network);
    BufferPool pool({.bytes_max = 4UL << 20U});
    ring::Loop loop(port, pool);
    ring::ReceiveBuffers buffers(pool, port);
    worker::Prober prober(loop);
    prober.use(worker::build_snapshot(std::make_shared<const Settings>(settings),
                                      std::make_shared<const policy::Routes>(std::move(*routes)),
                                      lasting, addresses));
    buffers.refill();
    const auto turn = [&](Instant until) {
        for (const ring::Completion& completion : loop.turn(until)) {
            const Slice octets = buffers.settle(completion);
            (void)prober.handle(completion, octets);
        }
        buffers.refill();
        prober.run_timers();
    };
    for (const Instant end = loop.now() + 1min; loop.now() < end;) {
        turn(std::min(prober.next_deadline(), end));
    }
    EXPECT_GE(backend.connections, 2U);
    prober.stop();
    while (!prober.is_stopped()) {
        turn(prober.next_deadline());
    }
    port.stop();
}

INSTANTIATE_TEST_SUITE_P(OfWhichOneHasTwoAddresses, ProberTest, ::testing::Bool());

} // namespace
} // namespace ringmx::sim
