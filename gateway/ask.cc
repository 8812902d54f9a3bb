#include "ask.h"

#include "admin/cache_table.h"
#include "admin/queue_table.h"
#include "admin/status_table.h"

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <fmt/format.h>

namespace ringmx {

namespace {

constexpr std::uint64_t page_rows = 200; // the most that one answer has

int fail(const HttpTarget& admin, std::string_view why) {
    fmt::print(stderr,
               "ringmx: no gateway answers at {} ({}): start one, or name its admin address by "
               "--admin HOST:PORT\n",
               admin.text, why);
    return 1;
}

// What the gateway itself says about it, in one line.
int fail(const HttpTarget& admin, std::string_view subject, const HttpAnswer& answer) {
    const std::string_view said = std::string_view(answer.body).substr(0, answer.body.find('\n'));
    if (said.empty() || answer.status == 403) {
        return fail(admin, fmt::format("HTTP status {}", answer.status));
    }
    fmt::print(stderr, "ringmx: {}{}{}\n", subject, subject.empty() ? "" : ": ", said);
    return 1;
}

int fail_foreign(const HttpTarget& admin) { return fail(admin, "what answers is no ringmx"); }

bool print(std::string_view text) {
    if (std::fwrite(text.data(), 1, text.size(), stdout) == text.size()) {
        return true;
    }
    std::perror("ringmx: can't write to stdout");
    return false;
}

int end_of_output() {
    if (std::fflush(stdout) == 0) {
        return 0;
    }
    std::perror("ringmx: can't write to stdout");
    return 1;
}

// As it is, or as a table.
int show(const HttpTarget& admin, std::string_view subject,
         const std::expected<HttpAnswer, std::string>& answer, bool as_json,
         std::optional<std::string> (*table_of)(std::string_view)) {
    if (!answer) {
        return fail(admin, answer.error());
    }
    if (answer->status != 200) {
        return fail(admin, subject, *answer);
    }
    const std::optional<std::string> table = table_of(answer->body);
    if (!table) {
        return fail_foreign(admin);
    }
    return print(as_json ? answer->body : *table) ? end_of_output() : 1;
}

std::string percent_encoded(std::string_view text) {
    constexpr std::string_view plain = "-._~@:";
    std::string encoded;
    for (const char octet : text) {
        if (std::isalnum(static_cast<unsigned char>(octet)) != 0 ||
            plain.find(octet) != std::string_view::npos) {
            encoded += octet;
        } else {
            fmt::format_to(std::back_inserter(encoded), "%{:02X}",
                           static_cast<unsigned char>(octet));
        }
    }
    return encoded;
}

std::string path_of(std::string_view id, std::string_view verb = {}) {
    return fmt::format("/api/queue/{}{}{}", percent_encoded(id), verb.empty() ? "" : "/", verb);
}

// "&recipient=a@b.example", or behind "?"
std::string recipient_parameter(char separator, const std::optional<std::string>& recipient) {
    return recipient ? fmt::format("{}recipient={}", separator, percent_encoded(*recipient)) : "";
}

struct List {
    std::string_view path;
    std::string_view subject;
    std::string_view key; // of its entries in JSON
    std::string (*heading)();
    std::optional<admin::ListPage> (*read)(std::string_view json);
    std::string_view partial_note = {}; // what a list says that isn't complete; empty: each one is
};

// Page after page, printed as they come. `limit` 0: all.
int show_pages(const HttpTarget& admin, const List& list, std::string_view parameters,
               std::uint64_t limit, bool as_json) {
    std::uint64_t printed = 0;
    std::string cursor;
    bool is_first = true;
    bool is_complete = true;
    do {
        const std::uint64_t wanted = limit == 0 ? page_rows : std::min(limit - printed, page_rows);
        std::string path = fmt::format("{}?limit={}{}", list.path, wanted, parameters);
        if (!cursor.empty()) {
            path += "&cursor=" + cursor;
        }
        const auto answer = http_get(admin, path);
        if (!answer) {
            return fail(admin, answer.error());
        }
        if (answer->status != 200) {
            return fail(admin, list.subject, *answer);
        }
        const std::optional<admin::ListPage> page = list.read(answer->body);
        if (!page) {
            return fail_foreign(admin);
        }
        std::string text;
        if (std::exchange(is_first, false)) {
            text = as_json ? fmt::format("{{\"{}\":[", list.key) : list.heading();
        }
        if (as_json) {
            for (const std::string& entry : page->entries) {
                text += (printed++ > 0 ? ",\n" : "\n") + entry;
            }
        } else {
            printed += page->entries.size();
            text += page->lines;
        }
        cursor = page->cursor;
        is_complete = is_complete && page->is_complete;
        if (!print(text)) {
            return 1;
        }
    } while (!cursor.empty() && (limit == 0 || printed < limit));
    const std::string_view end = list.partial_note.empty() ? "\n]}\n"
                                 : is_complete             ? "\n],\"complete\":true}\n"
                                                           : "\n],\"complete\":false}\n";
    if ((as_json && !print(end)) || end_of_output() != 0) {
        return 1;
    }
    if (!is_complete) {
        fmt::print(stderr, "ringmx: {}\n", list.partial_note);
    }
    return 0;
}

} // namespace

int ask_status(const HttpTarget& admin, bool as_json) {
    return show(admin, "", http_get(admin, "/api/status"), as_json, admin::status_table);
}

int ask_queue_list(const HttpTarget& admin, const QueueFilters& filters, std::uint64_t limit,
                   bool as_json) {
    std::string rest;
    for (const auto& [name, value] : filters) {
        if (!value.empty()) {
            fmt::format_to(std::back_inserter(rest), "&{}={}", name, percent_encoded(value));
        }
    }
    constexpr List list{
        "/api/queue",
        "queue list",
        "messages",
        admin::queue_heading,
        admin::read_queue_page,
        "the list is not complete: what earlier runs left is still read, see ringmx "
        "status; ask again"};
    return show_pages(admin, list, rest, limit, as_json);
}

int ask_queue_entry(const HttpTarget& admin, std::string_view id, bool as_json) {
    return show(admin, id, http_get(admin, path_of(id)), as_json, admin::queue_entry_table);
}

int change_queue_entry(const HttpTarget& admin, std::string_view verb, std::string_view id,
                       bool as_json) {
    return show(admin, id, http_post(admin, path_of(id, verb)), as_json,
                [](std::string_view) { return std::optional<std::string>(""); });
}

int retry_all(const HttpTarget& admin, bool as_json) {
    return show(admin, "retry", http_post(admin, "/api/queue/retry"), as_json,
                [](std::string_view json) {
                    const std::optional<std::uint64_t> count = admin::read_retried(json);
                    return count ? std::optional(fmt::format("{} message{} due now\n", *count,
                                                             *count == 1 ? "" : "s"))
                                 : std::nullopt;
                });
}

int ask_cache_list(const HttpTarget& admin, const std::optional<std::string>& recipient,
                   std::uint64_t limit, bool as_json) {
    constexpr List list{"/api/cache", "cache show", "answers", admin::cache_heading,
                        admin::read_cache_page};
    return show_pages(admin, list, recipient_parameter('&', recipient), limit, as_json);
}

int purge_cache(const HttpTarget& admin, const std::optional<std::string>& recipient,
                bool as_json) {
    const std::string path = "/api/cache/purge" + recipient_parameter('?', recipient);
    return show(admin, "cache purge", http_post(admin, path), as_json, [](std::string_view json) {
        const std::optional<std::uint64_t> count = admin::read_purged(json);
        return count ? std::optional(
                           fmt::format("{} answer{} forgotten\n", *count, *count == 1 ? "" : "s"))
                     : std::nullopt;
    });
}

} // namespace ringmx
