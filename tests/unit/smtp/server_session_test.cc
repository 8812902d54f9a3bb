// What the dialogs can't say: events and their order, early answers, memory.
#include "smtp/command.h"
#include "smtp/server_session.h"
#include "unit/smtp/allocation_count.h"

#include <gtest/gtest.h>
#include <string>
#include <vector>

namespace ringmx::smtp {
namespace {

constexpr Reply ok = {250, {2, 0, 0}, "Ok"};
constexpr Reply go_ahead = {354, {}, ""};
constexpr Reply no_backend = {451, {4, 4, 1}, "No backend"};
constexpr Reply unknown_user = {550, {5, 1, 1}, "Unknown"};

ServerSettings settings_for_test(bool lmtp = false) {
    ServerSettings settings;
    settings.hostname = "mx1.example.com";
    settings.lmtp = lmtp;
    return settings;
}

class ServerSessionTest : public testing::Test {
  protected:
    explicit ServerSessionTest(bool lmtp = false)
        : settings_(settings_for_test(lmtp)), session_(settings_) {}

    // Feeds the octets behind what the session left last time; gives the next event.
    ServerEvent step(std::string_view more = {}) {
        rest_ += more;
        last_ = session_.receive(as_bytes(rest_));
        content_ = as_text(last_.content);
        rest_.erase(0, last_.consumed);
        return last_.event;
    }
    std::string heard() { return std::exchange(session_.output(), {}); }

    void begin(int recipients = 1) {
        ASSERT_EQ(step(settings_.lmtp ? "LHLO c\r\n" : "EHLO c\r\n"), ServerEvent::hello);
        begin_mail(recipients);
    }
    void begin_mail(int recipients = 1) {
        ASSERT_EQ(step("MAIL FROM:<a@b.c>\r\n"), ServerEvent::mail);
        session_.answer_mail(ok);
        for (int index = 0; index < recipients; ++index) {
            ASSERT_EQ(step("RCPT TO:<a@b.c>\r\n"), ServerEvent::recipient);
            session_.answer_recipient(ok, AnswerSource::own, false);
        }
        heard();
    }
    void begin_data() {
        ASSERT_EQ(step("DATA\r\n"), ServerEvent::data);
        session_.answer_data(go_ahead);
        heard();
    }

