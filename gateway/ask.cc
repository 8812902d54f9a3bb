#include "ask.h"

#include "admin/status_table.h"

#include <cstdio>
#include <fmt/format.h>

namespace ringmx {

namespace {

int fail(const HttpTarget& admin, std::string_view why) {
    fmt::print(stderr,
               "ringmx: no gateway answers at {} ({}): start one, or name its admin address by "
               "--admin HOST:PORT\n",
               admin.text, why);
    return 1;
}

} // namespace

int ask_status(const HttpTarget& admin, bool as_json) {
    const std::expected<HttpAnswer, std::string> answer = http_get(admin, "/api/status");
    if (!answer) {
        return fail(admin, answer.error());
    }
    if (answer->status != 200) {
        return fail(admin, fmt::format("HTTP status {}", answer->status));
    }
    const std::optional<std::string> table = admin::status_table(answer->body);
    if (!table) {
        return fail(admin, "what answers is no ringmx");
    }
    const std::string& text = as_json ? answer->body : *table;
    const bool written =
        std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0;
    if (!written) {
        std::perror("ringmx: can't write to stdout");
        return 1;
    }
    return 0;
}

} // namespace ringmx
