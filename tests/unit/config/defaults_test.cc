// What an absent key means, key by key, with the section absent and with it empty.
#include "base/domain.h"
#include "unit/config/minimal.h"

#include <unistd.h>

#include <array>

namespace ringmx::config {
namespace {

class Defaults : public testing::TestWithParam<std::string> {
  protected:
    std::shared_ptr<const Settings> settings_ = good(minimal(GetParam()));
};

INSTANTIATE_TEST_SUITE_P(
    AbsentAndEmpty, Defaults,
    testing::Values(
        "", R"("tls": {}, "verification": {}, "spool": {"retry": {}, "held": {}}, "limits": {},
                           "smtp": {}, "timeouts": {}, "admin": {}, "log": {})"),
    [](const auto& one) { return one.param.empty() ? "SectionsAbsent" : "SectionsEmpty"; });

TEST_P(Defaults, Root) {
    EXPECT_EQ(settings_->workers, 0U);
    EXPECT_EQ(settings_->user, "");
    EXPECT_EQ(settings_->postmaster, "");
}

TEST_P(Defaults, HostnameIsTheMachinesName) {
    std::array<char, 256> name{};
    ASSERT_EQ(gethostname(name.data(), name.size() - 1), 0);
    EXPECT_EQ(settings_->hostname, canonical_domain(name.data()) ? name.data() : "localhost");
}

TEST_P(Defaults, Listener) {
    const ListenerSettings& listener = settings_->listeners.at(0);
    EXPECT_EQ(listener.tls, ListenerTls::starttls);
    EXPECT_EQ(listener.handoff, 2s);
    EXPECT_FALSE(listener.proxy_protocol);
    EXPECT_EQ(ListenerSettings{}.acknowledge, Acknowledge::spool);
}

// A promise that nobody asked for otherwise is kept on the disk.
TEST(AcknowledgeDefaults, ListenersAcknowledgeFromTheSpool) {
    const std::string rest = R"("routes": [{"recipients": ["*"], "pool": "main"}],
        "pools": {"main": {"backends": [{"address": "127.0.0.1:2526"}]}}})";
    const auto silent = good(R"({"listeners": [{"address": "127.0.0.1:2525"}], )" + rest);
    ASSERT_EQ(silent->listeners.size(), 1U);
    EXPECT_EQ(silent->listeners[0].acknowledge, Acknowledge::spool);
    const auto absent = good("{" + rest);
    ASSERT_EQ(absent->listeners.size(), 2U);
    for (const ListenerSettings& listener : absent->listeners) {
        EXPECT_EQ(listener.acknowledge, Acknowledge::spool) << listener.address.text();
    }
}

TEST_P(Defaults, Tls) {
    EXPECT_TRUE(settings_->tls.certificates.empty());
    EXPECT_EQ(settings_->tls.minimum_version, TlsVersion::v1_2);
    EXPECT_EQ(settings_->tls.ciphers, "");
    EXPECT_EQ(settings_->tls.ticket_keys, "");
    EXPECT_EQ(settings_->tls.client_ca, "");
}

TEST_P(Defaults, RouteAndVerification) {
    EXPECT_EQ(settings_->routes.at(0).recipients_file, "");
    EXPECT_FALSE(settings_->routes.at(0).verify_backend);
    EXPECT_EQ(settings_->verification.positive, 6h);
    EXPECT_EQ(settings_->verification.negative, 10min);
    EXPECT_FALSE(settings_->verification.defer_unavailable);
    EXPECT_EQ(settings_->verification.entries, 1'000'000U);
}

TEST_P(Defaults, Pool) {
    const PoolSettings& pool = settings_->pools.at(0);
    EXPECT_EQ(pool.protocol, Protocol::smtp);
    EXPECT_EQ(pool.hash, HashKey::recipient);
    EXPECT_EQ(pool.failover, Failover::any);
    EXPECT_FALSE(pool.hold);
    EXPECT_EQ(pool.backends.at(0).weight, 100U);
    EXPECT_EQ(pool.tls, BackendTls::opportunistic);
    EXPECT_EQ(pool.ca_file, "");
    EXPECT_EQ(pool.max_connections, 40U);
    EXPECT_EQ(pool.messages_per_connection, 100U);
    EXPECT_EQ(pool.rejections_per_connection, 10U);
    EXPECT_EQ(pool.idle_timeout, 30s);
    EXPECT_EQ(pool.health.interval, 5s);
    EXPECT_EQ(pool.health.failures, 3U);
    EXPECT_EQ(pool.health.successes, 1U);
    EXPECT_EQ(pool.client_info, ClientInfo::none);
}

