// Queued mail that is with a backend whole, and whose final reply is still to come.
#include "sim/spool_scenes.h"

#include <gtest/gtest.h>
#include <string>
#include <utility>

namespace ringmx::sim {
namespace {

// All of it in one send, or one command after the other.
class SpoolFinalReply : public ::testing::TestWithParam<bool> {
  protected:
    SpoolFinalReply() : rig(spooling()), backend(rig.backend(Rig::third_address, profile())) {}

    static BackendProfile profile() {
        BackendProfile made;
        made.pipelining = made.chunking = GetParam();
        return made;
    }
    void send() {
        const std::string reply =
            send_message(rig, rig.greeted(), "a: b\r\n\r\nc\r\n", "<u@two.example>");
        EXPECT_TRUE(reply.starts_with("250 2.0.0")) << reply;
    }
    // To commands of this verb, where "." is the end of the content.
    void be_silent_at(std::string verb) {
        backend.judge = [verb = std::move(verb)](const Asked& asked) {
            return Judged{.text = asked.command.starts_with(verb) ? "" : asked.ordinary};
        };
    }
    [[nodiscard]] std::int64_t in_state(QueueState state) const {
        return rig.counters.queue_messages_by_state[static_cast<std::size_t>(state)].value();
    }
    // Of the worker as it is now: it may be asked when that is gone.
    [[nodiscard]] auto possible_duplicates() const {
        return [snapshot = rig.worker->snapshot()] {
            return snapshot->pools[1]
                ->rows[0]
                ->workers[0]
                .failures[observe::ForwardFailure::possible_duplicate]
                .value();
        };
    }

    Rig rig;
    ScriptedBackend& backend;
};

TEST_P(SpoolFinalReply, AfterNineMinutesItIsTaken) {
    backend.judge = [](const Asked& asked) {
        return Judged{.text = asked.ordinary, .after = asked.command == "." ? 9min : 0min};
    };
    send();
    rig.run_for(8min + 50s);
    EXPECT_EQ(in_state(QueueState::active), 1);
    EXPECT_TRUE(rig.run_until([&] { return rig.queued() == 0; }, 20s));
    rig.run_for(1h);
    EXPECT_EQ(backend.messages.size(), 1U);
    EXPECT_EQ(backend.connections, 1U);
    EXPECT_EQ(possible_duplicates()(), 0U);
    rig.finish();
}

TEST_P(SpoolFinalReply, SilenceForTenMinutesIsARetry) {
    be_silent_at(".");
    send();
    rig.run_for(9min + 50s);
    EXPECT_EQ(in_state(QueueState::active), 1);
    EXPECT_EQ(possible_duplicates()(), 0U);
    rig.run_for(20s);
    EXPECT_EQ(in_state(QueueState::active), 0);
    EXPECT_EQ(rig.queued(), 1);
    EXPECT_EQ(possible_duplicates()(), 1U) << "the backend may have it";
    backend.judge = nullptr;
    EXPECT_TRUE(rig.run_until([&] { return rig.queued() == 0; }, 1min));
    EXPECT_EQ(backend.messages.size(), 2U);
    rig.finish();
}

TEST_P(SpoolFinalReply, OneThatADrainCutsIsAPossibleDuplicateOnceAllOfItIsSent) {
    // Of which nothing may be there yet: the hello is said before anything of the message.
    for (const std::string silence : {"EHLO", "."}) {
        be_silent_at(silence);
        send();
        rig.run_for(5s);
        const auto duplicates = possible_duplicates();
        rig.post(worker::Inbox::Kind::drain);
        rig.run_for(rig.settings().timeouts.drain);
        EXPECT_FALSE(rig.finished());
        EXPECT_EQ(duplicates(), 0U);
        rig.post(worker::Inbox::Kind::cut);
        EXPECT_TRUE(rig.run_until([&] { return rig.finished(); }, 1min));
        EXPECT_EQ(duplicates(), silence == "." ? 1U : 0U);
        const std::size_t before = taken(backend).size();
        backend.judge = nullptr;
        rig.restart(1, false);
        EXPECT_TRUE(rig.run_until([&] { return rig.queued() == 1; }, 1min));
        EXPECT_TRUE(rig.run_until([&] { return rig.queued() == 0; }, 1min));
        EXPECT_EQ(taken(backend).size(), before + 1) << "twice perhaps, never not at all";
    }
    rig.finish();
}

INSTANTIATE_TEST_SUITE_P(AtOnceOrOneByOne, SpoolFinalReply, ::testing::Bool());

} // namespace
} // namespace ringmx::sim
