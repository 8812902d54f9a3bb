// The commands that ask a running gateway through its admin address.
//
// Out:    what is asked for, to stdout; one line to stderr when that fails. Gives the exit status:
//         0, or 1 when no gateway answers or the message is not known (CONTRACT 2).
// Thread: the only one.
#pragma once

#include "http_get.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ringmx {

[[nodiscard]] int ask_status(const HttpTarget& admin, bool as_json);

// The parameters of /api/queue that are not empty: {"recipient", "a@b.example"}.
using QueueFilters = std::vector<std::pair<std::string_view, std::string>>;

// Page after page, printed as they come. `limit` 0: all.
[[nodiscard]] int ask_queue_list(const HttpTarget& admin, const QueueFilters& filters,
                                 std::uint64_t limit, bool as_json);
[[nodiscard]] int ask_queue_entry(const HttpTarget& admin, std::string_view id, bool as_json);
// `verb`: "retry", "hold", "release", "remove".
[[nodiscard]] int change_queue_entry(const HttpTarget& admin, std::string_view verb,
                                     std::string_view id, bool as_json);
[[nodiscard]] int retry_all(const HttpTarget& admin, bool as_json);

// `recipient` absent: all.
[[nodiscard]] int ask_cache_list(const HttpTarget& admin,
                                 const std::optional<std::string>& recipient, std::uint64_t limit,
                                 bool as_json);
[[nodiscard]] int purge_cache(const HttpTarget& admin, const std::optional<std::string>& recipient,
                              bool as_json);

} // namespace ringmx
