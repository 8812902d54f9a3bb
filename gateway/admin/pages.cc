#include "admin/pages.h"

#include "admin/query.h"
#include "observe/exposition.h"

namespace ringmx::admin {
namespace {

HttpResponse verdict(std::string_view good, const std::string& fault) {
    return fault.empty() ? text_response(200, good) : text_response(503, fault);
}

enum class Page : std::uint8_t { healthz, readyz, metrics, status, queue, cache, none };

Page page_of(Surface surface, std::string_view path) {
    if (path == "/healthz") {
        return Page::healthz;
    }
    if (path == "/readyz") {
        return Page::readyz;
    }
    if (path == "/metrics") {
        return Page::metrics;
    }
    if (surface == Surface::admin && path == "/api/status") {
        return Page::status;
    }
    if (surface == Surface::admin && is_queue_path(path)) {
        return Page::queue;
    }
    return surface == Surface::admin && is_cache_path(path) ? Page::cache : Page::none;
}

} // namespace

std::optional<HttpResponse> answer(const Pages& pages, Surface surface, const HttpRequest& request,
                                   Ticket ticket, Instant now) {
    if (request.method == Method::post && request.field("X-Ringmx-Admin") != "1") {
        return text_response(403, "a POST needs the header X-Ringmx-Admin: 1");
    }
    const Page page = page_of(surface, request.path);
    if (page == Page::none) {
        return text_response(404, "no such page");
    }
    if (page == Page::queue) {
        const std::expected<QueueRequest, HttpResponse> asked = read_queue_request(request);
        return asked ? pages.queue(*asked, ticket) : asked.error();
    }
    if (page == Page::cache) {
        const std::expected<CacheRequest, HttpResponse> asked = read_cache_request(request);
        return asked ? pages.cache(*asked, ticket) : asked.error();
    }
    if (const QueryResult checked = check_method(request.method, false); !checked) {
        return checked.error();
    }
    HttpResponse response;
    switch (page) {
    case Page::healthz:
        return verdict("ok", pages.unhealthy(now));
    case Page::readyz:
        return verdict("ready", pages.unready());
    case Page::metrics:
        response.content_type = observe::metrics_content_type;
        pages.metrics(response.body);
        break;
    case Page::status:
        response.content_type = "application/json";
        pages.status(response.body);
        break;
    case Page::queue:
    case Page::cache:
    case Page::none:
        break;
    }
    return response;
}

} // namespace ringmx::admin
