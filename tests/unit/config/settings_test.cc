// What the file says is what the settings hold: every key with another value than its default.
#include "unit/config/minimal.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace ringmx::config {
namespace {

TEST(Settings, EveryKeyThatIsBuiltIsRead) {
    const auto settings = good(R"({
      "hostname": "MX1.example.com", "workers": 4, "user": "ringmx", "postmaster": "pm@example.com",
      "listeners": [
        {"address": "0.0.0.0:25", "tls": "none", "acknowledge": "backend", "handoff": "3s",
         "proxy_protocol": {"trusted": ["10.0.0.0/24", "2001:db8::/32"], "timeout": "7s"}},
        {"address": "[::]:25", "tls": "starttls", "acknowledge": "backend"}, {"address": "localhost:26", "acknowledge": "backend"}],
      "tls": {"certificates": [], "minimum_version": "1.3", "ciphers": "A:B", "ticket_keys": "", "client_ca": ""},
      "routes": [{"recipients": ["example.com", "*.example.org"], "recipients_file": "more.txt", "pool": "b", "verify": "none"},
                 {"recipients_file": "/srv/x", "pool": "a"}],
      "verification": {"positive": "1h", "negative": "1m", "unavailable": "defer", "entries": 5},
      "pools": {
        "b": {"protocol": "lmtp", "hash": "sender", "failover": "none", "hold": true,
              "backends": [{"address": "unix:/run/lmtp", "weight": 0}, {"address": "Mail.Example:24"}, {"address": "[2001:DB8::1]:24", "weight": 7}],
              "tls": "none", "ca_file": "ca.pem", "max_connections": 1, "messages_per_connection": 2,
              "rejections_per_connection": 3, "idle_timeout": "0",
              "health": {"interval": "1s", "failures": 4, "successes": 5}, "client_info": "none"},
        "a": {"hash": "recipient_domain"}, "c": {"hash": "client_address"}, "d": {"hash": "none"}},
      "spool": {"directory": "queue", "max_size": "20GiB", "retry": {"initial": "1s", "factor": 1.5, "maximum": "2h", "expire": "5d"},
                "on_failure": "bounce", "bounce_pool": "a", "held": {"max_size": "2GiB", "max_age": "1d"}},
      "limits": {"message_size": 1000, "memory": "64MiB", "recipients": 2, "connections": 3, "connections_per_client": 0,
                 "connection_rate_per_client": "0", "message_rate_per_client": "7/1s", "recipient_rate_per_client": "8/2m",
                 "unknown_recipients_per_connection": 0, "errors_per_connection": 0, "received_headers": 9, "minimum_data_rate": 0,
                 "client_prefix_v4": 24, "client_prefix_v6": 56, "exempt": ["127.0.0.0/8", "::1"]},
      "smtp": {"bare_newline": "normalize", "bare_newline_exempt": ["192.0.2.1"]},
      "timeouts": {"greeting_delay": "1s", "command": "2s", "data": "3s", "drain_delay": "4s", "drain": "5s", "backend_connect": "6s",
                   "backend_wait": "7s", "backend_reply": "8s", "backend_end_of_data": "9s", "backend_hold": "0"},
      "admin": {"address": "[::1]:9000", "probe_address": "0.0.0.0:9001"},
      "log": {"level": "debug", "format": "json", "prefix": "postfix/smtpd"}})");
    EXPECT_EQ(settings->hostname, "MX1.example.com");
    EXPECT_EQ(settings->workers, 4U);
    EXPECT_EQ(settings->user, "ringmx");
    EXPECT_EQ(settings->postmaster, "pm@example.com");
    ASSERT_EQ(settings->listeners.size(), 3U);
    const ListenerSettings& listener = settings->listeners[0];
    EXPECT_EQ(listener.address.text(), "0.0.0.0:25");
    EXPECT_EQ(listener.tls, ListenerTls::none);
    EXPECT_EQ(listener.acknowledge, Acknowledge::backend);
    EXPECT_EQ(listener.handoff, 3s);
    ASSERT_TRUE(listener.proxy_protocol);
    ASSERT_EQ(listener.proxy_protocol->trusted.size(), 2U);
    EXPECT_EQ(listener.proxy_protocol->trusted[1].text(), "2001:db8::/32");
    EXPECT_EQ(listener.proxy_protocol->timeout, 7s);
    EXPECT_EQ(settings->listeners[2].address.text(), "127.0.0.1:26");
    EXPECT_EQ(settings->tls.minimum_version, TlsVersion::v1_3);
    EXPECT_EQ(settings->tls.ciphers, "A:B");
    ASSERT_EQ(settings->routes.size(), 2U);
    EXPECT_EQ(settings->routes[0].recipients,
              (std::vector<std::string>{"example.com", "*.example.org"}));
    EXPECT_EQ(settings->routes[0].recipients_file, "/etc/ringmx/more.txt");
    EXPECT_EQ(settings->routes[1].recipients_file, "/srv/x");
    EXPECT_EQ(settings->verification.positive, 1h);
    EXPECT_EQ(settings->verification.negative, 1min);
    EXPECT_TRUE(settings->verification.defer_unavailable);
    EXPECT_EQ(settings->verification.entries, 5U);
    EXPECT_EQ(settings->spool.directory, "/etc/ringmx/queue");
    EXPECT_EQ(settings->spool.max_size_bytes, 20ULL << 30U);
    EXPECT_EQ(settings->spool.retry.initial, 1s);
    EXPECT_EQ(settings->spool.retry.factor, 1.5);
    EXPECT_EQ(settings->spool.retry.maximum, 2h);
    EXPECT_EQ(settings->spool.retry.expire, 120h);
    EXPECT_EQ(settings->spool.on_failure, OnFailure::bounce);
    EXPECT_EQ(settings->spool.bounce_pool, "a");
    EXPECT_EQ(settings->spool.held.max_size_bytes, 2ULL << 30U);
    EXPECT_EQ(settings->spool.held.max_age, 24h);
    const LimitSettings& limits = settings->limits;
    EXPECT_EQ(limits.message_size_bytes, 1000U);
    EXPECT_EQ(limits.memory_bytes, 64U << 20U);
    EXPECT_EQ(limits.recipients, 2U);
    EXPECT_EQ(limits.connections, 3U);
    EXPECT_EQ(limits.connections_per_client, 0U);
    EXPECT_EQ(limits.connection_rate_per_client.count, 0U);
    EXPECT_EQ(limits.message_rate_per_client.count, 7U);
    EXPECT_EQ(limits.message_rate_per_client.period, 1s);
    EXPECT_EQ(limits.recipient_rate_per_client.count, 8U);
    EXPECT_EQ(limits.recipient_rate_per_client.period, 2min);
    EXPECT_EQ(limits.unknown_recipients_per_connection, 0U);
    EXPECT_EQ(limits.errors_per_connection, 0U);
    EXPECT_EQ(limits.received_headers, 9U);
    EXPECT_EQ(limits.minimum_data_rate_bytes, 0U);
    EXPECT_EQ(limits.client_prefix_v4, 24U);
    EXPECT_EQ(limits.client_prefix_v6, 56U);
    ASSERT_EQ(limits.exempt.size(), 2U);
    EXPECT_EQ(limits.exempt[1].text(), "::1/128");
    EXPECT_EQ(settings->smtp.bare_newline, BareNewline::normalize);
    EXPECT_EQ(settings->smtp.bare_newline_exempt.at(0).text(), "192.0.2.1/32");
    const TimeoutSettings& timeouts = settings->timeouts;
    EXPECT_EQ(timeouts.greeting_delay, 1s);
    EXPECT_EQ(timeouts.command, 2s);
    EXPECT_EQ(timeouts.data, 3s);
    EXPECT_EQ(timeouts.drain_delay, 4s);
    EXPECT_EQ(timeouts.drain, 5s);
    EXPECT_EQ(timeouts.backend_connect, 6s);
    EXPECT_EQ(timeouts.backend_wait, 7s);
    EXPECT_EQ(timeouts.backend_reply, 8s);
    EXPECT_EQ(timeouts.backend_end_of_data, 9s);
    EXPECT_EQ(timeouts.end_of_data_wait(Acknowledge::backend), 9s);
    EXPECT_EQ(timeouts.backend_hold, 0s);
    EXPECT_EQ(settings->admin.address.text(), "[::1]:9000");
    ASSERT_TRUE(settings->admin.probe_address);
    EXPECT_EQ(settings->admin.probe_address->text(), "0.0.0.0:9001");
    EXPECT_EQ(settings->log.level, LogLevel::debug);
    EXPECT_EQ(settings->log.format, LogFormat::json);
    EXPECT_EQ(settings->log.prefix, "postfix/smtpd");

