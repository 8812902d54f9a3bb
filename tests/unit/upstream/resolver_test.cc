#include "upstream/resolver.h"

#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <atomic>
#include <chrono>
#include <map>
#include <mutex>
#include <poll.h>
#include <string>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace ringmx::upstream {
namespace {

constexpr Instant start{1h};

// A name server for tests: A records by name over UDP on 127.0.0.1; other types have none, unknown
// names don't exist.
class NameServer {
  public:
    struct Zone {
        std::vector<std::string> addresses;
        std::uint32_t ttl = 60;
        bool silent = false;
        bool fails = false; // SERVFAIL
    };

    NameServer() : socket_(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof address;
        EXPECT_EQ(::bind(socket_, reinterpret_cast<sockaddr*>(&address), size), 0);
        ::getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size);
        port_ = ntohs(address.sin_port);
        thread_ = std::thread([this] { serve(); });
    }
    ~NameServer() {
        stop_ = true;
        thread_.join();
        ::close(socket_);
    }
    [[nodiscard]] std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
    [[nodiscard]] int queries() const { return queries_; }
    void set(const std::string& name, Zone zone) {
        const std::lock_guard lock(mutex_);
        zones_[name] = std::move(zone);
    }

  private:
    using Octets = std::vector<unsigned char>;

    static void put(Octets& to, std::uint32_t value, unsigned octets) {
        while (octets-- > 0) {
            to.push_back(static_cast<unsigned char>(value >> 8U * octets));
        }
    }

    void serve() {
        while (!stop_) {
            pollfd waiting{socket_, POLLIN, 0};
            if (::poll(&waiting, 1, 20) <= 0) {
                continue;
            }
            unsigned char packet[512];
            sockaddr_in from{};
            socklen_t size = sizeof from;
            const ssize_t got = ::recvfrom(socket_, packet, sizeof packet, 0,
                                           reinterpret_cast<sockaddr*>(&from), &size);
            if (got < 17) {
                continue;
            }
            ++queries_;
            const Octets reply = answer({packet, packet + got});
            if (!reply.empty()) {
                ::sendto(socket_, reply.data(), reply.size(), 0, reinterpret_cast<sockaddr*>(&from),
                         size);
            }
        }
    }

    Octets answer(const Octets& query) {
        std::string name;
        std::size_t at = 12;
        while (query[at] != 0) {
            name += name.empty() ? "" : ".";
            name.append(reinterpret_cast<const char*>(&query[at + 1]), query[at]);
            at += query[at] + 1U;
        }
        const unsigned type = query[at + 1] * 256U + query[at + 2];
        const std::lock_guard lock(mutex_);
        const auto zone = zones_.find(name);
        if (zone != zones_.end() && zone->second.silent) {
            return {};
        }
        const bool fails = zone != zones_.end() && zone->second.fails;
        const bool answers = zone != zones_.end() && !fails && type == 1;
        Octets reply(query.begin(), query.begin() + 2);
        put(reply, 0x8180U | (fails ? 2U : zone == zones_.end() ? 3U : 0U), 2);
        put(reply, 1, 2);
        put(reply, answers ? static_cast<std::uint32_t>(zone->second.addresses.size()) : 0, 2);
        put(reply, 0, 4);
        reply.insert(reply.end(), query.begin() + 12,
                     query.begin() + static_cast<std::ptrdiff_t>(at) + 5);
        for (std::size_t i = 0; answers && i < zone->second.addresses.size(); ++i) {
            put(reply, 0xC00C, 2); // the question's name
            put(reply, 1, 2);
            put(reply, 1, 2);
            put(reply, zone->second.ttl, 4);
            put(reply, 4, 2);
            in_addr address{};
            ::inet_pton(AF_INET, zone->second.addresses[i].c_str(), &address);
            put(reply, ntohl(address.s_addr), 4);
        }
        return reply;
    }

    int socket_;
    std::uint16_t port_ = 0;
    std::atomic<bool> stop_{false};
    std::atomic<int> queries_{0};
    std::mutex mutex_;
    std::map<std::string, Zone> zones_;
    std::thread thread_;
};

struct ResolverTest : testing::Test {
    NameServer server;
    std::unique_ptr<Resolver> resolver;
    Instant now = start;

    ResolverTest() {
        Resolver::Settings settings;
        settings.servers = server.address();
        settings.query_timeout_ms = 250;
        settings.tries = 2;
        auto created = Resolver::create(settings);
        EXPECT_TRUE(created.has_value());
        resolver = std::move(created).value();
    }

