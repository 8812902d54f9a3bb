// What every Port promises, against the kernel and against the simulation, so that what is proven
// on one holds for the other.
#include "port_harness.h"

#include <algorithm>
#include <array>
#include <thread>
#include <unistd.h>

namespace ringmx::ring {
namespace {

struct Case {
    PortKind kind;
    std::uint64_t seed;
};

class PortConformance : public testing::TestWithParam<Case> {
  protected:
    PortUnderTest under_test_{GetParam().kind, GetParam().seed};
    Port& port_ = under_test_.port();
    SocketAddress address_ = SocketAddress::parse("127.0.0.1:0").value();
};

std::string numbered_text(std::size_t number, std::size_t size) {
    std::string text;
    for (std::size_t count = 0; text.size() < size; ++count) {
        text += std::to_string(number) + ':' + std::to_string(count) + ' ';
    }
    text.resize(size);
    return text;
}

TEST_P(PortConformance, ManyConnectionsEachGetTheirOwnOctetsBack) {
    Harness harness(port_);
    harness.accept(under_test_.listen(address_));
    std::vector<Harness::Connection*> clients;
    std::vector<std::string> texts;
    for (std::size_t number = 0; number < 100; ++number) {
        clients.push_back(&harness.connect(address_));
        texts.push_back(numbered_text(number, 1 + number * 97));
        harness.send(*clients.back(), texts.back());
    }
    EXPECT_TRUE(harness.run_until([&] {
        for (std::size_t number = 0; number < clients.size(); ++number) {
            if (clients[number]->received.size() < texts[number].size()) {
                return false;
            }
        }
        return true;
    }));
    for (std::size_t number = 0; number < clients.size(); ++number) {
        EXPECT_EQ(clients[number]->received, texts[number]);
    }
}

TEST_P(PortConformance, SendIsWholeAlthoughItIsLargerThanTheSocketBuffers) {
    Harness harness(port_);
    harness.echo_accepted = false;
    harness.accept(under_test_.listen(address_));
    Harness::Connection& client = harness.connect(address_);
    const std::string text = numbered_text(1, 1U << 20U);
    harness.send(client, text);
    EXPECT_TRUE(harness.run_until([&] {
        return !harness.accepted().empty() && !client.send_results.empty() &&
               harness.accepted()[0]->received.size() == text.size();
    }));
    EXPECT_EQ(client.send_results, std::vector<int>{1 << 20});
    EXPECT_TRUE(harness.accepted()[0]->received == text);
}

TEST_P(PortConformance, HalfClosedPeerStillReceives) {
    Harness harness(port_);
    harness.echo_accepted = false;
    harness.accept(under_test_.listen(address_));
    Harness::Connection& client = harness.connect(address_);
    harness.send(client, "last words");
    ASSERT_TRUE(harness.run_until([&] { return client.sent > 0; }));
    harness.shut_down(client, Opcode::finish);
    ASSERT_TRUE(harness.run_until(
        [&] { return !harness.accepted().empty() && harness.accepted()[0]->ended; }));
    EXPECT_EQ(harness.accepted()[0]->received, "last words");
    harness.send(*harness.accepted()[0], "goodbye");
    EXPECT_TRUE(harness.run_until([&] { return client.received == "goodbye"; }));
    EXPECT_FALSE(client.ended);
}

TEST_P(PortConformance, ShutdownEndsBothSides) {
    Harness harness(port_);
    harness.accept(under_test_.listen(address_));
    Harness::Connection& client = harness.connect(address_);
    ASSERT_TRUE(harness.run_until([&] { return client.connected && !harness.accepted().empty(); }));
    harness.shut_down(client, Opcode::shutdown);
    EXPECT_TRUE(harness.run_until([&] { return client.ended && harness.accepted()[0]->ended; }));
}

// What a loop says last must not be lost by the shutdown that it queues behind it.
TEST_P(PortConformance, SendBeforeShutdownInOneTurnIsDelivered) {
    Harness harness(port_);
    harness.echo_accepted = false;
    harness.accept(under_test_.listen(address_));
    Harness::Connection& client = harness.connect(address_);
    ASSERT_TRUE(harness.run_until([&] { return client.connected && !harness.accepted().empty(); }));
    harness.send(*harness.accepted()[0], "421 4.3.2 closing\r\n");
    harness.shut_down(*harness.accepted()[0], Opcode::shutdown);
    EXPECT_TRUE(harness.run_until([&] { return client.ended; }));
    EXPECT_EQ(client.received, "421 4.3.2 closing\r\n");
}

TEST_P(PortConformance, CancelledReceiveEndsExactlyOnce) {
    Harness harness(port_);
    harness.accept(under_test_.listen(address_));
    Harness::Connection& client = harness.connect(address_);
    ASSERT_TRUE(harness.run_until([&] { return client.receive_armed; }));
    harness.turn(1ms);
    harness.cancel(client, op_receive);
    ASSERT_TRUE(harness.run_until([&] { return client.in_flight == 0; }));
    EXPECT_EQ(client.cancelled, 1);
    ASSERT_EQ(client.cancel_results.size(), 1U);
    EXPECT_TRUE(client.cancel_results[0] == 0 || client.cancel_results[0] == -EALREADY);
}

TEST_P(PortConformance, CancelOfNothingIsNotFound) {
    Harness harness(port_);
    harness.accept(under_test_.listen(address_));
    Harness::Connection& client = harness.connect(address_);
    ASSERT_TRUE(harness.run_until([&] { return client.connected; }));
    harness.cancel(client, op_send);
    ASSERT_TRUE(harness.run_until([&] { return !client.cancel_results.empty(); }));
    EXPECT_EQ(client.cancel_results[0], -ENOENT);
}

TEST_P(PortConformance, CancelLosesNoOctets) {
    Harness harness(port_);
    harness.echo_accepted = false;
    harness.accept(under_test_.listen(address_));
    Harness::Connection& client = harness.connect(address_);
    const std::string text = numbered_text(3, 300'000);
    harness.send(client, text);
    ASSERT_TRUE(harness.run_until([&] { return !harness.accepted().empty(); }));
    Harness::Connection& server = *harness.accepted()[0];
    while (server.received.size() < text.size()) {
        server.receiving = false;
        if (server.receive_armed) {
            harness.cancel(server, op_receive);
        }
        ASSERT_TRUE(harness.run_until([&] { return !server.receive_armed; }));
        server.receiving = true;
        harness.arm_receive(server);
        const std::size_t before = server.received.size();
        // A starved receive is armed anew by the harness.
        ASSERT_TRUE(harness.run_until(
            [&] { return server.received.size() > before || before == text.size(); }));
    }
    EXPECT_TRUE(server.received == text);
}

TEST_P(PortConformance, SendToAPeerThatDoesNotReadHangsUntilCancelled) {
    Harness harness(port_);
    harness.receive_accepted = false;
    harness.accept(under_test_.listen(address_));
    Harness::Connection& client = harness.connect(address_);
    harness.send(client, std::string(64U << 20U, 'x'));
    ASSERT_TRUE(harness.run_until([&] { return client.sending && !harness.accepted().empty(); }));
    for (int count = 0; count < 20; ++count) {
        harness.turn(5ms);
    }
    EXPECT_TRUE(client.send_results.empty());
    harness.cancel(client, op_send);
    ASSERT_TRUE(harness.run_until([&] { return !client.send_results.empty(); }));
    EXPECT_NE(client.send_results[0], 64 << 20);
    EXPECT_TRUE(client.send_results[0] > 0 || client.send_results[0] == -ECANCELED);
}

TEST_P(PortConformance, StarvedReceiversGoOnWhenMemoryReturns) {
    // Four buffers of 64 KiB, two of them posted; every slice is held, so that they run out.
    Harness harness(port_, 4 * 64 * 1024);
    harness.echo_accepted = false;
    harness.hold_slices = true;
    harness.accept(under_test_.listen(address_));
    constexpr std::size_t clients_count = 8;
    std::vector<std::string> texts;
    for (std::size_t number = 0; number < clients_count; ++number) {
        texts.push_back(numbered_text(number, 200'000));
        harness.send(harness.connect(address_), texts.back());
    }
    const auto received_bytes = [&] {
        std::size_t total = 0;
        for (const Harness::Connection* server : harness.accepted()) {
            total += server->received.size();
        }
        return total;
    };
    ASSERT_TRUE(harness.run_until([&] { return harness.buffers().exhausted(); }));
    EXPECT_TRUE(harness.buffers().low());
    ASSERT_TRUE(harness.run_until([&] {
        if (harness.buffers().exhausted() && harness.buffers().starved() > 0) {
            harness.release_held();
        }
        if (received_bytes() > clients_count * 200'000 - 128 * 1024) {
            harness.hold_slices = false;
            harness.release_held();
        }
        return received_bytes() == clients_count * 200'000;
    }));
    EXPECT_GT(harness.enobufs_seen(), 0U);
    std::vector<std::string> received;
    for (const Harness::Connection* server : harness.accepted()) {
        received.push_back(server->received);
    }
    std::ranges::sort(received);
    std::ranges::sort(texts);
    EXPECT_TRUE(received == texts);
}

TEST_P(PortConformance, ConnectToNobodyIsRefused) {
    Harness harness(port_);
    // Bound and closed again: nobody listens there.
    const int listener = under_test_.listen(address_);
    port_.close(listener);
    Harness::Connection& client = harness.connect(address_);
    ASSERT_TRUE(harness.run_until([&] { return client.error != 0; }));
    EXPECT_EQ(client.error, ECONNREFUSED);
}

TEST_P(PortConformance, ResetIsSeenByThePeer) {
    Harness harness(port_);
    harness.receive_accepted = false;
    harness.accept(under_test_.listen(address_));
    Harness::Connection& client = harness.connect(address_);
    ASSERT_TRUE(harness.run_until([&] { return client.connected && !harness.accepted().empty(); }));
    Harness::Connection& server = *harness.accepted()[0];
    port_.close(server.descriptor, true);
    server.descriptor = port_.open_socket(address_).value(); // for the harness to close
    EXPECT_TRUE(harness.run_until([&] { return client.error != 0; }));
    EXPECT_EQ(client.error, ECONNRESET);
}

TEST_P(PortConformance, AddressesOfAnAcceptedConnectionAreKnown) {
    Harness harness(port_);
    harness.accept(under_test_.listen(address_));
    Harness::Connection& client = harness.connect(address_);
    ASSERT_TRUE(harness.run_until([&] { return client.connected && !harness.accepted().empty(); }));
    const int accepted = harness.accepted()[0]->descriptor;
    EXPECT_EQ(port_.local_address(accepted).value(), address_);
    EXPECT_EQ(port_.peer_address(accepted).value(), port_.local_address(client.descriptor).value());
}

TEST_P(PortConformance, TurnEndsAtItsDeadline) {
    std::vector<Completion> completions;
    const Instant start = port_.now();
    Instant reached = start;
    while (reached < start + 20ms) {
        reached = port_.turn({}, start + 20ms, completions);
    }
    EXPECT_TRUE(completions.empty());
}

TEST_P(PortConformance, WakeBeforeTheWaitEndsIt) {
    std::vector<Completion> completions;
    port_.turn({}, port_.now(), completions);
    const Instant start = port_.now();
    for (int round = 0; round < 3; ++round) {
        port_.waker().wake();
        port_.waker().wake(); // counts as one
        port_.turn({}, start + 1h, completions);
    }
    EXPECT_LT(port_.now(), start + 1h);
    EXPECT_TRUE(completions.empty());
}

// Operations on one file, several at a time; their slots are their numbers.
class FileOperations {
  public:
    explicit FileOperations(PortUnderTest& under_test)
        : under_test_(under_test), descriptor_(under_test.open_file()) {}
    ~FileOperations() { under_test_.close_file(descriptor_); }
    FileOperations(const FileOperations&) = delete;
    FileOperations& operator=(const FileOperations&) = delete;

    // `text` stays, of course; it is read or written in pieces of up to `piece_bytes`.
    void queue(Opcode code, std::uint64_t offset, std::string& text, std::size_t piece_bytes) {
        std::vector<iovec>& pieces = pieces_.emplace_back();
        for (std::size_t start = 0; start < text.size(); start += piece_bytes) {
            pieces.push_back({text.data() + start, std::min(piece_bytes, text.size() - start)});
        }
        Operation operation{};
        operation.code = code;
        operation.descriptor = descriptor_;
        operation.token = {op_file, static_cast<std::uint32_t>(operations_.size()), 7};
        operation.pieces = pieces;
        operation.offset = offset;
        operations_.push_back(operation);
    }
    // Their results, by number.
    std::vector<std::int32_t> run() {
        std::vector<std::int32_t> results(operations_.size());
        std::vector<Completion> completions;
        std::size_t ended = 0;
        for (int turns = 0; ended < results.size() && turns < 10'000; ++turns) {
            completions.clear();
            Port& port = under_test_.port();
            port.turn(turns == 0 ? operations_ : std::vector<Operation>{}, port.now() + 1s,
                      completions);
            for (const Completion& completion : completions) {
                EXPECT_EQ(completion.token.operation, op_file);
                EXPECT_FALSE(completion.more);
                results[completion.token.slot] = completion.result;
                ++ended;
            }
        }
        EXPECT_EQ(ended, results.size());
        operations_.clear();
        pieces_.clear();
        return results;
    }
    std::int32_t run_one(Opcode code, std::uint64_t offset, std::string& text,
                         std::size_t piece_bytes) {
        queue(code, offset, text, piece_bytes);
        return run().at(0);
    }

  private:
    PortUnderTest& under_test_;
    int descriptor_;
    std::vector<Operation> operations_;
    std::deque<std::vector<iovec>> pieces_;
};

TEST_P(PortConformance, FileGivesBackWhatWasWrittenWhereItWas) {
    FileOperations file(under_test_);
    std::string first = numbered_text(1, 10'000);
    std::string second = numbered_text(2, 5'000);
    EXPECT_EQ(file.run_one(Opcode::write_file, 0, first, 4096), 10'000);
    EXPECT_EQ(file.run_one(Opcode::write_file, 4096, second, 999), 5'000);
    std::string whole(10'000, '?');
    EXPECT_EQ(file.run_one(Opcode::read_file, 0, whole, 3'333), 10'000);
    EXPECT_TRUE(whole == std::string(first).replace(4096, 5'000, second));
    std::string part(100, '?');
    EXPECT_EQ(file.run_one(Opcode::read_file, 8'192, part, 100), 100);
    EXPECT_EQ(part, whole.substr(8'192, 100));
}

TEST_P(PortConformance, FileEndsWhereItEnds) {
    FileOperations file(under_test_);
    std::string text = numbered_text(1, 700);
    EXPECT_EQ(file.run_one(Opcode::write_file, 0, text, 700), 700);
    std::string more(1'000, '?');
    EXPECT_EQ(file.run_one(Opcode::read_file, 512, more, 64), 188);
    EXPECT_EQ(more, text.substr(512) + std::string(812, '?'));
    EXPECT_EQ(file.run_one(Opcode::read_file, 700, more, 64), 0);
}

TEST_P(PortConformance, OperationsOnFilesEndEachWithItsOwnResult) {
    FileOperations file(under_test_);
    constexpr std::size_t count = 100; // more than the queue holds
    std::deque<std::string> texts;
    for (std::size_t number = 0; number < count; ++number) {
        texts.push_back(numbered_text(number, 1'000 + number));
        file.queue(Opcode::write_file, number * 2'048, texts.back(), 600);
    }
    std::vector<std::int32_t> results = file.run();
    for (std::size_t number = 0; number < count; ++number) {
        EXPECT_EQ(results[number], static_cast<std::int32_t>(texts[number].size()));
    }
    std::deque<std::string> read;
    for (const std::string& text : texts) {
        read.emplace_back(text.size(), '?');
        file.queue(Opcode::read_file, (read.size() - 1) * 2'048, read.back(), 333);
    }
    results = file.run();
    for (std::size_t number = 0; number < count; ++number) {
        EXPECT_EQ(results[number], static_cast<std::int32_t>(texts[number].size()));
        EXPECT_TRUE(read[number] == texts[number]) << number;
    }
}

TEST_P(PortConformance, FileThatIsNotOpenIsAnError) {
    std::string text = "text";
    Operation operation{};
    operation.code = Opcode::write_file;
    operation.descriptor = 999'999;
    operation.token = {op_file, 0, 7};
    const iovec piece{text.data(), text.size()};
    operation.pieces = {&piece, 1};
    std::vector<Completion> completions;
    for (int turns = 0; completions.empty() && turns < 1'000; ++turns) {
        port_.turn(turns == 0 ? std::span(&operation, 1) : std::span<Operation>{}, port_.now() + 1s,
                   completions);
    }
    ASSERT_EQ(completions.size(), 1U);
    EXPECT_EQ(completions[0].result, -EBADF);
}

std::vector<Case> cases() {
    std::vector<Case> all = {{PortKind::uring, 1}, {PortKind::uring_masked, 1}, {PortKind::sim, 1}};
    for (std::uint64_t seed = 1; seed <= 12; ++seed) {
        all.push_back({PortKind::sim_hostile, seed});
    }
    return all;
}

std::string case_name(const testing::TestParamInfo<Case>& info) {
    switch (info.param.kind) {
    case PortKind::uring:
        return "Kernel";
    case PortKind::uring_masked:
        return "KernelMasked";
    case PortKind::sim:
        return "Simulated";
    case PortKind::sim_hostile:
        return "SimulatedHostile" + std::to_string(info.param.seed);
    }
    return {};
}

INSTANTIATE_TEST_SUITE_P(Ports, PortConformance, testing::ValuesIn(cases()), case_name);

// More operations than the queue holds leave in batches, and some are complete before the turn
// waits. Work that the kernel has put off until then (the ends of cancelled receives) must be done
// all the same, or a loop that acts on those completions spins for ever.
TEST(UringPort, TurnsThatOverflowTheQueueStillEndWhatWasCancelled) {
    UringPort::Settings settings;
    settings.submissions = 8;
    settings.features = probe().value();
    std::unique_ptr<UringPort> port = UringPort::create(settings).value();
    constexpr std::uint32_t sockets_count = 20;
    std::vector<std::array<int, 2>> pairs(sockets_count);
    std::vector<Operation> operations;
    const auto token = [](TestOperation operation, std::uint32_t slot) {
        return Token{operation, slot, 1};
    };
    for (std::uint32_t slot = 0; slot < sockets_count; ++slot) {
        ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, pairs[slot].data()), 0);
        Operation receive{};
        receive.code = Opcode::poll_in;
        receive.descriptor = pairs[slot][0];
        receive.token = token(op_receive, slot);
        operations.push_back(receive);
    }
    std::vector<Completion> completions;
    (void)port->turn(operations, port->now(), completions);
    std::uint32_t ended = 0;
    for (int turn = 0; turn < 50 && ended < sockets_count; ++turn) {
        operations.clear();
        for (std::uint32_t slot = 0; slot < sockets_count; ++slot) {
            Operation cancel{};
            cancel.code = Opcode::cancel;
            cancel.token = token(op_cancel, slot);
            cancel.target = token(op_receive, slot);
            operations.push_back(cancel);
        }
        completions.clear();
        (void)port->turn(operations, port->now() + 1s, completions);
        for (const Completion& completion : completions) {
            ended += completion.token.operation == op_receive ? 1U : 0U;
        }
    }
    EXPECT_EQ(ended, sockets_count);
    for (const std::array<int, 2>& pair : pairs) {
        ::close(pair[0]);
        ::close(pair[1]);
    }
}

TEST(UringPort, WakeFromAnotherThreadEndsTheWait) {
    PortUnderTest under_test(PortKind::uring);
    Port& port = under_test.port();
    std::vector<Completion> completions;
    std::thread other([&] { port.waker().wake(); });
    port.turn({}, never, completions);
    other.join();
    EXPECT_TRUE(completions.empty());
}

TEST(UringPort, RingBelongsToTheThreadOfItsFirstTurn) {
    PortUnderTest under_test(PortKind::uring);
    std::thread owner([&] {
        std::vector<Completion> completions;
        under_test.port().turn({}, under_test.port().now(), completions);
    });
    owner.join();
}

} // namespace
} // namespace ringmx::ring
