#include "admin/pages.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace ringmx::admin {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class PagesTest : public ::testing::Test {
  protected:
    PagesTest() {
        pages.unhealthy = [this](Instant) { return unhealthy; };
        pages.unready = [this] { return unready; };
        pages.metrics = [](std::string& out) { out += "ringmx_x 1\n"; };
        pages.status = [](std::string& out) { out += "{}\n"; };
        pages.queue = [this](const QueueRequest& request, Ticket ticket) {
            EXPECT_EQ(ticket, (Ticket{1, 2}));
            asked = request;
            return queue;
        };
        pages.cache = [this](const CacheRequest& request, Ticket ticket) {
            EXPECT_EQ(ticket, (Ticket{1, 2}));
            asked_cache = request;
            return std::optional<HttpResponse>();
        };
    }

    HttpResponse ask(std::string_view path, Surface surface = Surface::admin,
                     Method method = Method::get, std::string_view admin_field = {}) {
        HttpRequest request;
        request.method = method;
        request.path = path;
        if (!admin_field.empty()) {
            request.fields.push_back({"x-ringmx-admin", admin_field});
        }
        return answer(pages, surface, request, {.slot = 1, .number = 2}, Instant(1s))
            .value_or(HttpResponse{.status = 0});
    }

    Pages pages;
    std::string unhealthy;
    std::string unready;
    std::optional<QueueRequest> asked;
    std::optional<HttpResponse> queue;
    std::optional<CacheRequest> asked_cache;
};

TEST_F(PagesTest, HealthAndReadinessSayWhyNot) {
    EXPECT_EQ(ask("/healthz").status, 200);
    EXPECT_EQ(ask("/healthz").body, "ok\n");
    EXPECT_EQ(ask("/readyz").status, 200);
    unhealthy = "worker 1 has not turned for 6 s";
    unready = "draining";
    EXPECT_EQ(ask("/healthz").status, 503);
    EXPECT_EQ(ask("/healthz").body, "worker 1 has not turned for 6 s\n");
    EXPECT_EQ(ask("/readyz").status, 503);
    EXPECT_EQ(ask("/readyz").body, "draining\n");
}

TEST_F(PagesTest, MetricsAndStatusHaveTheirTypes) {
    EXPECT_EQ(ask("/metrics").content_type, "text/plain; version=0.0.4; charset=utf-8");
    EXPECT_EQ(ask("/metrics").body, "ringmx_x 1\n");
    EXPECT_EQ(ask("/api/status").content_type, "application/json");
    EXPECT_EQ(ask("/api/status").body, "{}\n");
}

TEST_F(PagesTest, TheProbeAddressServesOnlyTheProbesAndMetrics) {
    EXPECT_EQ(ask("/healthz", Surface::probe).status, 200);
    EXPECT_EQ(ask("/readyz", Surface::probe).status, 200);
    EXPECT_EQ(ask("/metrics", Surface::probe).status, 200);
    EXPECT_EQ(ask("/api/status", Surface::probe).status, 404);
    EXPECT_EQ(ask("/", Surface::probe).status, 404);
}

TEST_F(PagesTest, WhatIsNotThereIs404) {
    for (const char* path :
         {"/", "/healthz/", "/api/queues", "/api/queue/1", "/../healthz", "/HEALTHZ", ""}) {
        EXPECT_EQ(ask(path).status, 404) << path;
    }
}

TEST_F(PagesTest, APostWithoutItsHeaderIs403WhateverItsPath) {
    EXPECT_EQ(ask("/healthz", Surface::admin, Method::post).status, 403);
    EXPECT_EQ(ask("/nothing", Surface::admin, Method::post).status, 403);
    EXPECT_EQ(ask("/healthz", Surface::admin, Method::post, "0").status, 403);
    EXPECT_EQ(ask("/nothing", Surface::admin, Method::post, "1").status, 404);
    EXPECT_EQ(ask("/healthz", Surface::admin, Method::post, "1").status, 405);
    EXPECT_EQ(ask("/healthz", Surface::admin, Method::post, "1").allow, "GET, HEAD");
}