    ASSERT_EQ(settings->pools.size(), 4U);
    EXPECT_EQ(settings->pools[0].hash, HashKey::recipient_domain);
    EXPECT_EQ(settings->pools[2].hash, HashKey::client_address);
    EXPECT_EQ(settings->pools[3].hash, HashKey::none);
    EXPECT_EQ(settings->routes[0].pool_index, 1U) << "pools are in the order of their names";
    EXPECT_EQ(settings->routes[1].pool_index, 0U);
    const PoolSettings& pool = settings->pools[1];
    EXPECT_EQ(pool.name, "b");
    EXPECT_EQ(pool.protocol, Protocol::lmtp);
    EXPECT_EQ(pool.hash, HashKey::sender);
    EXPECT_EQ(pool.failover, Failover::none);
    EXPECT_TRUE(pool.hold);
    EXPECT_EQ(pool.tls, BackendTls::none);
    EXPECT_EQ(pool.ca_file, "/etc/ringmx/ca.pem");
    EXPECT_EQ(pool.max_connections, 1U);
    EXPECT_EQ(pool.messages_per_connection, 2U);
    EXPECT_EQ(pool.rejections_per_connection, 3U);
    EXPECT_EQ(pool.idle_timeout, 0s);
    EXPECT_EQ(pool.health.interval, 1s);
    EXPECT_EQ(pool.health.failures, 4U);
    EXPECT_EQ(pool.health.successes, 5U);
    ASSERT_EQ(pool.backends.size(), 3U);
    EXPECT_EQ(pool.backends[0].path, "/run/lmtp");
    EXPECT_EQ(pool.backends[0].host, "");
    EXPECT_EQ(pool.backends[0].weight, 0U);
    EXPECT_EQ(pool.backends[1].address, "Mail.Example:24");
    EXPECT_EQ(pool.backends[1].host, "mail.example");
    EXPECT_EQ(pool.backends[1].port, 24U);
    EXPECT_EQ(pool.backends[2].host, "2001:db8::1");
    EXPECT_EQ(pool.backends[2].weight, 7U);
}

