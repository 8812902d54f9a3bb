#include "admin/queue_table.h"

#include <gtest/gtest.h>

namespace ringmx::admin {
namespace {

constexpr const char* entry =
    R"({"id":"BBBCFBBBBBBBG","sender":"a@far.example","recipients":[)"
    R"({"address":"u@x.example","state":"pending","last_reply":"450 4.2.0 later","pool":"store"},)"
    R"({"address":"long.name@x.example","state":"delivered","last_reply":""}],)"
    R"("size":12800,"attempts":3,"next_attempt":"2024-01-02T03:05:35Z",)"
    R"("created":"2024-01-02T03:04:05Z","state":"deferred","pool":"store","new":1})";
constexpr const char* bare_entry =
    R"({"id":"BBBCFBBBBBBBH","sender":"","recipients":[],"size":17,"attempts":0,)"
    R"("next_attempt":null,"created":"2024-01-02T03:04:05Z","state":"held","pool":""})";

TEST(QueueTable, AListHasALineForEachMessage) {
    const auto page = read_queue_page(std::string(R"({"messages":[)") + entry + "," + bare_entry +
                                      R"(],"cursor":"1-a"})");
    ASSERT_TRUE(page.has_value());
    EXPECT_EQ(page->cursor, "1-a");
    ASSERT_EQ(page->entries.size(), 2U);
    EXPECT_EQ(page->entries[0], entry);
    EXPECT_EQ(queue_heading() + page->lines,
              "id             state            size  created               attempts  next attempt  "
              "        pool        sender  recipients\n"
              "BBBCFBBBBBBBG  deferred     12.5 KiB  2024-01-02T03:04:05Z         3  "
              "2024-01-02T03:05:35Z  store       a@far.example  u@x.example (450 4.2.0 later), 1 "
              "more\n"
              "BBBCFBBBBBBBH  held             17 B  2024-01-02T03:04:05Z         0  -             "
              "        -           <>  (can't be read)\n");
}

TEST(QueueTable, TheLastPageHasNoCursor) {
    const auto page = read_queue_page(R"({"messages":[],"cursor":null})");
    ASSERT_TRUE(page.has_value());
    EXPECT_EQ(page->cursor, "");
    EXPECT_EQ(page->lines, "");
}

TEST(QueueTable, APageIsCompleteUnlessItSaysOtherwise) {
    const auto is_complete = [](const char* json) { return read_queue_page(json)->is_complete; };
    EXPECT_TRUE(is_complete(R"({"messages":[],"cursor":null})"));
    EXPECT_TRUE(is_complete(R"({"messages":[],"cursor":null,"complete":true})"));
    EXPECT_FALSE(is_complete(R"({"messages":[],"cursor":null,"complete":false})"));
}

TEST(QueueTable, OneMessageWithEachRecipient) {
    EXPECT_EQ(queue_entry_table(entry).value_or("none"),
              "id            BBBCFBBBBBBBG\n"
              "state         deferred\n"
              "sender        a@far.example\n"
              "size          12.5 KiB\n"
              "created       2024-01-02T03:04:05Z\n"
              "attempts      3\n"
              "next attempt  2024-01-02T03:05:35Z\n"
              "pool          store\n"
              "\n"
              "recipient            state      pool   last reply\n"
              "u@x.example          pending    store  450 4.2.0 later\n"
              "long.name@x.example  delivered  -      -\n");
}

TEST(QueueTable, WhatAMessageSaysDoesNothingToATerminal) {
    const std::string lines =
        read_queue_page(R"({"messages":[{"id":"X","sender":"\u001b[2J\n","recipients":)"
                        R"([{"address":"\u009b","state":"failed","last_reply":"\r\u202e"}]}]})")
            .value()
            .lines;
    EXPECT_EQ(lines.find('\n'), lines.size() - 1);
    EXPECT_EQ(lines.find('\x1b'), std::string::npos);
    EXPECT_EQ(lines.find('\r'), std::string::npos);
    EXPECT_EQ(lines.find("\xC2\x9B"), std::string::npos);
}

TEST(QueueTable, WhatIsNoAnswerOfOursGivesNothing) {
    for (const char* const json : {"", "{}", "[]", "null", "{\"messages\":1}", "<html>"}) {
        EXPECT_FALSE(read_queue_page(json).has_value()) << json;
        EXPECT_FALSE(queue_entry_table(json).has_value()) << json;
        EXPECT_FALSE(read_retried(json).has_value()) << json;
    }
    EXPECT_EQ(read_retried("{\"retried\":12}\n"), 12U);
}

} // namespace
} // namespace ringmx::admin
