// The server against a port that this test plays: it sees each operation and decides each
// completion.
#include "admin/admin_server.h"

#include <algorithm>
#include <cerrno>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <optional>

namespace ringmx::admin {
namespace {

using ring::Completion;
using ring::Opcode;
using ring::Operation;
using ring::Token;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class NoWaker final : public ring::Waker {
  public:
    void wake() override {}
};

class PlayedPort final : public ring::Port {
  public:
    Instant turn(std::span<const Operation>, Instant until, std::vector<Completion>&) override {
        return until;
    }
    void provide_buffer(std::uint16_t, std::span<std::byte>) override {}
    std::size_t provided_buffers_max() const override { return 16; }
    bool incremental_buffers() const override { return true; }
    Expected<int> open_socket(const SocketAddress&) override {
        return std::unexpected(Error{"socket", 0, ""});
    }
    Expected<SocketAddress> peer_address(int) override { return SocketAddress{}; }
    Expected<SocketAddress> local_address(int) override { return SocketAddress{}; }
    void close(int descriptor, bool) override { closed.push_back(descriptor); }
    Instant now() override { return {}; }
    WallTime wall_time() override { return {}; }
    ring::Waker& waker() override { return waker_; }

    std::vector<int> closed;

  private:
    NoWaker waker_;
};

class AdminServerTest : public ::testing::Test {
  protected:
    AdminServerTest() {
        Pages pages;
        pages.unhealthy = [](Instant) { return std::string(); };
        pages.unready = [] { return std::string(); };
        pages.metrics = [this](std::string& out) { out += metrics; };
        pages.status = [](std::string& out) { out += "{}"; };
        pages.queue = [this](const QueueRequest&, Ticket ticket) {
            tickets.push_back(ticket);
            return std::optional<HttpResponse>();
        };
        server.emplace(port, std::move(pages));
        server->listen(3, Surface::admin);
        server->listen(4, Surface::probe);
        collect();
    }

    void collect() {
        std::vector<Operation> operations;
        server->queue(operations);
        for (const Operation& operation : operations) {
            in_flight.push_back(operation);
        }
    }
    const Operation* find(Opcode code, int descriptor) const {
        const auto place = std::ranges::find_if(in_flight, [&](const Operation& operation) {
            return operation.code == code && (descriptor < 0 || operation.descriptor == descriptor);
        });
        return place == in_flight.end() ? nullptr : &*place;
    }
    // Completes the operation; without `more` it is no longer in flight.
    void complete(Opcode code, int descriptor, int result, bool more, std::string_view text = {}) {
        const Operation* operation = find(code, descriptor);
        ASSERT_NE(operation, nullptr) << static_cast<int>(code) << " on " << descriptor;
        Completion completion;
        completion.token = operation->token;
        completion.result = result;
        completion.more = more;
        if (!more) {
            in_flight.erase(in_flight.begin() + (operation - in_flight.data()));
        }
        EXPECT_TRUE(server->handle(completion, Slice::literal(text), now));
        collect();
    }
    void accept(int descriptor, int listener = 3) {
        complete(Opcode::accept, listener, descriptor, true);
    }
    void receive(int descriptor, std::string_view text) {
        complete(Opcode::receive, descriptor, static_cast<int>(text.size()), true, text);
    }
    // What is being sent; then it is sent.
    std::string sent(int descriptor) {
        const Operation* operation = find(Opcode::send, descriptor);
        if (operation == nullptr) {
            return {};
        }
        std::string wire(as_text(operation->octets));
        complete(Opcode::send, descriptor, static_cast<int>(wire.size()), false);
        return wire;
    }
    // Lets every operation of a closing connection end.
    void settle(int descriptor) {
        ASSERT_NE(find(Opcode::shutdown, descriptor), nullptr);
        complete(Opcode::shutdown, descriptor, 0, false);
        if (find(Opcode::receive, descriptor) != nullptr) {
            complete(Opcode::receive, descriptor, -ECANCELED, false);
        }
        if (find(Opcode::send, descriptor) != nullptr) {
            complete(Opcode::send, descriptor, -EPIPE, false);
        }
        while (find(Opcode::cancel, descriptor) != nullptr) {
            complete(Opcode::cancel, descriptor, 0, false);
        }
    }
    void reply(Ticket ticket, std::string body) {
        HttpResponse response;
        response.body = std::move(body);
        server->reply(ticket, response, now);
        collect();
    }
    void pass(Duration duration) {
        now += duration;
        server->run_timers(now);
        collect();
    }

