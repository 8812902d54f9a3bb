#include "policy/client_limits.h"

#include <gtest/gtest.h>

#include <vector>

namespace ringmx::policy {
namespace {

constexpr Instant start{1h};

IpAddress ip(const char* text) { return IpAddress::parse(text).value(); }

struct ClientLimitsTest : testing::Test {
    LimitSettings settings;
    ClientCounters counters{1000, 42};

    ClientLimitsTest() {
        settings.connections = 10;
        settings.connections_per_client = 2;
    }
    [[nodiscard]] ClientLimits limits() { return ClientLimits(settings, counters); }
};

TEST_F(ClientLimitsTest, ThirdConnectionOfAClientIsRefusedUntilOneEnds) {
    const ClientLimits limits = this->limits();
    Admission first = limits.admit_connection(ip("192.0.2.1"), start);
    Admission second = limits.admit_connection(ip("192.0.2.1"), start);
    EXPECT_EQ(second.verdict, AdmissionVerdict::admitted);
    EXPECT_EQ(limits.admit_connection(ip("192.0.2.1"), start).verdict,
              AdmissionVerdict::refused_client_count);
    EXPECT_EQ(limits.admit_connection(ip("192.0.2.2"), start).verdict, AdmissionVerdict::admitted);
    EXPECT_EQ(counters.connections_open(), 3U) << "a refused connection is in no total";
    limits.release(first.ticket);
    EXPECT_EQ(limits.admit_connection(ip("192.0.2.1"), start).verdict, AdmissionVerdict::admitted);
}

TEST_F(ClientLimitsTest, ClientsOfOnePrefixCountTogether) {
    settings.client_prefix_v4 = 24;
    const ClientLimits limits = this->limits();
    (void)limits.admit_connection(ip("192.0.2.1"), start);
    (void)limits.admit_connection(ip("192.0.2.200"), start);
    EXPECT_EQ(limits.admit_connection(ip("192.0.2.7"), start).verdict,
              AdmissionVerdict::refused_client_count);
    (void)limits.admit_connection(ip("2001:db8::1"), start);
    (void)limits.admit_connection(ip("2001:db8::ffff:1"), start);
    EXPECT_EQ(limits.admit_connection(ip("2001:db8::2"), start).verdict,
              AdmissionVerdict::refused_client_count);
    EXPECT_EQ(limits.admit_connection(ip("2001:db8:0:1::2"), start).verdict,
              AdmissionVerdict::admitted);
    EXPECT_EQ(limits.client_key(ip("192.0.2.1")), limits.client_key(ip("192.0.2.9")));
    EXPECT_NE(limits.client_key(ip("192.0.2.1")), limits.client_key(ip("192.0.3.1")));
}

TEST_F(ClientLimitsTest, ConnectionRateRefusesUntilItRefills) {
    settings.connection_rate_per_client = {2, 1min};
    const ClientLimits limits = this->limits();
    for (int i = 0; i < 2; ++i) {
        Admission admission = limits.admit_connection(ip("192.0.2.1"), start);
        ASSERT_EQ(admission.verdict, AdmissionVerdict::admitted);
        limits.release(admission.ticket);
    }
    EXPECT_EQ(limits.admit_connection(ip("192.0.2.1"), start).verdict,
              AdmissionVerdict::refused_client_rate);
    EXPECT_EQ(counters.connections_open(), 0U);
    EXPECT_EQ(limits.admit_connection(ip("192.0.2.1"), start + 30s).verdict,
              AdmissionVerdict::admitted);
}

TEST_F(ClientLimitsTest, ExemptNetworksAreUnderTheTotalOnly) {
    settings.exempt = {Network::parse("192.0.2.0/24").value()};
    settings.message_rate_per_client = {1, 1h};
    const ClientLimits limits = this->limits();
    std::vector<Admission> open;
    for (int i = 0; i < 10; ++i) {
        open.push_back(limits.admit_connection(ip("192.0.2.1"), start));
        ASSERT_EQ(open.back().verdict, AdmissionVerdict::admitted);
        EXPECT_TRUE(limits.admit_message(open.back().ticket, start));
        EXPECT_EQ(open.back().ticket.client_key, 0U);
    }
    EXPECT_EQ(limits.admit_connection(ip("192.0.2.1"), start).verdict,
              AdmissionVerdict::refused_total);
    limits.release(open[0].ticket);
    EXPECT_EQ(limits.admit_connection(ip("203.0.113.1"), start).verdict,
              AdmissionVerdict::admitted);
}

TEST_F(ClientLimitsTest, TrustedPeerIsUnderTheTotalAndItsProxiedClientUnderItsOwnLimits) {
    const ClientLimits limits = this->limits();
    for (int i = 0; i < 2; ++i) {
        Admission peer = limits.admit_peer();
        ASSERT_EQ(limits.admit_client(peer.ticket, ip("198.51.100.1"), start),
                  AdmissionVerdict::admitted);
    }
    Admission third = limits.admit_peer();
    ASSERT_EQ(third.verdict, AdmissionVerdict::admitted);
    EXPECT_EQ(limits.admit_client(third.ticket, ip("198.51.100.1"), start),
              AdmissionVerdict::refused_client_count);
    EXPECT_EQ(counters.connections_open(), 3U);
    limits.release(third.ticket);
    limits.release(third.ticket); // empty by now
    EXPECT_EQ(counters.connections_open(), 2U);
}

TEST_F(ClientLimitsTest, MessageAndRecipientRatesAreApartAndPerClient) {
    settings.message_rate_per_client = {2, 1min};
    settings.recipient_rate_per_client = {3, 1min};
    const ClientLimits limits = this->limits();
    const Admission one = limits.admit_connection(ip("192.0.2.1"), start);
    const Admission two = limits.admit_connection(ip("192.0.2.1"), start);
    EXPECT_TRUE(limits.admit_message(one.ticket, start));
    EXPECT_TRUE(limits.admit_message(two.ticket, start));
    EXPECT_FALSE(limits.admit_message(one.ticket, start));
    EXPECT_TRUE(limits.admit_recipient(one.ticket, start));
    EXPECT_TRUE(limits.admit_recipient(one.ticket, start));
    EXPECT_TRUE(limits.admit_recipient(two.ticket, start));
    EXPECT_FALSE(limits.admit_recipient(two.ticket, start));
    const Admission other = limits.admit_connection(ip("192.0.2.2"), start);
    EXPECT_TRUE(limits.admit_message(other.ticket, start));
}

TEST_F(ClientLimitsTest, TicketsOutliveAReload) {
    const ClientLimits before = this->limits();
    Admission held = before.admit_connection(ip("192.0.2.1"), start);
    settings.connections_per_client = 1;
    const ClientLimits after = this->limits();
    EXPECT_EQ(after.admit_connection(ip("192.0.2.1"), start).verdict,
              AdmissionVerdict::refused_client_count);
    after.release(held.ticket);
    EXPECT_EQ(after.admit_connection(ip("192.0.2.1"), start).verdict, AdmissionVerdict::admitted);
}

} // namespace
} // namespace ringmx::policy
