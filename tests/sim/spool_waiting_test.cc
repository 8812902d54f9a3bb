// What queued mail waits for, and who goes when that changes: pools without a backend, pools on hold,
// routes that are changed meanwhile.
#include "sim/spool_scenes.h"

#include <algorithm>
#include <cerrno>
#include <functional>
#include <gtest/gtest.h>

namespace ringmx::sim {
namespace {

void send(Rig& rig, const std::vector<std::string>& recipients) {
    Client& client = rig.greeted();
    EXPECT_TRUE(rig.ask(client, "MAIL FROM:<sender@far.example>\r\n").starts_with("250"));
    for (const std::string& recipient : recipients) {
        EXPECT_EQ(rig.ask(client, "RCPT TO:" + recipient + "\r\n"), "250 2.1.5 Ok\r\n");
    }
    EXPECT_TRUE(rig.ask(client, "DATA\r\n").starts_with("354"));
    EXPECT_TRUE(rig.ask(client, "Subject: x\r\n\r\ny\r\n.\r\n").starts_with("250 2.0.0"));
}

// Pool "one" has the first two backends, pool "two" the third.
void route_everything_to(Settings& settings, std::uint32_t pool) {
    for (RouteSettings& route : settings.routes) {
        route.pool_index = pool;
    }
}

// Mail for pool "two", which takes none as configured, goes to "one" when the route does.
void expect_rerouting_helps(const std::function<void(Settings&)>& settings) {
    RigOptions options = spooling();
    options.settings = settings;
    Rig rig(options);
    ScriptedBackend& first = rig.backend(Rig::first_address);
    ScriptedBackend& second = rig.backend(Rig::second_address);
    send(rig, {"<a@two.example>"});
    rig.run_for(1h);
    EXPECT_EQ(rig.queued(), 1);
    rig.reload([](Settings& changed) { route_everything_to(changed, 0); });
    EXPECT_TRUE(rig.run_until([&] { return rig.queued() == 0; }, 5s));
    EXPECT_EQ(taken(first).size() + taken(second).size(), 1U);
    rig.finish();
}

TEST(SpoolWaiting, MailForAPoolOnHoldGoesWhereANewRouteSendsIt) {
    expect_rerouting_helps([](Settings& settings) { settings.pools[1].hold = true; });
}

TEST(SpoolWaiting, MailForAPoolWithoutBackendsGoesWhereANewRouteSendsIt) {
    expect_rerouting_helps([](Settings& settings) { settings.pools[1].backends[0].weight = 0; });
}

TEST(SpoolWaiting, OfTwoPoolsOnHoldTheOneThatIsLetGoGetsItsRecipients) {
    for (const std::size_t freed : {0U, 1U}) {
        RigOptions options = spooling();
        options.settings = [](Settings& settings) {
            settings.pools[0].hold = settings.pools[1].hold = true;
        };
        Rig rig(options);
        ScriptedBackend& first = rig.backend(Rig::first_address);
        ScriptedBackend& second = rig.backend(Rig::second_address);
        ScriptedBackend& third = rig.backend(Rig::third_address);
        send(rig, {"<a@one.example>", "<b@two.example>"});
        rig.run_for(1min);
        rig.reload([&](Settings& settings) { settings.pools[freed].hold = false; });
        rig.run_for(5s);
        EXPECT_EQ(taken(first).size() + taken(second).size(), freed == 0 ? 1U : 0U);
        EXPECT_EQ(taken(third).size(), freed == 1 ? 1U : 0U);
        EXPECT_EQ(rig.queued(), 1);
        rig.reload([&](Settings& settings) { settings.pools[1 - freed].hold = false; });
        EXPECT_TRUE(rig.run_until([&] { return rig.queued() == 0; }, 5s));
        rig.finish();
    }
}

TEST(SpoolWaiting, TheEndOfAHoldIsNotWaitedForUntilTheNextAttemptOfOthers) {
    RigOptions options = spooling();
    options.settings = [](Settings& settings) {
        settings.pools[1].hold = true;
        settings.spool.retry.initial = settings.spool.retry.maximum = 8h;
    };
    Rig rig(options);
    ScriptedBackend& held = rig.backend(Rig::third_address);
    std::size_t attempts = 0;
    for (const char* address : {Rig::first_address, Rig::second_address}) {
        rig.backend(address).answer = [&](const std::string& command) {
            const bool is_asked = command.starts_with("RCPT");
            attempts += is_asked ? 1U : 0U;
            return is_asked ? std::optional("450 4.2.0 later\r\n") : std::nullopt;
        };
    }
    send(rig, {"<a@one.example>", "<b@two.example>"});
    rig.run_for(10min);
    EXPECT_EQ(attempts, 1U) << "nobody is tried all the time meanwhile";
    rig.reload([](Settings& settings) { settings.pools[1].hold = false; });
    EXPECT_TRUE(rig.run_until([&] { return taken(held).size() == 1; }, 5s));
    rig.run_for(5s);
    EXPECT_EQ(attempts, 2U);
    EXPECT_EQ(rig.queued(), 1);
    rig.run_for(9h);
    EXPECT_EQ(attempts, 3U);
    rig.finish();
}

// The other pool never gets a backend, so nothing that waits for it may stand for all.
TEST(SpoolWaiting, OfTwoPoolsWithoutBackendsTheOneThatComesBackGetsItsRecipients) {
    for (const bool first_comes_back : {true, false}) {
        RigOptions options = spooling();
        options.settings = [&](Settings& settings) {
            for (BackendSettings& backend : settings.pools[first_comes_back ? 1 : 0].backends) {
                backend.weight = 0;
            }
        };
        Rig rig(options);
        send(rig, {"<a@one.example>", "<b@two.example>"});
        rig.run_for(2min);
        EXPECT_EQ(rig.queued(), 1);
        ScriptedBackend& back =
            rig.backend(first_comes_back ? Rig::first_address : Rig::third_address);
        rig.run_for(1h);
        EXPECT_EQ(taken(back).size(), 1U);
        EXPECT_EQ(rig.queued(), 1);
        rig.finish();
    }
}

TEST(SpoolWaiting, ReloadsThatRouteAsBeforeLeaveWhatWaitsAlone) {
    RigOptions options = spooling();
    options.settings = [](Settings& settings) { settings.pools[1].hold = true; };
    Rig rig(options);
    send(rig, {"<a@two.example>"});
    rig.run_for(1min);
    const std::uint64_t before = rig.disk.reads;
    for (int count = 0; count < 10; ++count) {
        rig.reload([](Settings& settings) { settings.pools[1].max_connections += 1; });
        rig.run_for(1min);
    }
    EXPECT_EQ(rig.disk.reads, before);
    rig.finish();
}

TEST(SpoolWaiting, WithoutFailoverNobodyIsTriedAllTheTimeWhileHisBackendIsOut) {
    RigOptions options = spooling();
    options.settings = [](Settings& settings) { settings.pools[0].failover = Failover::none; };
    Rig rig(options);
    ScriptedBackend& first = rig.backend(Rig::first_address);
    constexpr int sent = 60;
    for (int count = 0; count < sent; ++count) {
        send(rig, {"<u" + std::to_string(count) + "@one.example>"});
    }
    rig.run_for(10min);
    const auto waiting = static_cast<std::size_t>(rig.queued());
    EXPECT_GT(waiting, 0U);
    EXPECT_EQ(taken(first).size(), sent - waiting);
    const std::uint64_t before = rig.disk.reads;
    rig.run_for(1h);
    // It is looked at again whenever its backend may be, each 5 minutes, by few at a time.
    EXPECT_LT(rig.disk.reads - before, 12 * 2 * waiting);
    ScriptedBackend& second = rig.backend(Rig::second_address);
    EXPECT_TRUE(rig.run_until([&] { return rig.queued() == 0; }, 6min));
    EXPECT_EQ(taken(second).size(), waiting);
    rig.finish();
}

// Nobody was asked: its time is over, but its last attempt is the next run's.
TEST(SpoolWaiting, AnAttemptThatADrainCutsFailsNobody) {
    RigOptions options = spooling();
    options.settings = [](Settings& settings) { settings.spool.retry.expire = 1s; };
    Rig rig(options);
    ScriptedBackend& backend = rig.backend(Rig::third_address);
    backend.hold();
    send(rig, {"<user@two.example>"});
    rig.run_for(3s);
    rig.post(worker::Inbox::Kind::drain);
    rig.run_for(1s);
    rig.post(worker::Inbox::Kind::cut);
    EXPECT_TRUE(rig.run_until([&] { return rig.finished(); }, 1min));
    backend.go_on();
    rig.restart(1, false);
    EXPECT_TRUE(rig.run_until([&] { return rig.queued() == 1; }, 1min));
    EXPECT_TRUE(rig.run_until([&] { return rig.queued() == 0; }, 1h));
    EXPECT_EQ(taken(backend).size(), 1U);
    rig.finish();
}

// Its marks can't be written: the next run may deliver again what was delivered, which a drain that waits
// for as long as it may would not change. What is under way it does wait for.
TEST(SpoolWaiting, ADrainDoesNotWaitForADiskThatStaysReadOnly) {
    for (const bool is_under_way : {false, true}) {
        Rig rig(spooling());
        ScriptedBackend& backend = rig.backend(Rig::third_address);
        backend.hold();
        send(rig, {"<user@two.example>"});
        rig.run_for(1s);
        rig.disk.write_error = EROFS;
        if (!is_under_way) {
            backend.go_on();
        }
        rig.post(worker::Inbox::Kind::drain);
        if (is_under_way) {
            rig.run_for(20s);
            EXPECT_FALSE(rig.finished());
            backend.go_on();
        }
        EXPECT_TRUE(rig.run_until([&] { return rig.finished(); }, 5s));
        EXPECT_EQ(taken(backend).size(), 1U);
        rig.disk.write_error = 0;
        rig.restart(1, false);
        rig.run_for(1min);
        EXPECT_EQ(rig.queued(), 0);
        rig.finish();
    }
}

TEST(SpoolWaiting, ADrainWaitsForADiskThatFailsForAMoment) {
    Rig rig(spooling());
    ScriptedBackend& backend = rig.backend(Rig::third_address);
    backend.hold();
    send(rig, {"<user@two.example>"});
    rig.run_for(1s);
    rig.disk.write_error = EIO;
    backend.go_on();
    rig.post(worker::Inbox::Kind::drain);
    rig.run_for(2s);
    EXPECT_FALSE(rig.finished());
    rig.disk.write_error = 0;
    EXPECT_TRUE(rig.run_until([&] { return rig.finished(); }, 10s));
    rig.restart(1, false);
    rig.run_for(1h);
    EXPECT_EQ(taken(backend).size(), 1U);
    rig.finish();
}

} // namespace
} // namespace ringmx::sim