    ServerSettings settings_;
    ServerSession session_;
    ServerSession::Step last_;
    std::string rest_;
    std::string content_;
};

class LmtpSessionTest : public ServerSessionTest {
  protected:
    LmtpSessionTest() : ServerSessionTest(true) {}
};

TEST_F(ServerSessionTest, GreetingNamesTheHost) {
    session_.greet();
    EXPECT_EQ(heard(), "220 mx1.example.com ESMTP ringmx\r\n");
}

TEST_F(ServerSessionTest, CommandsWaitForTheAnswerToMail) {
    step("EHLO c\r\n");
    EXPECT_EQ(step("MAIL FROM:<a@b.c> SIZE=7 SMTPUTF8\r\nRCPT TO:<d@e.f>\r\n"), ServerEvent::mail);
    EXPECT_EQ(session_.mail().reverse_path, "a@b.c");
    EXPECT_EQ(session_.mail().declared_size_bytes, 7U);
    EXPECT_TRUE(session_.mail().smtputf8);
    EXPECT_FALSE(session_.in_transaction());
    EXPECT_EQ(step(), ServerEvent::blocked);
    EXPECT_EQ(last_.consumed, 0U);
    session_.answer_mail(ok);
    EXPECT_TRUE(session_.in_transaction());
    EXPECT_EQ(step(), ServerEvent::recipient);
    EXPECT_EQ(session_.recipient().mailbox, "d@e.f");
}

TEST_F(ServerSessionTest, RecipientsAndDataAreGivenBeforeAnswersComeAndRepliesStayInOrder) {
    begin(0);
    EXPECT_EQ(step("RCPT TO:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nDATA\r\n"), ServerEvent::recipient);
    EXPECT_EQ(step(), ServerEvent::recipient);
    EXPECT_EQ(session_.recipient().mailbox, "d@e.f");
    EXPECT_EQ(step(), ServerEvent::data);
    EXPECT_EQ(session_.recipients_unanswered(), 2U);
    EXPECT_EQ(heard(), "");
    session_.answer_recipient(unknown_user, AnswerSource::backend, true);
    session_.answer_recipient(ok, AnswerSource::backend, false);
    session_.answer_data(go_ahead);
    EXPECT_EQ(session_.recipients_accepted(), 1U);
    const std::string replies = heard();
    EXPECT_TRUE(replies.starts_with("550 5.1.1 Unknown\r\n250 2.0.0 Ok\r\n354 ")) << replies;
    EXPECT_TRUE(session_.in_content());
}

// RFC 2920, 3.2: replies to these may be kept for those of the group, all others must not be.
TEST_F(ServerSessionTest, OnlyRepliesToMailRcptAndRsetMayWait) {
    session_.greet();
    EXPECT_FALSE(session_.output_may_wait());
    heard();
    EXPECT_FALSE(session_.output_may_wait()) << "there is none";
    step("EHLO c\r\n");
    EXPECT_FALSE(session_.output_may_wait());
    step("RSET\r\n");
    EXPECT_FALSE(session_.output_may_wait()) << "what stands before it may not";
    heard();
    step("RSET\r\n");
    EXPECT_TRUE(session_.output_may_wait());
    step("MAIL FROM:<a@b.c>\r\n");
    session_.answer_mail(ok);
    EXPECT_TRUE(session_.output_may_wait());
    for (const Reply& reply : {ok, unknown_user}) {
        step("RCPT TO:<a@b.c>\r\n");
        session_.answer_recipient(reply, AnswerSource::backend, false);
        EXPECT_TRUE(session_.output_may_wait());
    }
    step("DATA\r\n");
    session_.answer_data(go_ahead);
    EXPECT_FALSE(session_.output_may_wait());
    heard();
    step(".\r\n");
    session_.answer_message(ok);
    EXPECT_FALSE(session_.output_may_wait());
    heard();
    for (const char* line :
         {"NOOP\r\n", "HELP\r\n", "VRFY a\r\n", "NONSENSE\r\n", "RCPT TO:<a@b.c>\r\n",
          "MAIL FROM:<\r\n", "HELO c\r\n", "BDAT 0 LAST\r\n", "QUIT\r\n"}) {
        step("RSET\r\n");
        EXPECT_TRUE(session_.output_may_wait());
        step(line);
        EXPECT_FALSE(session_.output_may_wait()) << line;
        heard();
    }
}

TEST_F(ServerSessionTest, DataWithOnlyRefusedRecipientsGets554WhateverWasAnswered) {
    begin(0);
    step("RCPT TO:<a@b.c>\r\nDATA\r\n");
    EXPECT_EQ(step(), ServerEvent::data);
    session_.answer_recipient(unknown_user, AnswerSource::backend, true);
    session_.answer_data(go_ahead);
    EXPECT_TRUE(heard().starts_with("550 5.1.1 Unknown\r\n554 5.5.1 "));
    EXPECT_TRUE(session_.in_transaction());
    EXPECT_EQ(step("RCPT TO:<a@b.c>\r\n"), ServerEvent::recipient);
}

TEST_F(ServerSessionTest, EveryOtherCommandWaitsForUnansweredRecipients) {
    for (const std::string command :
         {"NOOP", "RSET", "QUIT", "FROB", "EHLO c", "MAIL FROM:<>", "BDAT 1 LAST", "RCPT TO:<bad>",
          "DATA x", "VRFY x", "HELP", "NO\rOP"}) {
        SCOPED_TRACE(command);
        session_ = ServerSession(settings_);
        rest_.clear();
        begin(0);
        EXPECT_EQ(step("RCPT TO:<a@b.c>\r\n" + command + "\r\n"), ServerEvent::recipient);
        EXPECT_EQ(step(), ServerEvent::blocked);
        EXPECT_EQ(rest_, command + "\r\n");
        EXPECT_EQ(heard(), "");
        session_.answer_recipient(ok, AnswerSource::own, false);
        EXPECT_NE(step(), ServerEvent::blocked);
        EXPECT_TRUE(heard().starts_with("250 2.0.0 Ok\r\n"));
    }
}

TEST_F(ServerSessionTest, ACutCommandThatIsBlockedIsRunOnceWhenAnswersCame) {
    begin(0);
    EXPECT_EQ(step("RCPT TO:<a@b.c>\r\nRS"), ServerEvent::recipient);
    EXPECT_EQ(step(), ServerEvent::need_input);
    EXPECT_TRUE(session_.mid_command());
    EXPECT_EQ(step("ET\r\n"), ServerEvent::blocked);
    EXPECT_EQ(step(), ServerEvent::blocked);
    EXPECT_EQ(rest_, "ET\r\n");
    session_.answer_recipient(ok, AnswerSource::own, false);
    EXPECT_EQ(step(), ServerEvent::reset);
    EXPECT_EQ(rest_, "");
    EXPECT_FALSE(session_.mid_command());
    EXPECT_EQ(heard(), "250 2.0.0 Ok\r\n250 2.0.0 Ok\r\n");
}

TEST_F(ServerSessionTest, AnOverlongLineBehindUnansweredRecipientsIsAnsweredInOrder) {
    begin(0);
    step("RCPT TO:<a@b.c>\r\n" + std::string(5000, 'x'));
    EXPECT_EQ(step(), ServerEvent::need_input);
    EXPECT_EQ(step("\r\n"), ServerEvent::blocked);
    session_.answer_recipient(ok, AnswerSource::own, false);
    EXPECT_EQ(step(), ServerEvent::need_input);
    EXPECT_TRUE(heard().starts_with("250 2.0.0 Ok\r\n500 5.5.2 "));
}

TEST_F(ServerSessionTest, RecipientsThatMayPassTheLimitWaitForAnswers) {
    settings_.recipients_max = 1;
    begin(0);
    EXPECT_EQ(step("RCPT TO:<a@b.c>\r\nRCPT TO:<a@b.c>\r\n"), ServerEvent::recipient);
    EXPECT_EQ(step(), ServerEvent::blocked);
    session_.answer_recipient(unknown_user, AnswerSource::backend, true);
    EXPECT_EQ(step(), ServerEvent::recipient);
    session_.answer_recipient(ok, AnswerSource::own, false);
    EXPECT_EQ(step("RCPT TO:<a@b.c>\r\n"), ServerEvent::need_input);
    EXPECT_NE(heard().find("452 4.5.3 "), std::string::npos);
}

TEST_F(ServerSessionTest, TheErrorsAreCountedForTheOwner) {
    step("FROB\r\nNOOP\r\nEXPN x\r\n");
    EXPECT_EQ(session_.errors_total(), 2U);
}

TEST_F(ServerSessionTest, AnswersBehindTheClosingOneFindNobody) {
    settings_.unknown_recipients_max = 1;
    begin(0);
    step("RCPT TO:<a@b.c>\r\nRCPT TO:<a@b.c>\r\nRCPT TO:<a@b.c>\r\n");
    step();
    step();
    for (int index = 0; index < 3; ++index) {
        session_.answer_recipient(unknown_user, AnswerSource::backend, true);
    }
    const std::string replies = heard();
    EXPECT_TRUE(replies.starts_with("550 5.1.1 Unknown\r\n421 4.7.0 ")) << replies;
    EXPECT_EQ(replies.find("\r\n550", 5), std::string::npos);
    EXPECT_EQ(step(), ServerEvent::close);
    EXPECT_EQ(step(), ServerEvent::close);
}

TEST_F(ServerSessionTest, FailIsTheLastReplyAndNothingIsReadAfterIt) {
    begin();
    step("NOOP\r\n");
    session_.fail({421, {4, 3, 2}, "Shutting down"});
    session_.fail({421, {4, 4, 2}, "Timeout"});
    EXPECT_EQ(heard(), "250 2.0.0 Ok\r\n421 4.3.2 Shutting down\r\n");
    EXPECT_EQ(step("NOOP\r\n"), ServerEvent::close);
    EXPECT_EQ(last_.consumed, 0U);
    EXPECT_EQ(heard(), "");
    EXPECT_FALSE(session_.in_transaction());
}

TEST_F(ServerSessionTest, AReplyWithoutEnhancedCodeGetsOneOfItsClass) {
    begin(0);
    step("RCPT TO:<a@b.c>\r\n");
    session_.answer_recipient({450, {}, "busy"}, AnswerSource::backend, false);
    EXPECT_EQ(heard(), "450 4.0.0 busy\r\n");
}

TEST_F(ServerSessionTest, ContentIsAViewIntoTheInput) {
    begin();
    begin_data();
    const std::string input = " x\r\n..\r\n.\r\nNOOP\r\n";
    const auto step_one = session_.receive(as_bytes(input));
    EXPECT_EQ(step_one.event, ServerEvent::content);
    EXPECT_FALSE(step_one.is_literal);
    EXPECT_EQ(as_text(step_one.content).data(), input.data());
    EXPECT_EQ(as_text(step_one.content), " x\r\n..\r\n");
    rest_ = input.substr(step_one.consumed);
    EXPECT_EQ(step(), ServerEvent::content_end);
    EXPECT_EQ(rest_, "NOOP\r\n");
    EXPECT_EQ(session_.content_bytes(), 7U); // one dot is stuffing
    EXPECT_TRUE(session_.content_starts_with_space());
    EXPECT_FALSE(session_.content_chunked());
    EXPECT_EQ(step(), ServerEvent::blocked);
    session_.answer_message(ok);
    EXPECT_FALSE(session_.in_transaction());
    EXPECT_EQ(heard(), "250 2.0.0 Ok\r\n");
}

TEST_F(ServerSessionTest, AHeldDotComesBackAsALiteral) {
    begin();
    begin_data();
    EXPECT_EQ(step("x\r\n."), ServerEvent::content);
    EXPECT_EQ(content_, "x\r\n");
    EXPECT_EQ(step(), ServerEvent::need_input);
    EXPECT_EQ(step(".y"), ServerEvent::content);
    EXPECT_TRUE(last_.is_literal);
    EXPECT_EQ(content_, ".");
    EXPECT_EQ(step(), ServerEvent::content);
    EXPECT_EQ(content_, ".y");
    EXPECT_FALSE(last_.is_literal);
}

TEST_F(ServerSessionTest, RefusedContentIsToldAsSoonAsItIsKnown) {
    begin();
    begin_data();
    EXPECT_EQ(step("a\nb"), ServerEvent::content_refused);
    EXPECT_EQ(step(), ServerEvent::need_input);
    EXPECT_EQ(step("more\r\n"), ServerEvent::need_input);
    EXPECT_EQ(heard(), "");
    EXPECT_EQ(step(".\r\n"), ServerEvent::reset);
    EXPECT_TRUE(heard().starts_with("550 5.6.0 "));
    EXPECT_FALSE(session_.in_transaction());
}

TEST_F(ServerSessionTest, AChunkThatEndsWithTheInputEndsTheMessageInTheNextCall) {
    begin();
    EXPECT_EQ(step("BDAT 3 LAST\r\nab"), ServerEvent::content);
    EXPECT_EQ(session_.chunk_bytes_left(), 1U);
    EXPECT_TRUE(session_.chunk_is_last());
    EXPECT_TRUE(session_.content_chunked());
    EXPECT_EQ(step("c"), ServerEvent::content);
    EXPECT_EQ(step(), ServerEvent::content_end);
    EXPECT_EQ(session_.content_bytes(), 3U);
}

TEST_F(ServerSessionTest, WhetherItOnlyWaitsForInputIsSaid) {
    EXPECT_TRUE(session_.waits_for_input());
    begin();
    EXPECT_TRUE(session_.waits_for_input());
    EXPECT_EQ(step("BDAT 3\r\nabc"), ServerEvent::content);
    EXPECT_FALSE(session_.waits_for_input()); // the chunk's end is still to be run
    EXPECT_EQ(step(), ServerEvent::need_input);
    EXPECT_TRUE(session_.waits_for_input());
    EXPECT_EQ(step("QUIT\r\n"), ServerEvent::close);
    EXPECT_FALSE(session_.waits_for_input());
}

TEST_F(ServerSessionTest, AnEarlyAnswerIsGivenAtTheEndOfTheData) {
    begin();
    begin_data();
    EXPECT_EQ(step("some"), ServerEvent::content);
    session_.answer_message(no_backend);
    EXPECT_EQ(heard(), "");
    EXPECT_EQ(step("more\nand more\r\n"), ServerEvent::need_input);
    EXPECT_EQ(step(".\r\nNOOP\r\n"), ServerEvent::reset);
    EXPECT_EQ(heard(), "451 4.4.1 No backend\r\n");
    EXPECT_FALSE(session_.in_transaction());
    EXPECT_EQ(rest_, "NOOP\r\n");
}

TEST_F(ServerSessionTest, AnEarlyAnswerRefusesTheChunkAndAllThatFollow) {
    begin();
    EXPECT_EQ(step("BDAT 4\r\nab"), ServerEvent::content);
    session_.answer_message(no_backend);
    EXPECT_EQ(step("cdBDAT 2\r\nef"), ServerEvent::need_input);
    EXPECT_EQ(heard(), "451 4.4.1 No backend\r\n451 4.4.1 No backend\r\n");
    EXPECT_EQ(step("BDAT 0 LAST\r\n"), ServerEvent::reset);
    EXPECT_EQ(heard(), "451 4.4.1 No backend\r\n");
}

TEST_F(ServerSessionTest, AnEarlyAnswerBetweenChunksRefusesTheNextOne) {
    begin();
    EXPECT_EQ(step("BDAT 2\r\nab"), ServerEvent::content);
    EXPECT_EQ(step(), ServerEvent::need_input);
    EXPECT_TRUE(heard().starts_with("250 2.0.0 2 octets"));
    session_.answer_message(no_backend);
    step("BDAT 2 LAST\r\nQU");
    EXPECT_EQ(heard(), "451 4.4.1 No backend\r\n");
    begin_mail();
}

TEST_F(LmtpSessionTest, AnEarlyAnswerHoldsForEveryRecipient) {
    begin(2);
    begin_data();
    step("some");
    session_.answer_message(no_backend);
    EXPECT_EQ(step("\r\n.\r\n"), ServerEvent::reset);
    EXPECT_EQ(heard(), "451 4.4.1 No backend\r\n451 4.4.1 No backend\r\n");
}

TEST_F(LmtpSessionTest, TheMessageEndsWithTheLastRecipientsAnswer) {
    begin(2);
    begin_data();
    EXPECT_EQ(step(".\r\n"), ServerEvent::content_end);
    session_.answer_message(ok);
    EXPECT_TRUE(session_.in_transaction());
    EXPECT_EQ(step("NOOP\r\n"), ServerEvent::blocked);
    session_.answer_message(no_backend);
    EXPECT_FALSE(session_.in_transaction());
    EXPECT_EQ(step(), ServerEvent::need_input);
    EXPECT_EQ(heard(), "250 2.0.0 Ok\r\n451 4.4.1 No backend\r\n250 2.0.0 Ok\r\n");
}

TEST_F(ServerSessionTest, TheHelloNameIsHarmlessAndBounded) {
    step("EHLO a<b>(c);\"d\\e@f \xc3\xbc\r\n");
    EXPECT_EQ(session_.hello_name(), "a?b??c???d?e?f???");
    EXPECT_TRUE(session_.esmtp());
    step("HELO " + std::string(1000, 'x') + "\r\n");
    EXPECT_EQ(session_.hello_name(), std::string(255, 'x'));
    EXPECT_FALSE(session_.esmtp());
}

TEST_F(ServerSessionTest, NewSettingsHoldFromTheNextCommandOn) {
    ServerSettings smaller = settings_;
    smaller.message_size_bytes_max = 10;
    step("EHLO c\r\n");
    session_.use(smaller);
    heard();
    EXPECT_EQ(step("MAIL FROM:<> SIZE=11\r\n"), ServerEvent::need_input);
    EXPECT_TRUE(heard().starts_with("552 5.3.4 "));
}

TEST_F(ServerSessionTest, AnIdleSessionCostsLittle) {
    if (!counts_allocations()) {
        GTEST_SKIP() << "a sanitizer has its own allocator";
    }
    const std::size_t before = allocation_count().live_bytes;
    ServerSession session(settings_);
    session.greet();
    const std::string_view hello = "EHLO mail.some-company.example\r\n";
    (void)session.receive(as_bytes(hello.substr(0, 5)));
    (void)session.receive(as_bytes(hello.substr(5)));
    session.output().clear();
    session.shed_spare_memory();
    const std::size_t idle_bytes = allocation_count().live_bytes - before;
    EXPECT_LE(idle_bytes, 240U); // as malloc rounds it up
}

TEST_F(ServerSessionTest, ATransactionOnAWarmSessionAllocatesNothing) {
    if (!counts_allocations()) {
        GTEST_SKIP() << "a sanitizer has its own allocator";
    }
    step("EHLO c\r\n");
    const std::string_view wire = "MAIL FROM:<a.long.sender.address@example.com> SIZE=12\r\n"
                                  "RCPT TO:<a.long.recipient.address@example.com>\r\n"
                                  "DATA\r\nSubject: x\r\n\r\ntext\r\n.\r\n";
    std::size_t warm_times = 0;
    for (int round = 0; round < 3; ++round) {
        warm_times = allocation_count().times;
        Bytes rest = as_bytes(wire);
        for (bool is_over = false; !is_over;) {
            const auto turn = session_.receive(rest);
            rest = rest.subspan(turn.consumed);
            if (turn.event == ServerEvent::mail) {
                session_.answer_mail(ok);
            } else if (turn.event == ServerEvent::recipient) {
                session_.answer_recipient(ok, AnswerSource::own, false);
            } else if (turn.event == ServerEvent::data) {
                session_.answer_data(go_ahead);
            } else if (turn.event == ServerEvent::content_end) {
                session_.answer_message(ok);
            }
            is_over = turn.event == ServerEvent::need_input;
        }
        session_.output().clear();
    }
    EXPECT_EQ(allocation_count().times, warm_times);
}

TEST_F(ServerSessionTest, AnEndlessLineHoldsNoMemory) {
    if (!counts_allocations()) {
        GTEST_SKIP() << "a sanitizer has its own allocator";
    }
    const std::string piece(1000, 'x');
    const std::size_t before = allocation_count().live_bytes;
    for (int round = 0; round < 100; ++round) {
        (void)session_.receive(as_bytes(piece));
        EXPECT_LE(allocation_count().live_bytes, before + 2 * command_line_bytes_max);
    }
    EXPECT_EQ(allocation_count().live_bytes, before);
    EXPECT_TRUE(session_.mid_command());
}

// Writes down what the session refused by itself.
class Refusals final : public RefusalObserver {
  public:
    void mail_refused(std::string_view argument, const Reply& reply) override {
        note("MAIL", argument, reply);
    }
    void recipient_refused(std::string_view argument, const Reply& reply) override {
        note("RCPT", argument, reply);
    }
    std::vector<std::string> seen;

