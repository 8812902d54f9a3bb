// What requests of the API have in common: queries and their parameters, methods, cursors.
//
// Queries: percent-encoded; "+" is itself, as in an address.
// Cursors: hexadecimal numbers, "1f-0-2a".
// Thread:  any.
// Errors:  the response to give: 400 or 405, in words.
#pragma once

#include "admin/http_request.h"
#include "admin/http_response.h"

#include <cstdint>
#include <expected>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ringmx::admin {

inline constexpr std::uint32_t page_rows = 50; // where `limit` is not given
inline constexpr std::uint32_t page_rows_max = 200;

using QueryFault = std::unexpected<HttpResponse>;
using QueryResult = std::expected<void, HttpResponse>;

[[nodiscard]] QueryFault bad_parameter(std::string_view name, std::string_view expected);
[[nodiscard]] QueryFault unknown_parameter(std::string_view name);
// Gives each parameter to `take`, in order, until one is at fault.
[[nodiscard]] QueryResult
read_query(std::string_view query,
           const std::function<QueryResult(std::string_view name, std::string value)>& take);
// The value of `limit`: how many rows a page has.
[[nodiscard]] QueryResult read_limit(std::uint32_t& limit, std::string_view value);
// "<a@b.example>" and "a@b.example" are the same.
[[nodiscard]] std::string_view without_brackets(std::string_view address);

// A page is read by GET or HEAD, a change made by POST.
[[nodiscard]] QueryResult check_method(Method method, bool is_change);

[[nodiscard]] std::string cursor_text(const std::vector<std::uint64_t>& numbers);
[[nodiscard]] std::optional<std::vector<std::uint64_t>> read_cursor(std::string_view text);

} // namespace ringmx::admin
