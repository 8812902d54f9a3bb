// Shows that simulations find mistakes: with each mutation of base/mutation.h that is listed here a
// seed fails, or the process dies of an assertion, and without any none does. Those of the data path
// are for worlds, those of the queue for the lives of spools, those of the spool's files for the crash
// model.
//
// A mutation that is caught says at which seed and how; one that is not means that they look too
// little. Each runs in a process of its own, since a mistake may well be the end of it.
#include "sim/spool_life.h"
#include "sim/world.h"
#include "unit/spool/crash_model.h"

#include <gtest/gtest.h>

#include <csignal>
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

// Of one seed, many times what any takes: one that goes on is caught where that is how the mistake
// shows, and only there, or a slow machine would find every mistake.
constexpr unsigned seed_seconds_max = 60;

void live_in_world(std::uint64_t seed) {
    static WorldTally tally;
    run_world(seed, tally);
}

void live_in_spool(std::uint64_t seed) {
    static SpoolLifeTally tally;
    run_spool_life(seed, tally);
}

void live_by_crash_model(std::uint64_t seed) {
    static spool::CrashTally tally;
    spool::run_crash_model(seed, tally);
}

struct Mutation {
    const char* name;
    std::uint64_t seeds_max; // it must be caught within so many
    void (*live)(std::uint64_t seed) = live_in_world;
    bool may_go_on = false; // for ever
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
    {"acknowledged_before_durable", 40, live_in_spool},
    {"id_reused", 40, live_in_spool},
    {"message_before_chunks", 40, live_in_spool},
    {"adopted_out_of_order", 80, live_by_crash_model},
    {"any_magic_is_a_record", 80, live_by_crash_model},
    {"delivered_before_adopted", 80, live_by_crash_model},
    {"earlier_life_trusted", 80, live_by_crash_model},
    {"hole_ends_segment", 80, live_by_crash_model},
    {"last_block_rewritten", 80, live_by_crash_model},
    {"marks_elsewhere_unread", 80, live_by_crash_model},
    {"no_sync_flag", 80, live_by_crash_model},
    {"operators_remove_lost", 80, live_by_crash_model},
    {"recycled_with_live_marks", 80, live_by_crash_model},
};

struct Outcome {
    bool caught = false;
    std::string words;
};

[[noreturn]] void live_in_child(const Mutation& mutation) {
    switched_on() = mutation.name;
    for (std::uint64_t seed = 1; seed <= mutation.seeds_max; ++seed) {
        ::alarm(seed_seconds_max);
        std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
        std::fflush(stdout);
        mutation.live(seed);
        if (testing::Test::HasFailure()) {
            std::fflush(stdout);
            ::_exit(1);
        }
    }
    ::_exit(0);
}

Outcome live_with(const Mutation& mutation) {
    int ends[2] = {};
    EXPECT_EQ(::pipe(ends), 0);
    const pid_t child = ::fork();
    if (child == 0) {
        ::dup2(ends[1], STDOUT_FILENO);
        ::dup2(ends[1], STDERR_FILENO);
        ::close(ends[0]);
        ::close(ends[1]);
        live_in_child(mutation);
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
    const bool is_too_slow = WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM;
    return {is_too_slow ? mutation.may_go_on : !WIFEXITED(status) || WEXITSTATUS(status) != 0,
            words.substr(words.rfind("seed ") == std::string::npos ? 0 : words.rfind("seed "))};
}

class MutationTest : public testing::TestWithParam<Mutation> {};

TEST_P(MutationTest, IsCaught) {
    const Outcome outcome = live_with(GetParam());
    EXPECT_TRUE(outcome.caught) << "not caught within " << GetParam().seeds_max << " seeds";
    std::cout << GetParam().name << " is caught: " << outcome.words.substr(0, 600) << '\n';
}

INSTANTIATE_TEST_SUITE_P(World, MutationTest, testing::ValuesIn(mutations),
                         [](const auto& given) { return std::string(given.param.name); });

TEST(NoMutation, NoSeedFails) {
    for (const Mutation& none : {Mutation{"", 25, live_in_world}, Mutation{"", 40, live_in_spool},
                                 Mutation{"", 40, live_by_crash_model}}) {
        const Outcome outcome = live_with(none);
        EXPECT_FALSE(outcome.caught) << outcome.words;
    }
}

} // namespace
} // namespace sim
} // namespace ringmx
