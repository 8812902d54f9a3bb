// What the dialogs can't say: events and their order, memory.
#include "unit/smtp/allocation_count.h"
#include "unit/smtp/server_session_scene.h"

#include <vector>

namespace ringmx::smtp {
namespace {

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
