#include "observe/exposition.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <map>
#include <set>
#include <sstream>
#include <vector>

namespace ringmx::observe {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class Exposition : public ::testing::Test {
  protected:
    std::string page() {
        const std::vector<const WorkerCounters*> workers = {&first, &second};
        MetricsSource source;
        source.version = "1.2\"3";
        source.workers = workers;
        source.backends = &registry;
        source.backend_up = [](const BackendRow& row) { return row.backend != "down:25"; };
        source.started_at = WallTime(1'700'000'000s + 500ms);
        source.log_records_dropped_total = 2;
        source.spool_unread_bytes = unread_bytes;
        std::string out;
        append_metrics(out, source);
        return out;
    }

    std::optional<std::uint64_t> unread_bytes;
    WorkerCounters first;
    WorkerCounters second;
    BackendRegistry registry{2};
};

TEST_F(Exposition, SumsOverTheWorkers) {
    first.connections_total.add(2);
    second.connections_total.add(40);
    first.connections_open.add(3);
    second.connections_open.subtract(1);
    second.messages_rejected[RejectReason::bare_newline].add(7);
    const std::string text = page();
    EXPECT_THAT(text, HasSubstr("\nringmx_connections_total 42\n"));
    EXPECT_THAT(text, HasSubstr("\nringmx_connections_open 2\n"));
    EXPECT_THAT(text, HasSubstr("\nringmx_messages_rejected_total{reason=\"bare_newline\"} 7\n"));
    EXPECT_THAT(text, HasSubstr("\nringmx_messages_rejected_total{reason=\"no_route\"} 0\n"));
    EXPECT_THAT(text, HasSubstr("\nringmx_log_records_dropped_total 2\n"));
    EXPECT_THAT(text, HasSubstr("ringmx_build_info{version=\"1.2\\\"3\"} 1\n"));
    EXPECT_THAT(text, HasSubstr("\nprocess_start_time_seconds 1700000000.5\n"));
}

TEST_F(Exposition, WhatEarlierRunsLeftIsReadOrDone) {
    EXPECT_THAT(page(), HasSubstr("\nringmx_spool_recovering 0\n"));
    EXPECT_THAT(page(), HasSubstr("\nringmx_spool_unread_bytes 0\n"));
    unread_bytes = 0; // listing, or putting together what was read
    EXPECT_THAT(page(), HasSubstr("\nringmx_spool_recovering 1\n"));
    unread_bytes = 4096;
    EXPECT_THAT(page(), HasSubstr("\nringmx_spool_unread_bytes 4096\n"));
}

TEST_F(Exposition, HistogramsAreCumulative) {
    first.acknowledge.record(std::chrono::microseconds(90));
    second.acknowledge.record(2ms);
    second.acknowledge.record(20min);
    const std::string text = page();
    EXPECT_THAT(text, HasSubstr("# TYPE ringmx_acknowledge_seconds histogram\n"));
    EXPECT_THAT(text, HasSubstr("ringmx_acknowledge_seconds_bucket{le=\"0.0001\"} 1\n"));
    EXPECT_THAT(text, HasSubstr("ringmx_acknowledge_seconds_bucket{le=\"0.001\"} 1\n"));
    EXPECT_THAT(text, HasSubstr("ringmx_acknowledge_seconds_bucket{le=\"0.0025\"} 2\n"));
    EXPECT_THAT(text, HasSubstr("ringmx_acknowledge_seconds_bucket{le=\"600\"} 2\n"));
    EXPECT_THAT(text, HasSubstr("ringmx_acknowledge_seconds_bucket{le=\"+Inf\"} 3\n"));
    EXPECT_THAT(text, HasSubstr("ringmx_acknowledge_seconds_sum 1200.002090000\n"));
    EXPECT_THAT(text, HasSubstr("ringmx_acknowledge_seconds_count 3\n"));
}

TEST_F(Exposition, BackendsHaveTheirLabelsEscapedAndOnlyConfiguredOnesAreUpOrDown) {
    (void)registry.row("old", "gone:25");
    registry.begin_config();
    registry.row("a\"b", "up:25").workers[0].messages_forwarded_total.add(1);
    registry.row("a\"b", "up:25").workers[1].failures[ForwardFailure::our_fault].add(4);
    registry.row("a\"b", "up:25").workers[1].forward.record(1s);
    (void)registry.row("a\"b", "down:25");
    const std::string text = page();
    EXPECT_THAT(
        text, HasSubstr("ringmx_messages_forwarded_total{pool=\"a\\\"b\",backend=\"up:25\"} 1\n"));
    EXPECT_THAT(text, HasSubstr("ringmx_forward_failures_total{pool=\"a\\\"b\",backend=\"up:25\","
                                "kind=\"our_fault\"} 4\n"));
    EXPECT_THAT(text, HasSubstr("ringmx_backend_up{pool=\"a\\\"b\",backend=\"up:25\"} 1\n"));
    EXPECT_THAT(text, HasSubstr("ringmx_backend_up{pool=\"a\\\"b\",backend=\"down:25\"} 0\n"));
    EXPECT_THAT(text, Not(HasSubstr("ringmx_backend_up{pool=\"old\"")));
    EXPECT_THAT(text,
                HasSubstr("ringmx_messages_forwarded_total{pool=\"old\",backend=\"gone:25\"} 0\n"));
    EXPECT_THAT(
        text,
        HasSubstr("ringmx_forward_seconds_bucket{pool=\"a\\\"b\",backend=\"up:25\",le=\"1\"} 1\n"));
}

TEST_F(Exposition, EverySampleFollowsTheHelpAndTypeOfItsMetricAndNoneIsTwice) {
    (void)registry.row("p", "b:1");
    std::istringstream lines(page());
    std::string line;
    std::string metric;
    std::set<std::string> samples;
    std::set<std::string> metrics;
    bool help_seen = false;
    while (std::getline(lines, line)) {
        if (line.starts_with("# HELP ")) {
            help_seen = true;
        } else if (line.starts_with("# TYPE ")) {
            EXPECT_TRUE(help_seen);
            help_seen = false;
            metric = line.substr(7, line.find(' ', 7) - 7);
            EXPECT_TRUE(metrics.insert(metric).second) << metric;
            EXPECT_EQ(line.ends_with(" counter"), metric.ends_with("_total")) << line;
        } else {
            EXPECT_TRUE(line.starts_with(metric)) << line;
            EXPECT_TRUE(samples.insert(line.substr(0, line.rfind(' '))).second) << line;
        }
    }
    for (const char* name :
         {"ringmx_connections_total", "ringmx_connections_open", "ringmx_messages_accepted_total",
          "ringmx_messages_rejected_total", "ringmx_bytes_received_total",
          "ringmx_messages_forwarded_total", "ringmx_forward_failures_total", "ringmx_backend_up",
          "ringmx_acknowledge_seconds", "ringmx_forward_seconds", "ringmx_build_info"}) {
        EXPECT_TRUE(metrics.contains(name)) << name;
    }
}

} // namespace
} // namespace ringmx::observe
