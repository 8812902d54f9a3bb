// What a turn of the loop costs: with nothing to do, with one completion, and with an exchange over
// loopback.
//
// Echo: both ends live in one loop, so that an iteration is two sends and two receives, kernel TCP
// included.
#include "ring/receive_buffers.h"
#include "ring/sockets.h"
#include "ring/uring_port.h"

#include <algorithm>
#include <benchmark/benchmark.h>
#include <sys/socket.h>
#include <vector>

namespace ringmx::ring {
namespace {

std::unique_ptr<UringPort> make_port(bool incremental) {
    UringPort::Settings settings;
    settings.features = probe().value();
    settings.features.incremental_buffers &= incremental;
    return std::move(UringPort::create(settings).value());
}

void turn_without_work(benchmark::State& state) {
    const std::unique_ptr<UringPort> port = make_port(true);
    std::vector<Completion> completions;
    for (auto _ : state) {
        benchmark::DoNotOptimize(port->turn({}, Instant{}, completions));
    }
}
BENCHMARK(turn_without_work);

void turn_with_a_wake(benchmark::State& state) {
    const std::unique_ptr<UringPort> port = make_port(true);
    std::vector<Completion> completions;
    for (auto _ : state) {
        port->waker().wake();
        port->turn({}, never, completions);
    }
}
BENCHMARK(turn_with_a_wake);

// Cancels of nothing are the cheapest operations there are: their cost is the port's own.
void turn_with_empty_operations(benchmark::State& state) {
    const std::unique_ptr<UringPort> port = make_port(true);
    std::vector<Operation> operations(static_cast<std::size_t>(state.range(0)));
    for (Operation& operation : operations) {
        operation.code = Opcode::cancel;
        operation.token = {1, 1, 1};
        operation.target = {2, 2, 2};
    }
    std::vector<Completion> completions;
    for (auto _ : state) {
        completions.clear();
        port->turn(operations, never, completions);
        benchmark::DoNotOptimize(completions.data());
    }
    state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(turn_with_empty_operations)->Arg(1)->Arg(16)->Arg(256);

// `pairs` connections, each with one message of 4 KiB on its way all the time; every arrival is
// sent back.
void echo(benchmark::State& state, bool incremental) {
    std::unique_ptr<UringPort> port = make_port(incremental);
    BufferPool pool({.bytes_max = 64U << 20U});
    ReceiveBuffers buffers(pool, *port);
    const auto pairs = static_cast<std::uint32_t>(state.range(0));
    const std::vector<std::byte> message(4096);
    std::vector<int> descriptors;
    std::vector<Operation> operations;
    for (std::uint32_t pair = 0; pair < pairs; ++pair) {
        const int listener =
            listen_on(SocketAddress::parse("127.0.0.1:0").value(), 1, false).value();
        const SocketAddress address = local_address(listener).value();
        sockaddr_storage storage{};
        const unsigned length = address.to_kernel(storage);
        descriptors.push_back(open_socket(address).value());
        if (::connect(descriptors.back(), reinterpret_cast<const sockaddr*>(&storage), length) !=
            0) {
            state.SkipWithError("connect");
            return;
        }
        descriptors.push_back(::accept(listener, nullptr, nullptr));
        close_socket(listener);
    }
    const auto submit = [&](Opcode code, std::uint32_t slot) {
        Operation operation{};
        operation.code = code;
        operation.descriptor = descriptors[slot];
        operation.token = {static_cast<std::uint8_t>(code), slot, 0};
        operation.octets = message;
        operations.push_back(operation);
    };
    for (std::uint32_t slot = 0; slot < descriptors.size(); ++slot) {
        submit(Opcode::receive, slot);
        if (slot % 2 == 0) {
            submit(Opcode::send, slot);
        }
    }
    std::vector<std::size_t> received(descriptors.size());
    std::vector<Completion> completions;
    std::int64_t messages = 0;
    for (auto _ : state) {
        completions.clear();
        port->turn(operations, never, completions);
        operations.clear();
        for (const Completion& completion : completions) {
            received[completion.token.slot] += buffers.settle(completion).size();
            if (completion.token.operation == static_cast<std::uint8_t>(Opcode::receive)) {
                if (!completion.more) {
                    submit(Opcode::receive, completion.token.slot);
                }
                if (received[completion.token.slot] >= message.size()) {
                    received[completion.token.slot] -= message.size();
                    submit(Opcode::send, completion.token.slot);
                    ++messages;
                }
            }
        }
    }
    state.SetItemsProcessed(messages);
    port.reset(); // receives are in flight: the kernel lets go of the buffers first
    for (const int descriptor : descriptors) {
        close_socket(descriptor);
    }
}
BENCHMARK_CAPTURE(echo, incremental, true)->Arg(1)->Arg(100);
BENCHMARK_CAPTURE(echo, whole_buffers, false)->Arg(1)->Arg(100);

} // namespace
} // namespace ringmx::ring
