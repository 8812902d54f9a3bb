// Asks all workers a question about the queue, and makes one response of their answers.
//
//   ask(request, ticket) ─▶ post() to each worker ··· take(answer) from each ─▶ reply(ticket, response)
//
// Lists:   merged in order of acceptance. A cursor names a place in each worker's part, and the run: after
//          a restart an old one is refused, since ages have begun anew.
// Bound:   questions_max at a time, until every worker has answered, whether or not somebody still
//          waits for it; more are refused with 503.
// Thread:  main's.
// Errors:  HTTP statuses: 400 (a cursor that is none), 404 (no such message), 503 (ask again).
#pragma once

#include "admin/http_response.h"
#include "admin/queue_request.h"
#include "admin/ticket.h"
#include "base/messages/queue_messages.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ringmx::admin {

class QueueDesk {
  public:
    static constexpr std::size_t questions_max = 8;

    struct Options {
        std::uint32_t workers = 0; // 0: there is no spool
        std::uint32_t run = 0;     // no other one of this spool has the same
        std::function<void(std::uint32_t worker, QueueQuestion question)> post;
        std::function<void(Ticket ticket, HttpResponse response)> reply;
    };

    explicit QueueDesk(Options options) : options_(std::move(options)) {}
    QueueDesk(const QueueDesk&) = delete;
    QueueDesk& operator=(const QueueDesk&) = delete;

    // The response, or nothing: reply() follows.
    [[nodiscard]] std::optional<HttpResponse> ask(const QueueRequest& request, Ticket ticket);
    void take(QueueAnswer answer);
    [[nodiscard]] std::size_t open_questions() const { return open_.size(); }

  private:
    struct Open {
        QueueQuestion question;
        Ticket ticket;
        std::uint32_t missing = 0;
        std::vector<std::uint64_t> after = {}; // of a list, by worker
        std::vector<QueueAnswer> answers = {}; // by worker
    };

    [[nodiscard]] std::optional<std::vector<std::uint64_t>>
    read_cursor(std::string_view cursor) const;
    [[nodiscard]] std::string cursor_text(const std::vector<std::uint64_t>& ages) const;
    [[nodiscard]] HttpResponse respond(const Open& open) const;
    [[nodiscard]] HttpResponse list_page(const Open& open) const;

    Options options_;
    std::vector<Open> open_;
    std::uint64_t last_number_ = 0;
};

} // namespace ringmx::admin
