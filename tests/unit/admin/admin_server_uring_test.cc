// The server on a real ring, asked over 127.0.0.1.
#include "admin/admin_server.h"
#include "ring/receive_buffers.h"
#include "ring/sockets.h"
#include "ring/uring_port.h"

#include <array>
#include <atomic>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

namespace ringmx::admin {
namespace {

using ::testing::EndsWith;
using ::testing::StartsWith;

// Sends `request` and reads until the server closes.
std::string ask(const SocketAddress& address, std::string_view request) {
    sockaddr_storage storage{};
    const unsigned length = address.to_kernel(storage);
    const int descriptor = socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0) {
        return "(no socket)";
    }
    EXPECT_EQ(connect(descriptor, reinterpret_cast<const sockaddr*>(&storage), length), 0);
    EXPECT_EQ(send(descriptor, request.data(), request.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(request.size()));
    std::string answer;
    std::array<char, 4096> part{};
    ssize_t count = 0;
    while ((count = recv(descriptor, part.data(), part.size(), 0)) > 0) {
        answer.append(part.data(), static_cast<std::size_t>(count));
    }
    EXPECT_EQ(count, 0) << "closed, not reset";
    close(descriptor);
    return answer;
}

TEST(AdminServerOnUring, ServesMetricsOverTheLoopback) {
    const auto features = ring::probe();
    ASSERT_TRUE(features.has_value()) << features.error().message();
    ring::UringPort::Settings settings;
    settings.submissions = 64;
    settings.completions = 256;
    settings.features = *features;
    auto port = ring::UringPort::create(settings);
    ASSERT_TRUE(port.has_value()) << port.error().message();
    const auto listener = ring::listen_on(*SocketAddress::parse("127.0.0.1:0"), 16, false);
    ASSERT_TRUE(listener.has_value()) << listener.error().message();
    const SocketAddress address = *ring::local_address(*listener);
    const std::string large(300'000, 'x');

    std::atomic<bool> is_done{false};
    std::string first;
    std::string second;
    std::thread client([&] {
        first = ask(address, "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\nGET /healthz "
                             "HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        second = ask(address, "HEAD /healthz HTTP/1.0\r\n\r\n");
        is_done = true;
        (*port)->waker().wake();
    });

    (*port)->enable();
    BufferPool pool({.bytes_max = 4U << 20U});
    {
        ring::ReceiveBuffers buffers(pool, **port);
        Pages pages;
        pages.unhealthy = [](Instant) { return std::string(); };
        pages.unready = [] { return std::string(); };
        pages.metrics = [&](std::string& out) { out += large; };
        pages.status = [](std::string& out) { out += "{}"; };
        AdminServer server(**port, std::move(pages));
        server.listen(*listener, Surface::admin);
        std::vector<ring::Operation> operations;
        std::vector<ring::Completion> completions;
        while (!server.is_stopped()) {
            if (is_done && server.connections_open() == 0) {
                server.stop();
            }
            operations.clear();
            completions.clear();
            buffers.refill();
            server.queue(operations);
            const Instant now = (*port)->turn(operations, (*port)->now() + 100ms, completions);
            for (const ring::Completion& completion : completions) {
                Slice octets = buffers.settle(completion);
                EXPECT_TRUE(server.handle(completion, std::move(octets), now));
            }
            server.run_timers(now);
        }
        buffers.return_all();
    }
    client.join();
    ring::close_socket(*listener);
    EXPECT_THAT(first, StartsWith("HTTP/1.1 200 OK\r\n"));
    EXPECT_NE(first.find(large + "HTTP/1.1 200 OK\r\n"), std::string::npos);
    EXPECT_THAT(first, EndsWith("\r\n\r\nok\n"));
    EXPECT_THAT(second, StartsWith("HTTP/1.1 200 OK\r\n"));
    EXPECT_THAT(second, EndsWith("\r\n\r\n"));
}

} // namespace
} // namespace ringmx::admin
