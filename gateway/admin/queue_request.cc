#include "admin/queue_request.h"

#include "admin/query.h"
#include "admin/queue_json.h"
#include "base/ascii.h"
#include "base/domain.h"
#include "base/units.h"
#include "spool/message_id.h"

#include <algorithm>
#include <optional>

namespace ringmx::admin {
namespace {

using Kind = QueueQuestion::Kind;

constexpr std::string_view queue_path = "/api/queue";

// In the form that filters are compared in: an address, "@" and a domain, or "<>". False: it is
// none.
bool set_address(std::string& to, std::string_view text, bool may_be_null) {
    if (text == "<>") {
        to = text;
        return may_be_null;
    }
    text = without_brackets(text);
    if (text.find('@') != std::string_view::npos && !text.starts_with('@')) {
        return canonical_mailbox(text, to);
    }
    const auto domain = canonical_domain(text.substr(text.starts_with('@') ? 1 : 0));
    to = "@" + domain.value_or("");
    return domain.has_value();
}

QueryResult set(QueueRequest& request, std::string_view name, std::string value) {
    QueueFilter& filter = request.question.filter;
    if (value.empty()) {
        return {}; // as if it was not there
    }
    if (name == "limit") {
        return read_limit(request.question.limit, value);
    }
    if (name == "cursor") {
        request.cursor = std::move(value);
    } else if (name == "recipient") {
        if (equal_ignoring_case(without_brackets(value), bare_postmaster)) {
            filter.recipient = bare_postmaster;
        } else if (!set_address(filter.recipient, value, false)) {
            return bad_parameter(name, "an address or a domain");
        }
    } else if (name == "sender") {
        if (!set_address(filter.sender, value, true)) {
            return bad_parameter(name, "an address, a domain, or <>");
        }
    } else if (name == "pool") {
        filter.pool = std::move(value);
    } else if (name == "backend") {
        filter.backend = std::move(value);
    } else if (name == "state") {
        filter.state = queue_state(value);
        if (!filter.state) {
            return bad_parameter(name, queue_state_names());
        }
    } else if (name == "older_than") {
        const std::optional<Duration> age = parse_duration(value);
        if (!age) {
            return bad_parameter(name, "a duration, like 30s, 5m, 2h or 4d");
        }
        filter.older_than = *age;
    } else {
        return unknown_parameter(name);
    }
    return {};
}

std::expected<QueueRequest, HttpResponse> read_list(std::string_view query) {
    QueueRequest request;
    request.question.limit = page_rows;
    const QueryResult read = read_query(query, [&](std::string_view name, std::string value) {
        return set(request, name, std::move(value));
    });
    if (!read) {
        return std::unexpected(read.error());
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
    if (const QueryResult checked = check_method(method, is_change); !checked) {
        return std::unexpected(checked.error());
    }
    return request;
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
    // A change of everything must not look like one of what a parameter names.
    const auto refuse = [](std::string_view name, const std::string&) -> QueryResult {
        return unknown_parameter(name);
    };
    if (const QueryResult none = read_query(request.query, refuse); !none) {
        return std::unexpected(none.error());
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
        return std::unexpected(text_response(404, "no such page"));
    }
    if (!id) {
        return std::unexpected(text_response(404, "no such message"));
    }
    read.question.kind = *kind;
    read.question.id = *id;
    return allowed(std::move(read), request.method);
}

} // namespace ringmx::admin
