#include "admin/queue_request.h"

#include "admin/query.h"
#include "spool/message_id.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace ringmx::admin {
namespace {

using Kind = QueueQuestion::Kind;
using ::testing::StartsWith;

std::expected<QueueRequest, HttpResponse> read(std::string_view path, std::string_view query = {},
                                               Method method = Method::get) {
    HttpRequest request;
    request.path = path;
    request.query = query;
    request.method = method;
    return read_queue_request(request);
}

QueueFilter filter_of(std::string_view query) {
    const auto request = read("/api/queue", query);
    EXPECT_TRUE(request.has_value()) << query << ": " << request.error().body;
    return request ? request->question.filter : QueueFilter();
}

std::string fault_of(std::string_view query) {
    const auto request = read("/api/queue", query);
    EXPECT_FALSE(request.has_value()) << query;
    if (request) {
        return {};
    }
    EXPECT_EQ(request.error().status, 400);
    return request.error().body;
}

TEST(QueueRequest, TheQueuesPathsAndNoOthers) {
    EXPECT_TRUE(is_queue_path("/api/queue"));
    EXPECT_TRUE(is_queue_path("/api/queue/"));
    EXPECT_TRUE(is_queue_path("/api/queue/retry"));
    EXPECT_FALSE(is_queue_path("/api/queues"));
    EXPECT_FALSE(is_queue_path("/api/queu"));
    EXPECT_FALSE(is_queue_path("/api/status"));
}

TEST(QueueRequest, AListHasALimitOfItsOwnAndUpToTheMost) {
    EXPECT_EQ(read("/api/queue")->question.kind, Kind::list);
    EXPECT_EQ(read("/api/queue")->question.limit, page_rows);
    EXPECT_EQ(read("/api/queue")->cursor, "");
    const auto request = read("/api/queue", "limit=200&cursor=1-2f");
    EXPECT_EQ(request->question.limit, 200U);
    EXPECT_EQ(request->cursor, "1-2f");
    for (const char* const limit : {"0", "201", "-1", "x", "1x", "99999999999999999999"}) {
        EXPECT_EQ(fault_of("limit=" + std::string(limit)), "limit: expected 1 to 200\n");
    }
}

TEST(QueueRequest, AParameterIsGivenOnce) {
    EXPECT_EQ(fault_of("limit=1&state=held&limit=2"), "limit: expected it only once\n");
}

TEST(QueueRequest, FiltersAreDecodedAndMadeComparable) {
    EXPECT_EQ(filter_of("recipient=User+tag@Example.COM").recipient, "user+tag@example.com");
    EXPECT_EQ(filter_of("recipient=%3Ca%40b.example%3e").recipient, "a@b.example");
    EXPECT_EQ(filter_of("recipient=Example.com").recipient, "@example.com");
    EXPECT_EQ(filter_of("recipient=@b%C3%BCcher.example").recipient, "@xn--bcher-kva.example");
    EXPECT_EQ(filter_of("recipient=%3CPostMaster%3E").recipient, "postmaster");
    EXPECT_EQ(filter_of("recipient=@postmaster").recipient, "@postmaster");
    EXPECT_EQ(filter_of("sender=postmaster").sender, "@postmaster");
    EXPECT_EQ(filter_of("sender=%3C%3E").sender, "<>");
    EXPECT_EQ(
        filter_of("sender=a@b.example&pool=x&backend=unix:/run/lmtp&state=held&older_than=2h"),
        (QueueFilter{.sender = "a@b.example",
                     .pool = "x",
                     .backend = "unix:/run/lmtp",
                     .state = QueueState::on_hold,
                     .older_than = 2h}));
    EXPECT_EQ(filter_of("sender=&pool=&&state="), QueueFilter());
}

TEST(QueueRequest, WhatMakesNoSenseIsNamed) {
    EXPECT_EQ(fault_of("recipient=%3C%3E"), "recipient: expected an address or a domain\n");
    EXPECT_EQ(fault_of("recipient=a@"), "recipient: expected an address or a domain\n");
    EXPECT_EQ(fault_of("sender=.."), "sender: expected an address, a domain, or <>\n");
    EXPECT_EQ(fault_of("sender=%4"), "sender: expected percent-encoded text\n");
    EXPECT_EQ(fault_of("sender=%zz"), "sender: expected percent-encoded text\n");
    EXPECT_EQ(fault_of("state=Held"),
              "state: expected active, deferred, parked, held, pool_hold or failed\n");
    EXPECT_THAT(fault_of("older_than=2"), StartsWith("older_than: expected a duration"));
    EXPECT_EQ(fault_of("page=2"), "unknown parameter 'page'\n");
}

TEST(QueueRequest, OneMessage) {
    const std::string id = spool::id_text(77);
    EXPECT_EQ(read("/api/queue/" + id)->question.kind, Kind::show);
    EXPECT_EQ(read("/api/queue/" + id)->question.id, 77U);
    const std::pair<const char*, Kind> changes[] = {{"/retry", Kind::retry},
                                                    {"/hold", Kind::hold},
                                                    {"/release", Kind::release},
                                                    {"/remove", Kind::remove}};
    for (const auto& [verb, kind] : changes) {
        const auto request = read("/api/queue/" + id + verb, "", Method::post);
        EXPECT_EQ(request->question.kind, kind);
        EXPECT_EQ(request->question.id, 77U);
    }
    EXPECT_EQ(read("/api/queue/retry", "", Method::post)->question.kind, Kind::retry_all);
    for (const std::string& path :
         {std::string("/api/queue/retry"), "/api/queue/" + id + "/retry"}) {
        EXPECT_EQ(read(path, "pool=main", Method::post).error().status, 400) << path;
    }
}

TEST(QueueRequest, WhatIsNotThereIs404) {
    const std::string id = spool::id_text(77);
    for (const std::string& path :
         {std::string("/api/queue/"), std::string("/api/queue/77"), "/api/queue/" + id + "x",
          "/api/queue/" + id + "/", "/api/queue/" + id + "/drop", "/api/queue/" + id + "/hold/",
          std::string("/api/queue/x/hold")}) {
        EXPECT_EQ(read(path).error().status, 404) << path;
        EXPECT_EQ(read(path, "", Method::post).error().status, 404) << path;
    }
}

} // namespace
} // namespace ringmx::admin
