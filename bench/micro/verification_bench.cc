// What the cache of verified recipients costs when it is full: a lookup that finds, one that does
// not, and an answer that pushes out the oldest.
#include "policy/verification_cache.h"

#include <benchmark/benchmark.h>
#include <string>
#include <vector>

namespace ringmx::policy {
namespace {

constexpr std::uint32_t entries = 500'000; // of one worker of two
const RecipientRefusal unknown{550, {5, 1, 1}, "<some.user@example.com>: User unknown"};

std::string mailbox(std::uint64_t number) {
    return "some.user" + std::to_string(number) + "@example.com";
}

// Filled once for all: this takes longer than what is measured.
VerificationCache& full_cache() {
    static VerificationCache cache = [] {
        VerificationCache made(entries, 1);
        for (std::uint32_t number = 0; number < entries; ++number) {
            made.accept(made.key_of("mailstore", mailbox(number)), Instant(1h), 6h);
        }
        return made;
    }();
    return cache;
}

std::vector<std::string> mailboxes(std::uint64_t first) {
    std::vector<std::string> made;
    made.reserve(4096);
    for (std::uint64_t number = 0; number < 4096; ++number) {
        made.push_back(mailbox(first + number * 101 % entries));
    }
    return made;
}

void find(benchmark::State& state, std::uint64_t first) {
    VerificationCache& cache = full_cache();
    const std::vector<std::string> asked = mailboxes(first);
    std::size_t next = 0;
    for (auto _ : state) {
        const std::string& recipient = asked[next++ % asked.size()];
        benchmark::DoNotOptimize(cache.find(cache.key_of("mailstore", recipient), Instant(1h)));
    }
}
void find_known(benchmark::State& state) { find(state, 0); }
BENCHMARK(find_known);
void find_unknown(benchmark::State& state) { find(state, entries); }
BENCHMARK(find_unknown);

void refuse_and_evict(benchmark::State& state) {
    VerificationCache cache(entries, 1);
    std::vector<VerificationCache::Key> keys;
    keys.reserve(2 * entries);
    for (std::uint32_t number = 0; number < 2 * entries; ++number) {
        keys.push_back(cache.key_of("mailstore", mailbox(number)));
    }
    std::size_t next = 0;
    for (auto _ : state) {
        cache.refuse(keys[next++ % keys.size()], unknown, "some.user@example.com", Instant(1h), 6h);
    }
}
BENCHMARK(refuse_and_evict);

} // namespace
} // namespace ringmx::policy
