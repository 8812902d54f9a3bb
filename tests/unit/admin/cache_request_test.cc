#include "admin/cache_request.h"

#include "admin/query.h"

#include <gtest/gtest.h>

namespace ringmx::admin {
namespace {

using Kind = CacheQuestion::Kind;

std::expected<CacheRequest, HttpResponse> read(std::string_view path, std::string_view query = {},
                                               Method method = Method::get) {
    HttpRequest request;
    request.path = path;
    request.query = query;
    request.method = method;
    return read_cache_request(request);
}

std::expected<CacheRequest, HttpResponse> purge(std::string_view query = {},
                                                Method method = Method::post) {
    return read("/api/cache/purge", query, method);
}

TEST(CacheRequest, TheCachesPathsAndNoOthers) {
    EXPECT_TRUE(is_cache_path("/api/cache"));
    EXPECT_TRUE(is_cache_path("/api/cache/purge"));
    for (const char* const path : {"/api/cache/", "/api/caches", "/api/cache/purge/",
                                   "/api/cache/show", "/api/cache/a@b.example", "/api/queue"}) {
        EXPECT_FALSE(is_cache_path(path)) << path;
    }
}

TEST(CacheRequest, AListOfAllOrOfOneRecipient) {
    const auto all = read("/api/cache");
    EXPECT_EQ(all->question.kind, Kind::list);
    EXPECT_EQ(all->question.recipient, "");
    EXPECT_EQ(all->question.limit, page_rows);
    EXPECT_EQ(all->cursor, "");
    const auto one = read("/api/cache", "recipient=%3CUser+x@B%C3%BCcher.example%3E&limit=7");
    EXPECT_EQ(one->question.recipient, "user+x@xn--bcher-kva.example");
    EXPECT_EQ(one->question.limit, 7U);
    EXPECT_EQ(read("/api/cache", "cursor=1-0-2f", Method::head)->cursor, "1-0-2f");
}

TEST(CacheRequest, APurgeOfAllOrOfOneRecipient) {
    EXPECT_EQ(purge()->question.kind, Kind::purge);
    EXPECT_EQ(purge()->question.recipient, "");
    EXPECT_EQ(purge("recipient=A@b.example")->question.recipient, "a@b.example");
}

TEST(CacheRequest, WhatMakesNoSenseIsNamedAndPurgesNothing) {
    for (const char* const query : {"recipient=", "recipient", "recipient=b.example",
                                    "recipient=%3C%3E", "recipient=@b.example", "recipient=a@"}) {
        EXPECT_EQ(purge(query).error().status, 400) << query;
        EXPECT_EQ(purge(query).error().body, "recipient: expected an address\n") << query;
        EXPECT_EQ(read("/api/cache", query).error().status, 400) << query;
    }
    EXPECT_EQ(purge("recipent=a@b.example").error().body, "unknown parameter 'recipent'\n");
    EXPECT_EQ(purge("limit=5").error().body, "unknown parameter 'limit'\n");
    EXPECT_EQ(purge("cursor=1-0-1").error().body, "unknown parameter 'cursor'\n");
    EXPECT_EQ(read("/api/cache", "limit=201").error().body, "limit: expected 1 to 200\n");
    EXPECT_EQ(read("/api/cache", "state=held").error().body, "unknown parameter 'state'\n");
    EXPECT_EQ(purge("recipient=%4").error().body, "recipient: expected percent-encoded text\n");
}

TEST(CacheRequest, AListIsReadAndAPurgeIsPosted) {
    EXPECT_EQ(read("/api/cache", "", Method::post).error().status, 405);
    EXPECT_EQ(read("/api/cache", "", Method::post).error().allow, "GET, HEAD");
    for (const Method method : {Method::get, Method::head, Method::other}) {
        EXPECT_EQ(purge("", method).error().status, 405);
        EXPECT_EQ(purge("", method).error().allow, "POST");
    }
}

} // namespace
} // namespace ringmx::admin
