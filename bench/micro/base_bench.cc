// Slab and timer wheel: what every connection, transaction and timeout goes through.
#include "base/slab.h"
#include "base/timer_wheel.h"

#include <benchmark/benchmark.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace ringmx {
namespace {

constexpr std::uint32_t slots_max = 1U << 20U;

// About as large as a client's connection.
struct Object {
    explicit Object(Handle self) : handle(self) {}
    Handle handle;
    std::array<std::byte, 500> rest{};
};

// A slot is taken and given back, while so many others are in use.
void slab_create_destroy(benchmark::State& state) {
    Slab<Object> slab(slots_max);
    for (std::int64_t count = 0; count < state.range(0); ++count) {
        benchmark::DoNotOptimize(slab.create());
    }
    for ([[maybe_unused]] auto _ : state) {
        Object* const object = slab.create();
        benchmark::DoNotOptimize(object);
        slab.destroy(*object);
    }
}
BENCHMARK(slab_create_destroy)->Arg(10)->Arg(18000);

// As each completion does, by a token of any of them.
void slab_find(benchmark::State& state) {
    Slab<Object> slab(slots_max);
    std::vector<Handle> handles;
    for (std::int64_t count = 0; count < state.range(0); ++count) {
        handles.push_back(slab.create()->handle);
    }
    std::size_t index = 0;
    for ([[maybe_unused]] auto _ : state) {
        index = (index + 7919) % handles.size();
        benchmark::DoNotOptimize(slab.find(handles[index]));
    }
}
BENCHMARK(slab_find)->Arg(10)->Arg(18000);

std::vector<std::unique_ptr<Timer>> made_timers(std::int64_t count) {
    std::vector<std::unique_ptr<Timer>> timers;
    while (timers.size() < static_cast<std::size_t>(count)) {
        timers.push_back(std::make_unique<Timer>(0, static_cast<std::uint32_t>(timers.size())));
    }
    return timers;
}

// A timeout that is set anew with each command and never comes.
void timer_set(benchmark::State& state) {
    Instant now{1h};
    TimerWheel wheel(now);
    const auto timers = made_timers(state.range(0));
    std::size_t index = 0;
    for ([[maybe_unused]] auto _ : state) {
        index = (index + 7919) % timers.size();
        now += Duration{1000};
        wheel.set(*timers[index], now + 5min);
    }
}
BENCHMARK(timer_set)->Arg(10)->Arg(18000);

// A turn in which none is due, among so many.
void timer_turn(benchmark::State& state) {
    Instant now{1h};
    TimerWheel wheel(now);
    const auto timers = made_timers(state.range(0));
    for (const auto& timer : timers) {
        wheel.set(*timer, now + 1h);
    }
    for ([[maybe_unused]] auto _ : state) {
        now += Duration{50};
        wheel.advance(now, [](Timer&) {});
        benchmark::DoNotOptimize(wheel.next_due());
    }
}
BENCHMARK(timer_turn)->Arg(10)->Arg(18000);

// Each fires once a second and is set again.
void timer_fire(benchmark::State& state) {
    Instant now{1h};
    TimerWheel wheel(now);
    const auto timers = made_timers(state.range(0));
    const Duration step = Duration(1s) / state.range(0);
    for (const auto& timer : timers) {
        now += step;
        wheel.set(*timer, now + 1s);
    }
    for ([[maybe_unused]] auto _ : state) {
        now += step;
        wheel.advance(now, [&](Timer& timer) { wheel.set(timer, now + 1s); });
    }
}
BENCHMARK(timer_fire)->Arg(10)->Arg(18000);

} // namespace
} // namespace ringmx
