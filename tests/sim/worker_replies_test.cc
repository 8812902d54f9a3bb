// When replies leave: those to a group of pipelined commands together, and none later than a second
// after it was ready (RFC 2920, 3.2).
#include "sim/worker_scenes.h"

#include <gmock/gmock.h>

namespace ringmx::sim {
namespace {

using testing::ElementsAre;
using testing::StartsWith;

constexpr const char* mail = "MAIL FROM:<a@b.example>\r\n";
constexpr const char* recipient = "RCPT TO:<user@one.example>\r\n";
const std::string envelope = std::string(mail) + recipient;

const std::string mail_reply = "250 2.1.0 Ok\r\n";
const std::string recipient_reply = "250 2.1.5 Recipient ok\r\n";

// A backend that takes its time for one verb; "." is the end of the message.
struct Slow : Single {
    Slow(const std::string& verb, Duration time, bool chunking = true)
        : Single(BackendProfile{.chunking = chunking}) {
        backend.judge = [verb, time](const Asked& asked) {
            const bool is_slow = asked.command.starts_with(verb);
            return Judged{.text =
                              asked.command.starts_with("RCPT") ? recipient_reply : asked.ordinary,
                          .after = is_slow ? time : Duration{0}};
        };
    }

    // Sends, and gives what has come anew at each of these times after it. A turn may last beyond
    // them: the network itself looks.
    std::vector<std::string> heard(Client& client, std::string_view octets,
                                   const std::vector<Duration>& times) {
        std::vector<std::string> pieces;
        for (const Duration time : times) {
            rig.network.schedule(time, [&] { pieces.push_back(client.socket->take()); });
        }
        rig.send(client, octets);
        (void)rig.run_until([&] { return pieces.size() == times.size(); });
        return pieces;
    }
};

TEST(WorkerReplies, OfAPipelinedGroupLeaveTogether) {
    Slow slow("RCPT", 500ms);
    Client& client = slow.rig.greeted();
    EXPECT_THAT(slow.heard(client, envelope, {490ms, 510ms}),
                ElementsAre("", mail_reply + recipient_reply));
    slow.rig.finish();
}

TEST(WorkerReplies, InLockStepLeaveAtOnce) {
    Slow slow("RCPT", 500ms);
    Client& client = slow.rig.greeted();
    EXPECT_THAT(slow.heard(client, mail, {10ms}), ElementsAre(mail_reply));
    EXPECT_THAT(slow.heard(client, recipient, {510ms}), ElementsAre(recipient_reply));
    slow.rig.finish();
}

TEST(WorkerReplies, WaitForTheNextOneASecondAndNoLonger) {
    Slow slow("RCPT", 30s);
    Client& client = slow.rig.greeted();
    EXPECT_THAT(slow.heard(client, envelope, {990ms, 1050ms, 29s, 31s}),
                ElementsAre("", mail_reply, "", recipient_reply));
    slow.rig.finish();
}

TEST(WorkerReplies, DoNotWaitLongerForCommandsThatComeMeanwhile) {
    Slow slow("RCPT", 30s);
    Client& client = slow.rig.greeted();
    slow.rig.network.schedule(600ms, [&] { client.socket->write(recipient); });
    EXPECT_THAT(slow.heard(client, envelope, {990ms, 1050ms}), ElementsAre("", mail_reply));
    slow.rig.finish();
}

TEST(WorkerReplies, OfSlowRecipientsLeaveASecondAfterTheFirstThatWaits) {
    Slow slow("RCPT TO:<slow", 30s);
    Client& client = slow.rig.greeted();
    EXPECT_THAT(
        slow.heard(client, envelope + "RCPT TO:<slow@one.example>\r\n", {990ms, 1050ms, 31s}),
        ElementsAre("", mail_reply + recipient_reply, recipient_reply));
    slow.rig.finish();
}

TEST(WorkerReplies, ThatMayNotWaitTakeTheOthersWithThem) {
    Slow slow("RCPT", 500ms);
    Client& client = slow.rig.greeted();
    EXPECT_THAT(slow.heard(client, "NOOP\r\n" + envelope, {10ms, 510ms}),
                ElementsAre("250 2.0.0 Ok\r\n" + mail_reply, recipient_reply));
    slow.rig.finish();
}

TEST(WorkerReplies, LeaveWithTheOneToData) {
    Slow slow("DATA", 500ms, false);
    Client& client = slow.rig.greeted();
    EXPECT_THAT(slow.heard(client, envelope + "DATA\r\n", {490ms, 510ms}),
                ElementsAre("", StartsWith(mail_reply + recipient_reply + "354 ")));
    EXPECT_EQ(slow.rig.ask(client, "x\r\n.\r\n"), taken);
    slow.rig.finish();
}

TEST(WorkerReplies, LeaveWithTheOneToAMessageThatCameWithItsEnvelope) {
    Slow slow(".", 500ms);
    Client& client = slow.rig.greeted();
    EXPECT_THAT(slow.heard(client, envelope + "BDAT 3 LAST\r\nx\r\n", {490ms, 510ms}),
                ElementsAre("", mail_reply + recipient_reply + taken));
    slow.rig.finish();
}

TEST(WorkerReplies, DoNotWaitForAChunkThatHasNotCome) {
    Slow slow("RCPT", 100ms);
    Client& client = slow.rig.greeted();
    EXPECT_THAT(slow.heard(client, envelope + "BDAT 3 LAST\r\n", {110ms}),
                ElementsAre(mail_reply + recipient_reply));
    EXPECT_EQ(slow.rig.ask(client, "x\r\n"), taken);
    slow.rig.finish();
}

TEST(WorkerReplies, ThatWaitLeaveBeforeALastOne) {
    Slow slow("RCPT", 30s);
    Client& client = slow.rig.greeted();
    slow.rig.network.schedule(100ms, [&] { slow.rig.post(Inbox::Kind::cut); });
    EXPECT_THAT(slow.heard(client, envelope, {90ms, 300ms}),
                ElementsAre("", StartsWith(mail_reply + "421 4.3.2 ")));
    slow.rig.finish();
}

TEST(WorkerReplies, ReachAClientThatHasShutItsSendingSide) {
    Slow slow("RCPT", 500ms);
    Client& client = slow.rig.greeted();
    slow.rig.network.schedule(10ms, [&] { client.socket->end(); });
    EXPECT_THAT(slow.heard(client, envelope, {510ms}), ElementsAre(mail_reply + recipient_reply));
    slow.rig.finish();
}

TEST(WorkerReplies, WaitOnlyWhileTheyAreFew) {
    Slow slow("RCPT TO:<slow", 30s);
    Client& client = slow.rig.greeted();
    std::string group = envelope;
    for (int count = 0; count < 200; ++count) {
        group += recipient;
    }
    const std::vector<std::string> pieces =
        slow.heard(client, group + "RCPT TO:<slow@one.example>\r\n", {500ms});
    EXPECT_GE(pieces[0].size(), 200 * recipient_reply.size() - 4096);
    slow.rig.finish();
}

} // namespace
} // namespace ringmx::sim
