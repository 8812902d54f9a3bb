#include "admin/http_response.h"

#include <fmt/format.h>
#include <iterator>
#include <utility>

namespace ringmx::admin {

HttpResponse text_response(std::uint16_t status, std::string_view line) {
    HttpResponse response;
    response.status = status;
    response.body = std::string(line) + "\n";
    return response;
}

HttpResponse json_response(std::string value) {
    HttpResponse response;
    response.content_type = "application/json";
    response.body = std::move(value) + "\n";
    return response;
}

std::string_view reason_phrase(std::uint16_t status) {
    switch (status) {
    case 200:
        return "OK";
    case 400:
        return "Bad Request";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 408:
        return "Request Timeout";
    case 413:
        return "Content Too Large";
    case 414:
        return "URI Too Long";
    case 431:
        return "Request Header Fields Too Large";
    case 501:
        return "Not Implemented";
    case 503:
        return "Service Unavailable";
    case 505:
        return "HTTP Version Not Supported";
    default: // a number from outside our enums; a phrase may be empty (RFC 9112, 4)
        return "";
    }
}

void append_response(std::string& wire, const HttpResponse& response, bool head, bool keep_alive) {
    fmt::format_to(std::back_inserter(wire),
                   "HTTP/1.1 {} {}\r\n"
                   "Content-Type: {}\r\n"
                   "Content-Length: {}\r\n"
                   "Cache-Control: no-store\r\n"
                   "X-Content-Type-Options: nosniff\r\n"
                   "X-Frame-Options: DENY\r\n"
                   "Content-Security-Policy: default-src 'none'; frame-ancestors 'none'\r\n"
                   "Cross-Origin-Resource-Policy: same-origin\r\n"
                   "Referrer-Policy: no-referrer\r\n",
                   response.status, reason_phrase(response.status), response.content_type,
                   response.body.size());
    if (!response.allow.empty()) {
        fmt::format_to(std::back_inserter(wire), "Allow: {}\r\n", response.allow);
    }
    wire.append(keep_alive ? "Connection: keep-alive\r\n\r\n" : "Connection: close\r\n\r\n");
    if (!head) {
        wire.append(response.body);
    }
}

} // namespace ringmx::admin
