// Requests about the queue: which question a path, a method and a query ask.
//
//   GET  /api/queue?limit=&cursor=&recipient=&sender=&pool=&backend=&state=&older_than=
//   GET  /api/queue/ID
//   POST /api/queue/ID/retry  …/hold  …/release  …/remove
//   POST /api/queue/retry     all
//
// Filters: an address or a domain, in any case and in U- or A-labels, with or without angle
//          brackets; "<>" is the null sender.
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

struct QueueRequest {
    QueueQuestion question;
    std::string cursor; // of list; empty: from the oldest on
};

[[nodiscard]] bool is_queue_path(std::string_view path);
// Of a path that is_queue_path().
[[nodiscard]] std::expected<QueueRequest, HttpResponse>
read_queue_request(const HttpRequest& request);

} // namespace ringmx::admin
