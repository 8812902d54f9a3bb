// Spools that have no room left even for the marks that would empty them: each goes on by itself once
// its cause is over, and new mail never takes what was made for marks.
#include "sim/worker_rig.h"

#include "spool/message_id.h"

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

    // It goes on: all is delivered, new mail is taken, and the disk is as full as it may be.
    void expect_recovers() {
        EXPECT_TRUE(rig.run_until([this] { return rig.queued() == 0; }, 24h));
        EXPECT_TRUE(rig.run_until([this] { return is_taken(); }, 1h)) << "the spool stays full";
        EXPECT_TRUE(rig.run_until([this] { return rig.queued() == 0; }, 1h));
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
    std::uint64_t id = 0;
    const auto fail_next = [&](const auto& write) {
        rig.disk.write_error = EIO;
        write();
        rig.disk.write_error = 0;
        rig.run_for(1001ms); // the journal's pause
    };
    for (std::string reply; (reply = send()).starts_with("250");) {
        id = spool::read_id(reply.substr(24, spool::id_letters)).value_or(0);
        fail_next([this] { EXPECT_FALSE(is_taken()); });
    }
    int failures = 0;
    while (failures < 20 && rig.segments.own_files() <= segments_max &&
           change(Kind::hold, id) == Result::done) {
        ++failures;
        fail_next([&] { EXPECT_EQ(change(Kind::hold, id), Result::not_durable); });
    }
    EXPECT_LT(failures, 20);
    EXPECT_FALSE(is_taken());
    rig.run_for(1s);
    EXPECT_EQ(change(Kind::release, id), Result::done) << "there is a segment for it now";
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

} // namespace
} // namespace ringmx::sim
