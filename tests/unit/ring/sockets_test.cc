#include "ring/sockets.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

namespace ringmx::ring {
namespace {

SocketAddress parsed(const std::string& text) { return SocketAddress::parse(text).value(); }

int option(int descriptor, int level, int name) {
    int value = -1;
    socklen_t length = sizeof value;
    EXPECT_EQ(::getsockopt(descriptor, level, name, &value, &length), 0);
    return value;
}

int connected_to(const SocketAddress& address) {
    const int descriptor = open_socket(address).value();
    sockaddr_storage storage{};
    const unsigned length = address.to_kernel(storage);
    EXPECT_EQ(::connect(descriptor, reinterpret_cast<const sockaddr*>(&storage), length), 0);
    return descriptor;
}

class UnixSocketTest : public testing::Test {
  protected:
    void SetUp() override {
        std::string pattern = std::filesystem::temp_directory_path() / "ringmx-sockets-XXXXXX";
        ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
        folder_ = pattern;
        address_.is_unix = true;
        address_.path = folder_ / "socket";
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }

    std::filesystem::path folder_;
    SocketAddress address_;
};

TEST(ListenOn, PortZeroBecomesAPortThatCanBeAskedFor) {
    const int listener = listen_on(parsed("127.0.0.1:0"), 16, false).value();
    const SocketAddress bound = local_address(listener).value();
    EXPECT_NE(bound.port, 0);
    EXPECT_EQ(bound.ip.text(), "127.0.0.1");
    const int client = connected_to(bound);
    EXPECT_EQ(peer_address(client).value(), bound);
    close_socket(client);
    close_socket(listener);
}

TEST(ListenOn, AcceptedSocketsSendWithoutDelayAndCloseOnExec) {
    const int listener = listen_on(parsed("127.0.0.1:0"), 16, false).value();
    const int client = connected_to(local_address(listener).value());
    const int accepted = ::accept(listener, nullptr, nullptr);
    EXPECT_NE(option(accepted, IPPROTO_TCP, TCP_NODELAY), 0);
    EXPECT_NE(option(client, IPPROTO_TCP, TCP_NODELAY), 0);
    EXPECT_NE(::fcntl(listener, F_GETFD) & FD_CLOEXEC, 0);
    EXPECT_NE(::fcntl(client, F_GETFD) & FD_CLOEXEC, 0);
    for (const int descriptor : {accepted, client, listener}) {
        close_socket(descriptor);
    }
}

TEST(ListenOn, SeveralWorkersShareAnAddressOnlyWhenAsked) {
    const int first = listen_on(parsed("127.0.0.1:0"), 16, true).value();
    const SocketAddress bound = local_address(first).value();
    const Expected<int> second = listen_on(bound, 16, true);
    EXPECT_TRUE(second.has_value());
    const Expected<int> alone = listen_on(bound, 16, false);
    ASSERT_FALSE(alone.has_value());
    EXPECT_EQ(alone.error().code, EADDRINUSE);
    EXPECT_EQ(alone.error().subject, bound.text());
    close_socket(second.value());
    close_socket(first);
}

TEST(ListenOn, WildcardsOfBothFamiliesAreBoundSideBySide) {
    const Expected<int> v6 = listen_on(parsed("[::]:0"), 16, false);
    if (!v6) {
        GTEST_SKIP() << v6.error().message();
    }
    SocketAddress same_port = parsed("0.0.0.0:0");
    same_port.port = local_address(v6.value()).value().port;
    const Expected<int> v4 = listen_on(same_port, 16, false);
    EXPECT_TRUE(v4.has_value());
    close_socket(v4.value_or(-1));
    close_socket(v6.value());
}

TEST_F(UnixSocketTest, StaleSocketIsReplaced) {
    close_socket(listen_on(address_, 16, false).value());
    ASSERT_TRUE(std::filesystem::exists(address_.path));
    const Expected<int> again = listen_on(address_, 16, false);
    ASSERT_TRUE(again.has_value()) << again.error().message();
    close_socket(connected_to(address_));
    close_socket(again.value());
}

TEST_F(UnixSocketTest, LivingSocketIsLeftAlone) {
    const int first = listen_on(address_, 16, false).value();
    const Expected<int> second = listen_on(address_, 16, false);
    ASSERT_FALSE(second.has_value());
    EXPECT_EQ(second.error().code, EADDRINUSE);
    close_socket(connected_to(address_));
    close_socket(first);
}

TEST_F(UnixSocketTest, FileThatIsNoSocketIsLeftAlone) {
    std::ofstream(address_.path) << "precious";
    ASSERT_FALSE(listen_on(address_, 16, false).has_value());
    EXPECT_EQ(std::filesystem::file_size(address_.path), 8U);
}

TEST(CloseSocket, ResetIsSentWhenAsked) {
    const int listener = listen_on(parsed("127.0.0.1:0"), 16, false).value();
    const int client = connected_to(local_address(listener).value());
    close_socket(::accept(listener, nullptr, nullptr), true);
    char octet = 0;
    EXPECT_EQ(::recv(client, &octet, 1, 0), -1);
    EXPECT_EQ(errno, ECONNRESET);
    EXPECT_FALSE(peer_address(client).has_value());
    close_socket(client);
    close_socket(listener);
}

} // namespace
} // namespace ringmx::ring