TEST_P(Defaults, Spool) {
    const SpoolSettings& spool = settings_->spool;
    EXPECT_EQ(spool.directory, "/var/lib/ringmx/spool");
    EXPECT_EQ(spool.max_size_bytes, 10ULL << 30U);
    EXPECT_EQ(spool.retry.initial, 30s);
    EXPECT_EQ(spool.retry.factor, 2);
    EXPECT_EQ(spool.retry.maximum, 1h);
    EXPECT_EQ(spool.retry.expire, 24h * 4);
    EXPECT_EQ(spool.on_failure, OnFailure::hold);
    EXPECT_EQ(spool.bounce_pool, "");
    EXPECT_EQ(spool.held.max_size_bytes, 1ULL << 30U);
    EXPECT_EQ(spool.held.max_age, 24h * 14);
}

TEST_P(Defaults, Limits) {
    const LimitSettings& limits = settings_->limits;
    EXPECT_EQ(limits.message_size_bytes, 50ULL << 20U);
    EXPECT_EQ(limits.memory_bytes, 0U);
    EXPECT_EQ(limits.recipients, 1000U);
    EXPECT_EQ(limits.connections, 100'000U);
    EXPECT_EQ(limits.connections_per_client, 100U);
    EXPECT_EQ(limits.connection_rate_per_client.count, 1000U);
    EXPECT_EQ(limits.connection_rate_per_client.period, 1min);
    EXPECT_EQ(limits.message_rate_per_client.count, 6000U);
    EXPECT_EQ(limits.message_rate_per_client.period, 1min);
    EXPECT_EQ(limits.recipient_rate_per_client.count, 0U);
    EXPECT_EQ(limits.unknown_recipients_per_connection, 100U);
    EXPECT_EQ(limits.errors_per_connection, 20U);
    EXPECT_EQ(limits.received_headers, 100U);
    EXPECT_EQ(limits.minimum_data_rate_bytes, 100U);
    EXPECT_EQ(limits.client_prefix_v4, 32U);
    EXPECT_EQ(limits.client_prefix_v6, 64U);
    EXPECT_TRUE(limits.exempt.empty());
}

TEST_P(Defaults, Smtp) {
    EXPECT_EQ(settings_->smtp.bare_newline, BareNewline::reject);
    EXPECT_TRUE(settings_->smtp.bare_newline_exempt.empty());
}

TEST_P(Defaults, Timeouts) {
    const TimeoutSettings& timeouts = settings_->timeouts;
    EXPECT_EQ(timeouts.greeting_delay, 0s);
    EXPECT_EQ(timeouts.command, 5min);
    EXPECT_EQ(timeouts.data, 3min);
    EXPECT_EQ(timeouts.drain_delay, 0s);
    EXPECT_EQ(timeouts.drain, 30s);
    EXPECT_EQ(timeouts.backend_connect, 10s);
    EXPECT_EQ(timeouts.backend_wait, 5s);
    EXPECT_EQ(timeouts.backend_reply, 5min);
    EXPECT_EQ(timeouts.backend_end_of_data, 10min);
    EXPECT_EQ(timeouts.backend_hold, 10s);
}

TEST_P(Defaults, EndOfDataIsAnsweredInTimeInBackendMode) {
    EXPECT_EQ(settings_->timeouts.end_of_data_wait(Acknowledge::backend), 8min);
    EXPECT_EQ(settings_->timeouts.end_of_data_wait(Acknowledge::spool), 10min);
}

TEST_P(Defaults, AdminAndLog) {
    EXPECT_EQ(settings_->admin.address.text(), "127.0.0.1:8025");
    EXPECT_FALSE(settings_->admin.probe_address);
    EXPECT_EQ(settings_->log.level, LogLevel::info);
    EXPECT_EQ(settings_->log.format, LogFormat::text);
    EXPECT_EQ(settings_->log.prefix, "ringmx/smtpd");
}

TEST(ProxyProtocolDefaults, NobodyIsTrustedForFiveSeconds) {
    const auto settings =
        good(R"({"listeners": [{"address": "127.0.0.1:25", "acknowledge": "backend",
        "proxy_protocol": {}}], "routes": [], "pools": {}})");
    ASSERT_TRUE(settings->listeners.at(0).proxy_protocol);
    EXPECT_TRUE(settings->listeners.at(0).proxy_protocol->trusted.empty());
    EXPECT_EQ(settings->listeners.at(0).proxy_protocol->timeout, 5s);
}

} // namespace
} // namespace ringmx::config
