// A message's way through a whole worker to a backend, in `backend` mode, when nothing goes wrong
// but the pieces' sizes.
#include "sim/worker_rig.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <tuple>

namespace ringmx::sim {
namespace {

using ::testing::EndsWith;
using ::testing::StartsWith;

std::string stuffed(std::string_view plain) {
    std::string wire;
    bool line_begins = true;
    for (const char octet : plain) {
        if (line_begins && octet == '.') {
            wire += '.';
        }
        wire += octet;
        line_begins = octet == '\n';
    }
    return wire;
}

// What stands behind our own Received field.
std::string behind_trace(const std::string& octets) {
    EXPECT_THAT(octets, StartsWith("Received: from "));
    std::size_t end = 0;
    do {
        end = octets.find("\r\n", end) + 2;
    } while (end < octets.size() && (octets[end] == ' ' || octets[end] == '\t'));
    return octets.substr(end);
}

const std::string small_message = "Subject: dots\r\n\r\n.\r\n..two\r\n.last line\r\nend\r\n";

std::string large_message(std::size_t size) {
    std::string message = "Subject: large\r\n\r\n";
    for (std::size_t line = 0; message.size() < size; ++line) {
        message += (line % 3 == 0 ? "." : "") + std::to_string(line) + std::string(line % 71, 'x') +
                   "\r\n";
    }
    return message;
}

// (client's BDAT, backend's CHUNKING, backend's PIPELINING, one-octet segments)
class Forms : public ::testing::TestWithParam<std::tuple<bool, bool, bool, bool>> {
  protected:
    void pass(const std::string& message) {
        const auto [chunks_in, chunking, pipelining, tiny] = GetParam();
        RigOptions options;
        if (tiny) {
            options.network.segment_bytes_max = 1;
        }
        Rig rig(options);
        BackendProfile profile;
        profile.chunking = chunking;
        profile.pipelining = pipelining;
        ScriptedBackend& first = rig.backend(Rig::first_address, profile);
        ScriptedBackend& second = rig.backend(Rig::second_address, profile);
        Client& client = rig.with_recipient();
        if (chunks_in) {
            const std::size_t half = message.size() / 2;
            EXPECT_THAT(
                rig.ask(client, "BDAT " + std::to_string(half) + "\r\n" + message.substr(0, half)),
                StartsWith("250 2.0.0"));
            rig.send(client, "BDAT " + std::to_string(message.size() - half) + " LAST\r\n" +
                                 message.substr(half));
        } else {
            EXPECT_THAT(rig.ask(client, "DATA\r\n"), StartsWith("354 "));
            rig.send(client, stuffed(message) + ".\r\n");
        }
        EXPECT_EQ(rig.reply(client), "250 2.0.0 Taken by the backend\r\n");
        ASSERT_EQ(first.taken_count() + second.taken_count(), 1U);
        const ScriptedBackend& taker = first.taken_count() == 1 ? first : second;
        EXPECT_EQ(taker.messages[0]->by_chunks, chunking);
        EXPECT_TRUE(behind_trace(taker.messages[0]->octets) == message);
        EXPECT_THAT(taker.messages[0]->mail, StartsWith("MAIL FROM:<sender@far.example>"));
        EXPECT_EQ(rig.ask(client, "QUIT\r\n"), "221 2.0.0 Bye\r\n");
        rig.finish();
    }
};

TEST_P(Forms, SmallMessageArrivesOctetForOctet) { pass(small_message); }
TEST_P(Forms, MessageOfLoneDotsArrivesOctetForOctet) { pass(".\r\n.\r\n.\r\n..\r\n"); }
TEST_P(Forms, LargeMessageIsStreamedOctetForOctet) {
    pass(large_message(std::get<3>(GetParam()) ? 3000 : 600 * 1024));
}

INSTANTIATE_TEST_SUITE_P(AllForms, Forms,
                         ::testing::Combine(::testing::Bool(), ::testing::Bool(), ::testing::Bool(),
                                            ::testing::Bool()));

TEST(WorkerDelivery, EachRecipientGetsTheBackendsOwnAnswer) {
    Rig rig;
    const auto answer = [](const std::string& command) -> std::optional<std::string> {
        if (command.find("<no@") != std::string::npos) {
            return "550 5.1.1 Nobody of that name\r\n";
        }
        if (command.find("<full@") != std::string::npos) {
            return "452-4.2.2 The box\r\n452 4.2.2 is full\r\n";
        }
        if (command.find("<plain@") != std::string::npos) {
            return "250 Yes\r\n";
        }
        return std::nullopt;
    };
    rig.backend(Rig::first_address).answer = answer;
    rig.backend(Rig::second_address).answer = answer;
    Client& client = rig.greeted();
    rig.send(client,
             "MAIL FROM:<a@b.example>\r\nRCPT TO:<yes@one.example>\r\nRCPT TO:<no@one.example>\r\n"
             "RCPT TO:<full@one.example>\r\nRCPT TO:<x@nowhere.example>\r\nRCPT "
             "TO:<plain@one.example>\r\n");
    EXPECT_THAT(rig.reply(client), StartsWith("250 2.1.0"));
    EXPECT_EQ(rig.reply(client), "250 2.1.5 Fine here\r\n");
    EXPECT_EQ(rig.reply(client), "550 5.1.1 Nobody of that name\r\n");
    EXPECT_EQ(rig.reply(client), "452-4.2.2 The box\r\n452 4.2.2 is full\r\n");
    EXPECT_THAT(rig.reply(client), StartsWith("550 5.7.1"));
    EXPECT_EQ(rig.reply(client), "250 2.0.0 Yes\r\n");
    rig.finish();
}

TEST(WorkerDelivery, RefusedMailIsTheAnswerToEachRecipient) {
    for (const bool pipelining : {true, false}) {
        Rig rig;
        const auto answer = [](const std::string& command) -> std::optional<std::string> {
            return command.starts_with("MAIL")
                       ? std::optional<std::string>("550 5.7.1 Not from you\r\n")
                       : std::nullopt;
        };
        BackendProfile profile;
        profile.pipelining = pipelining;
        rig.backend(Rig::first_address, profile).answer = answer;
        rig.backend(Rig::second_address, profile).answer = answer;
        Client& client = rig.greeted();
        rig.send(client, "MAIL FROM:<a@b.example>\r\nRCPT TO:<one@one.example>\r\nRCPT "
                         "TO:<two@one.example>\r\nDATA\r\n");
        EXPECT_THAT(rig.reply(client), StartsWith("250 2.1.0"));
        EXPECT_EQ(rig.reply(client), "550 5.7.1 Not from you\r\n");
        EXPECT_EQ(rig.reply(client), "550 5.7.1 Not from you\r\n");
        EXPECT_THAT(rig.reply(client), StartsWith("554 5.5.1"));
        rig.finish();
    }
}

TEST(WorkerDelivery, RepliesAboutOurSideBecome451) {
    Rig rig;
    const auto answer = [](const std::string& command) -> std::optional<std::string> {
        return command.starts_with("RCPT")
                   ? std::optional<std::string>("530 5.7.0 Authenticate\r\n")
                   : std::nullopt;
    };
    rig.backend(Rig::first_address).answer = answer;
    rig.backend(Rig::second_address).answer = answer;
    Client& client = rig.greeted();
    (void)rig.ask(client, "MAIL FROM:<a@b.example>\r\n");
    EXPECT_THAT(rig.ask(client, "RCPT TO:<one@one.example>\r\n"), StartsWith("451 4.3.5"));
    rig.finish();
}

TEST(WorkerDelivery, AnotherPoolsRecipientGets452) {
    Rig rig;
    rig.backend(Rig::first_address);
    rig.backend(Rig::second_address);
    rig.backend(Rig::third_address);
    Client& client = rig.with_recipient();
    EXPECT_THAT(rig.ask(client, "RCPT TO:<user@two.example>\r\n"), StartsWith("452 4.5.3"));
    rig.finish();
}

TEST(WorkerDelivery, SecondRecipientOnAnLmtpPoolGets452) {
    RigOptions options;
    options.settings = [](Settings& settings) { settings.pools[1].protocol = Protocol::lmtp; };
    Rig rig(options);
    BackendProfile profile;
    profile.lmtp = true;
    ScriptedBackend& backend = rig.backend(Rig::third_address, profile);
    Client& client = rig.with_recipient("<user@two.example>");
    EXPECT_THAT(rig.ask(client, "RCPT TO:<other@two.example>\r\n"), StartsWith("452 4.5.3"));
    EXPECT_THAT(rig.ask(client, "DATA\r\n"), StartsWith("354"));
    EXPECT_EQ(rig.ask(client, "hello\r\n.\r\n"), "250 2.0.0 Taken by the backend\r\n");
    EXPECT_EQ(backend.taken_count(), 1U);
    rig.finish();
}

TEST(WorkerDelivery, PipeliningClientIsAnsweredInOrder) {
    Rig rig;
    rig.backend(Rig::first_address);
    rig.backend(Rig::second_address);
    Client& client = rig.connect();
    rig.send(client, "EHLO c.example\r\n");
    (void)rig.reply(client);
    (void)rig.reply(client);
    for (int round = 0; round < 20; ++round) {
        rig.send(client, "MAIL FROM:<a@b.example>\r\nRCPT TO:<one@one.example>\r\nDATA\r\n");
        EXPECT_THAT(rig.reply(client), StartsWith("250 2.1.0"));
        EXPECT_THAT(rig.reply(client), StartsWith("250 2.1.5"));
        EXPECT_THAT(rig.reply(client), StartsWith("354"));
        EXPECT_EQ(rig.ask(client, "Subject: x\r\n\r\nx\r\n.\r\n"),
                  "250 2.0.0 Taken by the backend\r\n");
    }
    rig.finish();
}

TEST(WorkerDelivery, MessageThatBeginsWithSpaceCannotExtendOurField) {
    Rig rig;
    ScriptedBackend& first = rig.backend(Rig::first_address);
    ScriptedBackend& second = rig.backend(Rig::second_address);
    Client& client = rig.with_recipient();
    (void)rig.ask(client, "DATA\r\n");
    EXPECT_THAT(rig.ask(client, " id forged\r\n.\r\n"), StartsWith("250"));
    const std::string& octets = (first.taken_count() == 1 ? first : second).messages[0]->octets;
    EXPECT_THAT(octets, EndsWith("\r\n\r\n id forged\r\n"));
    rig.finish();
}

TEST(WorkerDelivery, BareLineFeedIsRefusedAndTheBackendSeesNoMessage) {
    Rig rig;
    ScriptedBackend& first = rig.backend(Rig::first_address);
    ScriptedBackend& second = rig.backend(Rig::second_address);
    Client& client = rig.with_recipient();
    (void)rig.ask(client, "DATA\r\n");
    EXPECT_THAT(rig.ask(client, "a\n.\nMAIL FROM:<x@y>\r\n.\r\n"), StartsWith("550 5.6.0"));
    EXPECT_THAT(rig.ask(client, "NOOP\r\n"), StartsWith("250 2.0.0"));
    rig.finish();
    EXPECT_EQ(first.taken_count() + second.taken_count(), 0U);
}

} // namespace
} // namespace ringmx::sim
