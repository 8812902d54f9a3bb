// Workers are played by this test: it sees what each is asked and decides what it says.
#include "admin/cache_desk.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <map>

namespace ringmx::admin {
namespace {

using Kind = CacheQuestion::Kind;
using ::testing::HasSubstr;

class CacheDeskTest : public ::testing::Test {
  protected:
    void open(std::uint32_t workers) {
        desk.emplace(CacheDesk::Options{.workers = workers,
                                        .run = 0xab,
                                        .post =
                                            [this](std::uint32_t worker, CacheQuestion question) {
                                                asked[worker].push_back(std::move(question));
                                            },
                                        .reply =
                                            [this](Ticket ticket, HttpResponse response) {
                                                replies.emplace_back(ticket, std::move(response));
                                            }});
    }
    static CacheRequest request(Kind kind, std::string recipient = {}, std::string cursor = {}) {
        CacheRequest made;
        made.question.kind = kind;
        made.question.limit = 2;
        made.question.recipient = std::move(recipient);
        made.cursor = std::move(cursor);
        return made;
    }
    CacheAnswer answer(std::uint32_t worker) {
        return {.question = asked[worker].back().number, .worker = worker};
    }
    void take(std::uint32_t worker, std::vector<CacheRow> rows, std::uint64_t next) {
        CacheAnswer given = answer(worker);
        given.rows = std::move(rows);
        given.next = next;
        desk->take(std::move(given));
    }
    [[nodiscard]] const std::string& body() const { return replies.back().second.body; }

    std::optional<CacheDesk> desk;
    std::map<std::uint32_t, std::vector<CacheQuestion>> asked;
    std::vector<std::pair<Ticket, HttpResponse>> replies;
};

TEST_F(CacheDeskTest, APurgeIsAnsweredWhenEveryWorkerHasPurged) {
    open(3);
    const Ticket ticket{4, 7};
    EXPECT_FALSE(desk->ask(request(Kind::purge, "a@b.example"), ticket).has_value());
    for (const std::uint32_t worker : {2U, 0U, 1U}) {
        EXPECT_TRUE(replies.empty());
        EXPECT_EQ(asked[worker].at(0).kind, Kind::purge);
        EXPECT_EQ(asked[worker].at(0).recipient, "a@b.example");
        CacheAnswer given = answer(worker);
        given.purged = worker;
        desk->take(std::move(given));
    }
    ASSERT_EQ(replies.size(), 1U);
    EXPECT_EQ(replies[0].first, ticket);
    EXPECT_EQ(replies[0].second.content_type, "application/json");
    EXPECT_EQ(body(), "{\"purged\":3}\n");
}

TEST_F(CacheDeskTest, AListGoesFromWorkerToWorkerAPageAtATime) {
    open(2);
    EXPECT_FALSE(desk->ask(request(Kind::list), {}).has_value());
    EXPECT_TRUE(asked[1].empty());
    EXPECT_EQ(asked[0].at(0).after, 0U);
    EXPECT_EQ(asked[0].at(0).limit, 2U);
    take(0, {{"", 90s}, {"550 5.1.1 \"no\"", 500ms}}, 0x2a);
    EXPECT_EQ(body(),
              "{\"answers\":["
              "{\"result\":\"exists\",\"reply\":\"\",\"remaining_seconds\":90.000,\"worker\":0},"
              "{\"result\":\"unknown\",\"reply\":\"550 5.1.1 \\\"no\\\"\","
              "\"remaining_seconds\":0.500,\"worker\":0}],"
              "\"cursor\":\"ab-0-2a\"}\n");
    EXPECT_FALSE(desk->ask(request(Kind::list, "", "ab-0-2a"), {}).has_value());
    EXPECT_EQ(asked[0].at(1).after, 0x2aU);
    take(0, {}, 0);
    EXPECT_EQ(body(), "{\"answers\":[],\"cursor\":\"ab-1-0\"}\n");
    EXPECT_FALSE(desk->ask(request(Kind::list, "", "ab-1-0"), {}).has_value());
    EXPECT_EQ(asked[0].size(), 2U);
    EXPECT_EQ(asked[1].at(0).after, 0U);
    take(1, {{"", 1s}}, 0);
    EXPECT_EQ(body(), "{\"answers\":[{\"result\":\"exists\",\"reply\":\"\","
                      "\"remaining_seconds\":1.000,\"worker\":1}],\"cursor\":null}\n");
}

TEST_F(CacheDeskTest, AboutOneRecipientAllWorkersAreAskedAtOnce) {
    open(3);
    EXPECT_FALSE(desk->ask(request(Kind::list, "a@b.example"), {}).has_value());
    take(2, {{"", 1s}}, 0);
    take(1, {}, 0);
    EXPECT_TRUE(replies.empty());
    take(0, {{"550 5.1.1 no", 1s}}, 0);
    EXPECT_THAT(body(), HasSubstr("\"worker\":0},{\"result\":\"exists\""));
    EXPECT_THAT(body(), HasSubstr("\"worker\":2}],\"cursor\":null}"));
}

TEST_F(CacheDeskTest, ACursorOfAnotherRunOrThatIsNoneIsRefused) {
    open(2);
    for (const char* const cursor :
         {"ab", "ab-0", "ab-0-1-2", "ac-0-1", "ab-2-0", "ab-0-", "ab-0-x", "-", "ab--1",
          "ab-0-10000000000000000", "ab-100000000-0"}) {
        EXPECT_EQ(desk->ask(request(Kind::list, "", cursor), {})->status, 400) << cursor;
    }
    EXPECT_TRUE(asked.empty());
}

TEST_F(CacheDeskTest, MoreQuestionsThanThereIsRoomForAreRefusedUntilWorkersHaveAnswered) {
    open(2);
    constexpr std::size_t rounds_max = Rounds<CacheQuestion, CacheAnswer>::rounds_max;
    for (std::size_t count = 0; count < rounds_max; ++count) {
        EXPECT_FALSE(desk->ask(request(Kind::purge), {}).has_value());
    }
    EXPECT_EQ(desk->ask(request(Kind::purge), {})->status, 503);
    EXPECT_EQ(asked[0].size(), rounds_max);
    desk->take(answer(0));
    EXPECT_EQ(desk->ask(request(Kind::list), {})->status, 503);
    desk->take(answer(1));
    EXPECT_FALSE(desk->ask(request(Kind::list), {}).has_value());
}

} // namespace
} // namespace ringmx::admin
