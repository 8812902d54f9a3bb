// Which backend a key goes to: the first choice, the next one, and building the table.
#include "upstream/slot_table.h"

#include <benchmark/benchmark.h>

#include <map>
#include <numeric>
#include <string>
#include <vector>

namespace {

using namespace ringmx;
using namespace ringmx::upstream;

std::vector<BackendSettings> backends(std::int64_t count) {
    std::vector<BackendSettings> made(static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < made.size(); ++i) {
        made[i].address = "10.0." + std::to_string(i / 250) + "." + std::to_string(i % 250) + ":25";
    }
    return made;
}

// The same table for every benchmark and every trial with so many backends: where instructions are
// counted, building one of 500 takes seconds.
const SlotTable& kept_table(std::int64_t count) {
    static std::map<std::int64_t, SlotTable> kept;
    const auto found = kept.find(count);
    return found != kept.end() ? found->second
                               : kept.emplace(count, SlotTable(backends(count))).first->second;
}

void hash_and_pick(benchmark::State& state) {
    const SlotTable& table = kept_table(state.range(0));
    std::vector<std::string> keys;
    for (int i = 0; i < 4096; ++i) {
        keys.push_back("user" + std::to_string(i) + "@example.com");
    }
    std::size_t i = 0;
    for (auto _ : state) {
        const std::uint64_t hash = hash_key(keys[i++ % keys.size()]);
        benchmark::DoNotOptimize(table.first(SlotTable::slot_of(hash)));
    }
}
BENCHMARK(hash_and_pick)->Arg(3)->Arg(500);

void next_choice(benchmark::State& state) {
    const SlotTable& table = kept_table(state.range(0));
    std::uint32_t slot = 0;
    for (auto _ : state) {
        slot = (slot + 7919) % slots_count;
        benchmark::DoNotOptimize(table.next(slot, table.first(slot)));
    }
}
BENCHMARK(next_choice)->Arg(3)->Arg(10)->Arg(500);

void best_of_all(benchmark::State& state) {
    const SlotTable& table = kept_table(state.range(0));
    std::vector<std::uint16_t> candidates(static_cast<std::size_t>(state.range(0)));
    std::iota(candidates.begin(), candidates.end(), std::uint16_t{0});
    std::uint32_t slot = 0;
    for (auto _ : state) {
        slot = (slot + 7919) % slots_count;
        benchmark::DoNotOptimize(table.best_of(slot, candidates));
    }
}
BENCHMARK(best_of_all)->Arg(10)->Arg(500);

void build_table(benchmark::State& state) {
    const auto given = backends(state.range(0));
    for (auto _ : state) {
        benchmark::DoNotOptimize(SlotTable(given));
    }
}
BENCHMARK(build_table)->Arg(3)->Arg(500)->Unit(benchmark::kMillisecond);

} // namespace
