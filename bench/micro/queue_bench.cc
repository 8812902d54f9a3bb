// A worker's queue index, while so many messages wait: what each message costs it.
#include "spool/queue_index.h"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>

namespace ringmx::spool {
namespace {

constexpr Instant start{1000h};

// Messages 1 to `count`, each due at a second of its own, in an order of its own. The same index for
// every trial: where instructions are counted, making one of a million takes minutes.
struct Filled {
    QueueIndex index;
    std::uint64_t first = 1;
    std::uint64_t next = 1;

    explicit Filled(std::int64_t count) {
        for (std::int64_t number = 0; number < count; ++number) {
            index.set_due(add(), start + number * 7919 % count * 1s);
        }
    }
    QueueIndex::Slot add() { return index.add({.id = next++}); }
};

template <int which> Filled& kept(std::int64_t count) {
    static std::map<std::int64_t, std::unique_ptr<Filled>> all;
    std::unique_ptr<Filled>& found = all[count];
    if (found == nullptr) {
        found = std::make_unique<Filled>(count);
    }
    return *found;
}

void queue_find(benchmark::State& state) {
    const QueueIndex& index = kept<0>(state.range(0)).index;
    const auto count = static_cast<std::uint64_t>(state.range(0));
    std::uint64_t id = 0;
    for ([[maybe_unused]] auto _ : state) {
        id = (id + 611'953) % count;
        benchmark::DoNotOptimize(index.find(id + 1));
    }
}
BENCHMARK(queue_find)->Arg(10)->Arg(1'000'000);

// The usual message: taken, forwarded, gone, while others wait.
void queue_add_erase(benchmark::State& state) {
    Filled& filled = kept<0>(state.range(0));
    for ([[maybe_unused]] auto _ : state) {
        filled.index.erase(filled.add());
    }
}
BENCHMARK(queue_add_erase)->Arg(10)->Arg(1'000'000);

// Mail comes and none goes: the index grows.
void queue_add(benchmark::State& state) {
    auto filled = std::make_unique<Filled>(state.range(0));
    for ([[maybe_unused]] auto _ : state) {
        benchmark::DoNotOptimize(filled->add());
    }
}
BENCHMARK(queue_add)->Arg(1'000'000)->Iterations(1'000'000);

// A queue that is drained as fast as it fills: the oldest goes.
void queue_add_erase_oldest(benchmark::State& state) {
    Filled& filled = kept<1>(state.range(0));
    for ([[maybe_unused]] auto _ : state) {
        benchmark::DoNotOptimize(filled.add());
        filled.index.erase(*filled.index.find(filled.first++));
    }
}
BENCHMARK(queue_add_erase_oldest)->Arg(10)->Arg(1'000'000);

// An attempt that fails: the next message that is due is taken, and planned anew.
void queue_next_due(benchmark::State& state) {
    QueueIndex& index = kept<2>(state.range(0)).index;
    Instant now = start;
    for ([[maybe_unused]] auto _ : state) {
        now = std::max(now, index.next_deadline());
        const QueueIndex::Slot slot = *index.next_due(now);
        index.set_active(slot);
        index.set_due(slot, now + state.range(0) * 1s);
    }
}
BENCHMARK(queue_next_due)->Arg(10)->Arg(1'000'000);

// A pool that is back: each of its messages is taken in order of age, and lost again at the end.
void queue_wake(benchmark::State& state) {
    QueueIndex& index = kept<3>(state.range(0)).index;
    const auto park_all = [&] {
        for (auto slot = index.first_after(0); slot;
             slot = index.first_after(index.at(*slot).age)) {
            index.park(*slot, 0, start + 1000h);
        }
        index.wake(0);
    };
    park_all();
    for ([[maybe_unused]] auto _ : state) {
        auto slot = index.next_due(start);
        if (!slot) {
            state.PauseTiming();
            park_all();
            slot = index.next_due(start);
            state.ResumeTiming();
        }
        index.set_active(*slot);
    }
}
BENCHMARK(queue_wake)->Arg(1'000'000);

} // namespace
} // namespace ringmx::spool