TEST_F(PagesTest, OtherMethodsAre405WithWhatIsAllowedWhereThereIsAPage) {
    EXPECT_EQ(ask("/healthz", Surface::admin, Method::other).status, 405);
    EXPECT_EQ(ask("/healthz", Surface::admin, Method::other).allow, "GET, HEAD");
    EXPECT_EQ(ask("/nothing", Surface::admin, Method::other).status, 404);
    EXPECT_EQ(ask("/api/status", Surface::probe, Method::other).status, 404);
}

TEST_F(PagesTest, AQuestionAboutTheQueueIsAnsweredNowOrLater) {
    EXPECT_EQ(ask("/api/queue").status, 0);
    ASSERT_TRUE(asked.has_value());
    EXPECT_EQ(asked->question.kind, QueueQuestion::Kind::list);
    queue = HttpResponse{.status = 503};
    EXPECT_EQ(ask("/api/queue").status, 503);
}

TEST_F(PagesTest, TheQueueIsChangedByPostWithTheHeaderOnAdminAddressOnly) {
    const char* const changes[] = {
        "/api/queue/retry", "/api/queue/BBBCFBBBBBBBG/retry", "/api/queue/BBBCFBBBBBBBG/hold",
        "/api/queue/BBBCFBBBBBBBG/release", "/api/queue/BBBCFBBBBBBBG/remove"};
    for (const char* const path : changes) {
        EXPECT_EQ(ask(path).status, 405) << path;
        EXPECT_EQ(ask(path).allow, "POST");
        EXPECT_EQ(ask(path, Surface::admin, Method::head).status, 405);
        EXPECT_EQ(ask(path, Surface::admin, Method::post).status, 403);
        EXPECT_EQ(ask(path, Surface::probe, Method::post, "1").status, 404);
        EXPECT_FALSE(asked.has_value());
        EXPECT_EQ(ask(path, Surface::admin, Method::post, "1").status, 0);
        EXPECT_TRUE(asked.has_value());
        asked.reset();
    }
    EXPECT_EQ(ask("/api/queue", Surface::admin, Method::post, "1").status, 405);
    EXPECT_EQ(ask("/api/queue", Surface::probe).status, 404);
    EXPECT_FALSE(asked.has_value());
}

TEST_F(PagesTest, TheCacheIsPurgedByPostWithTheHeaderOnAdminAddressOnly) {
    EXPECT_EQ(ask("/api/cache").status, 0);
    EXPECT_EQ(asked_cache.value().question.kind, CacheQuestion::Kind::list);
    asked_cache.reset();
    EXPECT_EQ(ask("/api/cache/purge").status, 405);
    EXPECT_EQ(ask("/api/cache/purge").allow, "POST");
    EXPECT_EQ(ask("/api/cache/purge", Surface::admin, Method::post).status, 403);
    EXPECT_EQ(ask("/api/cache/purge", Surface::probe, Method::post, "1").status, 404);
    EXPECT_EQ(ask("/api/cache", Surface::probe).status, 404);
    EXPECT_EQ(ask("/api/cache", Surface::admin, Method::post, "1").status, 405);
    EXPECT_EQ(ask("/api/cache/nothing", Surface::admin, Method::post, "1").status, 404);
    EXPECT_FALSE(asked_cache.has_value());
    EXPECT_EQ(ask("/api/cache/purge", Surface::admin, Method::post, "1").status, 0);
    EXPECT_EQ(asked_cache.value().question.kind, CacheQuestion::Kind::purge);
}

TEST_F(PagesTest, AnAnswerToHeadSaysTheLengthAndLeavesTheBodyOut) {
    std::string wire;
    append_response(wire, ask("/healthz"), true, true);
    EXPECT_THAT(wire, HasSubstr("HTTP/1.1 200 OK\r\n"));
    EXPECT_THAT(wire, HasSubstr("\r\nContent-Length: 3\r\n"));
    EXPECT_THAT(wire, HasSubstr("\r\nConnection: keep-alive\r\n"));
    EXPECT_THAT(wire, HasSubstr("\r\nX-Content-Type-Options: nosniff\r\n"));
    EXPECT_TRUE(wire.ends_with("\r\n\r\n"));
    wire.clear();
    append_response(wire, ask("/healthz"), false, false);
    EXPECT_TRUE(wire.ends_with("\r\nConnection: close\r\n\r\nok\n"));
    EXPECT_THAT(wire, Not(HasSubstr("Allow")));
}

} // namespace
} // namespace ringmx::admin
