#include "smtp/client_session.h"

#include "smtp/reply_parser.h"

#include <cstdlib>
#include <gtest/gtest.h>
#include <string>
#include <utility>
#include <vector>

namespace ringmx::smtp {
namespace {

const MailCommand sender{"a@b.example", {}, BodyType::unstated, false, ReturnContent::unstated, {}};

struct Seen {
    ClientEvent event;
    ClientCommand command;
    std::string reply; // "250 2.1.0 text"
    bool operator==(const Seen&) const = default;
};

void PrintTo(const Seen& seen, std::ostream* out) {
    *out << "event " << static_cast<int>(seen.event) << " command "
         << static_cast<int>(seen.command) << " '" << seen.reply << "'";
}

std::string shown(const Reply& reply) {
    std::string text = std::to_string(reply.code);
    if (reply.enhanced.class_digit != 0) {
        text += ' ' + std::to_string(reply.enhanced.class_digit) + '.' +
                std::to_string(reply.enhanced.subject) + '.' +
                std::to_string(reply.enhanced.detail);
    }
    return text + ' ' + std::string(reply.text);
}

// Feeds the wire in pieces of `bytes` octets until it is consumed or the session is of no more use.
std::vector<Seen> feed(ClientSession& session, const std::string& wire, std::size_t bytes) {
    std::vector<Seen> seen;
    for (std::size_t at = 0; at < wire.size(); at += bytes) {
        const std::string piece = wire.substr(at, bytes);
        const std::vector<char> memory(piece.begin(), piece.end());
        for (std::size_t position = 0;;) {
            const auto step =
                session.receive(as_bytes({memory.data() + position, memory.size() - position}));
            position += step.consumed;
            if (step.event == ClientEvent::need_input) {
                EXPECT_EQ(position, memory.size());
                break;
            }
            const bool has_reply = step.event != ClientEvent::malformed;
            seen.push_back({step.event, has_reply ? session.command() : ClientCommand::greeting,
                            has_reply ? shown(session.reply()) : ""});
            if (step.event == ClientEvent::malformed) {
                return seen;
            }
        }
    }
    return seen;
}

// Replies that come one after the other, each when it was asked for.
std::vector<Seen> feed_each(ClientSession& session, const std::vector<std::string>& replies,
                            std::size_t bytes) {
    std::vector<Seen> all;
    for (const std::string& reply : replies) {
        const std::vector<Seen> seen = feed(session, reply, bytes);
        all.insert(all.end(), seen.begin(), seen.end());
    }
    return all;
}

constexpr std::size_t piece_sizes[] = {1, 2, 3, 5, 7, 11, 4096};

ClientSession ready_session(bool lmtp = false) {
    ClientSession session("mx1.example", lmtp);
    const auto seen =
        feed_each(session, {"220 b\r\n", "250-b\r\n250-PIPELINING\r\n250 CHUNKING\r\n"}, 4096);
    EXPECT_EQ(seen.size(), 1U);
    EXPECT_EQ(seen[0].event, ClientEvent::ready);
    session.output().clear();
    return session;
}

TEST(ClientSession, GreetingThenEhloMakesItReady) {
    for (const std::size_t bytes : piece_sizes) {
        ClientSession session("mx1.example", false);
        EXPECT_EQ(session.output(), "");
        EXPECT_TRUE(feed(session, "220-hello\r\n220 there\r\n", bytes).empty());
        EXPECT_EQ(std::exchange(session.output(), {}), "EHLO mx1.example\r\n");
        const auto seen = feed(session, "250-b\r\n250 PIPELINING\r\n", bytes);
        ASSERT_EQ(seen.size(), 1U);
        EXPECT_EQ(seen[0].event, ClientEvent::ready);
        EXPECT_TRUE(session.capabilities().esmtp);
        EXPECT_TRUE(session.capabilities().pipelining);
        EXPECT_EQ(session.output(), "");
        EXPECT_EQ(session.unanswered(), 0U);
    }
}

TEST(ClientSession, AnyOtherGreetingFails) {
    for (const auto& [wire, reply] : std::vector<std::pair<std::string, std::string>>{
             {"554 5.7.1 go away\r\n", "554 5.7.1 go away"},
             {"421 busy\r\n", "421 4.0.0 busy"},
             {"250 hm\r\n", "250 2.0.0 hm"},
             {"354 what\r\n", "354 what"}}) {
        for (const std::size_t bytes : piece_sizes) {
            ClientSession session("mx1.example", false);
            EXPECT_EQ(feed(session, wire, bytes),
                      (std::vector<Seen>{{ClientEvent::failed, ClientCommand::greeting, reply}}));
            EXPECT_EQ(session.output(), "");
        }
    }
}

TEST(ClientSession, RefusedEhloFallsBackToHelo) {
    for (const std::string code : {"500", "501", "502", "504", "550", "450"}) {
        ClientSession session("mx1.example", false);
        std::string refusal = code;
        refusal.append("-no\r\n").append(code).append(" no\r\n");
        EXPECT_TRUE(feed_each(session, {"220 b\r\n", refusal}, 3).empty());
        EXPECT_EQ(session.output(), "EHLO mx1.example\r\nHELO mx1.example\r\n");
        const auto seen = feed(session, "250-b\r\n250 PIPELINING\r\n", 3);
        ASSERT_EQ(seen.size(), 1U);
        EXPECT_EQ(seen[0].event, ClientEvent::ready);
        EXPECT_FALSE(session.capabilities().esmtp);
        EXPECT_FALSE(session.capabilities().pipelining);
    }
}

TEST(ClientSession, EhloAndHeloRefusedFails) {
    ClientSession session("mx1.example", false);
    EXPECT_EQ(feed_each(session, {"220 b\r\n", "502 no\r\n", "550 5.7.1 never\r\n"}, 4096),
              (std::vector<Seen>{{ClientEvent::failed, ClientCommand::hello, "550 5.7.1 never"}}));
}

TEST(ClientSession, A421ToEhloFailsAtOnce) {
    ClientSession session("mx1.example", false);
    EXPECT_EQ(feed_each(session, {"220 b\r\n", "421 4.3.2 later\r\n"}, 4096),
              (std::vector<Seen>{{ClientEvent::failed, ClientCommand::hello, "421 4.3.2 later"}}));
}

TEST(ClientSession, LmtpSaysLhloAndHasNoFallback) {
    ClientSession session("mx1.example", true);
    EXPECT_EQ(feed_each(session, {"220 b\r\n", "500 no\r\n"}, 4096),
              (std::vector<Seen>{{ClientEvent::failed, ClientCommand::hello, "500 5.0.0 no"}}));
    EXPECT_EQ(session.output(), "LHLO mx1.example\r\n");
}

TEST(ClientSession, RepliesAreMatchedToPipelinedCommandsInOrder) {
    for (const std::size_t bytes : piece_sizes) {
        ClientSession session = ready_session();
        session.mail(sender, 0);
        session.recipient("x@y.example");
        session.recipient("z@y.example");
        session.data();
        EXPECT_EQ(session.output(), "MAIL FROM:<a@b.example>\r\nRCPT TO:<x@y.example>\r\n"
                                    "RCPT TO:<z@y.example>\r\nDATA\r\n");
        EXPECT_EQ(session.unanswered(), 4U);
        EXPECT_EQ(
            feed(session,
                 "250 2.1.0 ok\r\n250 2.1.5 ok\r\n550-5.1.1 a\r\n550 5.1.1 b\r\n354 go\r\n", bytes),
            (std::vector<Seen>{{ClientEvent::reply, ClientCommand::mail, "250 2.1.0 ok"},
                               {ClientEvent::reply, ClientCommand::recipient, "250 2.1.5 ok"},
                               {ClientEvent::reply, ClientCommand::recipient, "550 5.1.1 a\nb"},
                               {ClientEvent::reply, ClientCommand::data, "354 go"}}));
        EXPECT_EQ(session.unanswered(), 0U);
        session.content_sent(1);
        session.reset();
        session.quit();
        EXPECT_EQ(
            feed(session, "250 taken\r\n250 flushed\r\n221 bye\r\n", bytes),
            (std::vector<Seen>{{ClientEvent::reply, ClientCommand::content, "250 2.0.0 taken"},
                               {ClientEvent::reply, ClientCommand::reset, "250 2.0.0 flushed"},
                               {ClientEvent::reply, ClientCommand::quit, "221 2.0.0 bye"}}));
    }
}

TEST(ClientSession, EachChunkHasItsReply) {
    ClientSession session = ready_session();
    session.chunk(0, false);
    session.chunk(18446744073709551615U, true);
    EXPECT_EQ(session.output(), "BDAT 0\r\nBDAT 18446744073709551615 LAST\r\n");
    EXPECT_EQ(feed(session, "250 a\r\n250 b\r\n", 4096),
              (std::vector<Seen>{{ClientEvent::reply, ClientCommand::chunk, "250 2.0.0 a"},
                                 {ClientEvent::reply, ClientCommand::chunk, "250 2.0.0 b"}}));
    EXPECT_EQ(session.unanswered(), 0U);
}

TEST(ClientSession, LmtpContentHasOneReplyForEachAcceptedRecipient) {
    ClientSession session = ready_session(true);
    session.content_sent(2);
    session.quit();
    EXPECT_EQ(feed(session, "250 a\r\n450 b\r\n221 c\r\n", 1),
              (std::vector<Seen>{{ClientEvent::reply, ClientCommand::content, "250 2.0.0 a"},
                                 {ClientEvent::reply, ClientCommand::content, "450 4.0.0 b"},
                                 {ClientEvent::reply, ClientCommand::quit, "221 2.0.0 c"}}));
}

TEST(ClientSession, LmtpLastChunkHasOneReplyForEachRecipientTheBackendAccepted) {
    ClientSession session = ready_session(true);
    session.mail(sender, 0);
    session.recipient("a@y");
    session.recipient("b@y");
    session.recipient("c@y");
    session.chunk(1, false);
    session.chunk(1, true);
    session.mail(sender, 0);
    const std::string wire =
        "250 m\r\n250 a\r\n550 b\r\n250 c\r\n250 chunk\r\n250 a\r\n451 c\r\n250 m\r\n";
    const auto seen = feed(session, wire, 3);
    ASSERT_EQ(seen.size(), 8U);
    EXPECT_EQ(seen[4].command, ClientCommand::chunk);
    EXPECT_EQ(seen[6], (Seen{ClientEvent::reply, ClientCommand::chunk, "451 4.0.0 c"}));
    EXPECT_EQ(seen[7], (Seen{ClientEvent::reply, ClientCommand::mail, "250 2.0.0 m"}));
    EXPECT_EQ(session.unanswered(), 0U);
}

TEST(ClientSession, LmtpLastChunkWithoutAcceptedRecipientHasOneReply) {
    ClientSession session = ready_session(true);
    session.mail(sender, 0);
    session.recipient("a@y");
    session.chunk(1, true);
    session.quit();
    const auto seen = feed(session, "250 m\r\n550 a\r\n503 no\r\n221 bye\r\n", 4096);
    ASSERT_EQ(seen.size(), 4U);
    EXPECT_EQ(seen[2].command, ClientCommand::chunk);
    EXPECT_EQ(seen[3].command, ClientCommand::quit);
}

TEST(ClientSession, AReplyThatAnswersNothingIsMalformed) {
    ClientSession session = ready_session();
    EXPECT_EQ(feed(session, "250 what\r\n", 4096),
              (std::vector<Seen>{{ClientEvent::malformed, ClientCommand::greeting, ""}}));
    EXPECT_EQ(session.receive({}).event, ClientEvent::malformed);
}

// It would else be taken for the answer to what is sent next.
TEST(ClientSession, AReplyTooManyIsMalformedThoughACommandIsQueuedBeforeItIsLookedAt) {
    const std::string wire = "250 2.1.0 Ok\r\n250 2.0.0 One more\r\n";
    for (std::size_t cut = 15; cut <= wire.size(); ++cut) { // behind the first octet of the second
        ClientSession session = ready_session();
        session.mail(sender, 0);
        const std::string first = wire.substr(0, cut);
        const auto step = session.receive(as_bytes(first));
        ASSERT_EQ(step.event, ClientEvent::reply);
        session.recipient("b@b.example");
        const auto rest = feed(session, first.substr(step.consumed) + wire.substr(cut), 4096);
        ASSERT_EQ(rest.size(), 1U);
        EXPECT_EQ(rest[0].event, ClientEvent::malformed) << cut;
    }
}

TEST(ClientSession, A421BehindTheLastReplyIsUnsolicited) {
    ClientSession session = ready_session();
    session.mail(sender, 0);
    const std::string wire = "250 2.1.0 Ok\r\n421 4.3.2 Closing\r\n";
    const auto step = session.receive(as_bytes(wire));
    ASSERT_EQ(step.event, ClientEvent::reply);
    session.recipient("b@b.example");
    EXPECT_EQ(
        feed(session, wire.substr(step.consumed), 4096),
        (std::vector<Seen>{{ClientEvent::reply, ClientCommand::unsolicited, "421 4.3.2 Closing"}}));
}

TEST(ClientSession, EhlosAnswerWithTheGreetingIsMalformed) {
    ClientSession session("mx1.example", false);
    const auto seen = feed(session, "220 b\r\n250 b\r\n", 4096);
    ASSERT_EQ(seen.size(), 1U);
    EXPECT_EQ(seen[0].event, ClientEvent::malformed);
}

TEST(ClientSession, ARefusalBetween354AndTheEndAnswersTheContent) {
    ClientSession session = ready_session();
    session.data();
    (void)feed(session, "354 go\r\n", 4096);
    EXPECT_EQ(
        feed(session, "552 5.3.4 too big\r\n", 4096),
        (std::vector<Seen>{{ClientEvent::reply, ClientCommand::content, "552 5.3.4 too big"}}));
    EXPECT_EQ(feed(session, "250 2.0.0 hm\r\n", 4096)[0].event, ClientEvent::malformed);
}

TEST(ClientSession, A421ThatAnswersNothingIsUnsolicited) {
    ClientSession session = ready_session();
    EXPECT_EQ(feed(session, "421 4.4.2 idle too long\r\n", 1),
              (std::vector<Seen>{
                  {ClientEvent::reply, ClientCommand::unsolicited, "421 4.4.2 idle too long"}}));
}

TEST(ClientSession, A421ToACommandIsItsAnswer) {
    ClientSession session = ready_session();
    session.mail(sender, 0);
    EXPECT_EQ(feed(session, "421 bye\r\n", 1),
              (std::vector<Seen>{{ClientEvent::reply, ClientCommand::mail, "421 4.0.0 bye"}}));
}

TEST(ClientSession, RepliesThatCannotBeAnAnswerAreMalformed) {
    const auto outcome = [](auto queue, const std::string& wire) {
        ClientSession session = ready_session();
        queue(session);
        return feed(session, wire, 4096).back().event;
    };
    EXPECT_EQ(outcome([](ClientSession& s) { s.data(); }, "250 ok\r\n"), ClientEvent::malformed);
    EXPECT_EQ(outcome([](ClientSession& s) { s.data(); }, "451 no\r\n"), ClientEvent::reply);
    EXPECT_EQ(outcome([](ClientSession& s) { s.recipient("a@b"); }, "354 go\r\n"),
              ClientEvent::malformed);
    EXPECT_EQ(outcome([](ClientSession& s) { s.content_sent(1); }, "354 go\r\n"),
              ClientEvent::malformed);
    EXPECT_EQ(outcome([](ClientSession& s) { s.mail(sender, 0); }, "250_ok\r\n"),
              ClientEvent::malformed);
}

TEST(ClientSession, ARejectedBackendMayStillBeToldToQuit) {
    ClientSession session("mx1.example", false);
    EXPECT_EQ(feed(session, "554 no\r\n", 4096).back().event, ClientEvent::failed);
    session.quit();
    EXPECT_EQ(feed(session, "221 bye\r\n", 4096),
              (std::vector<Seen>{{ClientEvent::reply, ClientCommand::quit, "221 2.0.0 bye"}}));
}

TEST(ClientSession, APipelineThatNeverRunsDryStaysInOrder) {
    ClientSession session = ready_session();
    session.mail(sender, 0);
    for (int round = 0; round < 1000; ++round) {
        session.recipient("x@y");
        session.recipient("z@y");
        session.mail(sender, 0);
        session.output().clear();
        const auto seen = feed(session, "250 m\r\n250 r\r\n250 r\r\n", 5);
        ASSERT_EQ(seen.size(), 3U);
        EXPECT_EQ(seen[0].command, ClientCommand::mail);
        EXPECT_EQ(seen[1].command, ClientCommand::recipient);
        EXPECT_EQ(seen[2].command, ClientCommand::recipient);
        ASSERT_EQ(session.unanswered(), 1U);
    }
}

TEST(ClientSessionDeathTest, AnAddressWithALineEndIsOurOwnMistake) {
    ClientSession session = ready_session();
    EXPECT_DEATH(session.recipient("a@b>\r\nDATA"), "assertion failed");
    EXPECT_DEATH(
        session.mail({"a\n", {}, BodyType::unstated, false, ReturnContent::unstated, {}}, 0),
        "assertion failed");
}

} // namespace
} // namespace ringmx::smtp
