#include "worker/queue_id.h"
#include "worker/snapshot.h"

#include <gtest/gtest.h>

#include <set>

namespace ringmx::worker {
namespace {

TEST(QueueIds, DifferOverMessagesWorkersAndRestarts) {
    std::set<std::string> seen;
    const WallTime started(Duration(1'700'000'000s));
    for (const std::uint32_t worker : {0U, 1U, 31U, 32U, 1023U}) {
        for (const Duration later : {Duration(0), Duration(1s)}) {
            QueueIds ids(worker, started + later);
            for (int count = 0; count < 1000; ++count) {
                const std::string id = ids.next();
                EXPECT_EQ(id.size(), 14U);
                EXPECT_EQ(id.find_first_of("aeiouAEIOU"), std::string::npos);
                EXPECT_TRUE(seen.insert(id).second) << id;
            }
        }
    }
}

std::shared_ptr<const Snapshot> build(Lasting& lasting, const std::vector<std::string>& hosts) {
    Settings settings;
    settings.hostname = "mx.example";
    settings.limits.recipients = 7;
    settings.listeners.emplace_back();
    PoolSettings pool;
    pool.name = "one";
    for (const std::string& host : hosts) {
        BackendSettings backend;
        backend.address = host + ":25";
        backend.host = host;
        backend.port = 25;
        pool.backends.push_back(backend);
    }
    settings.pools = {pool};
    auto routes = policy::Routes::build(settings);
    LiteralAddresses addresses;
    return build_snapshot(std::make_shared<const Settings>(settings),
                          std::make_shared<const policy::Routes>(std::move(*routes)), lasting,
                          addresses);
}

TEST(Snapshot, HasEachListenersAndPoolsSettings) {
    Lasting lasting(1, 100, 1);
    const auto snapshot = build(lasting, {"10.0.0.1", "name.example"});
    ASSERT_EQ(snapshot->listeners.size(), 1U);
    const smtp::ServerSettings& smtp = snapshot->smtp_settings(0);
    EXPECT_EQ(smtp.hostname, "mx.example");
    EXPECT_EQ(smtp.recipients_max, 7U);
    ASSERT_EQ(snapshot->pools[0]->addresses.size(), 2U);
    ASSERT_EQ(snapshot->pools[0]->addresses[0].size(), 1U);
    EXPECT_EQ(snapshot->pools[0]->addresses[0][0].text(), "10.0.0.1:25");
    EXPECT_TRUE(snapshot->pools[0]->addresses[1].empty()) << "a name that has not resolved";
    EXPECT_TRUE(snapshot->pools[0]->upstream.states[0]->is_up());
    EXPECT_FALSE(snapshot->pools[0]->upstream.states[1]->is_up());
}

TEST(Snapshot, WhatIsKnownOfABackendOutlivesReloads) {
    Lasting lasting(1, 100, 1);
    const auto before = build(lasting, {"10.0.0.1", "10.0.0.2"});
    EXPECT_TRUE(before->smtp_settings(0).offer_smtputf8) << "unknown counts as yes";
    smtp::Capabilities offered;
    offered.dsn = true;
    for (const auto& traits : before->pools[0]->traits) {
        traits->learn(offered);
    }
    EXPECT_FALSE(before->smtp_settings(0).offer_smtputf8);
    const auto after = build(lasting, {"10.0.0.2", "10.0.0.1"});
    EXPECT_FALSE(after->smtp_settings(0).offer_smtputf8);
    EXPECT_EQ(after->pools[0]->rows[0], before->pools[0]->rows[1]);
    EXPECT_EQ(after->pools[0]->upstream.states[0], before->pools[0]->upstream.states[1]);
    EXPECT_TRUE(build(lasting, {"10.0.0.1", "10.0.0.3"})->smtp_settings(0).offer_smtputf8);
}

TEST(Snapshot, OffersWhatSomeBackendMayHave) {
    Lasting lasting(1, 100, 1);
    const auto snapshot = build(lasting, {"10.0.0.1", "10.0.0.2"});
    const auto& traits = snapshot->pools[0]->traits;
    const auto offers = [&] {
        const smtp::ServerSettings& smtp = snapshot->smtp_settings(0);
        return std::pair(smtp.offer_smtputf8, smtp.offer_dsn);
    };
    EXPECT_EQ(offers(), std::pair(true, true));
    traits[0]->learn({});
    EXPECT_EQ(offers(), std::pair(true, true)) << "nobody knows about the other one";
    smtp::Capabilities offered;
    offered.dsn = true;
    traits[1]->learn(offered);
    EXPECT_EQ(offers(), std::pair(false, true));
    traits[1]->learn({});
    EXPECT_EQ(offers(), std::pair(false, false));
    offered = {};
    offered.smtputf8 = true;
    traits[0]->learn(offered);
    EXPECT_EQ(offers(), std::pair(true, false));
}

} // namespace
} // namespace ringmx::worker
