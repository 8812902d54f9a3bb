#include "admin/cache_request.h"

#include "admin/query.h"
#include "base/domain.h"

namespace ringmx::admin {
namespace {

using Kind = CacheQuestion::Kind;

constexpr std::string_view cache_path = "/api/cache";
constexpr std::string_view purge_path = "/api/cache/purge";

QueryResult set(CacheRequest& request, std::string_view name, std::string value) {
    if (name == "recipient") {
        if (!canonical_mailbox(without_brackets(value), request.question.recipient)) {
            return bad_parameter(name, "an address");
        }
        return {};
    }
    const bool is_list = request.question.kind == Kind::list;
    if (is_list && name == "limit") {
        return read_limit(request.question.limit, value);
    }
    if (is_list && name == "cursor") {
        request.cursor = std::move(value);
        return {};
    }
    return unknown_parameter(name);
}

} // namespace

bool is_cache_path(std::string_view path) { return path == cache_path || path == purge_path; }

std::expected<CacheRequest, HttpResponse> read_cache_request(const HttpRequest& request) {
    CacheRequest read;
    read.question.kind = request.path == purge_path ? Kind::purge : Kind::list;
    read.question.limit = read.question.kind == Kind::list ? page_rows : 0;
    QueryResult result = check_method(request.method, read.question.kind == Kind::purge);
    if (result) {
        result = read_query(request.query, [&](std::string_view name, std::string value) {
            return set(read, name, std::move(value));
        });
    }
    if (!result) {
        return std::unexpected(result.error());
    }
    return read;
}

} // namespace ringmx::admin
