// Looking a recipient up among the routes: what it costs with 10 entries and with a million.
#include "policy/routes.h"

#include <benchmark/benchmark.h>

#include <cstdio>
#include <fstream>
#include <map>
#include <string>
#include <unistd.h>
#include <vector>

namespace {

using ringmx::policy::Routes;

// Half domains, half addresses, and three levels of wildcards.
Routes routes_of(std::int64_t entries) {
    const std::string path = "/tmp/ringmx-route-bench-" + std::to_string(::getpid());
    {
        std::ofstream file(path);
        for (std::int64_t i = 0; i < entries; ++i) {
            file << (i % 2 == 0 ? "user" + std::to_string(i) + "@mail.example.com\n"
                                : "domain" + std::to_string(i) + ".example\n");
        }
    }
    ringmx::Settings settings;
    settings.hostname = "mx1.example.com";
    settings.routes.resize(1);
    settings.routes[0].recipients = {"*.example.org", "*.deep.example.org", "*.a.deep.example.org"};
    settings.routes[0].recipients_file = path;
    auto routes = Routes::build(settings);
    std::remove(path.c_str());
    return std::move(routes).value();
}

// The same table for every benchmark and every trial of its length: a million take a second to
// build, and minutes where instructions are counted.
const Routes& kept_routes(std::int64_t entries) {
    static std::map<std::int64_t, Routes> kept;
    const auto found = kept.find(entries);
    return found != kept.end() ? found->second
                               : kept.emplace(entries, routes_of(entries)).first->second;
}

// Recipients spread over all entries, as mail is: more than the caches hold.
std::vector<std::string> recipients(std::int64_t entries) {
    std::vector<std::string> list;
    std::uint64_t random = 1;
    for (int i = 0; i < 65'536; ++i) {
        random = random * 6364136223846793005U + 1442695040888963407U;
        const auto n =
            static_cast<std::int64_t>((random >> 33U) % static_cast<std::uint64_t>(entries));
        list.push_back(n % 2 == 0 ? "user" + std::to_string(n) + "@mail.example.com"
                                  : "someone@domain" + std::to_string(n) + ".example");
    }
    return list;
}

void find_canonical(benchmark::State& state) {
    const Routes& routes = kept_routes(state.range(0));
    const auto list = recipients(state.range(0));
    std::size_t i = 0;
    for (auto _ : state) {
        const std::string_view mailbox = list[i++ % list.size()];
        const std::size_t at = mailbox.find('@');
        benchmark::DoNotOptimize(routes.pool_of(mailbox.substr(0, at), mailbox.substr(at + 1)));
    }
    state.counters["bytes_per_entry"] =
        static_cast<double>(routes.memory_bytes()) / static_cast<double>(routes.entries_count());
}
BENCHMARK(find_canonical)->Arg(10)->Arg(1'000'000);

void find_mailbox(benchmark::State& state) {
    const Routes& routes = kept_routes(state.range(0));
    const auto list = recipients(state.range(0));
    std::string key;
    std::size_t i = 0;
    for (auto _ : state) {
        benchmark::DoNotOptimize(routes.find_mailbox(list[i++ % list.size()], key));
    }
}
BENCHMARK(find_mailbox)->Arg(10)->Arg(1'000'000);

void find_no_route_deep_domain(benchmark::State& state) {
    const Routes& routes = kept_routes(state.range(0));
    std::string domain = "x";
    while (domain.size() < 250) {
        domain += ".x";
    }
    for (auto _ : state) {
        benchmark::DoNotOptimize(routes.pool_of("someone", domain));
    }
}
BENCHMARK(find_no_route_deep_domain)->Arg(1'000'000);

void build(benchmark::State& state) {
    for (auto _ : state) {
        benchmark::DoNotOptimize(routes_of(state.range(0)));
    }
}
BENCHMARK(build)->Arg(1'000'000)->Unit(benchmark::kMillisecond)->Iterations(2);

} // namespace