    PlayedPort port;
    std::string metrics = "m 1\n";
    std::optional<AdminServer> server;
    std::vector<Operation> in_flight;
    std::vector<Ticket> tickets; // of requests to be answered later
    Instant now{1000s};
};

TEST_F(AdminServerTest, ACompletionOfSomebodyElseIsLeftAlone) {
    Completion completion;
    completion.token = Token{.operation = 1, .slot = 0, .generation = 0};
    EXPECT_FALSE(server->handle(completion, Slice(), now));
    completion.token.operation = AdminServer::last_operation + 1;
    EXPECT_FALSE(server->handle(completion, Slice(), now));
}

TEST_F(AdminServerTest, AnswersAndKeepsTheConnection) {
    accept(10);
    receive(10, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT_THAT(sent(10), ::testing::AllOf(StartsWith("HTTP/1.1 200 OK\r\n"),
                                           ::testing::EndsWith("\r\n\r\nok\n")));
    receive(10, "GET /met");
    receive(10, "rics HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT_THAT(sent(10), ::testing::EndsWith("\r\n\r\nm 1\n"));
    EXPECT_EQ(server->connections_open(), 1U);
    EXPECT_TRUE(port.closed.empty());
}

TEST_F(AdminServerTest, PipelinedRequestsAreAnsweredInOrderOneByOne) {
    accept(10);
    receive(10, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nGET /metrics HTTP/1.1\r\nHost: "
                "a\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT_THAT(sent(10), HasSubstr("\r\n\r\nok\n"));
    EXPECT_THAT(sent(10), HasSubstr("\r\n\r\nm 1\n"));
    EXPECT_THAT(sent(10), StartsWith("HTTP/1.1 404 Not Found\r\n"));
    EXPECT_EQ(find(Opcode::send, 10), nullptr);
}

TEST_F(AdminServerTest, TheProbeListenerHasNoApi) {
    accept(10, 4);
    receive(10, "GET /api/status HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT_THAT(sent(10), StartsWith("HTTP/1.1 404 "));
    accept(11, 3);
    receive(11, "GET /api/status HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT_THAT(sent(11), StartsWith("HTTP/1.1 200 "));
}

TEST_F(AdminServerTest, ClosesAfterTheAnswerWhenAskedTo) {
    accept(10);
    receive(10, "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /metrics "
                "HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT_THAT(sent(10), HasSubstr("\r\nConnection: close\r\n"));
    EXPECT_EQ(find(Opcode::send, 10), nullptr);
    settle(10);
    EXPECT_EQ(port.closed, std::vector<int>{10});
    EXPECT_EQ(server->connections_open(), 0U);
}

TEST_F(AdminServerTest, NothingIsFreedWhileAnOperationIsInFlight) {
    accept(10);
    receive(10, "GET /healthz HTTP/1.0\r\n\r\n");
    (void)sent(10);
    complete(Opcode::shutdown, 10, 0, false);
    EXPECT_TRUE(port.closed.empty());
    complete(Opcode::cancel, 10, 0, false);
    EXPECT_TRUE(port.closed.empty());
    complete(Opcode::receive, 10, -ECANCELED, false);
    EXPECT_EQ(port.closed, std::vector<int>{10});
}

TEST_F(AdminServerTest, ALateCompletionOfAnEarlierConnectionInTheSlotIsDropped) {
    accept(10);
    const Token stale = find(Opcode::receive, 10)->token;
    complete(Opcode::receive, 10, 0, false);
    settle(10);
    accept(11);
    Completion late;
    late.token = stale;
    late.result = -EIO;
    EXPECT_TRUE(server->handle(late, Slice(), now));
    collect();
    EXPECT_EQ(find(Opcode::shutdown, 11), nullptr);
    receive(11, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT_THAT(sent(11), StartsWith("HTTP/1.1 200 "));
}

TEST_F(AdminServerTest, APeerThatShutItsSideStillGetsItsAnswers) {
    accept(10);
    receive(10, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nGET /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
    complete(Opcode::receive, 10, 0, false);
    EXPECT_THAT(sent(10), HasSubstr("ok\n"));
    EXPECT_THAT(sent(10), HasSubstr("m 1\n"));
    settle(10);
    EXPECT_EQ(server->connections_open(), 0U);
}

TEST_F(AdminServerTest, ARefusedRequestIsAnsweredAndLingersSoThatTheAnswerArrives) {
    accept(10);
    receive(10, "nonsense\r\n");
    EXPECT_THAT(sent(10), StartsWith("HTTP/1.1 400 Bad Request\r\n"));
    EXPECT_EQ(find(Opcode::shutdown, 10), nullptr);
    receive(10, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"); // read and dropped
    EXPECT_EQ(find(Opcode::send, 10), nullptr);
    EXPECT_LE(server->next_deadline(), now + AdminServer::linger);
    pass(AdminServer::linger);
    settle(10);
    EXPECT_EQ(port.closed, std::vector<int>{10});
}

TEST_F(AdminServerTest, AnIdleConnectionIsClosedAndOneThatDripsIsTold) {
    accept(10);
    accept(11);
    pass(AdminServer::idle_timeout - 1s);
    receive(11, "GET /hea");
    EXPECT_EQ(find(Opcode::shutdown, 10), nullptr);
    EXPECT_EQ(server->next_deadline(), now + 1s); // the drip doesn't move it
    pass(1s);
    settle(10);
    EXPECT_THAT(sent(11), StartsWith("HTTP/1.1 408 "));
    settle(11);
    EXPECT_EQ(server->next_deadline(), never);
}

TEST_F(AdminServerTest, AnAnswerThatNobodyTakesTimesOut) {
    accept(10);
    receive(10, "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
    ASSERT_NE(find(Opcode::send, 10), nullptr);
    pass(AdminServer::idle_timeout);
    settle(10);
    EXPECT_EQ(port.closed, std::vector<int>{10});
}

TEST_F(AdminServerTest, AShortSendEndsTheConnection) {
    accept(10);
    receive(10, "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
    complete(Opcode::send, 10, 5, false);
    settle(10);
    EXPECT_EQ(port.closed, std::vector<int>{10});
}

TEST_F(AdminServerTest, OneConnectionTooManyTakesThePlaceOfTheOldestIdleOne) {
    const int count = static_cast<int>(AdminServer::connections_max);
    for (int index = 0; index < count; ++index) {
        accept(100 + index);
        pass(1ms);
    }
    receive(100, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT_THAT(sent(100), StartsWith("HTTP/1.1 200 ")); // so that another is the oldest
    receive(101, "GET /hea");                            // a request that drips is no answer
    accept(500);
    EXPECT_NE(find(Opcode::shutdown, 101), nullptr);
    receive(500, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT_THAT(sent(500), StartsWith("HTTP/1.1 200 "));
    settle(101);
    EXPECT_EQ(port.closed, std::vector<int>{101});
    EXPECT_EQ(server->connections_open(), AdminServer::connections_max);
}

TEST_F(AdminServerTest, OneConnectionTooManyIsClosedAtOnceWhenNoneIsIdle) {
    const int count = static_cast<int>(AdminServer::connections_max);
    for (int index = 0; index < count; ++index) {
        accept(100 + index);
        receive(100 + index, "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    accept(500);
    EXPECT_EQ(port.closed, std::vector<int>{500});
    EXPECT_THAT(sent(100), StartsWith("HTTP/1.1 200 "));
    accept(501);
    receive(501, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT_THAT(sent(501), StartsWith("HTTP/1.1 200 "));
}

TEST_F(AdminServerTest, ASurfaceThatIsFullLeavesTheOtherAlone) {
    const int count = static_cast<int>(AdminServer::connections_max);
    for (int index = 0; index < count; ++index) {
        accept(100 + index, 4);
        receive(100 + index, "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    accept(500, 4);
    EXPECT_EQ(port.closed, std::vector<int>{500});
    accept(501, 3);
    receive(501, "GET /api/status HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT_THAT(sent(501), StartsWith("HTTP/1.1 200 "));
}

TEST_F(AdminServerTest, ManyThatComeAtOnceNeverTakeMoreThanTheSlotsThereAre) {
    for (int index = 0; index < 1000; ++index) { // none of those that make way is gone yet
        accept(1000 + index);
    }
    EXPECT_EQ(server->connections_open(), AdminServer::slots_max);
    EXPECT_EQ(port.closed.size(), 1000 - AdminServer::slots_max);
}

TEST_F(AdminServerTest, AFailedAcceptIsTriedAgainAfterAPause) {
    complete(Opcode::accept, 3, -EMFILE, false);
    EXPECT_EQ(find(Opcode::accept, 3), nullptr);
    pass(AdminServer::accept_pause - 1ms);
    EXPECT_EQ(find(Opcode::accept, 3), nullptr);
    pass(1ms);
    EXPECT_NE(find(Opcode::accept, 3), nullptr);
}

TEST_F(AdminServerTest, AMultishotAcceptThatEndsIsArmedAgainAtOnce) {
    complete(Opcode::accept, 3, 10, false);
    EXPECT_NE(find(Opcode::accept, 3), nullptr);
    EXPECT_EQ(server->connections_open(), 1U);
}

TEST_F(AdminServerTest, AReceiveThatFoundNoBufferIsArmedAgainAfterAPause) {
    accept(10);
    complete(Opcode::receive, 10, -ENOBUFS, false);
    EXPECT_EQ(find(Opcode::receive, 10), nullptr);
    pass(AdminServer::receive_pause);
    receive(10, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT_THAT(sent(10), StartsWith("HTTP/1.1 200 "));
}

TEST_F(AdminServerTest, AClientThatPipelinesWithoutReadingIsPausedAndGoesOnLater) {
    accept(10);
    const std::string_view request = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    std::string flood;
    while (flood.size() <= AdminServer::input_bytes_max + request.size()) {
        flood += request;
    }
    const std::size_t requests_count = flood.size() / request.size();
    receive(10, flood);
    ASSERT_NE(find(Opcode::cancel, 10), nullptr);
    complete(Opcode::cancel, 10, 0, false);
    complete(Opcode::receive, 10, -ECANCELED, false);
    EXPECT_EQ(find(Opcode::receive, 10), nullptr) << "reading stopped";
    std::size_t answered = 0;
    while (find(Opcode::send, 10) != nullptr) {
        EXPECT_THAT(sent(10), StartsWith("HTTP/1.1 200 "));
        ++answered;
    }
    EXPECT_EQ(answered, requests_count);
    EXPECT_NE(find(Opcode::receive, 10), nullptr) << "reading goes on";
}

TEST_F(AdminServerTest, WhatKeepsComingBeforeThePauseTakesHoldIsBounded) {
    accept(10);
    receive(10, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    const std::string flood(AdminServer::input_bytes_max, 'x');
    for (int count = 0; count < 5 && find(Opcode::shutdown, 10) == nullptr; ++count) {
        receive(10, flood);
    }
    EXPECT_NE(find(Opcode::shutdown, 10), nullptr);
    settle(10);
    EXPECT_EQ(port.closed, std::vector<int>{10});
}

TEST_F(AdminServerTest, ABodyIsAskedForWhenTheClientWaitsToSendIt) {
    accept(10);
    receive(10, "POST /x HTTP/1.1\r\nHost: a\r\nX-Ringmx-Admin: 1\r\nExpect: "
                "100-continue\r\nContent-Length: "
                "2\r\n\r\n");
    EXPECT_EQ(sent(10), "HTTP/1.1 100 Continue\r\n\r\n");
    receive(10, "ab");
    EXPECT_THAT(sent(10), StartsWith("HTTP/1.1 404 "));
}

TEST_F(AdminServerTest, StopFinishesTheAnswerUnderWayAndThenIsStopped) {
    accept(10);
    accept(11);
    receive(10, "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
    server->stop();
    collect();
    EXPECT_FALSE(server->is_stopped());
    settle(11);
    EXPECT_THAT(sent(10), StartsWith("HTTP/1.1 200 "));
    settle(10);
    EXPECT_FALSE(server->is_stopped()) << "the accepts are still in flight";
    for (const int listener : {3, 4}) {
        complete(Opcode::cancel, listener, 0, false);
        complete(Opcode::accept, listener, -ECANCELED, false);
    }
    EXPECT_TRUE(server->is_stopped());
    EXPECT_TRUE(in_flight.empty());
    EXPECT_EQ(server->next_deadline(), never);
}

TEST_F(AdminServerTest, AConnectionAcceptedWhileStoppingIsClosed) {
    server->stop();
    collect();
    accept(10);
    EXPECT_EQ(port.closed, std::vector<int>{10});
}

constexpr const char* queue_request = "GET /api/queue HTTP/1.1\r\nHost: a\r\n\r\n";

TEST_F(AdminServerTest, AnAnswerThatComesLaterGoesToWhoAsked) {
    accept(10);
    accept(11);
    receive(10, queue_request);
    receive(11, queue_request);
    ASSERT_EQ(tickets.size(), 2U);
    EXPECT_EQ(find(Opcode::send, 10), nullptr);
    reply(tickets[1], "second");
    EXPECT_EQ(find(Opcode::send, 10), nullptr);
    EXPECT_THAT(sent(11), ::testing::EndsWith("\r\n\r\nsecond"));
    reply(tickets[0], "first");
    EXPECT_THAT(sent(10), ::testing::EndsWith("\r\n\r\nfirst"));
    receive(10, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT_THAT(sent(10), HasSubstr("\r\n\r\nok\n"));
}

TEST_F(AdminServerTest, WhatIsPipelinedBehindAnAwaitedAnswerWaitsForIt) {
    accept(10);
    receive(10, std::string(queue_request) + "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
    receive(10, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT_EQ(find(Opcode::send, 10), nullptr);
    reply(tickets.at(0), "first");
    EXPECT_THAT(sent(10), ::testing::EndsWith("first"));
    EXPECT_THAT(sent(10), HasSubstr("m 1\n"));
    EXPECT_THAT(sent(10), HasSubstr("ok\n"));
}

TEST_F(AdminServerTest, AnAnswerThatDoesNotComeIsA503AndNeverAnswersAnother) {
    accept(10);
    receive(10, queue_request);
    pass(AdminServer::answer_timeout - 1ms);
    EXPECT_EQ(find(Opcode::send, 10), nullptr);
    pass(1ms);
    EXPECT_THAT(sent(10), StartsWith("HTTP/1.1 503 "));
    receive(10, queue_request);
    reply(tickets.at(0), "too late");
    EXPECT_EQ(find(Opcode::send, 10), nullptr);
    reply(tickets.at(1), "second");
    EXPECT_THAT(sent(10), ::testing::EndsWith("second"));
}

TEST_F(AdminServerTest, AClientThatLeavesBeforeItsAnswerHarmsNobody) {
    accept(10);
    receive(10, queue_request);
    complete(Opcode::receive, 10, -ECONNRESET, false);
    reply(tickets.at(0), "while it closes");
    EXPECT_EQ(find(Opcode::send, 10), nullptr);
    settle(10);
    reply(tickets.at(0), "when it is gone");
    accept(11); // into the same slot
    receive(11, queue_request);
    reply(tickets.at(0), "when another is there");
    EXPECT_EQ(find(Opcode::send, 11), nullptr);
    // One that only shut its side is still answered.
    complete(Opcode::receive, 11, 0, false);
    reply(tickets.at(1), "last");
    EXPECT_THAT(sent(11), ::testing::EndsWith("last"));
    settle(11);
    EXPECT_EQ(server->connections_open(), 0U);
}

TEST_F(AdminServerTest, WhoAwaitsAnAnswerMakesWayForNobody) {
    accept(10);
    receive(10, queue_request);
    for (int count = 1; count < static_cast<int>(AdminServer::connections_max); ++count) {
        accept(10 + count);
    }
    accept(100);
    EXPECT_EQ(find(Opcode::shutdown, 10), nullptr);
    EXPECT_NE(find(Opcode::shutdown, 11), nullptr);
    reply(tickets.at(0), "first");
    EXPECT_THAT(sent(10), ::testing::EndsWith("first"));
}

TEST_F(AdminServerTest, StopClosesWhoAwaitsAnAnswer) {
    accept(10);
    receive(10, queue_request);
    server->stop();
    collect();
    settle(10);
    reply(tickets.at(0), "late");
    EXPECT_EQ(server->connections_open(), 0U);
}

} // namespace
} // namespace ringmx::admin
