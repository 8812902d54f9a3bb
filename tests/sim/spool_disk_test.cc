// Disks that fail, and files that are gone: what is refused meanwhile, and that mail is taken again.
#include "sim/spool_scenes.h"

#include <cerrno>
#include <cstdint>
#include <gtest/gtest.h>
#include <string>
#include <vector>

namespace ringmx::sim {
namespace {

TEST(Spool, ADirectoryThatIsGoneIsNotReliedOn) {
    Rig rig(spooling());
    Client& client = rig.greeted();
    EXPECT_TRUE(
        send_message(rig, client, "a: b\r\n\r\nc\r\n", "<u@two.example>").starts_with("250"));
    rig.run_for(1s);
    rig.segments.request_error = ENOENT;
    rig.segments.lose(ENOENT);
    rig.run_for(1s);
    EXPECT_EQ(rig.ask(client, "MAIL FROM:<sender@far.example>\r\n").substr(0, 9), "451 4.3.0");
    const std::size_t files_before = rig.disk.files().size();
    rig.segments.request_error = 0;
    rig.run_for(10s);
    EXPECT_TRUE(
        send_message(rig, client, "a: b\r\n\r\nd\r\n", "<u@two.example>").starts_with("250"));
    EXPECT_GT(rig.disk.files().size() + 1, files_before);
    EXPECT_EQ(rig.queued(), 2);
    (void)rig.backend(Rig::third_address);
    ASSERT_TRUE(rig.run_until([&] { return rig.queued() == 0; }, 6h));
    rig.finish();
}

TEST(Spool, AMessageOfWhichPartsAreInAFileThatIsGoneIsNotAcknowledged) {
    Rig rig(spooling());
    (void)rig.backend(Rig::third_address);
    Client& client = rig.with_recipient("<u@two.example>");
    EXPECT_TRUE(rig.ask(client, "DATA\r\n").starts_with("354"));
    for (int count = 0; count < 5; ++count) {
        rig.send(client, content_of_100_kb());
    }
    rig.run_for(1s);
    EXPECT_GT(rig.counters.spool_records_total.value(), 0U);
    rig.segments.lose(ENOENT);
    rig.run_for(1s);
    EXPECT_EQ(rig.ask(client, ".\r\n").substr(0, 9), "451 4.3.0");
    const std::string reply = send_message(rig, client, content_of_100_kb(), "<u@two.example>");
    EXPECT_TRUE(reply.starts_with("250")) << "a new one is whole: " << reply;
    EXPECT_TRUE(rig.run_until([&] { return rig.queued() == 0; }, 1min));
    rig.finish();
}

TEST(Spool, AFileSystemThatIsFoundReadOnlyRefusesMailAndStillDelivers) {
    Rig rig(spooling());
    Client& client = rig.greeted();
    EXPECT_TRUE(
        send_message(rig, client, "a: b\r\n\r\nc\r\n", "<u@two.example>").starts_with("250"));
    rig.segments.tell_file_system_error(EROFS);
    rig.disk.write_error = rig.segments.request_error = EROFS;
    rig.run_for(1s);
    EXPECT_EQ(rig.counters.spool_error.value(), EROFS);
    EXPECT_EQ(rig.counters.spool_takes_mail.value(), 0);
    EXPECT_EQ(rig.ask(client, "MAIL FROM:<sender@far.example>\r\n").substr(0, 9), "451 4.3.0");
    ScriptedBackend& backend = rig.backend(Rig::third_address);
    ASSERT_TRUE(rig.run_until([&] { return rig.queued() == 0; }, 6h));
    rig.run_for(1min);
    EXPECT_EQ(rig.ask(client, "MAIL FROM:<sender@far.example>\r\n").substr(0, 9), "451 4.3.0");
    rig.disk.write_error = rig.segments.request_error = 0;
    rig.segments.tell_file_system_error(0);
    rig.run_for(5s);
    EXPECT_EQ(rig.counters.spool_takes_mail.value(), 1);
    EXPECT_TRUE(
        send_message(rig, client, "a: b\r\n\r\nd\r\n", "<u@two.example>").starts_with("250"));
    ASSERT_TRUE(rig.run_until([&] { return rig.queued() == 0; }));
    EXPECT_EQ(taken(backend).size(), 2U);
    rig.finish();
}

TEST(Spool, ADiskThatFailsIsToldAndForgivenLater) {
    Rig rig(spooling());
    (void)rig.backend(Rig::third_address);
    Client& client = rig.greeted();
    EXPECT_TRUE(
        send_message(rig, client, "a: b\r\n\r\nc\r\n", "<u@two.example>").starts_with("250"));
    rig.run_for(1s);
    EXPECT_EQ(rig.counters.spool_failures_total.value(), 0U);
    rig.disk.write_error = EIO;
    EXPECT_EQ(send_message(rig, client, "a: b\r\n\r\nc\r\n", "<u@two.example>").substr(0, 9),
              "451 4.3.0");
    EXPECT_EQ(rig.ask(client, "MAIL FROM:<sender@far.example>\r\n").substr(0, 9), "451 4.3.0");
    EXPECT_EQ(rig.counters.messages_rejected[observe::RejectReason::disk_error].value(), 2U);
    EXPECT_GT(rig.counters.spool_failures_total.value(), 0U);
    rig.disk.write_error = 0;
    rig.run_for(5s);
    Client& next = rig.greeted();
    EXPECT_TRUE(send_message(rig, next, "a: b\r\n\r\nc\r\n", "<u@two.example>").starts_with("250"));
    EXPECT_TRUE(rig.run_until([&] { return rig.queued() == 0; }));
    rig.finish();
}

// What can't be written meanwhile fills the memory.
TEST(Spool, WhileADiskStallsWhoFindsNoMemoryIsToldAndCounted) {
    RigOptions options = spooling();
    options.memory_bytes_max = 4UL << 20U;
    options.settings = [](Settings& settings) { settings.limits.minimum_data_rate_bytes = 0; };
    Rig rig(options);
    (void)rig.backend(Rig::third_address);
    std::vector<Client*> clients;
    for (int count = 0; count < 40; ++count) {
        Client& client = rig.with_recipient("<u@two.example>");
        EXPECT_TRUE(rig.ask(client, "DATA\r\n").starts_with("354"));
        clients.push_back(&client);
    }
    Client& late = rig.greeted();
    rig.disk.stall();
    for (Client* const client : clients) {
        rig.send(*client, content_of_100_kb() + content_of_100_kb());
    }
    rig.run_for(5s);
    EXPECT_NE(rig.worker->pressure(), worker::Pressure::none);
    EXPECT_EQ(rig.ask(late, "MAIL FROM:<a@far.example>\r\n").substr(0, 9), "452 4.3.1");
    rig.disk.resume();
    std::uint64_t accepted = 0;
    std::uint64_t refused = 1;
    for (Client* const client : clients) {
        const std::string reply = rig.ask(*client, ".\r\n");
        EXPECT_TRUE(reply.starts_with("250 2.0.0") || reply.starts_with("452 4.3.1")) << reply;
        ++(reply.starts_with("250") ? accepted : refused);
    }
    EXPECT_GT(accepted, 0U);
    EXPECT_GT(refused, 1U);
    EXPECT_EQ(rig.counters.messages_accepted_total.value(), accepted);
    EXPECT_EQ(rig.counters.messages_rejected[observe::RejectReason::no_memory].value(), refused);
    EXPECT_TRUE(rig.run_until([&] { return rig.queued() == 0; }, 1min));
    EXPECT_EQ(send_message(rig, late, "a: b\r\n", "<u@two.example>").substr(0, 9), "250 2.0.0");
    rig.finish();
}

// What was refused may be on the disk, and the marks that remove it can't be written: that ends with
// the worker.
TEST(Spool, ADiskThatFailsForGoodDoesNotKeepTheWorkerFromEnding) {
    Rig rig(spooling());
    Client& client = rig.greeted();
    EXPECT_TRUE(
        send_message(rig, client, "a: b\r\n\r\nc\r\n", "<u@two.example>").starts_with("250"));
    rig.disk.write_error = EIO;
    EXPECT_EQ(send_message(rig, client, "a: b\r\n\r\nc\r\n", "<u@two.example>").substr(0, 9),
              "451 4.3.0");
    rig.finish();
}

} // namespace
} // namespace ringmx::sim
