// Spools that have no room left even for the marks that would empty them: each goes on by itself once
// its cause is over, and new mail never takes what was made for marks.
#include "sim/worker_rig.h"

#include "spool/message_id.h"

#include <algorithm>
#include <functional>
#include <gtest/gtest.h>
#include <string>
#include <vector>

namespace ringmx::sim {
namespace {

using Kind = QueueQuestion::Kind;
using Result = QueueAnswer::Result;

class SpoolTooFull : public ::testing::Test {
  protected:
    static constexpr std::uint32_t segments_max = 4;

    // What is beyond that is asked for in the name of marks.
    SpoolTooFull() : rig(options()) { rig.segments.set_files_for_mail_max(segments_max); }

    static RigOptions options() {
        RigOptions made;
        made.spool = true;
        made.segments_max = segments_max;
        return made;
    }

    // The reply to the whole message, or to what of it was refused.
    std::string send(std::size_t bytes = 100) {
        Client& client = rig.greeted();
        std::string reply = rig.ask(client, "MAIL FROM:<a@far.example>\r\n");
        if (!reply.starts_with("250")) {
            return reply;
        }
        EXPECT_TRUE(rig.ask(client, "RCPT TO:<u@two.example>\r\n").starts_with("250"));
        EXPECT_TRUE(rig.ask(client, "DATA\r\n").starts_with("354"));
        std::string content = "a: b\r\n\r\n";
        while (content.size() < bytes) {
            content += std::string(70, 'x') + "\r\n";
        }
        return rig.ask(client, content + ".\r\n");
    }
    bool is_taken(std::size_t bytes = 100) { return send(bytes).starts_with("250"); }

    Result change(Kind kind, std::uint64_t id) {
        EXPECT_TRUE(rig.worker->post({.kind = worker::Inbox::Kind::question,
                                      .question = QueueQuestion{.kind = kind, .id = id}}));
        QueueAnswer answer;
        EXPECT_TRUE(rig.run_until([&] { return rig.worker->take_answer(answer); }, 1min));
        return answer.result;
    }

    // Each write fails while `write` runs.
    void fail_next(const std::function<void()>& write) {
        rig.disk.write_error = EIO;
        write();
        rig.disk.write_error = 0;
        rig.run_for(1001ms); // the journal's pause
    }

    // Until new mail gets no segment any more; the last message.
    std::uint64_t fill_with_failures() {
        std::uint64_t id = 0;
        for (std::string reply; (reply = send()).starts_with("250");) {
            id = spool::read_id(reply.substr(24, spool::id_letters)).value_or(0);
            fail_next([this] { EXPECT_FALSE(is_taken()); });
        }
        return id;
    }

