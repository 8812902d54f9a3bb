// A backend that was dead for a minute and comes back while many messages wait for it: all go, oldest
// first, few at a time, and new mail does not wait behind them, neither its own nor others'.
#include "sim/spool_scenes.h"

#include <algorithm>
#include <cstdlib>
#include <gtest/gtest.h>
#include <map>

namespace ringmx::sim {
namespace {

constexpr int waiting = 1000;
constexpr Duration reply_time = 50ms; // of the backend that comes back, so that the pace is seen
constexpr auto read_at_once = worker::MailQueue::disk_dispatches_max;

class SpoolBacklog : public ::testing::TestWithParam<std::uint32_t> {
  protected:
    SpoolBacklog() : rig(options()) {
        for (const char* address : {Rig::first_address, Rig::second_address}) {
            alive.push_back(&rig.backend(address));
        }
    }

    static RigOptions options() {
        RigOptions made = spooling();
        made.settings = [](Settings& settings) {
            settings.pools[1].max_connections = GetParam();
            settings.pools[1].messages_per_connection = 1'000'000;
        };
        return made;
    }

    static std::string content(int number) {
        return "Number: " + std::to_string(number) + "\r\n\r\nx\r\n";
    }
    static int number_in(const std::string& octets) {
        return std::stoi(octets.substr(octets.find("Number: ") + 8));
    }
    // In simulated time, from the 250 on; and how long that took.
    Duration send(int number, const std::string& to) {
        const Instant begun = rig.network.now();
        EXPECT_TRUE(send_message(rig, *client, content(number), to).starts_with("250"));
        accepted_at[number] = rig.network.now();
        return rig.network.now() - begun;
    }
    [[nodiscard]] bool is_at_one(int number) const {
        return std::ranges::any_of(alive, [&](const ScriptedBackend* backend) {
            return std::ranges::any_of(taken(*backend), [&](const std::string& octets) {
                return number_in(octets) == number;
            });
        });
    }