    // Polls as the main loop does until nothing is being asked any more.
    void settle(Resolver::Name name) {
        const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(30);
        while ((!resolver->is_answered(name) || !resolver->watches().empty()) &&
               std::chrono::steady_clock::now() < give_up) {
            std::vector<pollfd> waiting;
            for (const Resolver::Watch& watch : resolver->watches()) {
                waiting.push_back(
                    {watch.descriptor,
                     static_cast<short>((watch.read ? POLLIN : 0) | (watch.write ? POLLOUT : 0)),
                     0});
            }
            ::poll(waiting.data(), waiting.size(), 10);
            bool any = false;
            for (const pollfd& polled : waiting) {
                if (polled.revents != 0) {
                    resolver->ready(polled.fd, (polled.revents & (POLLIN | POLLERR)) != 0,
                                    (polled.revents & POLLOUT) != 0, now);
                    any = true;
                }
            }
            if (!any) {
                resolver->tick(now);
                if (resolver->is_answered(name) && resolver->next_deadline(now) > now + 4s) {
                    return; // the sockets that stay open are c-ares's to reuse
                }
            }
        }
    }
    [[nodiscard]] std::vector<std::string> texts(Resolver::Name name) const {
        std::vector<std::string> list;
        for (const IpAddress& address : resolver->addresses(name)) {
            list.push_back(address.text());
        }
        return list;
    }
    using Texts = std::vector<std::string>;
    using Names = std::vector<Resolver::Name>;
};

TEST_F(ResolverTest, AnIpAddressIsItsOwnAnswer) {
    const auto v4 = resolver->add("192.0.2.1", now);
    const auto v6 = resolver->add("2001:db8::1", now);
    EXPECT_EQ(texts(v4), Texts{"192.0.2.1"});
    EXPECT_EQ(texts(v6), Texts{"2001:db8::1"});
    EXPECT_TRUE(resolver->is_answered(v4));
    EXPECT_EQ(resolver->take_changed(), (Names{v4, v6}));
    EXPECT_EQ(resolver->next_deadline(now), never);
    EXPECT_EQ(server.queries(), 0);
}

TEST_F(ResolverTest, ANameGetsItsAddressesSorted) {
    server.set("mail.test.example", {.addresses = {"192.0.2.9", "192.0.2.3"}});
    const auto name = resolver->add("mail.test.example", now);
    EXPECT_FALSE(resolver->is_answered(name));
    EXPECT_FALSE(resolver->watches().empty());
    settle(name);
    EXPECT_EQ(texts(name), (Texts{"192.0.2.3", "192.0.2.9"}));
    EXPECT_EQ(resolver->failure(name), "");
    EXPECT_EQ(resolver->take_changed(), Names{name});
    EXPECT_EQ(resolver->next_deadline(now), now + 60s);
}

