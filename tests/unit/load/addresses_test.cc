#include "load/addresses.h"

#include <gtest/gtest.h>

namespace ringmx::load {
namespace {

Network network(std::string_view text) { return Network::parse(text).value(); }

TEST(LoadAddresses, GoThroughTheNetworkWithoutItsEndsAndBeginAgain) {
    EXPECT_EQ(addresses_in(network("10.1.2.0/30")), 2U);
    EXPECT_EQ(address_of(network("10.1.2.0/30"), 0).text(), "10.1.2.1");
    EXPECT_EQ(address_of(network("10.1.2.0/30"), 1).text(), "10.1.2.2");
    EXPECT_EQ(address_of(network("10.1.2.0/30"), 2).text(), "10.1.2.1");
    EXPECT_EQ(address_of(network("127.0.0.0/8"), 255).text(), "127.0.1.0");
    EXPECT_EQ(addresses_in(network("127.0.0.0/8")), (1U << 24U) - 2);
}

TEST(LoadAddresses, OneAddressIsGivenAgainAndAgain) {
    EXPECT_EQ(addresses_in(network("192.0.2.7/32")), 1U);
    EXPECT_EQ(address_of(network("192.0.2.7/32"), 5).text(), "192.0.2.7");
    EXPECT_EQ(address_of(network("192.0.2.6/31"), 0).text(), "192.0.2.6");
    EXPECT_EQ(address_of(network("192.0.2.6/31"), 1).text(), "192.0.2.7");
}

TEST(LoadAddresses, LargeNetworksGiveTheirFirstAddresses) {
    EXPECT_EQ(address_of(network("2001:db8::/32"), 0).text(), "2001:db8::1");
    EXPECT_EQ(address_of(network("2001:db8::/32"), 65535).text(), "2001:db8::1:0");
}

} // namespace
} // namespace ringmx::load
