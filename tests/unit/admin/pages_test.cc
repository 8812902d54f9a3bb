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
    }

    HttpResponse ask(std::string_view path, Surface surface = Surface::admin,
                     Method method = Method::get, std::string_view admin_field = {}) {
        HttpRequest request;
        request.method = method;
        request.path = path;
        if (!admin_field.empty()) {
            request.fields.push_back({"x-ringmx-admin", admin_field});
        }
        return answer(pages, surface, request, Instant(1s));
    }

    Pages pages;
    std::string unhealthy;
    std::string unready;
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
         {"/", "/healthz/", "/api/queue", "/api/queue/1", "/../healthz", "/HEALTHZ", ""}) {
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
