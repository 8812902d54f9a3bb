#include "load/dialog.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

namespace ringmx::load {
namespace {

using Ending = Dialog::Ending;
using Event = Dialog::Event;

constexpr Instant start{1h};

// A dialog past EHLO, with a message of one line for two recipients.
class Talk {
  public:
    explicit Talk(const Options& given, std::string_view hello_reply = "250 s\r\n",
                  std::size_t piece_bytes = SIZE_MAX)
        : options(given), piece(piece_bytes) {
        options.recipient = "user%@x.example";
        options.recipients = {2, 2};
        source = std::move(MessageSource::open(options, "run", false).value());
        dialog.open(start);
        EXPECT_EQ(hear("220 s\r\n"), Event::need_input);
        EXPECT_EQ(take_output(), options.lmtp ? "LHLO load.example\r\n" : "EHLO load.example\r\n");
        EXPECT_EQ(hear(hello_reply), Event::ready);
        source->make(0, message);
        message.recipients = 2;
    }

    // The last event but need_input of these replies, in pieces; what is behind it is lost.
    Event hear(std::string_view replies) {
        now += 1ms;
        while (!replies.empty()) {
            const std::string_view part = replies.substr(0, piece);
            const Dialog::Step step = dialog.receive(as_bytes(part), now);
            if (dialog.content_due()) {
                take_output();
                dialog.content_submitted(now);
                ++contents;
            }
            if (step.event != Event::need_input) {
                return step.event;
            }
            replies.remove_prefix(step.consumed);
        }
        return Event::need_input;
    }
    void begin() {
        dialog.begin(message, 0, *source, now);
        if (dialog.content_due()) {
            ++contents;
            output += std::exchange(dialog.output(), {}) + "(content)";
            dialog.content_submitted(now);
        }
    }
    std::string take_output() {
        output += std::exchange(dialog.output(), {});
        return std::exchange(output, {});
    }

