#include "admin/cache_desk.h"

#include "admin/json_writer.h"
#include "admin/query.h"

#include <algorithm>
#include <fmt/format.h>
#include <utility>
#include <vector>

namespace ringmx::admin {
namespace {

using Kind = CacheQuestion::Kind;

bool is_about_all(const CacheQuestion& question) { return question.recipient.empty(); }

} // namespace

std::optional<HttpResponse> CacheDesk::ask(const CacheRequest& request, Ticket ticket) {
    Rounds::Round round{.question = request.question, .ticket = ticket};
    const bool is_page = request.question.kind == Kind::list && is_about_all(request.question);
    std::uint32_t first = 0;
    if (!request.cursor.empty()) {
        const auto numbers = read_cursor(request.cursor);
        if (!numbers || numbers->size() != 3 || numbers->front() != options_.run ||
            (*numbers)[1] >= options_.workers) {
            return text_response(400,
                                 "cursor: not one of this run of the gateway, begin without it");
        }
        if (is_page) {
            first = static_cast<std::uint32_t>((*numbers)[1]);
            round.question.after = numbers->back();
        }
    }
    if (rounds_.is_full()) {
        return text_response(503, Rounds::too_many);
    }
    const std::uint32_t end = is_page ? first + 1 : options_.workers;
    const Rounds::Round& begun = rounds_.begin(std::move(round), options_.workers, end - first);
    for (std::uint32_t worker = first; worker < end; ++worker) {
        options_.post(worker, begun.question);
    }
    return std::nullopt;
}

void CacheDesk::take(CacheAnswer answer) {
    if (const std::optional<Rounds::Round> over = rounds_.take(std::move(answer))) {
        options_.reply(over->ticket, respond(*over));
    }
}

HttpResponse CacheDesk::respond(const Rounds::Round& round) const {
    switch (round.question.kind) {
    case Kind::list:
        return list_page(round);
    case Kind::purge:
        break;
    }
    std::uint64_t count = 0;
    for (const CacheAnswer& answer : round.answers) {
        count += answer.purged;
    }
    return json_response(fmt::format("{{\"purged\":{}}}", count));
}

HttpResponse CacheDesk::list_page(const Rounds::Round& round) const {
    std::string body;
    JsonWriter json(body);
    json.open('{');
    json.open('[', "answers");
    for (const CacheAnswer& answer : round.answers) {
        for (const CacheRow& row : answer.rows) {
            json.open('{');
            json.text("result", row.reply.empty() ? "exists" : "unknown");
            json.text("reply", row.reply);
            json.seconds("remaining_seconds", row.remaining);
            json.number("worker", answer.worker);
            json.close('}');
        }
    }
    json.close(']');
    const auto answer =
        std::ranges::find(round.answers, round.question.number, &CacheAnswer::question);
    if (is_about_all(round.question) && answer->next != 0) {
        json.text("cursor", cursor_text({options_.run, answer->worker, answer->next}));
    } else if (is_about_all(round.question) && answer->worker + 1 < options_.workers) {
        json.text("cursor", cursor_text({options_.run, answer->worker + std::uint64_t{1}, 0}));
    } else {
        json.null("cursor");
    }
    json.close('}');
    return json_response(std::move(body));
}

} // namespace ringmx::admin