// The interface page's own example, with everything in it that is not built yet, and nothing else
// told.
TEST(Settings, TheExampleOfTheInterfacePageFailsOnlyForWhatIsNotBuilt) {
    const std::string json = R"({
  "hostname": "mx1.example.com", "workers": "auto", "user": "ringmx", "postmaster": "postmaster@example.com",
  "listeners": [
    { "address": "0.0.0.0:25", "tls": "starttls", "acknowledge": "spool" },
    { "address": "0.0.0.0:465", "tls": "implicit", "acknowledge": "backend_or_spool", "handoff": "2s" },
    { "address": "10.0.0.5:2525", "proxy_protocol": { "trusted": ["10.0.0.0/24"], "timeout": "5s" }, "acknowledge": "backend" }
  ],
  "tls": {
    "certificates": [ { "chain": "mx1.chain.pem", "key": "mx1.key.pem", "ocsp": "mx1.ocsp.der" } ],
    "minimum_version": "1.2", "ciphers": "", "ticket_keys": "tickets.bin", "client_ca": "clients.pem"
  },
  "routes": [
    { "recipients": ["example.com", "*.example.org", "vip@example.net"], "recipients_file": "more.txt", "pool": "mailstore", "verify": "backend" }
  ],
  "verification": { "positive": "6h", "negative": "10m", "unavailable": "accept", "entries": 1000000 },
  "pools": {
    "mailstore": {
      "protocol": "smtp", "hash": "recipient", "failover": "any", "hold": false,
      "backends": [ { "address": "10.0.1.1:25", "weight": 100 }, { "address": "10.0.1.2:25" } ],
      "tls": "opportunistic", "ca_file": "",
      "max_connections": 40, "messages_per_connection": 100, "rejections_per_connection": 10, "idle_timeout": "30s",
      "health": { "interval": "5s", "failures": 3, "successes": 1 },
      "client_info": "none"
    }
  },
  "spool": {
    "directory": "/var/lib/ringmx/spool", "max_size": "10GiB",
    "retry": { "initial": "30s", "factor": 2, "maximum": "1h", "expire": "4d" },
    "on_failure": "hold", "bounce_pool": "", "held": { "max_size": "1GiB", "max_age": "14d" }
  },
  "limits": {
    "message_size": "50MiB", "memory": "auto", "recipients": 1000, "connections": 100000,
    "connections_per_client": 100, "connection_rate_per_client": "1000/1m", "message_rate_per_client": "6000/1m",
    "recipient_rate_per_client": "0", "unknown_recipients_per_connection": 100, "errors_per_connection": 20, "received_headers": 100,
    "minimum_data_rate": 100, "client_prefix_v4": 32, "client_prefix_v6": 64, "exempt": []
  },
  "smtp": { "bare_newline": "reject", "bare_newline_exempt": [] },
  "timeouts": { "greeting_delay": "0", "command": "5m", "data": "3m", "drain_delay": "0", "drain": "30s",
                "backend_connect": "10s", "backend_wait": "5s", "backend_reply": "5m", "backend_end_of_data": "10m", "backend_hold": "10s" },
  "admin": { "address": "127.0.0.1:8025", "probe_address": "" },
  "log": { "level": "info", "format": "text", "prefix": "ringmx/smtpd" }
})";
    EXPECT_EQ(
        faults_of(json),
        "/listeners/1/tls: \"implicit\" is not built yet: expected one of \"starttls\", \"none\"\n"
        "/listeners/1/acknowledge: \"backend_or_spool\" is not built yet: expected "
        "one of \"spool\", \"backend\"\n"
        "/tls/certificates: TLS is not built yet: expected []\n"
        "/tls/ticket_keys: TLS is not built yet: expected \"\"\n"
        "/tls/client_ca: TLS is not built yet: expected \"\"");
}