    Options options;
    std::size_t piece;
    Result result;
    std::unique_ptr<MessageSource> source;
    Dialog dialog{options, result};
    Message message;
    std::string output;
    int contents = 0;
    Instant now = start;
};

constexpr std::string_view all_extensions = "250-s\r\n250-PIPELINING\r\n250 CHUNKING\r\n";

TEST(LoadDialog, LockStepSendsOneCommandAfterTheOther) {
    for (std::size_t piece = 1; piece < 20; ++piece) {
        Talk talk(Options{}, all_extensions, piece);
        talk.begin();
        EXPECT_EQ(talk.take_output(), "MAIL FROM:<sender@load.example>\r\n");
        EXPECT_EQ(talk.hear("250 ok\r\n"), Event::need_input);
        EXPECT_TRUE(talk.take_output().starts_with("RCPT TO:<user"));
        EXPECT_EQ(talk.hear("250 ok\r\n"), Event::need_input);
        EXPECT_TRUE(talk.take_output().starts_with("RCPT TO:<user"));
        EXPECT_EQ(talk.hear("250 ok\r\n"), Event::need_input);
        EXPECT_EQ(talk.take_output(), "DATA\r\n");
        EXPECT_EQ(talk.contents, 0);
        EXPECT_EQ(talk.hear("354 go\r\n"), Event::need_input);
        EXPECT_EQ(talk.contents, 1);
        EXPECT_EQ(talk.hear("250-2.0.0 more\r\n250 2.0.0 ok\r\n"), Event::done);
        EXPECT_EQ(talk.dialog.outcome().ending, Ending::accepted);
        for (const Part part : {Part::greeting, Part::hello, Part::envelope, Part::end_of_data}) {
            EXPECT_EQ(talk.result.part(part).count(), 1U) << static_cast<int>(part);
        }
    }
}

TEST(LoadDialog, PipeliningSendsTheEnvelopeAtOnce) {
    Options options;
    options.pipelining = true;
    for (std::size_t piece = 1; piece < 20; ++piece) {
        Talk talk(options, all_extensions, piece);
        talk.begin();
        EXPECT_TRUE(talk.take_output().ends_with("DATA\r\n"));
        EXPECT_EQ(talk.hear("250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n"), Event::need_input);
        EXPECT_EQ(talk.contents, 1);
        EXPECT_EQ(talk.hear("250 ok\r\n"), Event::done);
        EXPECT_EQ(talk.dialog.outcome().ending, Ending::accepted);
    }
}

TEST(LoadDialog, PipeliningAndChunkingSendTheWholeMessageAtOnce) {
    Options options;
    options.pipelining = options.chunking = true;
    Talk talk(options, all_extensions);
    talk.begin();
    EXPECT_TRUE(talk.take_output().ends_with(" LAST\r\n(content)"));
    EXPECT_EQ(talk.dialog.content_form(), ContentForm::raw);
    EXPECT_EQ(talk.hear("250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n"), Event::done);
    EXPECT_EQ(talk.dialog.outcome().ending, Ending::accepted);
    EXPECT_EQ(talk.result.part(Part::envelope).count(), 1U);
}

TEST(LoadDialog, WhatTheServerDoesNotOfferIsNotUsed) {
    Options options;
    options.pipelining = options.chunking = true;
    Talk talk(options);
    talk.begin();
    EXPECT_EQ(talk.take_output(), "MAIL FROM:<sender@load.example>\r\n");
    EXPECT_EQ(talk.dialog.content_form(), ContentForm::stuffed);
}

TEST(LoadDialog, RefusedSenderEndsTheMessageByItsReply) {
    for (const bool pipelined : {false, true}) {
        Options options;
        options.pipelining = pipelined;
        Talk talk(options, all_extensions);
        talk.begin();
        const char* const rest = "503 no\r\n503 no\r\n503 no\r\n";
        EXPECT_EQ(talk.hear(std::string("450 4.7.1 slow\r\n") + (pipelined ? rest : "")),
                  Event::need_input);
        EXPECT_TRUE(talk.take_output().ends_with("RSET\r\n"));
        EXPECT_EQ(talk.hear("250 ok\r\n"), Event::done);
        EXPECT_EQ(talk.dialog.outcome().ending, Ending::tempfailed);
        EXPECT_EQ(talk.dialog.outcome().kind, "450 4.7.1");
        EXPECT_FALSE(talk.dialog.was_content_submitted());
    }
}

TEST(LoadDialog, OneRefusedRecipientOfTwoDoesNotFailTheMessage) {
    for (const bool first : {false, true}) {
        Talk talk(Options{});
        talk.begin();
        EXPECT_EQ(talk.hear("250 ok\r\n"), Event::need_input);
        EXPECT_EQ(talk.hear(first ? "550 5.1.1 no\r\n" : "250 ok\r\n"), Event::need_input);
        EXPECT_EQ(talk.hear(first ? "250 ok\r\n" : "550 5.1.1 no\r\n"), Event::need_input);
        EXPECT_EQ(talk.hear("354 go\r\n"), Event::need_input);
        EXPECT_EQ(talk.hear("250 ok\r\n"), Event::done);
        EXPECT_EQ(talk.dialog.outcome().ending, Ending::accepted);
        EXPECT_EQ(talk.result.recipients_refused, 1U);
    }
}

TEST(LoadDialog, WithoutARecipientNothingIsSent) {
    Talk talk(Options{});
    talk.begin();
    EXPECT_EQ(talk.hear("250 ok\r\n"), Event::need_input);
    EXPECT_EQ(talk.hear("550 5.1.1 no\r\n"), Event::need_input);
    EXPECT_EQ(talk.hear("550 5.1.1 no\r\n"), Event::need_input);
    EXPECT_TRUE(talk.take_output().ends_with("RSET\r\n"));
    EXPECT_EQ(talk.hear("250 ok\r\n"), Event::done);
    EXPECT_EQ(talk.dialog.outcome().ending, Ending::rejected);
    EXPECT_EQ(talk.contents, 0);
}

TEST(LoadDialog, DataTakenWithoutARecipientGetsTheDotAlone) {
    Options options;
    options.pipelining = true;
    Talk talk(options, all_extensions);
    talk.begin();
    EXPECT_EQ(talk.hear("250 ok\r\n550 no\r\n550 no\r\n"), Event::need_input);
    const Dialog::Step step = talk.dialog.receive(as_bytes("354 go\r\n"), talk.now);
    EXPECT_EQ(step.event, Event::need_input);
    EXPECT_TRUE(talk.dialog.content_due());
    EXPECT_TRUE(talk.dialog.is_content_empty());
    talk.dialog.content_submitted(talk.now);
    EXPECT_EQ(talk.hear("554 no\r\n"), Event::done);
    EXPECT_EQ(talk.dialog.outcome().ending, Ending::rejected);
}

TEST(LoadDialog, LmtpAnswersForEachRecipientAndOneRefusalFailsTheMessage) {
    Options options;
    options.lmtp = true;
    Talk talk(options);
    talk.begin();
    EXPECT_EQ(talk.hear("250 ok\r\n"), Event::need_input);
    EXPECT_EQ(talk.hear("250 ok\r\n"), Event::need_input);
    EXPECT_EQ(talk.hear("250 ok\r\n"), Event::need_input);
    EXPECT_EQ(talk.hear("354 go\r\n"), Event::need_input);
    EXPECT_EQ(talk.hear("250 ok\r\n"), Event::need_input);
    EXPECT_EQ(talk.hear("452 4.2.2 full\r\n"), Event::done);
    EXPECT_EQ(talk.dialog.outcome().ending, Ending::tempfailed);
}

TEST(LoadDialog, RefusedChunkIsFollowedByReset) {
    Options options;
    options.chunking = true;
    Talk talk(options, all_extensions);
    talk.begin();
    EXPECT_EQ(talk.hear("250 ok\r\n"), Event::need_input);
    EXPECT_EQ(talk.hear("250 ok\r\n"), Event::need_input);
    EXPECT_EQ(talk.hear("250 ok\r\n"), Event::need_input);
    EXPECT_EQ(talk.hear("552 5.3.4 big\r\n"), Event::need_input);
    EXPECT_TRUE(talk.take_output().ends_with("RSET\r\n"));
    EXPECT_EQ(talk.hear("250 ok\r\n"), Event::done);
    EXPECT_EQ(talk.dialog.outcome().ending, Ending::rejected);
    EXPECT_TRUE(talk.dialog.was_content_submitted());
}

TEST(LoadDialog, WhatIsNoSmtpOrAGoodbyeEndsTheConnection) {
    for (const char* const reply : {"hello\r\n", "421 4.3.2 bye\r\n", "354 go\r\n"}) {
        Talk talk(Options{});
        talk.begin();
        EXPECT_EQ(talk.hear(reply), Event::failed) << reply;
    }
    Options options;
    Result result;
    Dialog dialog(options, result);
    dialog.open(start);
    EXPECT_EQ(dialog.receive(as_bytes("554 5.7.1 go away\r\n"), start).event, Event::failed);
    EXPECT_EQ(dialog.outcome().ending, Ending::rejected);
    EXPECT_EQ(dialog.outcome().kind, "554 5.7.1");
}

TEST(LoadDialog, QuitIsAnswered) {
    Talk talk(Options{});
    talk.dialog.quit();
    EXPECT_EQ(talk.take_output(), "QUIT\r\n");
    EXPECT_EQ(talk.hear("221 bye\r\n"), Event::closed);
}

} // namespace
} // namespace ringmx::load
