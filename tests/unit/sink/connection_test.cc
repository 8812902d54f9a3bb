#include "sink/connection.h"

#include <gtest/gtest.h>
#include <string>
#include <utility>

namespace ringmx::sink {
namespace {

// Everything that the wire brings about, with delays that are over at once.
std::string answers(Connection& connection, const std::string& wire, bool& open) {
    open = true;
    for (std::size_t at = 0; at < wire.size();) {
        const auto step = connection.receive(as_bytes({wire.data() + at, wire.size() - at}));
        at += step.consumed;
        if (step.wish == Connection::Wish::close || step.wish == Connection::Wish::drop ||
            (step.wish == Connection::Wish::wait && !connection.conclude())) {
            open = false;
            break;
        }
    }
    return std::exchange(connection.output(), {});
}

const std::string one_message = "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 21 LAST\r\n"
                                "Message-ID: <m@x>\r\n\r\n";

TEST(SinkConnection, CountsAnAcknowledgedMessage) {
    const Options options;
    Ledger ledger(options, 0);
    Connection connection(ledger);
    bool open = false;
    const std::string said = answers(connection, "EHLO me\r\n" + one_message + one_message, open);
    EXPECT_TRUE(open);
    EXPECT_TRUE(said.starts_with("220 localhost ESMTP ringmx-sink\r\n")) << said;
    EXPECT_TRUE(said.ends_with("250 2.1.5 Ok\r\n250 2.0.0 Ok\r\n")) << said;
    EXPECT_EQ(ledger.totals.connections, 1U);
    EXPECT_EQ(ledger.totals.messages, 2U);
    EXPECT_EQ(ledger.totals.recipients, 2U);
    EXPECT_EQ(ledger.totals.bytes, 42U);
    EXPECT_EQ(ledger.totals.ids.size(), 1U);
}

TEST(SinkConnection, CountsOctetsAfterUnstuffing) {
    const Options options;
    Ledger ledger(options, 0);
    Connection connection(ledger);
    bool open = false;
    const std::string wire = "EHLO me\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\n"
                             "DATA\r\n..dot\r\n..\r\n.\r\n";
    (void)answers(connection, wire, open);
    EXPECT_EQ(ledger.totals.messages, 1U);
    EXPECT_EQ(ledger.totals.recipients, 2U);
    EXPECT_EQ(ledger.totals.bytes, 9U);
    EXPECT_EQ(ledger.totals.messages_without_id, 1U);
}

TEST(SinkConnection, ADelayStopsReadingUntilItIsConcluded) {
    Options options;
    options.delay = 1s;
    Ledger ledger(options, 0);
    Connection connection(ledger);
    const std::string wire = "EHLO me\r\n" + one_message + "QUIT\r\n";
    const auto step = connection.receive(as_bytes(wire));
    EXPECT_EQ(step.wish, Connection::Wish::wait);
    EXPECT_EQ(step.consumed, wire.size() - 6);
    EXPECT_EQ(ledger.totals.messages, 0U);
    EXPECT_TRUE(connection.conclude());
    EXPECT_EQ(ledger.totals.messages, 1U);
    EXPECT_EQ(connection.receive(as_bytes("QUIT\r\n")).wish, Connection::Wish::close);
    EXPECT_TRUE(connection.output().ends_with("250 2.0.0 Ok\r\n221 2.0.0 Bye\r\n") ||
                connection.output().find("\r\n221 2.0.0 ") != std::string::npos);
}

struct Share {
    double tempfail, reject, disconnect;
};

TEST(SinkConnection, EachFinalReplyHasItsShare) {
    for (const Share share : {Share{0.2, 0.3, 0.4}, Share{1, 0, 0}, Share{0, 1, 0}, Share{0, 0, 1},
                              Share{0.5, 0.5, 0}, Share{0, 0.5, 0.5}}) {
        Options options;
        options.tempfail = share.tempfail;
        options.reject = share.reject;
        options.disconnect = share.disconnect;
        Ledger ledger(options, 0);
        constexpr int messages = 2000;
        int tempfailed = 0;
        int rejected = 0;
        int dropped = 0;
        for (int count = 0; count < messages; ++count) {
            Connection connection(ledger);
            bool open = false;
            const std::string said = answers(connection, "EHLO me\r\n" + one_message, open);
            tempfailed += said.find("\r\n451 4.3.0 ") != std::string::npos ? 1 : 0;
            rejected += said.find("\r\n550 5.7.1 ") != std::string::npos ? 1 : 0;
            dropped += open ? 0 : 1;
        }
        constexpr double slack = 0.05 * messages;
        EXPECT_NEAR(tempfailed, share.tempfail * messages, slack);
        EXPECT_NEAR(rejected, share.reject * messages, slack);
        EXPECT_NEAR(dropped, share.disconnect * messages, slack);
        EXPECT_EQ(ledger.totals.messages,
                  static_cast<std::uint64_t>(messages - tempfailed - rejected - dropped));
    }
}

TEST(SinkConnection, SharesThatAddUpToMoreThanAllGiveTheFirstItsOwn) {
    Options options;
    options.disconnect = 0.5;
    options.tempfail = 0.25;
    options.reject = 1;
    Ledger ledger(options, 0);
    int tempfailed = 0;
    int rejected = 0;
    int dropped = 0;
    constexpr int messages = 2000;
    for (int count = 0; count < messages; ++count) {
        Connection connection(ledger);
        bool open = false;
        const std::string said = answers(connection, "EHLO me\r\n" + one_message, open);
        tempfailed += said.find("\r\n451 4.3.0 ") != std::string::npos ? 1 : 0;
        rejected += said.find("\r\n550 5.7.1 ") != std::string::npos ? 1 : 0;
        dropped += open ? 0 : 1;
    }
    EXPECT_NEAR(dropped, 1000, 100);
    EXPECT_NEAR(tempfailed, 500, 100);
    EXPECT_NEAR(rejected, 500, 100);
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
    options.reject = 0.5;
    Ledger ledger(options, 0);
    Connection connection(ledger);
    std::string wire = "LHLO me\r\nMAIL FROM:<a@b>\r\n";
    for (int count = 0; count < 100; ++count) {
        wire += "RCPT TO:<c@d>\r\n";
    }
    wire += "DATA\r\nx\r\n.\r\n";
    bool open = false;
    const std::string said = answers(connection, wire, open);
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
    EXPECT_EQ(ledger.totals.messages, 1U);
    EXPECT_EQ(ledger.totals.recipients, taken);
}

} // namespace
} // namespace ringmx::sink
