#include "admin/queue_desk.h"

#include "admin/query.h"
#include "admin/queue_json.h"
#include "base/error.h"
#include "base/escape.h"
#include "spool/message_id.h"

#include <algorithm>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <iterator>
#include <span>
#include <utility>

namespace ringmx::admin {
namespace {

using Kind = QueueQuestion::Kind;
using Result = QueueAnswer::Result;

HttpResponse retried(std::uint64_t count) {
    return json_response(fmt::format("{{\"retried\":{}}}", count));
}

std::uint64_t requeued_by(std::span<const QueueAnswer> workers) {
    std::uint64_t count = 0;
    for (const QueueAnswer& answer : workers) {
        count += answer.changed;
    }
    return count;
}

constexpr std::size_t names_shown = 10;

std::string missing(std::string_view what, std::string_view name,
                    std::span<const std::string_view> known) {
    std::string line = fmt::format("{0}: there is no {0} '", what);
    append_log_text(line, name);
    const std::size_t shown = std::min(known.size(), names_shown);
    fmt::format_to(std::back_inserter(line), "', expected {}", fmt::join(known.first(shown), ", "));
    if (known.size() > shown) {
        fmt::format_to(std::back_inserter(line), ", or one of {} more", known.size() - shown);
    }
    return line;
}

constexpr std::string_view unknown_message = "no such message";
constexpr std::string_view still_reading =
    "no such message so far, and what earlier runs left is still read: ask again";

} // namespace

std::optional<HttpResponse> QueueDesk::ask(const QueueRequest& request, Ticket ticket) {
    Round open{.question = request.question, .ticket = ticket};
    const bool is_list = open.question.kind == Kind::list;
    if (is_list) {
        if (std::optional<HttpResponse> refused = unknown_name(open.question.filter)) {
            return refused;
        }
        std::optional<std::vector<std::uint64_t>> after = ages_of(request.cursor);
        if (!after) {
            return text_response(400,
                                 "cursor: not one of this run of the gateway, begin without it");
        }
        open.after = std::move(*after);
    }
    if (options_.workers == 0) {
        return is_list                                 ? list_page(open)
               : open.question.kind == Kind::retry_all ? retried(0)
                                                       : text_response(404, unknown_message);
    }
    if (rounds_.is_full()) {
        return text_response(503, Rounds::too_many);
    }
    open.is_partial = options_.is_recovering();
    const Round& begun = rounds_.begin(std::move(open), options_.workers, options_.workers);
    for (std::uint32_t worker = 0; worker < options_.workers; ++worker) {
        QueueQuestion question = begun.question;
        question.after = is_list ? begun.after[worker] : 0;
        options_.post(worker, std::move(question));
    }
    return std::nullopt;
}

// A name that is mistyped would find nothing, as if all were well.
std::optional<HttpResponse> QueueDesk::unknown_name(const QueueFilter& filter) const {
    if (filter.pool.empty() && filter.backend.empty()) {
        return std::nullopt;
    }
    std::vector<std::string_view> pools;
    std::vector<std::string_view> backends;
    for (const PoolSettings& pool : options_.pools()) {
        pools.emplace_back(pool.name);
        if (filter.pool.empty() || filter.pool == pool.name) {
            for (const BackendSettings& backend : pool.backends) {
                backends.emplace_back(backend.address);
            }
        }
    }
    if (!filter.pool.empty() && std::ranges::find(pools, filter.pool) == pools.end()) {
        return text_response(400, missing("pool", filter.pool, pools));
    }
    if (!filter.backend.empty() && std::ranges::find(backends, filter.backend) == backends.end()) {
        return text_response(400, missing("backend", filter.backend, backends));
    }
    return std::nullopt;
}

void QueueDesk::take(QueueAnswer answer) {
    if (const std::optional<Round> over = rounds_.take(std::move(answer))) {
        if (over->question.kind == Kind::retry_all) {
            note_retry(*over);
        }
        options_.reply(over->ticket, respond(*over));
    }
}

// Of one message its worker tells.
void QueueDesk::note_retry(const Round& over) const {
    const std::uint64_t count = requeued_by(over.answers);
    options_.note(fmt::format("an operator requeues all that waits: {} message{}", count,
                              count == 1 ? "" : "s"));
}

// Who has the message decides; where nobody has it, who does not know.
HttpResponse QueueDesk::respond(const Round& open) const {
    const auto first = [&](Result result) {
        return std::ranges::find(open.answers, result, &QueueAnswer::result);
    };
    const auto none = open.answers.end();
    const bool is_about_all =
        open.question.kind == Kind::list || open.question.kind == Kind::retry_all;
    if (const auto failed = first(Result::not_durable); failed != none) {
        const Error cause{"write to the spool (the change may be lost in a restart: make it again)",
                          failed->error, spool::id_text(open.question.id)};
        return text_response(503, cause.message());
    }
    const auto done = first(Result::done);
    if (first(Result::busy) != none && (is_about_all || done == none)) {
        return text_response(
            503, "a worker is short of memory, ends, or has a change of this message under "
                 "way: ask again");
    }
    if (open.question.kind == Kind::list) {
        return list_page(open);
    }
    if (open.question.kind == Kind::retry_all) {
        return retried(requeued_by(open.answers));
    }
    if (done == none) {
        return open.is_partial ? text_response(503, still_reading)
                               : text_response(404, unknown_message);
    }
    std::string body;
    JsonWriter json(body);
    if (open.question.kind == Kind::show) {
        append_queue_row(json, done->rows.front());
    } else {
        json.open('{');
        json.text("id", spool::id_text(open.question.id));
        json.close('}');
    }
    return json_response(std::move(body));
}

// Oldest first, as far as each worker's answer reaches: behind the last row of one that has more to
// say nothing is known.
HttpResponse QueueDesk::list_page(const Round& open) const {
    std::vector<std::size_t> taken(open.answers.size(), 0);
    std::string body;
    JsonWriter json(body);
    json.open('{');
    json.open('[', "messages");
    for (std::uint32_t count = 0; count < open.question.limit; ++count) {
        std::size_t oldest = open.answers.size();
        bool is_known = true;
        for (std::size_t worker = 0; worker < open.answers.size(); ++worker) {
            const QueueAnswer& answer = open.answers[worker];
            if (taken[worker] == answer.rows.size()) {
                is_known = is_known && answer.is_end;
            } else if (oldest == open.answers.size() ||
                       answer.rows[taken[worker]].created <
                           open.answers[oldest].rows[taken[oldest]].created) {
                oldest = worker;
            }
        }
        if (!is_known || oldest == open.answers.size()) {
            break;
        }
        append_queue_row(json, open.answers[oldest].rows[taken[oldest]++]);
    }
    json.close(']');
    bool is_end = true;
    std::vector<std::uint64_t> next = open.after;
    for (std::size_t worker = 0; worker < open.answers.size(); ++worker) {
        const QueueAnswer& answer = open.answers[worker];
        const bool is_used_up = taken[worker] == answer.rows.size();
        is_end = is_end && is_used_up && answer.is_end;
        if (is_used_up) {
            next[worker] = answer.next;
        } else if (taken[worker] > 0) {
            next[worker] = answer.rows[taken[worker] - 1].age;
        }
    }
    if (is_end) {
        json.null("cursor");
    } else {
        json.text("cursor", cursor_of(std::move(next)));
    }
    json.boolean("complete", !open.is_partial);
    json.close('}');
    return json_response(std::move(body));
}

// The run, and an age of each worker.
std::string QueueDesk::cursor_of(std::vector<std::uint64_t> ages) const {
    ages.insert(ages.begin(), options_.run);
    return cursor_text(ages);
}

std::optional<std::vector<std::uint64_t>> QueueDesk::ages_of(std::string_view cursor) const {
    if (cursor.empty()) {
        return std::vector<std::uint64_t>(options_.workers, 0);
    }
    std::optional<std::vector<std::uint64_t>> numbers = read_cursor(cursor);
    if (!numbers || numbers->size() != options_.workers + std::size_t{1} ||
        numbers->front() != options_.run) {
        return std::nullopt;
    }
    numbers->erase(numbers->begin());
    return numbers;
}

} // namespace ringmx::admin
