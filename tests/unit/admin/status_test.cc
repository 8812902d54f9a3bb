#include "admin/status.h"

#include <gtest/gtest.h>
#include <vector>

namespace ringmx::admin {
namespace {

TEST(Status, IsOneJsonObject) {
    observe::WorkerCounters first;
    observe::WorkerCounters second;
    first.connections_open.add(2);
    second.connections_open.add(1);
    first.connections_total.add(9);
    first.messages_accepted_total.add(5);
    second.messages_rejected[observe::RejectReason::size].add(3);
    first.queue_messages.set(3);
    second.queue_messages.set(4);
    first.queue_bytes.set(4096);
    first.spool_room_bytes.set(100);
    second.queue_oldest_accepted_at.set(150);
    first.queue_messages_by_state[static_cast<std::size_t>(QueueState::on_hold)].set(3);
    second.queue_messages_by_state[static_cast<std::size_t>(QueueState::parked)].set(4);
    first.beat(Instant(10s));
    second.beat(Instant(9500ms));
    observe::BackendRegistry backends(2);
    (void)backends.row("old", "gone:25");
    (void)backends.pool_row("old");
    backends.begin_config();
    backends.pool_row("st\"ore").workers[0].queue_parked.set(1);
    backends.pool_row("st\"ore").workers[1].queue_parked.set(3);
    backends.row("st\"ore", "10.0.1.1:25").workers[1].messages_forwarded_total.add(4);
    backends.row("st\"ore", "10.0.1.1:25")
        .workers[0]
        .failures[observe::ForwardFailure::dropped]
        .add(1);
    const std::vector<const observe::WorkerCounters*> workers = {&first, &second};

    StatusSource source;
    source.version = "0.1.0";
    source.hostname = "mx1.example.com";
    source.started_at = WallTime(100s);
    source.wall_now = WallTime(160s + 250ms);
    source.now = Instant(10s);
    source.unready = "draining";
    source.unread_bytes = 65536;
    source.workers = workers;
    source.backends = &backends;
    source.backend_up = [](const observe::BackendRow&) { return false; };
    std::string out;
    append_status(out, source);
    EXPECT_EQ(
        out,
        R"({"version":"0.1.0","hostname":"mx1.example.com","uptime_seconds":60.250,"ready":false,)"
        R"("reason":"draining","workers":[)"
        R"({"worker":0,"heartbeat_age_seconds":0.000,"connections_open":2,"messages_accepted":5,)"
        R"("memory_bytes_in_use":0},)"
        R"({"worker":1,"heartbeat_age_seconds":0.500,"connections_open":1,"messages_accepted":0,)"
        R"("memory_bytes_in_use":0}],)"
        R"("connections":{"open":3,"total":9,"refused":0},)"
        R"("messages":{"accepted":5,"rejected":3,"bytes_received":0},)"
        R"("queue":{"messages":7,"bytes":4096,"oldest_seconds":10.250,"room_bytes":100,)"
        R"("complete":false,"unread_bytes":65536,)"
        R"("states":{"active":0,"deferred":0,"parked":4,"held":3,"pool_hold":0,"failed":0},)"
        R"("pools":[{"pool":"st\"ore","parked":4,"pool_hold":0}]},)"
        R"("backends":[{"pool":"st\"ore","backend":"10.0.1.1:25","up":false,"connections_open":0,)"
        R"("messages_forwarded":4,"failures":1}]})"
        "\n");
}

TEST(Status, IsWholeWithoutWorkersAndBackends) {
    std::string out;
    append_status(out, StatusSource{});
    EXPECT_EQ(
        out,
        R"({"version":"","hostname":"","uptime_seconds":0.000,"ready":true,"reason":"","workers":[],)"
        R"("connections":{"open":0,"total":0,"refused":0},)"
        R"("messages":{"accepted":0,"rejected":0,"bytes_received":0},)"
        R"("queue":{"messages":0,"bytes":0,"oldest_seconds":0.000,"room_bytes":0,)"
        R"("complete":true,"unread_bytes":0,)"
        R"("states":{"active":0,"deferred":0,"parked":0,"held":0,"pool_hold":0,"failed":0},)"
        R"("pools":[]},"backends":[]})"
        "\n");
}

} // namespace
} // namespace ringmx::admin