TEST(Settings, BoundsOfRangesAreInside) {
    for (const char* more :
         {R"("workers": 1)", R"("workers": 1024)",
          R"("limits": {"recipients": 1, "client_prefix_v4": 1, "client_prefix_v6": 128})",
          R"("limits": {"message_size": "1", "client_prefix_v4": 32, "client_prefix_v6": 1})",
          R"("limits": {"message_size": "1TiB", "memory": "4MiB", "recipients": 40.0})",
          R"("timeouts": {"command": "100ms", "drain": "3650d"})",
          R"("timeouts": {"greeting_delay": "0s", "drain_delay": "0ms", "backend_hold": "100ms"})",
          R"("spool": {"retry": {"factor": 1}})", R"("spool": {"retry": {"factor": 100}})"}) {
        EXPECT_EQ(faults_of(minimal(more)), "") << more;
    }
}

TEST(Settings, HostnameInULabelsGoesOutInALabels) {
    EXPECT_EQ(good(minimal("\"hostname\": \"mx.b\u00fccher.example\""))->hostname,
              "mx.xn--bcher-kva.example");
}

TEST(Settings, SameEntryTwiceInOneRouteIsNoFault) {
    EXPECT_EQ(faults_of(R"({"listeners": [{"address": "127.0.0.1:25", "acknowledge": "backend"}],
        "routes": [{"recipients": ["a.example", "A.example"], "pool": "p"}, {"recipients": ["*.a.example"], "pool": "p"}],
        "pools": {"p": {}}})"),
              "");
}

TEST(Settings, AbsentListenersAreTheTwoLoopbackOnesAndSpool) {
    EXPECT_EQ(faults_of(R"({"routes": [], "pools": {}})"), "");
    // Their addresses are claimed already.
    EXPECT_NE(faults_of(R"({"routes": [], "pools": {}, "admin": {"address": "[::1]:2525"}})")
                  .find("/admin/address"),
              std::string::npos);
    EXPECT_NE(faults_of(R"({"routes": [], "pools": {}, "admin": {"address": "127.0.0.1:2525"}})")
                  .find("/admin/address"),
              std::string::npos);
}

} // namespace
} // namespace ringmx::config
