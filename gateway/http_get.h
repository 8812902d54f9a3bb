// One blocking HTTP/1.1 GET or POST, for the commands that ask a running gateway.
//
// In:     "HOST:PORT" or "[V6]:PORT", the host a name or an address; a path.
// Out:    status and body.
// Bounds: time_max in all, body_bytes_max.
// Thread: a program that has nothing else to do.
// Errors: one line that says what failed.
// Source: RFC 9112 (the answer is framed by Content-Length, or by the connection's end).
#pragma once

#include "base/instant.h"

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

namespace ringmx {

struct HttpTarget {
    std::string host; // without brackets
    std::string port;
    std::string text; // as it was given

    [[nodiscard]] static std::optional<HttpTarget> parse(std::string_view text);
};

struct HttpAnswer {
    std::uint16_t status = 0;
    std::string body;
};

inline constexpr Duration http_time_max = 10s;
inline constexpr std::size_t http_body_bytes_max = 16U << 20U;

[[nodiscard]] std::expected<HttpAnswer, std::string> http_get(const HttpTarget& target,
                                                              std::string_view path);
// Without a body, but with the header that changes need (CONTRACT 6).
[[nodiscard]] std::expected<HttpAnswer, std::string> http_post(const HttpTarget& target,
                                                               std::string_view path);

// The answer in what the server sent up to its end; an error in words when it is none, or cut.
[[nodiscard]] std::expected<HttpAnswer, std::string> parse_http_answer(std::string_view octets);

} // namespace ringmx
