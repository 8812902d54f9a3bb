// HTTP/1.1 requests, sans I/O: octets in, one request at a time out.
//
// receive() takes octets until a request is whole or broken and says how many it took; what it left
// belongs to the next request (pipelining): call it again once the first is answered. Views of
// request() are valid until the next receive().
//
// Taken:   HTTP/1.0 and 1.1; GET, HEAD and POST, and as Method::other those that no page here
//          allows (PUT, DELETE, PATCH, OPTIONS, TRACE); a body by Content-Length. CRLF or a bare LF ends a
//          line (RFC 9112, 2.2).
// Refused: with the status to answer, after which the connection is closed: 400 (malformed; a bare
//          CR; a space before a field's colon; a folded field; two different lengths; a length
//          beside Transfer-Encoding; two Host fields, or none in HTTP/1.1), 413 (body), 414 (request line), 431 (fields), 501 (another
//          method; any Transfer-Encoding), 505 (another version).
// Bounds:  request_line_bytes_max, fields_bytes_max, body_bytes_max; memory is at most their sum,
//          given back between requests.
// Thread:  one.
// Cost:    O(input), however it is cut.
// Source:  RFC 9110, RFC 9112.
#pragma once

#include "base/bytes.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ringmx::admin {

enum class Method : std::uint8_t { get, head, post, other };

struct HttpRequest {
    Method method = Method::get;
    std::string_view path;  // of the target, without its query; as sent, not percent-decoded
    std::string_view query; // behind "?"
    std::string_view body;
    bool keep_alive = true;
    bool is_http_1_0 = false;

    // The value of a field, its name in any case; empty when it isn't there.
    [[nodiscard]] std::string_view field(std::string_view name) const;

    struct Field {
        std::string_view name;
        std::string_view value;
    };
    std::vector<Field> fields;
};

enum class HttpEvent : std::uint8_t {
    need_input, // all of the input is consumed
    request,    // request() is whole
    refused,    // status() is the answer; nothing more can be read
};

class HttpRequestParser {
  public:
    static constexpr std::size_t request_line_bytes_max = 8 * 1024;
    static constexpr std::size_t fields_bytes_max = 16 * 1024;
    static constexpr std::size_t body_bytes_max = 64 * 1024;

    struct Step {
        HttpEvent event = HttpEvent::need_input;
        std::size_t consumed = 0;
    };

    [[nodiscard]] Step receive(Bytes input);

    [[nodiscard]] const HttpRequest& request() const { return request_; }
    [[nodiscard]] std::uint16_t status() const { return status_; }
    // Part of a request has come, not yet all of it.
    [[nodiscard]] bool mid_request() const;
    // A request with a body that says "Expect: 100-continue" waits for it: true once, when
    // "HTTP/1.1 100 Continue" is to be sent.
    [[nodiscard]] bool take_continue();

  private:
    enum class Phase : std::uint8_t { line, fields, body, done, refused };
    struct Range { // into text_
        std::size_t offset = 0;
        std::size_t length = 0;
    };

    void start();
    bool end_of_line();
    bool parse_request_line(std::string_view line);
    bool parse_field(std::string_view line);
    bool end_of_fields();
    bool apply_length(std::string_view value);
    void apply_connection(std::string_view value);
    bool refuse(std::uint16_t status);
    void finish();

    Phase phase_ = Phase::line;
    std::string text_;            // request line, fields and body, as far as they have come
    std::size_t line_offset_ = 0; // where the line under way begins
    std::size_t fields_offset_ = 0;
    std::size_t body_offset_ = 0;
    std::size_t body_bytes_ = 0;
    bool has_length_ = false;
    bool has_transfer_encoding_ = false;
    bool has_close_ = false;
    bool has_host_ = false;
    bool wants_continue_ = false;
    Range target_;
    struct FieldRange {
        Range name;
        Range value;
    };
    std::vector<FieldRange> field_ranges_;
    HttpRequest request_;
    std::uint16_t status_ = 0;
};

} // namespace ringmx::admin
