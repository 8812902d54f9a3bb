// What the dialogs can't say of content: views, what comes back as a literal, early answers, chunks.
#include "unit/smtp/server_session_scene.h"

namespace ringmx::smtp {
namespace {

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

} // namespace
} // namespace ringmx::smtp