    // It goes on: all is delivered, new mail is taken, and as that goes round the disk is as full as it
    // may be.
    void expect_recovers() {
        EXPECT_TRUE(rig.run_until([this] { return rig.queued() == 0; }, 24h));
        EXPECT_TRUE(rig.run_until([this] { return is_taken(); }, 1h)) << "the spool stays full";
        for (int count = 0; count < 60; ++count) {
            EXPECT_TRUE(is_taken(100'000)) << count;
            EXPECT_TRUE(rig.run_until([this] { return rig.queued() == 0; }, 1h));
        }
        rig.run_for(1min);
        EXPECT_LE(rig.segments.own_files(), segments_max + 1U);
        rig.restart(1, true);
        rig.run_for(1h);
        EXPECT_EQ(rig.segments.adopted_files(), 0U) << "something was not marked";
        rig.finish();
    }

    Rig rig;
};

// A write fails in each segment while it holds something: none of them is written to any more.
TEST_F(SpoolTooFull, AWriteFailedInEverySegment) {
    ScriptedBackend& backend = rig.backend(Rig::third_address);
    backend.hold(); // nothing may be moved
    const std::uint64_t id = fill_with_failures();
    for (int failures = 0; rig.segments.own_files() <= segments_max; ++failures) {
        ASSERT_LT(failures, 20);
        ASSERT_EQ(change(Kind::hold, id), Result::done);
        fail_next([&] { EXPECT_EQ(change(Kind::hold, id), Result::not_durable); });
    }
    EXPECT_FALSE(is_taken());
    rig.run_for(1s);
    EXPECT_EQ(change(Kind::release, id), Result::done) << "there is a segment for it now";
    backend.go_on();
    expect_recovers();
}

// It fails on and on, in all segments that there may be for marks too: the last of them goes on.
TEST_F(SpoolTooFull, WritesGoOnFailingInAllThatThereMayBe) {
    ScriptedBackend& backend = rig.backend(Rig::third_address);
    backend.hold();
    const std::uint64_t id = fill_with_failures();
    std::size_t files = 0;
    for (int failures = 0; failures < 60; ++failures) {
        EXPECT_TRUE(rig.run_until([&] { return change(Kind::hold, id) == Result::done; }, 5min))
            << failures;
        fail_next([&] { EXPECT_EQ(change(Kind::hold, id), Result::not_durable); });
        files = std::max(files, rig.segments.own_files());
    }
    EXPECT_EQ(files, segments_max + worker::extra_segments(segments_max));
    EXPECT_FALSE(is_taken());
    // And then for a while each time.
    rig.disk.write_error = EIO;
    rig.run_for(1h);
    EXPECT_EQ(change(Kind::release, id), Result::not_durable);
    rig.disk.write_error = 0;
    rig.run_for(2min);
    EXPECT_EQ(change(Kind::release, id), Result::done);
    backend.go_on();
    expect_recovers();
}

// Commands of an operator, each durable, fill what new mail leaves free.
TEST_F(SpoolTooFull, MarksTookAllThatNewMailLeft) {
    std::uint64_t id = 0;
    for (std::size_t bytes : {250'000U, 1'000U}) {
        for (std::string reply; (reply = send(bytes)).starts_with("250");) {
            id = spool::read_id(reply.substr(24, spool::id_letters)).value_or(0);
        }
    }
    const std::int64_t queued = rig.queued();
    EXPECT_GT(queued, 8);
    int done = 0;
    for (; done < 5000 && change(Kind::hold, id) == Result::done; ++done) {
    }
    EXPECT_LT(done, 5000) << "commands are bounded too";
    EXPECT_GT(done, 500);
    EXPECT_FALSE(is_taken());
    EXPECT_EQ(rig.queued(), queued) << "new mail takes none of it";
    (void)change(Kind::release, id);
    (void)rig.backend(Rig::third_address);
    expect_recovers();
}

// The files of it are lost, and all that there may be: each has mail, or marks about that.
TEST_F(SpoolTooFull, AllOfItIsLost) {
    std::uint64_t id = 0;
    for (std::string reply; (reply = send()).starts_with("250");) {
        id = spool::read_id(reply.substr(24, spool::id_letters)).value_or(0);
    }
    while (rig.worker->queue()->log().segments().spare_count() > 0) {
        EXPECT_EQ(change(Kind::hold, id), Result::done);
        EXPECT_EQ(change(Kind::release, id), Result::done);
    }
    rig.run_for(1s);
    rig.segments.set_files_for_mail_max(SIZE_MAX); // the worker itself asks for no more
    rig.segments.lose(ENOENT);
    EXPECT_TRUE(rig.run_until([this] { return !send().starts_with("451"); }, 1min));
    (void)rig.backend(Rig::third_address);
    expect_recovers();
}

// Reports take more room than the small messages that they are about.
TEST_F(SpoolTooFull, EverythingFailsAndIsToBeReported) {
    rig.reload([](Settings& settings) {
        settings.spool.on_failure = OnFailure::bounce;
        settings.spool.bounce_pool = "one";
    });
    std::int64_t accepted = 0;
    std::uint64_t id = 0;
    for (std::string reply; (reply = send()).starts_with("250"); ++accepted) {
        id = spool::read_id(reply.substr(24, spool::id_letters)).value_or(0);
    }
    EXPECT_GT(accepted, 1000);
    while (change(Kind::hold, id) == Result::done) {
    }
    rig.run_for(1s);
    EXPECT_EQ(change(Kind::release, id), Result::done);
    ScriptedBackend& first = rig.backend(Rig::first_address);
    ScriptedBackend& second = rig.backend(Rig::second_address);
    first.refuse_connections(true);
    second.refuse_connections(true);
    rig.backend(Rig::third_address).answer =
        [](const std::string& command) -> std::optional<std::string> {
        return command.starts_with("RCPT") ? std::optional("550 5.1.1 no such user\r\n")
                                           : std::nullopt;
    };
    rig.run_for(6h); // reports gather
    first.refuse_connections(false);
    second.refuse_connections(false);
    EXPECT_TRUE(rig.run_until([&] { return rig.queued() == 0; }, 24h));
    EXPECT_EQ(rig.counters.reports[observe::ReportKind::failed].value(), accepted);
    expect_recovers();
}

} // namespace
} // namespace ringmx::sim
