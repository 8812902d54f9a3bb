#include "admin/queue_request.h"

#include "admin/queue_json.h"
#include "base/domain.h"
#include "base/units.h"
#include "spool/message_id.h"

#include <algorithm>
#include <charconv>
#include <fmt/format.h>
#include <optional>

namespace ringmx::admin {
namespace {

using Kind = QueueQuestion::Kind;

constexpr std::string_view queue_path = "/api/queue";

HttpResponse fault(std::uint16_t status, std::string text) {
    HttpResponse response;
    response.status = status;
    response.body = std::move(text) + "\n";
    return response;
}

std::unexpected<HttpResponse> bad(std::string_view parameter, std::string_view expected) {
    return std::unexpected(fault(400, fmt::format("{}: expected {}", parameter, expected)));
}

std::optional<unsigned> hex_digit(char letter) {
    unsigned digit = 0;
    const auto [end, error] = std::from_chars(&letter, &letter + 1, digit, 16);
    return error == std::errc() ? std::optional(digit) : std::nullopt;
}

std::optional<std::string> percent_decoded(std::string_view text) {
    std::string decoded;
    for (std::size_t index = 0; index < text.size(); ++index) {
        if (text[index] != '%') {
            decoded += text[index];
            continue;
        }
        if (text.size() - index < 3) {
            return std::nullopt;
        }
        const auto high = hex_digit(text[index + 1]);
        const auto low = hex_digit(text[index + 2]);
        if (!high || !low) {
            return std::nullopt;
        }
        decoded += static_cast<char>(*high * 16 + *low);
        index += 2;
    }
    return decoded;
}

// In the form that filters are compared in: an address, "@" and a domain, or "<>". False: it is
// none.
bool set_address(std::string& to, std::string_view text, bool may_be_null) {
    if (text == "<>") {
        to = text;
        return may_be_null;
    }
    if (text.starts_with('<') && text.ends_with('>')) {
        text = text.substr(1, text.size() - 2);
    }
    if (text.find('@') != std::string_view::npos && !text.starts_with('@')) {
        return canonical_mailbox(text, to);
    }
    const auto domain = canonical_domain(text.substr(text.starts_with('@') ? 1 : 0));
    to = "@" + domain.value_or("");
    return domain.has_value();
}

std::expected<void, HttpResponse> set(QueueRequest& request, std::string_view name,
                                      std::string value) {
    QueueFilter& filter = request.question.filter;
    if (name == "limit") {
        std::uint32_t& limit = request.question.limit;
        const char* const end = value.data() + value.size();
        const auto read = std::from_chars(value.data(), end, limit);
        if (read.ec != std::errc() || read.ptr != end || limit == 0 ||
            limit > queue_page_rows_max) {
            return bad(name, fmt::format("1 to {}", queue_page_rows_max));
        }
    } else if (name == "cursor") {
        request.cursor = std::move(value);
    } else if (name == "recipient") {
        if (!set_address(filter.recipient, value, false)) {
            return bad(name, "an address or a domain");
        }
    } else if (name == "sender") {
        if (!set_address(filter.sender, value, true)) {
            return bad(name, "an address, a domain, or <>");
        }
    } else if (name == "pool") {
        filter.pool = std::move(value);
    } else if (name == "backend") {
        filter.backend = std::move(value);
    } else if (name == "state") {
        filter.state = queue_state(value);
        if (!filter.state) {
            return bad(name, queue_state_names());
        }
    } else if (name == "older_than") {
        const std::optional<Duration> age = parse_duration(value);
        if (!age) {
            return bad(name, "a duration, like 30s, 5m, 2h or 4d");
        }
        filter.older_than = *age;
    } else {
        return std::unexpected(fault(400, fmt::format("unknown parameter '{}'", name)));
    }
    return {};
}

std::expected<QueueRequest, HttpResponse> read_list(std::string_view query) {
    QueueRequest request;
    request.question.limit = queue_page_rows;
    while (!query.empty()) {
        const std::string_view one = query.substr(0, query.find('&'));
        query.remove_prefix(std::min(one.size() + 1, query.size()));
        const std::size_t equals = std::min(one.find('='), one.size());
        std::optional<std::string> value =
            percent_decoded(one.substr(std::min(equals + 1, one.size())));
        if (!value) {
            return bad(one.substr(0, equals), "percent-encoded text");
        }
        if (value->empty()) {
            continue; // as if it was not there
        }
        if (auto done = set(request, one.substr(0, equals), std::move(*value)); !done) {
            return std::unexpected(std::move(done.error()));
        }
    }
    return request;
}

std::optional<Kind> change_of(std::string_view verb) {
    constexpr std::pair<std::string_view, Kind> changes[] = {{"retry", Kind::retry},
                                                             {"hold", Kind::hold},
                                                             {"release", Kind::release},
                                                             {"remove", Kind::remove}};
    const auto* const found =
        std::ranges::find(changes, verb, &std::pair<std::string_view, Kind>::first);
    return found == std::end(changes) ? std::nullopt : std::optional(found->second);
}

// Which methods the question may be asked by: it is read, or changes something.
std::expected<QueueRequest, HttpResponse> allowed(QueueRequest request, Method method) {
    const bool is_change =
        request.question.kind != Kind::list && request.question.kind != Kind::show;
    if (is_change ? method == Method::post : method == Method::get || method == Method::head) {
        return request;
    }
    HttpResponse response = fault(405, is_change ? "changes are made by POST" : //
                                           "this page is only read");
    response.allow = is_change ? "POST" : "GET, HEAD";
    return std::unexpected(std::move(response));
}

} // namespace

bool is_queue_path(std::string_view path) {
    return path == queue_path ||
           (path.starts_with(queue_path) && path.substr(queue_path.size()).starts_with('/'));
}

std::expected<QueueRequest, HttpResponse> read_queue_request(const HttpRequest& request) {
    if (request.path == queue_path) {
        auto list = read_list(request.query);
        return list ? allowed(std::move(*list), request.method) : list;
    }
    const std::string_view rest = request.path.substr(queue_path.size() + 1);
    QueueRequest read;
    read.question.kind = Kind::retry_all;
    if (rest == "retry") {
        return allowed(std::move(read), request.method);
    }
    const std::size_t slash = rest.find('/');
    const auto id = spool::read_id(rest.substr(0, slash));
    const auto kind = slash == std::string_view::npos ? std::optional(Kind::show)
                                                      : change_of(rest.substr(slash + 1));
    if (!kind) {
        return std::unexpected(fault(404, "no such page"));
    }
    if (!id) {
        return std::unexpected(fault(404, "no such message"));
    }
    read.question.kind = *kind;
    read.question.id = *id;
    return allowed(std::move(read), request.method);
}

} // namespace ringmx::admin
