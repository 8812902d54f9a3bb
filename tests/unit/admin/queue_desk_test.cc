// Workers are played by this test: it sees what each is asked and decides what it says.
#include "admin/queue_desk.h"

#include "spool/message_id.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <map>

namespace ringmx::admin {
namespace {

using Kind = QueueQuestion::Kind;
using Result = QueueAnswer::Result;
using ::testing::HasSubstr;

class QueueDeskTest : public ::testing::Test {
  protected:
    void open(std::uint32_t workers, std::uint32_t run = 5) {
        desk.emplace(QueueDesk::Options{
            .workers = workers,
            .run = run,
            .post =
                [this](std::uint32_t worker, QueueQuestion question) {
                    asked[worker].push_back(std::move(question));
                },
            .reply =
                [this](Ticket ticket, HttpResponse response) {
                    replies.emplace_back(ticket, std::move(response));
                },
            .is_recovering = [this] { return is_recovering; },
            .pools = [this]() -> const std::vector<PoolSettings>& { return pools; },
            .note = [this](std::string_view line) { notes.emplace_back(line); }});
    }
    static QueueRequest request(Kind kind, std::uint32_t limit = 50, std::string cursor = {}) {
        QueueRequest made;
        made.question.kind = kind;
        made.question.limit = limit;
        made.question.id = kind == Kind::list || kind == Kind::retry_all ? 0 : 9;
        made.cursor = std::move(cursor);
        return made;
    }
    QueueAnswer answer(std::uint32_t worker, Result result = Result::done) {
        return {.question = asked[worker].back().number, .worker = worker, .result = result};
    }
    static QueueRow row(std::uint64_t id, std::uint64_t age, int created_s) {
        QueueRow made;
        made.id = id;
        made.age = age;
        made.created = WallTime(std::chrono::seconds(created_s));
        return made;
    }
    // What all of them hold, oldest first, is listed page by page: the ids.
    std::vector<std::string> list(const std::vector<std::vector<QueueRow>>& held,
                                  std::uint32_t limit, std::size_t found_max) {
        std::vector<std::string> ids;
        std::string cursor;
        for (int pages = 0; pages < 1000; ++pages) {
            EXPECT_FALSE(desk->ask(request(Kind::list, limit, cursor), {}).has_value());
            for (std::uint32_t worker = 0; worker < held.size(); ++worker) {
                const QueueQuestion& question = asked[worker].back();
                QueueAnswer given = answer(worker);
                given.next = question.after;
                for (const QueueRow& one : held[worker]) {
                    if (one.age > question.after) {
                        if (given.rows.size() == std::min<std::size_t>(limit, found_max)) {
                            given.is_end = false;
                            break;
                        }
                        given.rows.push_back(one);
                        given.next = one.age;
                    }
                }
                desk->take(std::move(given));
            }
            const std::string& body = replies.back().second.body;
            for (std::size_t at = 0; (at = body.find("\"id\":\"", at)) != std::string::npos;) {
                at += 6;
                ids.push_back(body.substr(at, spool::id_letters));
            }
            const std::size_t place = body.find("\"cursor\":\"");
            if (place == std::string::npos) {
                EXPECT_THAT(body, HasSubstr("\"cursor\":null,\"complete\":true}\n"));
                return ids;
            }
            cursor = body.substr(place + 10, body.find('"', place + 10) - place - 10);
        }
        ADD_FAILURE() << "no end";
        return ids;
    }

    std::optional<QueueDesk> desk;
    static PoolSettings pool(std::string name, const std::vector<std::string>& backends) {
        PoolSettings made;
        made.name = std::move(name);
        for (const std::string& backend : backends) {
            made.backends.emplace_back().address = backend;
        }
        return made;
    }
    // The fault of a list with this filter; empty: it is asked for.
    std::string fault_of(const QueueFilter& filter) {
        QueueRequest made = request(Kind::list);
        made.question.filter = filter;
        const std::optional<HttpResponse> response = desk->ask(made, {});
        if (response && response->status != 200) {
            EXPECT_EQ(response->status, 400);
            return response->body;
        }
        return {};
    }