    Rig rig;
    std::vector<ScriptedBackend*> alive; // of the other pool
    Client* client = nullptr;
    std::map<int, Instant> accepted_at; // by number
};

TEST_P(SpoolBacklog, GoesInOrderAtABoundedPaceAndNewMailPasses) {
    client = &rig.greeted();
    Duration quiet_max{};
    for (int number = 0; number < waiting; ++number) {
        quiet_max = std::max(quiet_max, send(number, "<u@two.example>"));
    }
    rig.run_for(1min);
    EXPECT_EQ(rig.queued(), waiting);

    ScriptedBackend& back = rig.backend(Rig::third_address);
    std::map<int, Instant> taken_at;
    std::size_t under_way_max = 0;
    back.judge = [&](const Asked& asked) {
        const std::size_t open = back.connections - back.connections_gone;
        under_way_max = std::max(under_way_max, open);
        if (asked.command == "." && asked.message != nullptr) {
            taken_at.try_emplace(number_in(asked.message->octets), rig.network.now());
        }
        return Judged{.text = asked.ordinary, .after = reply_time};
    };
    ASSERT_TRUE(rig.run_until([&] { return back.taken_count() > 0; }, 6min));
    const Instant begun = rig.network.now();
    client = &rig.greeted(); // the other one was silent for too long

    // One for each pool now and then, while the others drain.
    int number = waiting;
    Duration replied_max{};
    Duration to_one_max{};
    while (back.taken_count() < waiting / 2) {
        replied_max = std::max(replied_max, send(number, "<v@one.example>"));
        const Instant sent = rig.network.now();
        ASSERT_TRUE(rig.run_until([&] { return is_at_one(number); }, 1min));
        to_one_max = std::max(to_one_max, rig.network.now() - sent);
        ++number;
        replied_max = std::max(replied_max, send(number++, "<v@two.example>"));
        rig.run_for(100ms);
    }
    EXPECT_GT(number, waiting + 4) << "there was no time for new mail";
    ASSERT_TRUE(rig.run_until([&] { return rig.queued() == 0; }, 1h));
    const Duration drained = rig.network.now() - begun;

    // Clients and the other backends notice nothing.
    EXPECT_LT(replied_max, 2 * quiet_max);
    EXPECT_LT(to_one_max, 50ms);
    // At most so many at a time, beside new ones, each with a reply to wait for.
    const auto at_once = std::min(GetParam(), read_at_once + 8);
    EXPECT_LE(under_way_max, at_once);
    EXPECT_GT(drained, reply_time * waiting / at_once);
    // Oldest first, but for those that are read at the same time; new mail in between, each within
    // the time that what is read at once takes, not all of them.
    int place = 0;
    Duration to_two_max{};
    for (const std::string& octets : taken(back)) {
        const int taken_number = number_in(octets);
        if (taken_number < waiting) {
            EXPECT_LE(std::abs(taken_number - place++), static_cast<int>(2 * read_at_once));
        } else {
            to_two_max = std::max(to_two_max, taken_at[taken_number] - accepted_at[taken_number]);
        }
    }
    EXPECT_EQ(place, waiting) << "none was taken twice";
    EXPECT_LT(to_two_max, drained / 4);
    rig.finish();
}

// New mail that waits for a slow backend leaves places to what is due, and no more of it than it may
// have is in memory.
TEST(Spool, WhatIsDueGoesWhileNewMailWaitsWhereverItMay) {
    constexpr auto under_way_max = worker::MailQueue::dispatches_max;
    RigOptions options = spooling();
    options.segments_max = 20;
    options.memory_bytes_max = 512UL << 20U;
    options.settings = [](Settings& settings) {
        settings.timeouts.backend_wait = settings.timeouts.backend_reply = 20h;
        settings.spool.retry.initial = settings.spool.retry.maximum = 8h;
    };
    Rig rig(options);
    rig.backend(Rig::third_address, {.pipelining = false, .chunking = false}).answer =
        [](const std::string& command) {
            return command.starts_with("MAIL") ? std::optional(ScriptedBackend::say_nothing)
                                               : std::nullopt;
        };
    bool is_back = false;
    std::vector<ScriptedBackend*> others;
    for (const char* address : {Rig::first_address, Rig::second_address}) {
        others.push_back(&rig.backend(address));
        others.back()->answer = [&](const std::string& command) {
            return !is_back && command.starts_with("RCPT") ? std::optional("450 4.2.0 later\r\n")
                                                           : std::nullopt;
        };
    }
    Client& client = rig.greeted();
    EXPECT_TRUE(
        send_message(rig, client, "a: b\r\n\r\nc\r\n", "<u@one.example>").starts_with("250"));
    rig.run_for(1s);
    const auto under_way = [&] {
        return rig.worker->queue()->index().sum(QueueState::active).messages;
    };
    for (std::uint32_t count = 0; count < under_way_max; ++count) {
        const std::string reply = send_message(rig, client, "a: b\r\n\r\nc\r\n", "<u@two.example>");
        ASSERT_TRUE(reply.starts_with("250")) << count << ": " << reply;
    }
    rig.run_for(1s);
    EXPECT_GE(under_way(), under_way_max);
    is_back = true;
    const auto is_gone = [&] { return others[0]->taken_count() + others[1]->taken_count() == 1; };
    EXPECT_TRUE(rig.run_until(is_gone, 10h));
    EXPECT_GE(under_way(), under_way_max);
    EXPECT_LE(under_way(), under_way_max + read_at_once);
    rig.finish();
}

// What earlier runs left is taken up some messages at a time, and nobody has to wait for all of it.
TEST(Spool, ManyMessagesOfAnEarlierRunAreTakenUpOverSeveralTurns) {
    constexpr auto at_once = static_cast<std::int64_t>(worker::MailQueue::adopted_per_turn);
    constexpr std::int64_t all = at_once + 100;
    RigOptions options = spooling();
    options.segments_max = 20;
    options.settings = [](Settings& settings) { settings.pools[1].hold = true; };
    Rig rig(options);
    Client& client = rig.greeted();
    for (std::int64_t count = 0; count < all; ++count) {
        ASSERT_TRUE(
            send_message(rig, client, "a: b\r\n\r\nc\r\n", "<u@two.example>").starts_with("250"));
    }
    rig.restart(1, false);
    for (int turns = 0; turns < 100 && rig.queued() == 0; ++turns) {
        rig.turn();
    }
    EXPECT_EQ(rig.queued(), at_once);
    EXPECT_FALSE(rig.counters.queue_has_earlier.is_set()) << "it would be told that all are there";
    rig.turn();
    EXPECT_EQ(rig.queued(), all);
    EXPECT_TRUE(rig.counters.queue_has_earlier.is_set());
    ScriptedBackend& backend = rig.backend(Rig::third_address);
    rig.reload([](Settings& settings) { settings.pools[1].hold = false; });
    EXPECT_TRUE(rig.run_until([&] { return rig.queued() == 0; }, 1h));
    EXPECT_EQ(backend.taken_count(), static_cast<std::size_t>(all));
    rig.finish();
}

INSTANTIATE_TEST_SUITE_P(Connections, SpoolBacklog, ::testing::Values(40, 4));

} // namespace
} // namespace ringmx::sim
