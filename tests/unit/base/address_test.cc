#include "base/address.h"

#include <gtest/gtest.h>

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstddef>
#include <cstring>

namespace ringmx {
namespace {

TEST(IpAddress, TextFormsRoundTrip) {
    for (const char* text :
         {"0.0.0.0", "192.0.2.1", "255.255.255.255", "::", "::1", "2001:db8::1", "fe80::1:2:3:4"}) {
        const auto address = IpAddress::parse(text);
        ASSERT_TRUE(address) << text;
        EXPECT_EQ(address->text(), text);
    }
}

TEST(IpAddress, MappedTextIsTheV4Address) {
    EXPECT_EQ(IpAddress::parse("::ffff:192.0.2.1"), IpAddress::parse("192.0.2.1"));
    EXPECT_TRUE(IpAddress::parse("::ffff:192.0.2.1")->is_v4());
    EXPECT_EQ(IpAddress::v4(0xc0000201).text(), "192.0.2.1");
    EXPECT_FALSE(IpAddress::parse("2001:db8::1")->is_v4());
}

TEST(IpAddress, OddTextIsRefused) {
    using namespace std::string_view_literals;
    for (const std::string_view text :
         {""sv, "1"sv, "1.2.3"sv, "1.2.3.4.5"sv, "256.1.1.1"sv, " 1.2.3.4"sv, "1.2.3.4 "sv,
          "::1%lo"sv, ":::"sv, "1.2.3.4\0"sv, "example.com"sv, "[::1]"sv, "01.2.3.4"sv,
          "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000"sv}) {
        EXPECT_FALSE(IpAddress::parse(text)) << text;
    }
}

TEST(IpAddress, MaskKeepsTheFirstBitsOfItsOwnFamily) {
    EXPECT_EQ(IpAddress::parse("203.0.113.255")->masked(26).text(), "203.0.113.192");
    EXPECT_EQ(IpAddress::parse("203.0.113.255")->masked(0).text(), "0.0.0.0");
    EXPECT_EQ(IpAddress::parse("203.0.113.255")->masked(32).text(), "203.0.113.255");
    EXPECT_EQ(IpAddress::parse("2001:db8:ffff:ffff::1")->masked(47).text(), "2001:db8:fffe::");
    EXPECT_EQ(IpAddress::parse("2001:db8::1")->masked(0).text(), "::");
    EXPECT_EQ(IpAddress::parse("2001:db8::1")->masked(128).text(), "2001:db8::1");
}

TEST(SocketAddress, TextFormsRoundTrip) {
    for (const char* text : {"127.0.0.1:25", "[::1]:65535", "0.0.0.0:0", "unix:/run/lmtp"}) {
        const auto address = SocketAddress::parse(text);
        ASSERT_TRUE(address) << text;
        EXPECT_EQ(address->text(), text);
    }
}

TEST(SocketAddress, OddTextIsRefused) {
    for (const char* text :
         {"", ":", "25", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:+25",
          "127.0.0.1:025", "127.0.0.1:25 ", "::1:25", "[::1]", "[::1]25", "[127.0.0.1]:25",
          "localhost:25", "unix:", "unix:relative", "127.0.0.1:99999999999999999999"}) {
        EXPECT_FALSE(SocketAddress::parse(text)) << text;
    }
    EXPECT_TRUE(SocketAddress::parse("unix:/" + std::string(106, 'x')));
    EXPECT_FALSE(SocketAddress::parse("unix:/" + std::string(107, 'x')));
}

TEST(SocketAddress, KernelFormsRoundTrip) {
    for (const char* text : {"192.0.2.7:2525", "[2001:db8::7]:25", "unix:/run/a.sock"}) {
        const auto address = SocketAddress::parse(text);
        ASSERT_TRUE(address);
        sockaddr_storage storage;
        const unsigned length = address->to_kernel(storage);
        EXPECT_EQ(SocketAddress::from_kernel(reinterpret_cast<sockaddr*>(&storage), length),
                  *address);
    }
}

TEST(SocketAddress, KernelFamiliesAreTheNativeOnes) {
    sockaddr_storage storage;
    EXPECT_EQ(SocketAddress::parse("192.0.2.7:25")->to_kernel(storage), sizeof(sockaddr_in));
    EXPECT_EQ(storage.ss_family, AF_INET);
    EXPECT_EQ(SocketAddress::parse("[::1]:25")->to_kernel(storage), sizeof(sockaddr_in6));
    EXPECT_EQ(storage.ss_family, AF_INET6);
    EXPECT_EQ(SocketAddress::parse("unix:/a")->to_kernel(storage),
              offsetof(sockaddr_un, sun_path) + 3);
    EXPECT_EQ(storage.ss_family, AF_UNIX);
}

TEST(SocketAddress, UnnamedUnixPeersHaveAnEmptyPath) {
    sockaddr_un peer{};
    peer.sun_family = AF_UNIX;
    const auto address =
        SocketAddress::from_kernel(reinterpret_cast<sockaddr*>(&peer), sizeof(sa_family_t));
    EXPECT_TRUE(address.is_unix);
    EXPECT_EQ(address.path, "");
    EXPECT_TRUE(SocketAddress::from_kernel(nullptr, 0).is_unix);
}

TEST(Network, ContainsItsOwnFamilyOnly) {
    const auto v4 = Network::parse("10.0.0.0/8");
    ASSERT_TRUE(v4);
    EXPECT_TRUE(v4->contains(*IpAddress::parse("10.255.0.1")));
    EXPECT_FALSE(v4->contains(*IpAddress::parse("11.0.0.1")));
    const auto everything_v6 = Network::parse("::/0");
    ASSERT_TRUE(everything_v6);
    EXPECT_TRUE(everything_v6->contains(*IpAddress::parse("2001:db8::1")));
    EXPECT_FALSE(everything_v6->contains(*IpAddress::parse("10.0.0.1")));
    EXPECT_TRUE(Network::parse("0.0.0.0/0")->contains(*IpAddress::parse("10.0.0.1")));
}

TEST(Network, TextForms) {
    EXPECT_EQ(Network::parse("10.0.0.0/8")->text(), "10.0.0.0/8");
    EXPECT_EQ(Network::parse("2001:db8::/32")->text(), "2001:db8::/32");
    EXPECT_EQ(Network::parse("192.0.2.1")->text(), "192.0.2.1/32");
    EXPECT_EQ(Network::parse("::1")->text(), "::1/128");
    EXPECT_EQ(Network::parse("::ffff:10.0.0.0/104"), Network::parse("10.0.0.0/8"));
}

TEST(Network, HostBitsAndOddTextAreRefused) {
    for (const char* text :
         {"", "/", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/08", "10/8", "10.0.0.0/-1",
          "2001:db8::1/32", "::/129", "::ffff:10.0.0.0/8", "10.0.0.0/8/8"}) {
        EXPECT_FALSE(Network::parse(text)) << text;
    }
}

} // namespace
} // namespace ringmx