    bool is_recovering = false;
    std::vector<std::string> notes;
    std::vector<PoolSettings> pools;
    std::map<std::uint32_t, std::vector<QueueQuestion>> asked;
    std::vector<std::pair<Ticket, HttpResponse>> replies;
};

TEST_F(QueueDeskTest, WithoutASpoolTheQueueIsEmpty) {
    open(0);
    EXPECT_EQ(desk->ask(request(Kind::list), {})->body,
              "{\"messages\":[],\"cursor\":null,\"complete\":true}\n");
    EXPECT_EQ(desk->ask(request(Kind::retry_all), {})->body, "{\"retried\":0}\n");
    EXPECT_EQ(desk->ask(request(Kind::show), {})->status, 404);
    EXPECT_EQ(desk->ask(request(Kind::remove), {})->status, 404);
}

TEST_F(QueueDeskTest, AFilterByAPoolOrABackendThatIsNotThereIsAFaultThatNamesThoseThatAre) {
    pools = {pool("one", {"a:25", "b:25"}), pool("two", {"c:25"})};
    for (const std::uint32_t workers : {0U, 1U}) {
        open(workers);
        EXPECT_EQ(fault_of({.pool = "three\x1b"}),
                  "pool: there is no pool 'three\\e', expected one, two\n");
        EXPECT_EQ(fault_of({.backend = "a"}),
                  "backend: there is no backend 'a', expected a:25, b:25, c:25\n");
        EXPECT_EQ(fault_of({.pool = "two", .backend = "a:25"}),
                  "backend: there is no backend 'a:25', expected c:25\n");
        EXPECT_EQ(fault_of({.pool = "one", .backend = "b:25"}), "");
        EXPECT_EQ(fault_of({.pool = "two"}), "");
        EXPECT_EQ(fault_of({.backend = "c:25"}), "");
    }
    pools.clear();
    for (int number = 0; number < 12; ++number) {
        pools.push_back(pool("p" + std::to_string(number), {}));
    }
    open(1);
    EXPECT_EQ(fault_of({.pool = "x"}), "pool: there is no pool 'x', expected p0, p1, p2, p3, p4, "
                                       "p5, p6, p7, p8, p9, or one of 2 more\n");
}

TEST_F(QueueDeskTest, EveryWorkerIsAskedAndTheLastAnswerMakesTheResponse) {
    open(3);
    const Ticket ticket{4, 7};
    EXPECT_FALSE(desk->ask(request(Kind::hold), ticket).has_value());
    for (std::uint32_t worker = 0; worker < 3; ++worker) {
        EXPECT_EQ(asked[worker].at(0).kind, Kind::hold);
        EXPECT_EQ(asked[worker].at(0).id, 9U);
        EXPECT_TRUE(replies.empty());
        desk->take(answer(worker, worker == 1 ? Result::done : Result::unknown));
    }
    ASSERT_EQ(replies.size(), 1U);
    EXPECT_EQ(replies[0].first, ticket);
    EXPECT_EQ(replies[0].second.status, 200);
    EXPECT_EQ(replies[0].second.body, "{\"id\":\"" + spool::id_text(9) + "\"}\n");
}

TEST_F(QueueDeskTest, WhoHasTheMessageDecidesAndWhoDoesNotKnowMakesA503) {
    open(2);
    const auto status = [&](Kind kind, Result one, Result other) {
        EXPECT_FALSE(desk->ask(request(kind), {}).has_value());
        QueueAnswer first = answer(0, one);
        if (kind == Kind::show && one == Result::done) {
            first.rows.push_back(row(9, 1, 0));
        }
        desk->take(std::move(first));
        desk->take(answer(1, other));
        return replies.back().second.status;
    };
    EXPECT_EQ(status(Kind::show, Result::done, Result::unknown), 200);
    EXPECT_EQ(status(Kind::show, Result::done, Result::busy), 200);
    EXPECT_EQ(status(Kind::show, Result::unknown, Result::busy), 503);
    EXPECT_EQ(status(Kind::show, Result::unknown, Result::unknown), 404);
    is_recovering = true; // what earlier runs left may have it
    EXPECT_EQ(status(Kind::show, Result::unknown, Result::unknown), 503);
    EXPECT_EQ(status(Kind::remove, Result::unknown, Result::unknown), 503);
    is_recovering = false;
    EXPECT_EQ(status(Kind::remove, Result::not_durable, Result::unknown), 503);
    EXPECT_THAT(replies.back().second.body, HasSubstr("make it again"));
    EXPECT_EQ(status(Kind::list, Result::done, Result::busy), 503);
    EXPECT_EQ(status(Kind::retry_all, Result::done, Result::busy), 503);
}

// What a worker did not have when it was asked it may have when the answers are there.
TEST_F(QueueDeskTest, WhatWasAskedWhileEarlierRunsWereReadIsNotComplete) {
    open(2);
    for (const Kind kind : {Kind::list, Kind::show}) {
        is_recovering = true;
        EXPECT_FALSE(desk->ask(request(kind), {}).has_value());
        is_recovering = false;
        const Result result = kind == Kind::list ? Result::done : Result::unknown;
        desk->take(answer(0, result));
        desk->take(answer(1, result));
    }
    EXPECT_EQ(replies.at(0).second.body, "{\"messages\":[],\"cursor\":null,\"complete\":false}\n");
    EXPECT_EQ(replies.at(1).second.status, 503);
}

TEST_F(QueueDeskTest, RetriedMessagesAreAddedUp) {
    open(2);
    (void)desk->ask(request(Kind::retry_all), {});
    for (std::uint32_t worker = 0; worker < 2; ++worker) {
        QueueAnswer given = answer(worker);
        given.changed = 20 + worker;
        desk->take(std::move(given));
    }
    EXPECT_EQ(replies.at(0).second.body, "{\"retried\":41}\n");
    EXPECT_EQ(notes, std::vector<std::string>{"an operator requeues all that waits: 41 messages"});
}

TEST_F(QueueDeskTest, MoreQuestionsThanThereIsRoomForAreRefusedUntilWorkersHaveAnswered) {
    open(2);
    constexpr std::size_t rounds_max = Rounds<QueueQuestion, QueueAnswer>::rounds_max;
    for (std::size_t count = 0; count < rounds_max; ++count) {
        EXPECT_FALSE(desk->ask(request(Kind::show), {}).has_value());
    }
    EXPECT_EQ(desk->ask(request(Kind::show), {})->status, 503);
    desk->take(answer(0, Result::unknown));
    EXPECT_EQ(desk->ask(request(Kind::show), {})->status, 503);
    desk->take(answer(1, Result::unknown));
    EXPECT_FALSE(desk->ask(request(Kind::show), {}).has_value());
}

TEST_F(QueueDeskTest, ListsAreMergedOldestFirstAndNothingIsMissedOrTwice) {
    std::vector<std::vector<QueueRow>> held(3);
    std::vector<std::string> all;
    for (std::uint64_t id = 1; id <= 40; ++id) {
        const std::size_t worker = id * id % 7 % 3;
        held[worker].push_back(row(id, held[worker].size() * 3 + 5, static_cast<int>(id)));
        all.push_back(spool::id_text(id));
    }
    for (const std::uint32_t limit : {1U, 3U, 20U, 40U, 50U}) {
        for (const std::size_t found_max : {1U, 2U, 100U}) {
            open(3);
            EXPECT_EQ(list(held, limit, found_max), all) << limit << " " << found_max;
        }
    }
}

TEST_F(QueueDeskTest, ACursorOfAnotherRunOrThatIsNoneIsRefused) {
    open(2, 0x1F);
    for (const char* const cursor : {"1f", "1f-1", "1f-1-2-3", "1e-1-2", "1f-1-", "1f-1-x", "-",
                                     "1f--2", "1f-1-10000000000000000", "1f-1-2-"}) {
        EXPECT_EQ(desk->ask(request(Kind::list, 50, cursor), {})->status, 400) << cursor;
    }
    EXPECT_FALSE(desk->ask(request(Kind::list, 50, "1f-1-2a"), {}).has_value());
    EXPECT_EQ(asked[0].back().after, 1U);
    EXPECT_EQ(asked[1].back().after, 0x2AU);
}

TEST_F(QueueDeskTest, AMessageAsJson) {
    open(1);
    (void)desk->ask(request(Kind::show), {});
    QueueAnswer given = answer(0);
    QueueRow& one = given.rows.emplace_back(row(9, 1, 1'704'164'645));
    one.sender = "a\"b@far.example";
    one.recipients = {{"u@x.example", RecipientState::failed, "550 5.1.1 no\x1b[2K", "store"},
                      {"v@x.example", RecipientState::pending, ""},
                      {"w@x.example", RecipientState::bounced, "550 5.1.1 no"}};
    one.state = QueueState::due;
    one.attempts = 3;
    one.size_bytes = 4096;
    one.pool = "store";
    one.next_attempt = one.created + 90s;
    desk->take(std::move(given));
    EXPECT_EQ(replies.at(0).second.content_type, "application/json");
    EXPECT_EQ(
        replies.at(0).second.body,
        "{\"id\":\"" + spool::id_text(9) +
            "\",\"sender\":\"a\\\"b@far.example\",\"recipients\":["
            "{\"address\":\"u@x.example\",\"state\":\"failed\",\"last_reply\":\"550 5.1.1 "
            "no\\u001b[2K\",\"pool\":\"store\"},"
            "{\"address\":\"v@x.example\",\"state\":\"pending\",\"last_reply\":\"\",\"pool\":\"\"},"
            "{\"address\":\"w@x.example\",\"state\":\"bounced\",\"last_reply\":\"550 5.1.1 "
            "no\",\"pool\":\"\"}],"
            "\"size\":4096,\"attempts\":3,\"next_attempt\":\"2024-01-02T03:05:35Z\","
            "\"created\":\"2024-01-02T03:04:05Z\",\"state\":\"deferred\",\"pool\":\"store\"}\n");
}

} // namespace
} // namespace ringmx::admin