TEST_F(ResolverTest, TtlsAreKeptWithinTheirBounds) {
    server.set("short.test.example", {.addresses = {"192.0.2.1"}, .ttl = 0});
    server.set("long.test.example", {.addresses = {"192.0.2.1"}, .ttl = 86'400});
    const auto brief = resolver->add("short.test.example", now);
    settle(brief);
    EXPECT_EQ(resolver->next_deadline(now), now + 5s);
    resolver->remove(brief);
    const auto lasting = resolver->add("long.test.example", now);
    settle(lasting);
    EXPECT_EQ(resolver->next_deadline(now), now + 5min);
}

TEST_F(ResolverTest, ANameIsAskedAgainAfterItsTtlAndOnlyChangesAreTold) {
    server.set("mail.test.example", {.addresses = {"192.0.2.1", "192.0.2.2"}});
    const auto name = resolver->add("mail.test.example", now);
    settle(name);
    EXPECT_EQ(resolver->take_changed(), Names{name});
    server.set("mail.test.example", {.addresses = {"192.0.2.2", "192.0.2.1"}});
    const int before = server.queries();
    now += 61s;
    resolver->tick(now);
    settle(name);
    EXPECT_GT(server.queries(), before);
    EXPECT_TRUE(resolver->take_changed().empty()) << "another order is no change";
    server.set("mail.test.example", {.addresses = {"192.0.2.7"}});
    now += 61s;
    resolver->tick(now);
    settle(name);
    EXPECT_EQ(resolver->take_changed(), Names{name});
    EXPECT_EQ(texts(name), Texts{"192.0.2.7"});
}

TEST_F(ResolverTest, OldAddressesStayWhenAnAnswerFails) {
    server.set("mail.test.example", {.addresses = {"192.0.2.1"}});
    const auto name = resolver->add("mail.test.example", now);
    settle(name);
    (void)resolver->take_changed();
    server.set("mail.test.example", {.addresses = {}, .fails = true});
    now += 61s;
    resolver->tick(now);
    settle(name);
    EXPECT_EQ(texts(name), Texts{"192.0.2.1"});
    EXPECT_NE(resolver->failure(name), "");
    EXPECT_TRUE(resolver->take_changed().empty());
    EXPECT_EQ(resolver->next_deadline(now), now + 5s);
}

TEST_F(ResolverTest, ANameThatDoesNotExistIsAnsweredWithoutAddresses) {
    const auto name = resolver->add("absent.test.example", now);
    settle(name);
    EXPECT_TRUE(resolver->is_answered(name));
    EXPECT_TRUE(resolver->addresses(name).empty());
    EXPECT_NE(resolver->failure(name), "");
    EXPECT_EQ(resolver->take_changed(), Names{name});
}

TEST_F(ResolverTest, AFailureIsNewsWhenItBeginsAndWhenItEnds) {
    server.set("mail.test.example", {.addresses = {"192.0.2.1"}});
    const auto name = resolver->add("mail.test.example", now);
    settle(name);
    EXPECT_TRUE(resolver->take_news().empty()) << "that it resolves is none";
    const auto again = [&](NameServer::Zone zone) {
        server.set("mail.test.example", std::move(zone));
        now += 61s;
        resolver->tick(now);
        settle(name);
        return resolver->take_news();
    };
    const auto begun = again({.addresses = {}, .fails = true});
    ASSERT_EQ(begun.size(), 1U);
    EXPECT_EQ(begun[0].host, "mail.test.example");
    EXPECT_EQ(begun[0].failure, resolver->failure(name));
    EXPECT_TRUE(begun[0].has_addresses);
    EXPECT_TRUE(again({.addresses = {}, .fails = true}).empty()) << "it goes on";
    const auto ended = again({.addresses = {"192.0.2.1"}});
    ASSERT_EQ(ended.size(), 1U);
    EXPECT_EQ(ended[0].failure, "");
    settle(resolver->add("absent.test.example", now));
    const auto absent = resolver->take_news();
    ASSERT_EQ(absent.size(), 1U);
    EXPECT_FALSE(absent[0].has_addresses);
}

TEST_F(ResolverTest, ASilentServerEndsInAFailure) {
    server.set("mail.test.example", {.addresses = {}, .silent = true});
    const auto name = resolver->add("mail.test.example", now);
    EXPECT_LE(resolver->next_deadline(now), now + 1s) << "c-ares wants to try again";
    settle(name);
    EXPECT_TRUE(resolver->is_answered(name));
    EXPECT_NE(resolver->failure(name), "");
}

TEST_F(ResolverTest, TheSameHostIsOneNameUntilItsLastUserIsGone) {
    server.set("mail.test.example", {.addresses = {"192.0.2.1"}});
    const auto name = resolver->add("mail.test.example", now);
    EXPECT_EQ(resolver->add("mail.test.example", now), name);
    resolver->remove(name);
    settle(name);
    EXPECT_EQ(texts(name), Texts{"192.0.2.1"});
    resolver->remove(name);
    EXPECT_EQ(resolver->next_deadline(now), never);
}

TEST_F(ResolverTest, AnAnswerToARemovedNameGoesToNobody) {
    server.set("mail.test.example", {.addresses = {"192.0.2.1"}});
    server.set("other.test.example", {.addresses = {"192.0.2.2"}});
    const auto gone = resolver->add("mail.test.example", now);
    resolver->remove(gone);
    const auto name = resolver->add("other.test.example", now);
    EXPECT_EQ(name, gone) << "places are used again";
    settle(name);
    EXPECT_EQ(texts(name), Texts{"192.0.2.2"});
}

TEST_F(ResolverTest, AResolverWithOpenQueriesCanBeDropped) {
    server.set("mail.test.example", {.addresses = {}, .silent = true});
    (void)resolver->add("mail.test.example", now);
    resolver.reset();
}

TEST(Resolver, UnusableServersAreAnError) {
    Resolver::Settings settings;
    settings.servers = "not a server";
    const auto created = Resolver::create(settings);
    ASSERT_FALSE(created.has_value());
    EXPECT_NE(created.error().message().find("not a server"), std::string::npos);
}

} // namespace
} // namespace ringmx::upstream
