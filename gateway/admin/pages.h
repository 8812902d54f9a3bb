// What the admin addresses answer: path and method to response.
//
//   admin.address        /healthz /readyz /metrics /api/status /api/queue… /api/cache…
//   admin.probe_address  /healthz /readyz /metrics
//
// The texts come from callbacks, so that nothing here knows a worker. A POST without
// "X-Ringmx-Admin: 1" is 403, whatever its path: a web page in an operator's browser can't send
// that field to another origin.
// Thread: main.
// Errors: HTTP statuses.
#pragma once

#include "admin/cache_request.h"
#include "admin/http_request.h"
#include "admin/http_response.h"
#include "admin/queue_request.h"
#include "admin/ticket.h"
#include "base/instant.h"

#include <functional>
#include <optional>
#include <string>

namespace ringmx::admin {

enum class Surface : std::uint8_t { admin, probe };

struct Pages {
    std::function<std::string(Instant now)>
        unhealthy;                        // empty text: the process runs its loops; else why not
    std::function<std::string()> unready; // empty text: it takes mail; else why not
    std::function<void(std::string& out)> metrics; // Prometheus text
    std::function<void(std::string& out)> status;  // one JSON object
    // Nothing: the response comes later, for this ticket.
    std::function<std::optional<HttpResponse>(const QueueRequest& request, Ticket ticket)> queue;
    std::function<std::optional<HttpResponse>(const CacheRequest& request, Ticket ticket)> cache;
};

// Nothing: the response comes later, for `ticket`.
[[nodiscard]] std::optional<HttpResponse>
answer(const Pages& pages, Surface surface, const HttpRequest& request, Ticket ticket, Instant now);

} // namespace ringmx::admin
