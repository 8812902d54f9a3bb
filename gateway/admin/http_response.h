// HTTP/1.1 answers in wire form.
//
// Each carries Content-Length, Cache-Control: no-store, X-Content-Type-Options: nosniff, and
// headers that keep other pages from framing or reading it. No Date: main has no obligation to (RFC
// 9110, 6.6.1, a server without a reliable clock), and no answer is cached.
// Thread: any.
// Errors: none.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace ringmx::admin {

struct HttpResponse {
    std::uint16_t status = 200;
    std::string_view content_type = "text/plain; charset=utf-8";
    std::string body = {};
    std::string_view allow = {}; // for 405: "GET, HEAD"
};

// One line of text, or one JSON value.
[[nodiscard]] HttpResponse text_response(std::uint16_t status, std::string_view line);
[[nodiscard]] HttpResponse json_response(std::string value);
[[nodiscard]] std::string_view reason_phrase(std::uint16_t status);
// `head`: the answer to a HEAD, which says the length of the body but leaves it out.
void append_response(std::string& wire, const HttpResponse& response, bool head, bool keep_alive);

} // namespace ringmx::admin
