#include "admin/status_table.h"

#include "admin/status.h"

#include <algorithm>
#include <gtest/gtest.h>
#include <vector>

namespace ringmx::admin {
namespace {

TEST(StatusTable, ShowsWhatTheStatusSays) {
    observe::WorkerCounters worker;
    worker.connections_open.add(2);
    worker.connections_total.add(19);
    worker.messages_accepted_total.add(5);
    worker.messages_rejected[observe::RejectReason::size].add(3);
    worker.bytes_received_total.add(3U << 20U);
    worker.memory_bytes_in_use.set(1U << 19U);
    observe::BackendRegistry backends(1);
    worker.queue_messages.set(9);
    worker.queue_bytes.set(36 * 1024);
    worker.queue_oldest_accepted_at.set(75 * 3600 - 61);
    worker.queue_messages_by_state[static_cast<std::size_t>(QueueState::parked)].set(7);
    worker.queue_messages_by_state[static_cast<std::size_t>(QueueState::failed)].set(2);
    backends.pool_row("store").workers[0].queue_parked.set(7);
    (void)backends.pool_row("m");
    backends.row("store", "10.0.1.1:25").workers[0].messages_forwarded_total.add(12345);
    (void)backends.row("m", "unix:/run/lmtp");
    const std::vector<const observe::WorkerCounters*> workers = {&worker};
    StatusSource source;
    source.version = "0.1.0";
    source.hostname = "mx1.example.com";
    source.wall_now = WallTime(std::chrono::hours(75));
    source.workers = workers;
    source.backends = &backends;
    source.backend_up = [](const observe::BackendRow& row) { return row.pool == "m"; };
    std::string json;
    append_status(json, source);
    EXPECT_EQ(status_table(json).value_or("none"),
              "ringmx 0.1.0 on mx1.example.com, up 3d 3h, ready\n"
              "workers      1, 0.5 MiB of buffers in use\n"
              "connections  2 open, 19 in all, 0 refused\n"
              "messages     5 accepted, 3 rejected, 3.0 MiB received\n"
              "queue        9 messages, 36.0 KiB, oldest 1m 1s\n"
              "             7 parked, 2 failed\n"
              "             pool store: 7 parked, 0 on hold\n"
              "\n"
              "pool   backend         state  connections  forwarded  failures\n"
              "store  10.0.1.1:25     down             0      12345         0\n"
              "m      unix:/run/lmtp  up               0          0         0\n");
}

TEST(StatusTable, SaysThatWhatEarlierRunsLeftIsStillRead) {
    observe::WorkerCounters worker;
    const std::vector<const observe::WorkerCounters*> workers = {&worker};
    StatusSource source;
    source.workers = workers;
    source.unread_bytes = 3U << 20U;
    std::string json;
    append_status(json, source);
    EXPECT_NE(status_table(json).value_or("none").find(
                  "queue        what earlier runs left is still read, 3.0 MiB to go, and not "
                  "counted here\nqueue        0 messages, 0 B\n"),
              std::string::npos);
}

TEST(StatusTable, AnEmptyQueueIsOneLine) {
    observe::WorkerCounters worker;
    const std::vector<const observe::WorkerCounters*> workers = {&worker};
    StatusSource source;
    source.workers = workers;
    std::string json;
    append_status(json, source);
    EXPECT_TRUE(status_table(json).value_or("").ends_with("\nqueue        0 messages, 0 B\n"));
}

TEST(StatusTable, TimesHaveTheirTwoLargestUnits) {
    const auto up = [](const char* seconds) {
        const std::string table =
            status_table(std::string(R"({"connections":{},"messages":{},"uptime_seconds":)") +
                         seconds + "}")
                .value_or("");
        return table.substr(0, table.find('\n'));
    };
    EXPECT_EQ(up("59.9"), "ringmx  on , up 59s, not ready: ");
    EXPECT_EQ(up("61"), "ringmx  on , up 1m 1s, not ready: ");
    EXPECT_EQ(up("7260"), "ringmx  on , up 2h 1m, not ready: ");
    EXPECT_EQ(up("-5"), "ringmx  on , up 0s, not ready: ");
}

TEST(StatusTable, TextIsEscaped) {
    const auto table = status_table(
        "{\"connections\":{},\"messages\":{},\"hostname\":\"\\u001b[2J\\n\",\"reason\":\"a\\rb\"}");
    ASSERT_TRUE(table);
    EXPECT_EQ(table->find('\x1B'), std::string::npos);
    EXPECT_EQ(table->find('\r'), std::string::npos);
    EXPECT_EQ(std::ranges::count(*table, '\n'), 3);
}

TEST(StatusTable, WhatIsNoStatusGivesNothing) {
    for (const char* json : {"", "{}", "[]", "{\"connections\":{}}", "nonsense", "{\"a\":", "1"}) {
        EXPECT_EQ(status_table(json), std::nullopt) << json;
    }
    EXPECT_NE(status_table("{\"connections\":1,\"messages\":[],\"workers\":7,\"backends\":{}}"),
              std::nullopt);
}

} // namespace
} // namespace ringmx::admin
