// Clients that leave while they send to a spool: before their last octet nothing stays of it, behind
// it what became durable is delivered, and nothing else is.
#include "sim/spool_scenes.h"

#include <gtest/gtest.h>
#include <tuple>

namespace ringmx::sim {
namespace {

enum class Way : std::uint8_t { close, reset, end };

// By DATA or by BDAT; in one record, or in parts on the disk.
class SpoolClientLeaves : public ::testing::TestWithParam<std::tuple<Way, bool, bool>> {
  protected:
    SpoolClientLeaves() : rig(spooling()), backend(rig.backend(Rig::third_address)) {
        rig.run_for(1s); // its first segments are there
    }

    static Way way() { return std::get<0>(GetParam()); }
    static bool is_by_chunks() { return std::get<1>(GetParam()); }
    static bool is_large() { return std::get<2>(GetParam()); }

    static std::string content() {
        std::string made = "Subject: x\r\n\r\n";
        while (made.size() < (is_large() ? 1'000'000U : 1'000U)) {
            made += "a line of this message that is fairly long, " + std::to_string(made.size()) +
                    "\r\n";
        }
        return made;
    }
    // All that follows RCPT, as one that does not wait for replies sends it.
    static std::string wire() {
        return is_by_chunks() ? "BDAT " + std::to_string(content().size()) + " LAST\r\n" + content()
                              : "DATA\r\n" + content() + ".\r\n";
    }
    static void leave(Client& client) {
        switch (way()) {
        case Way::close:
            client.socket->close();
            break;
        case Way::reset:
            client.socket->reset();
            break;
        case Way::end:
            client.socket->end();
            break;
        }
    }
    [[nodiscard]] std::uint64_t held_by_segments() const {
        const spool::SegmentTable& table = rig.worker->queue()->log().segments();
        std::uint64_t holds = 0;
        for (std::uint32_t index = 0; index < table.count(); ++index) {
            holds += table.at(index).holds;
        }
        return holds;
    }
    void expect_nothing_of_it() {
        EXPECT_EQ(rig.queued(), 0);
        EXPECT_EQ(rig.worker->queue()->intakes().used(), 0U);
        EXPECT_EQ(rig.worker->queue()->reserved_bytes(), 0U);
        EXPECT_EQ(held_by_segments(), 0U);
        rig.restart(1, true);
        rig.run_for(1min);
        EXPECT_EQ(rig.queued(), 0);
        EXPECT_TRUE(backend.messages.empty());
        rig.finish();
    }

    Rig rig;
    ScriptedBackend& backend;
};

TEST_P(SpoolClientLeaves, BeforeItsLastOctetNothingStays) {
    Client& client = rig.with_recipient("<u@two.example>");
    std::string sent = wire();
    sent.pop_back();
    rig.send(client, sent);
    rig.run_for(1s);
    EXPECT_EQ(held_by_segments() > 0, is_large()) << "parts of what is large are on the disk";
    leave(client);
    rig.run_for(1s);
    expect_nothing_of_it();
}

// Its chunks are on their way to the disk then.
TEST_P(SpoolClientLeaves, BeforeItsLastOctetWhileTheDiskIsSlowNothingStays) {
    Client& client = rig.with_recipient("<u@two.example>");
    rig.disk.stall();
    std::string sent = wire();
    sent.pop_back();
    rig.send(client, sent);
    rig.run_for(1s);
    leave(client);
    rig.run_for(1s);
    rig.disk.resume();
    rig.run_for(1s);
    expect_nothing_of_it();
}

TEST_P(SpoolClientLeaves, BeforeThe250WhatBecameDurableIsDelivered) {
    Client& client = rig.with_recipient("<u@two.example>");
    rig.send(client, wire());
    // The message's record is being written, of a large one after its parts.
    ASSERT_TRUE(rig.run_until([&] {
        bool is_stored = false;
        rig.worker->queue()->intakes().for_each(
            [&](const worker::SpoolIntake& intake) { is_stored = intake.is_final_submitted(); });
        return is_stored;
    }));
    EXPECT_EQ(client.take_reply().find("queued as"), std::string::npos);
    rig.disk.stall();
    leave(client);
    rig.run_for(1s);
    EXPECT_TRUE(rig.worker->clients().used() == 0 || way() != Way::reset) << "it is gone";
    EXPECT_TRUE(backend.messages.empty());
    rig.disk.resume();
    ASSERT_TRUE(rig.run_until([&] { return taken(backend).size() == 1; }));
    EXPECT_TRUE(taken(backend)[0].ends_with(content()));
    ASSERT_TRUE(rig.run_until([&] { return rig.queued() == 0; }));
    EXPECT_EQ(rig.counters.messages_accepted_total.value(), 1U);
    rig.finish();
    EXPECT_EQ(backend.messages.size(), 1U);
}

// And if the machine stops at once, by the next run.
TEST_P(SpoolClientLeaves, BeforeThe250WhatBecameDurableOutlivesTheMachine) {
    backend.refuse_connections(true);
    Client& client = rig.with_recipient("<u@two.example>");
    rig.send(client, wire());
    ASSERT_TRUE(rig.run_until([&] { return rig.queued() == 1; }));
    leave(client);
    rig.restart(1, true);
    backend.refuse_connections(false);
    ASSERT_TRUE(rig.run_until([&] { return taken(backend).size() == 1; }, 1h));
    EXPECT_TRUE(taken(backend)[0].ends_with(content()));
    rig.finish();
}

// As in backend mode it changes nothing that it is gone.
TEST_P(SpoolClientLeaves, BehindItsLastOctetAllOfItIsDelivered) {
    Client& client = rig.with_recipient("<u@two.example>");
    rig.disk.stall();
    rig.send(client, wire());
    rig.run_for(1s);
    leave(client);
    rig.run_for(1s);
    rig.disk.resume();
    rig.run_for(1min);
    EXPECT_EQ(rig.queued(), 0);
    EXPECT_EQ(held_by_segments(), 0U);
    EXPECT_EQ(rig.counters.messages_accepted_total.value(), 1U);
    ASSERT_EQ(taken(backend).size(), 1U);
    EXPECT_TRUE(taken(backend)[0].ends_with(content()));
    rig.finish();
}

INSTANTIATE_TEST_SUITE_P(Ways, SpoolClientLeaves,
                         ::testing::Combine(::testing::Values(Way::close, Way::reset, Way::end),
                                            ::testing::Bool(), ::testing::Bool()));

} // namespace
} // namespace ringmx::sim
