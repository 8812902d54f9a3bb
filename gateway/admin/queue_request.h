// Requests about the queue: which question a path, a method and a query ask.
//
//   GET  /api/queue?limit=&cursor=&recipient=&sender=&pool=&backend=&state=&older_than=
//   GET  /api/queue/ID
//   POST /api/queue/ID/retry  …/hold  …/release  …/remove
//   POST /api/queue/retry     all
//
// Queries: percent-encoded; "+" is itself, as in an address. An address filter is an address or a
//          domain, in any case and in U- or A-labels, with or without angle brackets; "<>" is the null
//          sender.
// Thread:  any.
// Errors:  the response to give: 400, 404 or 405, in words.
#pragma once

#include "admin/http_request.h"
#include "admin/http_response.h"
#include "base/messages/queue_messages.h"

#include <expected>
#include <string>
#include <string_view>

namespace ringmx::admin {

inline constexpr std::uint32_t queue_page_rows = 50; // where `limit` is not given
inline constexpr std::uint32_t queue_page_rows_max = 200;

struct QueueRequest {
    QueueQuestion question;
    std::string cursor; // of list; empty: from the oldest on
};

[[nodiscard]] bool is_queue_path(std::string_view path);
// Of a path that is_queue_path().
[[nodiscard]] std::expected<QueueRequest, HttpResponse>
read_queue_request(const HttpRequest& request);

} // namespace ringmx::admin
