#include "admin/pages.h"

#include "observe/exposition.h"

namespace ringmx::admin {
namespace {

HttpResponse text(std::uint16_t status, std::string body) {
    HttpResponse response;
    response.status = status;
    response.body = std::move(body);
    return response;
}

HttpResponse verdict(std::string_view good, const std::string& fault) {
    return fault.empty() ? text(200, std::string(good) + "\n") : text(503, fault + "\n");
}

enum class Page : std::uint8_t { healthz, readyz, metrics, status, queue, none };

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
    return surface == Surface::admin && is_queue_path(path) ? Page::queue : Page::none;
}

} // namespace

std::optional<HttpResponse> answer(const Pages& pages, Surface surface, const HttpRequest& request,
                                   Ticket ticket, Instant now) {
    if (request.method == Method::post && request.field("X-Ringmx-Admin") != "1") {
        return text(403, "a POST needs the header X-Ringmx-Admin: 1\n");
    }
    const Page page = page_of(surface, request.path);
    if (page == Page::none) {
        return text(404, "no such page\n");
    }
    if (page == Page::queue) {
        const std::expected<QueueRequest, HttpResponse> asked = read_queue_request(request);
        return asked ? pages.queue(*asked, ticket) : asked.error();
    }
    if (request.method == Method::post || request.method == Method::other) {
        HttpResponse response = text(405, "this page is only read\n");
        response.allow = "GET, HEAD";
        return response;
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
    case Page::none:
        break;
    }
    return response;
}

} // namespace ringmx::admin
