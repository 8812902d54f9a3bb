// Shows that worlds find mistakes: with each mutation of base/mutation.h that is listed here a seed
// fails, or the process dies of an assertion, and without any none does.
//
// A mutation that is caught says at which seed and how; one that is not means that worlds look too
// little. Each runs in a process of its own, since a mistake may well be the end of it.
#include "sim/world.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdio>
#include <iostream>
#include <string>
#include <string_view>
#include <sys/wait.h>
#include <unistd.h>

namespace ringmx {
namespace {

std::string_view& switched_on() {
    static std::string_view name;
    return name;
}

} // namespace

bool is_mutation_on(std::string_view name) { return name == switched_on(); }

namespace sim {
namespace {

// A world that does not end within this is caught too.
constexpr unsigned child_seconds_max = 120;

struct Mutation {
    const char* name;
    std::uint64_t seeds_max; // it must be caught within so many
};

constexpr Mutation mutations[] = {
    {"ack_before_backend", 10},
    {"changed_envelope_ignored", 60},
    {"closed_in_flight", 10},
    {"connection_stays_counted", 10},
    {"counted_twice", 400},
    {"counter_off", 10},
    {"double_release", 10},
    {"end_after_bare_lf", 10},
    {"held_dot_lost", 60},
    {"memory_mark_ignored", 60},
    {"missing_dot_at_split", 10},
    {"offset_shifts", 10},
    {"receive_not_rearmed", 10},
    {"reused_after_421", 60},
    {"second_backend_after_final_dot", 60},
    {"short_send_taken_as_whole", 10},
    {"slice_freed_at_send", 60},
    {"stale_completion_drops_buffer", 60},
    {"timer_lost", 60},
    {"wrong_pool_asked", 10},
};

struct Outcome {
    bool caught = false;
    std::string words;
};

[[noreturn]] void live_in_child(const char* mutation, std::uint64_t seeds_max) {
    switched_on() = mutation;
    ::alarm(child_seconds_max);
    WorldTally tally;
    for (std::uint64_t seed = 1; seed <= seeds_max; ++seed) {
        std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
        std::fflush(stdout);
        run_world(seed, tally);
        if (testing::Test::HasFailure()) {
            std::fflush(stdout);
            ::_exit(1);
        }
    }
    ::_exit(0);
}

Outcome live_with(const char* mutation, std::uint64_t seeds_max) {
    int ends[2] = {};
    EXPECT_EQ(::pipe(ends), 0);
    const pid_t child = ::fork();
    if (child == 0) {
        ::dup2(ends[1], STDOUT_FILENO);
        ::dup2(ends[1], STDERR_FILENO);
        ::close(ends[0]);
        ::close(ends[1]);
        live_in_child(mutation, seeds_max);
    }
    ::close(ends[1]);
    std::string words;
    char piece[4096];
    for (ssize_t count = 0; (count = ::read(ends[0], piece, sizeof piece)) > 0;) {
        words.append(piece, static_cast<std::size_t>(count));
    }
    ::close(ends[0]);
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    return {!WIFEXITED(status) || WEXITSTATUS(status) != 0,
            words.substr(words.rfind("seed ") == std::string::npos ? 0 : words.rfind("seed "))};
}

class MutationTest : public testing::TestWithParam<Mutation> {};

TEST_P(MutationTest, IsCaught) {
    const Outcome outcome = live_with(GetParam().name, GetParam().seeds_max);
    EXPECT_TRUE(outcome.caught) << "not caught within " << GetParam().seeds_max << " seeds";
    std::cout << GetParam().name << " is caught: " << outcome.words.substr(0, 600) << '\n';
}

INSTANTIATE_TEST_SUITE_P(World, MutationTest, testing::ValuesIn(mutations),
                         [](const auto& given) { return std::string(given.param.name); });

TEST(NoMutation, NoSeedFails) {
    const Outcome outcome = live_with("", 25);
    EXPECT_FALSE(outcome.caught) << outcome.words;
}

} // namespace
} // namespace sim
} // namespace ringmx
