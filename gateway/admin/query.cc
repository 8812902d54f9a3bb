#include "admin/query.h"

#include <algorithm>
#include <charconv>
#include <fmt/format.h>
#include <iterator>

namespace ringmx::admin {
namespace {

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

} // namespace

QueryFault bad_parameter(std::string_view name, std::string_view expected) {
    return QueryFault(text_response(400, fmt::format("{}: expected {}", name, expected)));
}

QueryFault unknown_parameter(std::string_view name) {
    return QueryFault(text_response(400, fmt::format("unknown parameter '{}'", name)));
}

QueryResult
read_query(std::string_view query,
           const std::function<QueryResult(std::string_view name, std::string value)>& take) {
    std::vector<std::string_view> known;
    while (!query.empty()) {
        const std::string_view one = query.substr(0, query.find('&'));
        query.remove_prefix(std::min(one.size() + 1, query.size()));
        if (one.empty()) {
            continue;
        }
        const std::string_view name = one.substr(0, one.find('='));
        if (std::ranges::find(known, name) != known.end()) {
            return bad_parameter(name, "it only once");
        }
        known.push_back(name);
        std::optional<std::string> value =
            percent_decoded(one.substr(std::min(name.size() + 1, one.size())));
        if (!value) {
            return bad_parameter(name, "percent-encoded text");
        }
        if (auto taken = take(name, std::move(*value)); !taken) {
            return taken;
        }
    }
    return {};
}

QueryResult read_limit(std::uint32_t& limit, std::string_view value) {
    const char* const end = value.data() + value.size();
    const auto read = std::from_chars(value.data(), end, limit);
    if (read.ec != std::errc() || read.ptr != end || limit == 0 || limit > page_rows_max) {
        return bad_parameter("limit", fmt::format("1 to {}", page_rows_max));
    }
    return {};
}

std::string_view without_brackets(std::string_view address) {
    const bool has_them = address.size() > 1 && address.front() == '<' && address.back() == '>';
    return has_them ? address.substr(1, address.size() - 2) : address;
}

QueryResult check_method(Method method, bool is_change) {
    if (is_change ? method == Method::post : method == Method::get || method == Method::head) {
        return {};
    }
    HttpResponse response =
        text_response(405, is_change ? "changes are made by POST" : "this page is only read");
    response.allow = is_change ? "POST" : "GET, HEAD";
    return QueryFault(std::move(response));
}

std::string cursor_text(const std::vector<std::uint64_t>& numbers) {
    std::string cursor;
    for (const std::uint64_t number : numbers) {
        fmt::format_to(std::back_inserter(cursor), "{}{:x}", cursor.empty() ? "" : "-", number);
    }
    return cursor;
}

std::optional<std::vector<std::uint64_t>> read_cursor(std::string_view text) {
    std::vector<std::uint64_t> numbers;
    for (bool is_last = false; !is_last;) {
        const std::string_view one = text.substr(0, text.find('-'));
        std::uint64_t& number = numbers.emplace_back();
        const auto [end, error] = std::from_chars(one.data(), one.data() + one.size(), number, 16);
        if (error != std::errc() || end != one.data() + one.size()) {
            return std::nullopt;
        }
        is_last = one.size() == text.size();
        text.remove_prefix(std::min(one.size() + 1, text.size()));
    }
    return numbers;
}

} // namespace ringmx::admin
