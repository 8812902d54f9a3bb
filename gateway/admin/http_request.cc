#include "admin/http_request.h"

#include "base/ascii.h"

#include <algorithm>
#include <charconv>
#include <utility>

namespace ringmx::admin {
namespace {

constexpr std::size_t fields_count_max = 100;     // each costs more than its octets
constexpr std::size_t text_bytes_kept = 4 * 1024; // capacity that an idle connection may keep
constexpr std::string_view separators =
    "()<>@,;:\\\"/[]?={}"; // RFC 9110, 5.6.2: what a token has not

bool is_token(std::string_view text) {
    return !text.empty() && std::ranges::all_of(text, [](char each) {
        return each > ' ' && each < 0x7F && separators.find(each) == std::string_view::npos;
    });
}

std::string_view trimmed(std::string_view text) {
    const std::size_t first = text.find_first_not_of(" \t");
    if (first == std::string_view::npos) {
        return {};
    }
    return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

constexpr std::string_view root = "/";

// "http://host/path?query" to "/path?query" (RFC 9112, 3.2.2); empty when it is neither that nor a
// path.
std::string_view origin_form(std::string_view target) {
    constexpr std::string_view scheme = "http://";
    if (target.size() > scheme.size() &&
        equal_ignoring_case(target.substr(0, scheme.size()), scheme)) {
        target.remove_prefix(scheme.size());
        const std::size_t path = target.find('/');
        return path == std::string_view::npos ? root : target.substr(path);
    }
    return target.starts_with('/') ? target : std::string_view();
}

} // namespace

std::string_view HttpRequest::field(std::string_view name) const {
    for (const Field& each : fields) {
        if (equal_ignoring_case(each.name, name)) {
            return each.value;
        }
    }
    return {};
}

bool HttpRequestParser::mid_request() const {
    return phase_ == Phase::fields || phase_ == Phase::body ||
           (phase_ == Phase::line && !text_.empty());
}

bool HttpRequestParser::take_continue() {
    const bool result = wants_continue_ && phase_ == Phase::body;
    wants_continue_ = false;
    return result;
}

void HttpRequestParser::start() {
    phase_ = Phase::line;
    text_.clear();
    if (text_.capacity() > text_bytes_kept) {
        text_.shrink_to_fit();
    }
    line_offset_ = fields_offset_ = body_offset_ = body_bytes_ = 0;
    has_length_ = has_transfer_encoding_ = has_close_ = has_host_ = wants_continue_ = false;
    target_ = {};
    field_ranges_.clear();
    request_ = {};
}

bool HttpRequestParser::refuse(std::uint16_t status) {
    phase_ = Phase::refused;
    status_ = status;
    return false;
}

HttpRequestParser::Step HttpRequestParser::receive(Bytes input) {
    if (phase_ == Phase::done) {
        start();
    }
    const std::string_view octets = as_text(input);
    std::size_t at = 0;
    while (at < octets.size() && (phase_ == Phase::line || phase_ == Phase::fields)) {
        const std::size_t begin = phase_ == Phase::line ? 0 : fields_offset_;
        const std::size_t bound = phase_ == Phase::line ? request_line_bytes_max : fields_bytes_max;
        const std::size_t room =
            bound + 1 - (text_.size() - begin); // one octet over tells that it is too long
        const std::string_view part = octets.substr(at, room);
        const std::size_t newline = part.find('\n');
        const std::size_t count = newline == std::string_view::npos ? part.size() : newline + 1;
        text_.append(part.substr(0, count));
        at += count;
        if (text_.size() - begin > bound) {
            refuse(phase_ == Phase::line ? 414 : 431);
        } else if (newline != std::string_view::npos) {
            end_of_line();
        }
    }
    if (phase_ == Phase::body) {
        const std::size_t missing = body_bytes_ - (text_.size() - body_offset_);
        const std::string_view part = octets.substr(at, missing);
        text_.append(part);
        at += part.size();
        if (part.size() == missing) {
            finish();
        }
    }
    if (phase_ == Phase::refused) {
        return {HttpEvent::refused, octets.size()};
    }
    return {phase_ == Phase::done ? HttpEvent::request : HttpEvent::need_input, at};
}

bool HttpRequestParser::end_of_line() {
    std::string_view line(text_.data() + line_offset_, text_.size() - line_offset_ - 1);
    if (line.ends_with('\r')) {
        line.remove_suffix(1);
    }
    if (line.find('\r') != std::string_view::npos) {
        return refuse(400);
    }
    if (phase_ == Phase::line) {
        if (line.empty()) { // RFC 9112, 2.2: empty lines before a request are passed over
            text_.clear();
            return true;
        }
        if (!parse_request_line(line)) {
            return false;
        }
        phase_ = Phase::fields;
        fields_offset_ = line_offset_ = text_.size();
        return true;
    }
    line_offset_ = text_.size();
    return line.empty() ? end_of_fields() : parse_field(line);
}

bool HttpRequestParser::parse_request_line(std::string_view line) {
    const std::size_t first = line.find(' ');
    const std::size_t last = line.rfind(' ');
    if (first == std::string_view::npos || first == last) {
        return refuse(400);
    }
    const std::string_view method = line.substr(0, first);
    const std::string_view target = line.substr(first + 1, last - first - 1);
    const std::string_view version = line.substr(last + 1);
    const bool is_clean =
        std::ranges::all_of(target, [](char each) { return each > ' ' && each < 0x7F; });
    const auto is_digit = [](char each) { return each >= '0' && each <= '9'; };
    if (!is_token(method) || !is_clean || !version.starts_with("HTTP/") || version.size() != 8 ||
        !is_digit(version[5]) || version[6] != '.' || !is_digit(version[7])) {
        return refuse(400);
    }
    if (version != "HTTP/1.1" && version != "HTTP/1.0") {
        return refuse(505);
    }
    if (method == "GET") {
        request_.method = Method::get;
    } else if (method == "HEAD") {
        request_.method = Method::head;
    } else if (method == "POST") {
        request_.method = Method::post;
    } else if (method == "PUT" || method == "DELETE" || method == "PATCH" || method == "OPTIONS" ||
               method == "TRACE") {
        request_.method = Method::other;
    } else {
        return refuse(501);
    }
    const std::string_view path = origin_form(target);
    if (path.empty()) {
        return refuse(400);
    }
    request_.is_http_1_0 = version == "HTTP/1.0";
    request_.keep_alive = !request_.is_http_1_0;
    target_ = {}; // "http://host": a path that stands nowhere in the text
    if (path.data() != root.data()) {
        target_ = {static_cast<std::size_t>(path.data() - text_.data()), path.size()};
    }
    return true;
}

bool HttpRequestParser::parse_field(std::string_view line) {
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos ||
        !is_token(line.substr(0, colon))) { // also a folded field
        return refuse(400);
    }
    if (field_ranges_.size() == fields_count_max) {
        return refuse(431);
    }
    const std::string_view name = line.substr(0, colon);
    const std::string_view value = trimmed(line.substr(colon + 1));
    for (const char each : value) {
        if ((static_cast<unsigned char>(each) < 0x20 && each != '\t') || each == 0x7F) {
            return refuse(400);
        }
    }
    const auto range = [this](std::string_view part) {
        return part.empty()
                   ? Range{}
                   : Range{static_cast<std::size_t>(part.data() - text_.data()), part.size()};
    };
    field_ranges_.push_back({range(name), range(value)});
    if (equal_ignoring_case(name, "Content-Length")) {
        return apply_length(value);
    }
    if (equal_ignoring_case(name, "Transfer-Encoding")) {
        has_transfer_encoding_ = true;
    } else if (equal_ignoring_case(name, "Connection")) {
        apply_connection(value);
    } else if (equal_ignoring_case(name, "Expect")) {
        wants_continue_ = equal_ignoring_case(value, "100-continue");
    } else if (equal_ignoring_case(name, "Host")) {
        return !std::exchange(has_host_, true) || refuse(400);
    }
    return true;
}

// Digits only, and the same in every Content-Length: two readings of where a body ends are an
// attack (RFC 9112, 6.3).
bool HttpRequestParser::apply_length(std::string_view value) {
    std::uint64_t length = 0;
    const auto [end, fault] = std::from_chars(value.data(), value.data() + value.size(), length);
    const bool is_number =
        !value.empty() && value.find_first_not_of("0123456789") == std::string_view::npos;
    if (!is_number) {
        return refuse(400);
    }
    if (fault != std::errc() || end != value.data() + value.size() || length > body_bytes_max) {
        return refuse(413);
    }
    if (has_length_ && length != body_bytes_) {
        return refuse(400);
    }
    has_length_ = true;
    body_bytes_ = static_cast<std::size_t>(length);
    return true;
}

void HttpRequestParser::apply_connection(std::string_view value) {
    while (!value.empty()) {
        const std::size_t comma = value.find(',');
        const std::string_view option = trimmed(value.substr(0, comma));
        if (equal_ignoring_case(option, "close")) {
            request_.keep_alive = false;
            has_close_ = true;
        } else if (equal_ignoring_case(option, "keep-alive") && !has_close_) {
            request_.keep_alive = true;
        }
        value = comma == std::string_view::npos ? std::string_view() : value.substr(comma + 1);
    }
}

bool HttpRequestParser::end_of_fields() {
    if (!has_host_ && !request_.is_http_1_0) { // RFC 9112, 3.2
        return refuse(400);
    }
    if (has_transfer_encoding_) {
        return refuse(has_length_ ? 400 : 501);
    }
    phase_ = Phase::body;
    body_offset_ = text_.size();
    wants_continue_ = wants_continue_ && body_bytes_ > 0 && !request_.is_http_1_0;
    return true;
}

void HttpRequestParser::finish() {
    phase_ = Phase::done;
    const std::string_view text = text_;
    const auto part = [&](Range range) { return text.substr(range.offset, range.length); };
    const std::string_view target = target_.length == 0 ? root : part(target_);
    const std::size_t question = target.find('?');
    request_.path = target.substr(0, question);
    request_.query =
        question == std::string_view::npos ? std::string_view() : target.substr(question + 1);
    request_.body = text.substr(body_offset_, body_bytes_);
    for (const FieldRange& range : field_ranges_) {
        request_.fields.push_back({part(range.name), part(range.value)});
    }
}

} // namespace ringmx::admin
