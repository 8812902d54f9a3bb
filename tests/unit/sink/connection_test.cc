#include "sink/connection.h"

#include <gtest/gtest.h>
#include <string>
#include <utility>

namespace ringmx::sink {
namespace {

// A connection of its own world: options, one backend, one ledger.
struct World {
    explicit World(const Personality& personality = {}, const Options& its = {},
                   unsigned worker = 0)
        : options(its), ledger(options, worker), backend(personality) {}

    Options options;
    Ledger ledger;
    Backend backend;
};

Personality with(Phase phase, Mischief mischief, double share = 1) {
    Personality personality;
    personality.at(phase).share(mischief) = share;
    return personality;
}

using Wish = Connection::Wish;

// Everything that the wire brings about, with delays that are over at once; `last` is the wish that
// ended it.
std::string answers(Connection& connection, const std::string& wire, Wish& last,
                    bool is_greeted = false) {
    last = is_greeted ? Wish::need_input : connection.greet();
    for (std::size_t at = 0; at < wire.size();) {
        while (last == Wish::wait) {
            last = connection.conclude();
        }
        if (last != Wish::need_input) {
            break;
        }
        const auto step = connection.receive(as_bytes({wire.data() + at, wire.size() - at}));
        at += step.consumed;
        last = step.wish;
    }
    if (last == Wish::wait) {
        last = connection.conclude();
    }
    return std::exchange(connection.output(), {});
}

const std::string one_message = "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 21 LAST\r\n"
                                "Message-ID: <m@x>\r\n\r\n";

TEST(SinkConnection, CountsAnAcknowledgedMessage) {
    World world;
    Connection connection(world.ledger, world.backend);
    Wish last{};
    const std::string said = answers(connection, "EHLO me\r\n" + one_message + one_message, last);
    EXPECT_EQ(last, Wish::need_input);
    EXPECT_TRUE(said.starts_with("220 localhost ESMTP ringmx-sink\r\n")) << said;
    EXPECT_TRUE(said.ends_with("250 2.1.5 Ok\r\n250 2.0.0 Ok\r\n")) << said;
    EXPECT_EQ(world.ledger.totals.connections, 1U);
    EXPECT_EQ(world.ledger.totals.messages, 2U);
    EXPECT_EQ(world.ledger.totals.recipients, 2U);
    EXPECT_EQ(world.ledger.totals.bytes, 42U);
    EXPECT_EQ(world.ledger.totals.ids.size(), 1U);
}

TEST(SinkConnection, CountsOctetsAfterUnstuffing) {
    World world;
    Connection connection(world.ledger, world.backend);
    Wish last{};
    const std::string wire = "EHLO me\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\n"
                             "DATA\r\n..dot\r\n..\r\n.\r\n";
    (void)answers(connection, wire, last);
    EXPECT_EQ(world.ledger.totals.messages, 1U);
    EXPECT_EQ(world.ledger.totals.recipients, 2U);
    EXPECT_EQ(world.ledger.totals.bytes, 9U);
    EXPECT_EQ(world.ledger.totals.messages_without_id, 1U);
}

TEST(SinkConnection, ADelayStopsReadingUntilItIsConcluded) {
    Personality personality;
    personality.at(Phase::end_of_data).delay = 1s;
    World world(personality);
    Connection connection(world.ledger, world.backend);
    ASSERT_EQ(connection.greet(), Wish::need_input);
    const std::string wire = "EHLO me\r\n" + one_message + "QUIT\r\n";
    const auto step = connection.receive(as_bytes(wire));
    EXPECT_EQ(step.wish, Wish::wait);
    EXPECT_EQ(connection.delay(), 1s);
    EXPECT_EQ(step.consumed, wire.size() - 6);
    EXPECT_EQ(world.ledger.totals.messages, 0U);
    EXPECT_EQ(connection.conclude(), Wish::need_input);
    EXPECT_EQ(world.ledger.totals.messages, 1U);
    EXPECT_EQ(connection.receive(as_bytes("QUIT\r\n")).wish, Wish::close);
    EXPECT_TRUE(connection.output().ends_with("250 2.0.0 Ok\r\n221 2.0.0 Bye\r\n") ||
                connection.output().find("\r\n221 2.0.0 ") != std::string::npos);
}

struct Share {
    double tempfail, reject, disconnect;
};

Personality with_shares(const Share& share) {
    Personality personality;
    PhaseBehavior& end_of_data = personality.at(Phase::end_of_data);
    end_of_data.share(Mischief::tempfail) = share.tempfail;
    end_of_data.share(Mischief::reject) = share.reject;
    end_of_data.share(Mischief::disconnect) = share.disconnect;
    return personality;
}

TEST(SinkConnection, EachFinalReplyHasItsShareAndThoseThatAddUpToMoreLeaveTheFirstItsOwn) {
    struct Case {
        Share asked;
        Share seen;
    };
    for (const Case& one : {Case{{0.2, 0.3, 0.4}, {0.2, 0.3, 0.4}}, Case{{1, 0, 0}, {1, 0, 0}},
                            Case{{0, 1, 0}, {0, 1, 0}}, Case{{0, 0, 1}, {0, 0, 1}},
                            Case{{0.5, 0.5, 0}, {0.5, 0.5, 0}}, Case{{0, 0.5, 0.5}, {0, 0.5, 0.5}},
                            Case{{0.25, 1, 0.5}, {0.25, 0.25, 0.5}}}) {
        World world(with_shares(one.asked));
        constexpr int messages = 2000;
        int tempfailed = 0;
        int rejected = 0;
        int dropped = 0;
        for (int count = 0; count < messages; ++count) {
            Connection connection(world.ledger, world.backend);
            Wish last{};
            const std::string said = answers(connection, "EHLO me\r\n" + one_message, last);
            tempfailed += said.find("\r\n451 4.3.0 ") != std::string::npos ? 1 : 0;
            rejected += said.find("\r\n550 5.7.1 ") != std::string::npos ? 1 : 0;
            dropped += last == Wish::close ? 1 : 0;
        }
        constexpr double slack = 0.05 * messages;
        EXPECT_NEAR(tempfailed, one.seen.tempfail * messages, slack);
        EXPECT_NEAR(rejected, one.seen.reject * messages, slack);
        EXPECT_NEAR(dropped, one.seen.disconnect * messages, slack);
        EXPECT_EQ(world.ledger.totals.messages,
                  static_cast<std::uint64_t>(messages - tempfailed - rejected - dropped));
    }
}

TEST(SinkConnection, TheSameSeedDrawsTheSame) {
    Options options;
    options.seed = 42;
    Ledger first(options, 1);
    Ledger second(options, 1);
    Ledger other_worker(options, 2);
    const double draw = first.draw();
    EXPECT_EQ(draw, second.draw());
    EXPECT_NE(draw, other_worker.draw());
}

TEST(SinkConnection, LmtpCountsTheRecipientsThatWereTaken) {
    Options options;
    options.lmtp = true;
    World world(with(Phase::end_of_data, Mischief::reject, 0.5), options);
    Connection connection(world.ledger, world.backend);
    std::string wire = "LHLO me\r\nMAIL FROM:<a@b>\r\n";
    for (int count = 0; count < 100; ++count) {
        wire += "RCPT TO:<c@d>\r\n";
    }
    wire += "DATA\r\nx\r\n.\r\n";
    Wish last{};
    const std::string said = answers(connection, wire, last);
    std::size_t taken = 0;
    std::size_t refused = 0;
    for (std::size_t at = said.find("\r\n354 "); at != std::string::npos;
         at = said.find("\r\n", at + 2)) {
        taken += said.substr(at, 6) == "\r\n250 " ? 1U : 0U;
        refused += said.substr(at, 6) == "\r\n550 " ? 1U : 0U;
    }
    EXPECT_EQ(taken + refused, 100U);
    EXPECT_GT(taken, 20U);
    EXPECT_GT(refused, 20U);
    EXPECT_EQ(world.ledger.totals.messages, 1U);
    EXPECT_EQ(world.ledger.totals.recipients, taken);
}

// The dialog as far as a reply to each phase; what comes before a mischief is answered as ever.
struct Met {
    Phase phase;
    const char* answered; // the last line before the phase's own reply
};
constexpr Met met[] = {
    {Phase::connect, ""},
    {Phase::ehlo, "220 localhost ESMTP ringmx-sink\r\n"},
    {Phase::mail, "250 ENHANCEDSTATUSCODES\r\n"},
    {Phase::rcpt, "250 2.1.0 Ok\r\n"},
    {Phase::data, "250 2.1.5 Ok\r\n"},
    {Phase::content, "354 End data with <CR><LF>.<CR><LF>\r\n"},
    {Phase::end_of_data, "354 End data with <CR><LF>.<CR><LF>\r\n"},
};

const std::string data_message = "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n"
                                 "Message-ID: <m@x>\r\n\r\n.\r\n";

class SinkMischief : public testing::TestWithParam<Met> {
  protected:
    // What is said in the phase, behind what came before; nothing may have been taken.
    std::string said(Mischief mischief, Wish expected) {
        World world(with(GetParam().phase, mischief));
        Connection connection(world.ledger, world.backend);
        Wish last{};
        const std::string all = answers(connection, "EHLO me\r\n" + data_message, last);
        EXPECT_EQ(last, expected);
        EXPECT_EQ(world.ledger.totals.messages, 0U);
        const std::string_view before = GetParam().answered;
        const std::size_t found = before.empty() ? 0 : all.rfind(before);
        EXPECT_NE(found, std::string::npos) << all;
        return all.substr(found + before.size());
    }
    [[nodiscard]] static bool refusal_closes() {
        return GetParam().phase == Phase::connect || GetParam().phase == Phase::content;
    }
};

TEST_P(SinkMischief, StandsInTheReplysPlace) {
    EXPECT_EQ(said(Mischief::disconnect, Wish::close), "");
    EXPECT_EQ(said(Mischief::silence, Wish::mute), "");
    EXPECT_TRUE(said(Mischief::busy, Wish::close).starts_with("421 4.3.2 "));
    EXPECT_FALSE(said(Mischief::malformed, Wish::mute).starts_with("2 "));
    EXPECT_TRUE(said(Mischief::malformed, Wish::mute).ends_with("\r\n"));
    EXPECT_EQ(said(Mischief::endless_line, Wish::flood), "250 ");
    EXPECT_EQ(said(Mischief::endless_reply, Wish::flood), "");
}

TEST_P(SinkMischief, RefusalsAreAnsweredAndLeaveTheSessionInStep) {
    const Wish wish = refusal_closes() ? Wish::close : Wish::need_input;
    for (const auto& [mischief, start] :
         {std::pair{Mischief::tempfail, "451 4.3.0 "}, {Mischief::reject, "550 5.7.1 "}}) {
        World world(with(GetParam().phase, mischief));
        Connection connection(world.ledger, world.backend);
        Wish last{};
        // As far as this phase's reply, and no further.
        constexpr const char* lines[] = {"",
                                         "EHLO me\r\n",
                                         "MAIL FROM:<a@b>\r\n",
                                         "RCPT TO:<c@d>\r\n",
                                         "DATA\r\n",
                                         "Message-ID: <m@x>\r\n",
                                         ".\r\n"};
        std::string wire;
        for (std::size_t index = 0; index <= static_cast<std::size_t>(GetParam().phase); ++index) {
            wire += lines[index];
        }
        const std::string all = answers(connection, wire, last);
        EXPECT_EQ(last, wish);
        EXPECT_NE(all.find(start), std::string::npos) << all;
        EXPECT_EQ(world.ledger.totals.messages, 0U);
        if (wish == Wish::need_input) {
            EXPECT_TRUE(answers(connection, "NOOP\r\n", last, true).ends_with("250 2.0.0 Ok\r\n"));
        }
    }
}

TEST_P(SinkMischief, ADelayHoldsBackTheReplyAndNothingBeforeIt) {
    Personality personality;
    personality.at(GetParam().phase).delay = 3s;
    World world(personality);
    Connection connection(world.ledger, world.backend);
    const std::string wire = "EHLO me\r\n" + data_message;
    Wish wish = connection.greet();
    std::size_t at = 0;
    while (wish == Wish::need_input && at < wire.size()) {
        const auto step = connection.receive(as_bytes({wire.data() + at, wire.size() - at}));
        at += step.consumed;
        wish = step.wish;
    }
    ASSERT_EQ(wish, Wish::wait);
    EXPECT_EQ(connection.delay(), 3s);
    EXPECT_TRUE(connection.output().ends_with(GetParam().answered)) << connection.output();
    EXPECT_EQ(world.ledger.totals.messages, 0U);
    ASSERT_EQ(connection.conclude(), Wish::need_input);
    Wish last{};
    const std::string rest = answers(connection, wire.substr(at) + "NOOP\r\n", last, true);
    EXPECT_TRUE(rest.ends_with("250 2.0.0 Ok\r\n250 2.0.0 Ok\r\n")) << rest;
    EXPECT_EQ(world.ledger.totals.messages, 1U);
}

INSTANTIATE_TEST_SUITE_P(Phases, SinkMischief, testing::ValuesIn(met));

TEST(SinkConnection, WhatWasAcknowledgedIsAnsweredBeforeAMischiefOfTheSameInput) {
    // The second of two pipelined messages is dropped: the first one's 250 is still to be sent.
    const std::string wire = "EHLO me\r\n" + one_message + one_message;
    for (std::uint64_t seed = 1;; ++seed) {
        Options options;
        options.seed = seed;
        World world(with(Phase::end_of_data, Mischief::disconnect, 0.5), options);
        Connection connection(world.ledger, world.backend);
        Wish last{};
        const std::string said = answers(connection, wire, last);
        if (world.ledger.totals.messages == 1 && last == Wish::close) {
            EXPECT_NE(said.find("\r\n250 2.0.0 Ok\r\n250 2.1.0 Ok\r\n"), std::string::npos) << said;
            break;
        }
        ASSERT_LT(seed, 100U);
    }
}

TEST(SinkConnection, HelosReplyIsReplacedToo) {
    World world(with(Phase::ehlo, Mischief::tempfail));
    world.ledger.server.hostname = std::string(600, 'h'); // which HELO's reply cuts
    world.ledger.server.greeting_text = "";
    Connection connection(world.ledger, world.backend);
    Wish last{};
    EXPECT_EQ(answers(connection, "NOOP\r\nHELO me\r\nEHLO me\r\n", last),
              "220 " + world.ledger.server.hostname +
                  " \r\n250 2.0.0 Ok\r\n"
                  "451 4.3.0 Try again later, as asked for\r\n"
                  "451 4.3.0 Try again later, as asked for\r\n");
}

TEST(SinkConnection, TheMiddleOfTheDataComesWhenSoMuchHasPassed) {
    Personality personality = with(Phase::content, Mischief::disconnect);
    personality.content_after_bytes = 100;
    World world(personality);
    Connection connection(world.ledger, world.backend);
    const std::string begin = "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n";
    Wish last{};
    (void)answers(connection, "EHLO me\r\n" + begin + "BDAT 100 LAST\r\n" + std::string(100, 'x'),
                  last);
    EXPECT_EQ(last, Wish::need_input);
    EXPECT_EQ(world.ledger.totals.messages, 1U);
    (void)answers(connection, begin + "BDAT 1000\r\n" + std::string(101, 'x'), last, true);
    EXPECT_EQ(last, Wish::close);
    EXPECT_EQ(world.ledger.totals.messages, 1U);
}

TEST(SinkConnection, AnUnansweredMessageIsNeitherCountedNorRecorded) {
    World world(with(Phase::end_of_data, Mischief::unanswered));
    Connection connection(world.ledger, world.backend);
    Wish last{};
    const std::string said = answers(connection, "EHLO me\r\n" + one_message, last);
    EXPECT_EQ(last, Wish::close);
    EXPECT_TRUE(said.ends_with("250 2.1.5 Ok\r\n")) << said;
    EXPECT_EQ(world.ledger.totals.messages, 0U);
    EXPECT_EQ(world.ledger.totals.ids.size(), 0U);
    EXPECT_EQ(world.ledger.totals.unanswered, 1U);
}

TEST(SinkConnection, AStormTurnsAwayNewClientsAndNewMessages) {
    Personality personality;
    personality.storm_every = 60s;
    personality.storm_length = 10s;
    World world(personality);
    const auto greeting = [&](Duration age) {
        world.ledger.now = world.backend.begun + age;
        Connection connection(world.ledger, world.backend);
        Wish last{};
        return answers(connection, "EHLO me\r\n", last).substr(0, 3);
    };
    EXPECT_EQ(greeting(0s), "220");
    EXPECT_EQ(greeting(49s), "220");
    EXPECT_EQ(greeting(50s), "421");
    EXPECT_EQ(greeting(59s), "421");
    EXPECT_EQ(greeting(60s), "220");
    EXPECT_EQ(greeting(110s), "421");

    world.ledger.now = world.backend.begun + 40s;
    Connection connection(world.ledger, world.backend);
    Wish last{};
    (void)answers(connection, "EHLO me\r\nMAIL FROM:<a@b>\r\n", last);
    world.ledger.now = world.backend.begun + 55s; // a message that has begun is taken
    EXPECT_TRUE(answers(connection, "RCPT TO:<c@d>\r\nDATA\r\nx\r\n.\r\n", last, true)
                    .ends_with("250 2.0.0 Ok\r\n"));
    EXPECT_TRUE(answers(connection, "MAIL FROM:<a@b>\r\n", last, true).starts_with("421 4.3.2 "));
    EXPECT_EQ(last, Wish::close);
}

TEST(SinkConnection, GreylistingPutsOffTheFirstTriesOfAPair) {
    Personality personality;
    personality.greylist_delay = 5s;
    World world(personality);
    const auto reply_to = [&](Duration now, const std::string& sender,
                              const std::string& recipient) {
        world.ledger.now = Instant(now);
        Connection connection(world.ledger, world.backend);
        Wish last{};
        const std::string said = answers(
            connection, "EHLO me\r\nMAIL FROM:<" + sender + ">\r\nRCPT TO:<" + recipient + ">\r\n",
            last);
        EXPECT_EQ(last, Wish::need_input);
        return said.substr(said.rfind("\r\n", said.size() - 3) + 2, 9);
    };
    EXPECT_EQ(reply_to(0s, "a@b", "c@d"), "450 4.2.0");
    EXPECT_EQ(reply_to(4s, "a@b", "c@d"), "450 4.2.0");
    EXPECT_EQ(reply_to(5s, "a@b", "c@d"), "250 2.1.5");
    EXPECT_EQ(reply_to(5s, "a@b", "e@f"), "450 4.2.0");
    EXPECT_EQ(reply_to(5s, "x@b", "c@d"), "450 4.2.0");
    EXPECT_EQ(reply_to(6s, "a@b", "c@d"), "250 2.1.5");
}

TEST(SinkGreylist, TheOldestPairMakesRoomForANewOne) {
    Greylist greylist(1s, 2);
    const auto passes = [&](const char* sender, Duration now) {
        return greylist.passes(sender, "r", Instant(now));
    };
    EXPECT_FALSE(passes("a", 0s));
    EXPECT_FALSE(passes("b", 0s));
    EXPECT_TRUE(passes("a", 2s));
    EXPECT_FALSE(passes("c", 2s)); // in the place of a
    EXPECT_TRUE(passes("b", 2s));
    EXPECT_FALSE(passes("a", 9s)); // in the place of b
    EXPECT_TRUE(passes("c", 9s));
    EXPECT_FALSE(passes("b", 9s));
}

TEST(SinkConnection, AnIdleOneIsToldUnlessItIsNotToBe) {
    for (const bool is_told : {true, false}) {
        Personality personality;
        personality.idle_timeout = 1s;
        personality.idle_reply = is_told;
        World world(personality);
        Connection connection(world.ledger, world.backend);
        Wish last{};
        (void)answers(connection, "EHLO me\r\n", last);
        connection.expire();
        EXPECT_EQ(connection.output().starts_with("421 4.4.2 "), is_told);
        EXPECT_EQ(connection.output().empty(), !is_told);
    }
}

} // namespace
} // namespace ringmx::sink
