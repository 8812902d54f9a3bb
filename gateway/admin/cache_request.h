// Requests about the answers that verification keeps: which question a path, a method and a query ask.
//
//   GET  /api/cache?limit=&cursor=&recipient=
//   POST /api/cache/purge?recipient=    without `recipient`: all
//
// `recipient` is an address, in any case and with U- or A-labels, with or without angle brackets. An
// empty one is a fault: it must not purge all.
// Thread:  any.
// Errors:  the response to give: 400, 404 or 405, in words.
#pragma once

#include "admin/http_request.h"
#include "admin/http_response.h"
#include "base/messages/cache_messages.h"

#include <expected>
#include <string>
#include <string_view>

namespace ringmx::admin {

struct CacheRequest {
    CacheQuestion question;
    std::string cursor; // of list; empty: from the beginning
};

[[nodiscard]] bool is_cache_path(std::string_view path);
// Of a path that is_cache_path().
[[nodiscard]] std::expected<CacheRequest, HttpResponse>
read_cache_request(const HttpRequest& request);

} // namespace ringmx::admin