  private:
    void note(std::string_view verb, std::string_view argument, const Reply& reply) {
        seen.push_back(std::string(verb) + " " + std::string(argument) + " " +
                       std::to_string(reply.code));
    }
};

TEST_F(ServerSessionTest, RefusedEnvelopesAreToldToTheObserverOnce) {
    Refusals refusals;
    settings_.message_size_bytes_max = 1000;
    settings_.recipients_max = 1;
    session_.observe(&refusals);
    ASSERT_EQ(step("MAIL FROM:<a@b.c>\r\n"), ServerEvent::need_input); // 503 is of the dialog
    ASSERT_EQ(step("EHLO c\r\n"), ServerEvent::hello);
    ASSERT_EQ(step("MAIL FROM:<a@b.c> SIZE=1001\r\n"), ServerEvent::need_input);
    ASSERT_EQ(step("MAIL FROM:<a b>\r\n"), ServerEvent::need_input);
    ASSERT_EQ(step("MAIL FROM:<a@b.c>\r\n"), ServerEvent::mail);
    session_.answer_mail(ok);
    ASSERT_EQ(step("MAIL FROM:<a@b.c>\r\n"), ServerEvent::need_input);
    ASSERT_EQ(step("RCPT TO:<a@b.c>\r\nRCPT TO:<>\r\n"), ServerEvent::recipient);
    ASSERT_EQ(step(), ServerEvent::blocked); // its turn comes when the one before is answered
    ASSERT_EQ(step(), ServerEvent::blocked);
    session_.answer_recipient(ok, AnswerSource::backend, false);
    ASSERT_EQ(step("RCPT TO:<d@b.c>\r\n"), ServerEvent::need_input);
    EXPECT_EQ(refusals.seen,
              (std::vector<std::string>{"MAIL FROM:<a@b.c> SIZE=1001 552", "MAIL FROM:<a b> 501",
                                        "RCPT TO:<> 501", "RCPT TO:<d@b.c> 452"}));
}

TEST_F(ServerSessionTest, CommandsAreCountedOnceHoweverOftenTheyWereBlocked) {
    begin(0);
    EXPECT_EQ(session_.commands_total(), 2U);
    ASSERT_EQ(step("RCPT TO:<a@b.c>\r\nNOOP\r\n"), ServerEvent::recipient);
    ASSERT_EQ(step(), ServerEvent::blocked);
    ASSERT_EQ(step(), ServerEvent::blocked);
    session_.answer_recipient(ok, AnswerSource::own, false);
    ASSERT_EQ(step("FROB\r\n" + std::string(3000, 'x') + "\r\n"), ServerEvent::need_input);
    EXPECT_EQ(session_.commands_total(), 6U);
    EXPECT_EQ(session_.errors_total(), 2U);
}

TEST_F(ServerSessionTest, TheLastCommandIsNamedForTheLog) {
    EXPECT_EQ(session_.last_command(), "");
    (void)step("FROB\r\n");
    EXPECT_EQ(session_.last_command(), "UNKNOWN");
    begin();
    EXPECT_EQ(session_.last_command(), "RCPT");
    begin_data();
    EXPECT_EQ(session_.last_command(), "DATA");
    ASSERT_EQ(step("x\r\n.\r\n"), ServerEvent::content);
    ASSERT_EQ(step(), ServerEvent::content_end);
    session_.answer_message(ok);
    EXPECT_EQ(session_.last_command(), "END-OF-MESSAGE");
    begin_mail();
    begin_data();
    ASSERT_EQ(step("x\ny\r\n.\r\n"), ServerEvent::content_refused);
    while (step() != ServerEvent::reset) {
    }
    EXPECT_EQ(session_.last_command(), "END-OF-MESSAGE");
}

TEST_F(ServerSessionTest, TheFaultOfRefusedContentIsNamed) {
    settings_.message_size_bytes_max = 200;
    settings_.received_fields_max = 1;
    const struct {
        std::string content;
        ContentFault fault;
        int code;
    } cases[] = {
        {std::string(300, 'x') + "\r\n", ContentFault::over_size, 552},
        {"Received: a\r\nReceived: b\r\n\r\n", ContentFault::received_loop, 554},
        {"a\nb\r\n", ContentFault::bare_newline, 550},
        {std::string("a\r\n.\0\r\n", 7), ContentFault::nul_line, 550},
    };
    begin(0);
    for (const auto& each : cases) {
        if (session_.in_transaction()) {
            ASSERT_EQ(step("RCPT TO:<a@b.c>\r\n"), ServerEvent::recipient);
            session_.answer_recipient(ok, AnswerSource::own, false);
        } else {
            begin_mail();
        }
        begin_data();
        EXPECT_EQ(session_.content_fault(), ContentFault::none);
        ServerEvent event = step(each.content + ".\r\n");
        while (event != ServerEvent::content_refused) {
            ASSERT_EQ(event, ServerEvent::content);
            event = step();
        }
        EXPECT_EQ(session_.content_fault(), each.fault);
        EXPECT_EQ(session_.content_refusal().code, each.code);
        while (event != ServerEvent::reset) {
            event = step();
        }
        heard();
    }
    begin_mail();
    ASSERT_EQ(step("BDAT 1 FROB\r\nx"), ServerEvent::content_refused);
    EXPECT_EQ(session_.content_fault(), ContentFault::bad_chunk);
    EXPECT_EQ(session_.content_refusal().code, 501);
}

TEST_F(ServerSessionTest, WhyItClosedIsSaid) {
    EXPECT_EQ(session_.close_cause(), CloseCause::none);
    (void)step("QUIT\r\n");
    EXPECT_EQ(session_.close_cause(), CloseCause::quit);
    session_.fail(no_backend);
    EXPECT_EQ(session_.close_cause(), CloseCause::quit) << "the first cause stays";
    settings_.errors_max = 1;
    ServerSession errors(settings_);
    (void)errors.receive(as_bytes("A\r\nB\r\n"));
    EXPECT_EQ(errors.close_cause(), CloseCause::too_many_errors);
    ServerSession chunk(settings_);
    (void)chunk.receive(as_bytes("BDAT x\r\n"));
    EXPECT_EQ(chunk.close_cause(), CloseCause::bad_chunk);
    ServerSession failed(settings_);
    failed.fail(no_backend);
    EXPECT_EQ(failed.close_cause(), CloseCause::failed);
    settings_.unknown_recipients_max = 1;
    settings_.errors_max = 0;
    ServerSession unknown(settings_);
    (void)unknown.receive(as_bytes("EHLO c\r\n"));
    (void)unknown.receive(as_bytes("MAIL FROM:<a@b.c>\r\n"));
    unknown.answer_mail(ok);
    for (int count = 0; count < 2; ++count) {
        EXPECT_EQ(unknown.close_cause(), CloseCause::none);
        (void)unknown.receive(as_bytes("RCPT TO:<x@b.c>\r\n"));
        unknown.answer_recipient(unknown_user, AnswerSource::backend, true);
    }
    EXPECT_EQ(unknown.close_cause(), CloseCause::too_many_unknown);
}

} // namespace
} // namespace ringmx::smtp
