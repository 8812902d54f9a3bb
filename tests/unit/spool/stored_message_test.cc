#include "spool/stored_message.h"

#include <gtest/gtest.h>

namespace ringmx::spool {
namespace {

StoredMessage example() {
    StoredMessage message;
    message.accepted_at = WallTime(Duration(1'764'000'000'123'456'789));
    message.expires_from = WallTime(Duration(1'764'000'001'000'000'000));
    message.content_bytes = 5;
    message.message_bytes = 4;
    message.is_stuffed = true;
    message.smtputf8 = true;
    message.body = StoredBody::eight_bit_mime;
    message.reverse_path = "sender@example.net";
    message.trace_field = "Received: from x\r\n";
    message.is_esmtp = true;
    message.waits_for_pool = true;
    message.return_content = StoredReturn::headers;
    message.client_ip = *IpAddress::parse("2001:db8::7");
    message.client_port = 54'321;
    message.hello_name = "client.example.net";
    message.envelope_id = "QQ+2B1";
    message.recipients = {
        {"a@example.com", RecipientState::pending, 10, "rfc822;a+2Bb@example.com", {}},
        {"\"b c\"@example.com", RecipientState::failed, 0, {}, "550 5.1.1 no"}};
    return message;
}

TEST(StoredMessage, IsReadAsItWasWritten) {
    const StoredMessage written = example();
    std::string body;
    append_message_body(body, written);
    body += "12345";
    Bytes content;
    const auto read = read_message_body(as_bytes(body), &content);
    ASSERT_TRUE(read);
    EXPECT_EQ(read->accepted_at, written.accepted_at);
    EXPECT_EQ(read->expires_from, written.expires_from);
    EXPECT_EQ(read->content_bytes, 5U);
    EXPECT_EQ(read->message_bytes, 4U);
    EXPECT_TRUE(read->is_stuffed);
    EXPECT_TRUE(read->smtputf8);
    EXPECT_FALSE(read->is_on_hold);
    EXPECT_TRUE(read->waits_for_pool);
    EXPECT_EQ(read->body, StoredBody::eight_bit_mime);
    EXPECT_EQ(read->reverse_path, written.reverse_path);
    EXPECT_EQ(read->trace_field, written.trace_field);
    ASSERT_EQ(read->recipients.size(), 2U);
    EXPECT_TRUE(read->is_esmtp);
    EXPECT_EQ(read->return_content, StoredReturn::headers);
    EXPECT_EQ(read->client_ip, written.client_ip);
    EXPECT_EQ(read->client_port, 54'321);
    EXPECT_EQ(read->hello_name, "client.example.net");
    EXPECT_EQ(read->envelope_id, "QQ+2B1");
    EXPECT_EQ(read->recipients[0].mailbox, "a@example.com");
    EXPECT_EQ(read->recipients[0].notify, 10);
    EXPECT_EQ(read->recipients[0].original_recipient, "rfc822;a+2Bb@example.com");
    EXPECT_EQ(read->recipients[1].mailbox, "\"b c\"@example.com");
    EXPECT_EQ(read->recipients[1].state, RecipientState::failed);
    EXPECT_EQ(read->recipients[1].last_reply, "550 5.1.1 no");
    EXPECT_EQ(as_text(content), "12345");
}

TEST(StoredMessage, ChunksAreReadAsTheyWereWritten) {
    StoredMessage written = example();
    written.chunks = {{1, 4096, 500'000}, {2, 8192, 77}};
    std::string body;
    append_message_body(body, written);
    const auto read = read_message_body(as_bytes(body));
    ASSERT_TRUE(read);
    EXPECT_EQ(read->chunks, written.chunks);
}

TEST(StoredMessage, CutOrLengthenedItIsNone) {
    std::string body;
    append_message_body(body, example());
    body += "12345";
    for (std::size_t bytes = 0; bytes < body.size(); ++bytes) {
        EXPECT_FALSE(read_message_body(as_bytes(body).first(bytes))) << bytes;
    }
    EXPECT_FALSE(read_message_body(as_bytes(body + "6")));
}

TEST(StoredMessage, AHeadIsReadWithoutItsContent) {
    std::string body;
    append_message_body(body, example());
    const std::size_t head_bytes = body.size();
    body += "12345";
    for (std::size_t bytes = 0; bytes <= body.size(); ++bytes) {
        std::size_t content_start = 0;
        const auto read =
            read_message_head(as_bytes(body).first(bytes), body.size(), content_start);
        EXPECT_EQ(read.has_value(), bytes >= head_bytes) << bytes;
        if (read) {
            EXPECT_EQ(content_start, head_bytes);
            EXPECT_EQ(read->reverse_path, "sender@example.net");
        }
    }
}

TEST(StoredMessage, WithoutRecipientsItIsNone) {
    StoredMessage message = example();
    message.recipients.clear();
    message.content_bytes = 0;
    std::string body;
    append_message_body(body, message);
    EXPECT_FALSE(read_message_body(as_bytes(body)));
}

TEST(Marks, AreReadAsTheyWereWritten) {
    std::string body;
    append_mark(body, {.kind = MarkKind::failed,
                       .id = 9,
                       .recipient = 2,
                       .home = {3, 4, 5},
                       .at = WallTime(6s),
                       .reply = "550 no"});
    append_mark(body, {.kind = MarkKind::pool_release, .id = 10, .at = WallTime(7s)});
    MarksReader reader(as_bytes(body));
    const auto first = reader.next();
    ASSERT_TRUE(first);
    EXPECT_EQ(first->kind, MarkKind::failed);
    EXPECT_EQ(first->id, 9U);
    EXPECT_EQ(first->recipient, 2U);
    EXPECT_EQ(first->home, (SegmentName{3, 4, 5}));
    EXPECT_EQ(first->at, WallTime(6s));
    EXPECT_EQ(first->reply, "550 no");
    const auto second = reader.next();
    ASSERT_TRUE(second);
    EXPECT_EQ(second->kind, MarkKind::pool_release);
    EXPECT_EQ(second->recipient, every_recipient);
    EXPECT_FALSE(reader.next());
}

TEST(Marks, ACutOneEndsThem) {
    std::string body;
    append_mark(body, {.id = 9, .reply = "550 no"});
    for (std::size_t bytes = 0; bytes < body.size(); ++bytes) {
        MarksReader reader(as_bytes(body).first(bytes));
        EXPECT_FALSE(reader.next()) << bytes;
        EXPECT_EQ(reader.unreadable(), bytes == 0 ? 0U : 1U) << bytes;
    }
}

// A newer program's; its length is known all the same.
TEST(Marks, OneOfAnUnknownKindIsPassedOverAndCounted) {
    for (const std::uint16_t unknown : {std::uint16_t{0}, std::uint16_t{8}}) {
        std::string body;
        append_mark(body, {.kind = static_cast<MarkKind>(unknown), .id = 8, .reply = "why"});
        append_mark(body, {.kind = MarkKind::removed, .id = 9});
        MarksReader reader(as_bytes(body));
        const auto mark = reader.next();
        ASSERT_TRUE(mark);
        EXPECT_EQ(mark->id, 9U);
        EXPECT_FALSE(reader.next());
        EXPECT_EQ(reader.unreadable(), 1U);
    }
}

} // namespace
} // namespace ringmx::spool
