// Room for mail that is still to come: promised at MAIL by SIZE=, else taken as its data comes.
#include "sim/spool_scenes.h"

#include <gtest/gtest.h>
#include <string>
#include <vector>

namespace ringmx::sim {
namespace {

constexpr const char* no_room = "452 4.3.1 Insufficient system storage, try again later\r\n";

std::string large_content(const std::string& subject, std::size_t bytes) {
    std::string content = "Subject: " + subject + "\r\n\r\n";
    while (content.size() < bytes) {
        content += std::string(900, 'x') + "\r\n";
    }
    return content;
}

// All that precedes the content.
Client& in_data(Rig& rig, const std::string& mail_parameters = {}) {
    Client& client = rig.greeted();
    EXPECT_TRUE(
        rig.ask(client, "MAIL FROM:<a@far.example>" + mail_parameters + "\r\n").starts_with("250"));
    EXPECT_TRUE(rig.ask(client, "RCPT TO:<u@two.example>\r\n").starts_with("250"));
    EXPECT_TRUE(rig.ask(client, "DATA\r\n").starts_with("354"));
    return client;
}

// Of two that didn't say how large they are there is room for one; what another was promised is neither's.
TEST(SpoolPromise, WithoutASizeRoomIsTakenAsDataComesAndWhoFindsNoneIsToldAtTheEnd) {
    Rig rig(spooling());
    rig.run_for(1s);
    constexpr std::size_t promised_bytes = 1'000'000;
    const auto room = static_cast<std::size_t>(rig.counters.spool_room_bytes.value());
    const std::string content = large_content("large", (room - promised_bytes) * 2 / 3);
    Client& promised = in_data(rig, " SIZE=" + std::to_string(promised_bytes));
    Client& first = in_data(rig);
    Client& second = in_data(rig);
    rig.send(first, content);
    rig.run_for(10s);
    const auto& full = rig.counters.messages_rejected[observe::RejectReason::spool_full];
    EXPECT_EQ(full.value(), 0U);
    rig.send(second, content);
    rig.run_for(10s);
    EXPECT_EQ(full.value(), 1U);
    EXPECT_EQ(second.take_reply(), "") << "a client listens only behind its last octet";
    EXPECT_EQ(rig.ask(second, ".\r\n"), no_room);
    EXPECT_EQ(rig.ask(second, "NOOP\r\n"), "250 2.0.0 Ok\r\n") << "all of it was read";
    const std::string kept = large_content("promised", promised_bytes - 1000);
    EXPECT_TRUE(rig.ask(promised, kept + ".\r\n").starts_with("250 2.0.0"));
    EXPECT_TRUE(rig.ask(first, ".\r\n").starts_with("250 2.0.0"));
    EXPECT_EQ(full.value(), 1U);
    EXPECT_EQ(rig.counters.messages_accepted_total.value(), 2U);
    EXPECT_EQ(rig.worker->queue()->reserved_bytes(), 0U);
    EXPECT_EQ(rig.counters.spool_failures_total.value(), 0U) << "nobody met the end of the disk";
    rig.restart(1, true);
    rig.run_for(1s);
    EXPECT_EQ(rig.queued(), 2) << "nothing is left of what was refused";
    ScriptedBackend& backend = rig.backend(Rig::third_address);
    ASSERT_TRUE(rig.run_until([&] { return rig.queued() == 0; }, 1h));
    const std::vector<std::string> arrived = taken(backend);
    ASSERT_EQ(arrived.size(), 2U);
    EXPECT_TRUE(arrived[0].ends_with(content) || arrived[1].ends_with(content));
    EXPECT_TRUE(arrived[0].ends_with(kept) || arrived[1].ends_with(kept));
    rig.finish();
}

} // namespace
} // namespace ringmx::sim
