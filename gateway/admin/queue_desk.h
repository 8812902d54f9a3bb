// Asks all workers a question about the queue, and makes one response of their answers.
//
//   ask(request, ticket) ─▶ post() to each worker ··· take(answer) from each ─▶ reply(ticket, response)
//
// Earlier: what earlier runs left is not in the queue until all of it has been read. Who was asked before
//          that does not know: no id is unknown then (503), and a list says that it isn't complete.
// Lists:   merged in order of acceptance. A cursor names a place in each worker's part, and the run: after
//          a restart an old one is refused, since ages have begun anew.
// Bound:   of Rounds; more are refused with 503.
// Thread:  main's.
// Errors:  HTTP statuses: 400 (a cursor that is none, a pool or a backend that is not there), 404 (no such message), 503 (ask again).
#pragma once

#include "admin/http_response.h"
#include "admin/queue_request.h"
#include "admin/rounds.h"
#include "admin/ticket.h"
#include "base/messages/queue_messages.h"
#include "base/settings/settings.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ringmx::admin {

class QueueDesk {
  public:
    struct Options {
        std::uint32_t workers = 0; // 0: there is no spool
        std::uint32_t run = 0;     // no other one of this spool has the same
        std::function<void(std::uint32_t worker, QueueQuestion question)> post;
        std::function<void(Ticket ticket, HttpResponse response)> reply;
        // Whether what earlier runs left is still read.
        std::function<bool()> is_recovering = [] { return false; };
        // Those of now, which filters name.
        std::function<const std::vector<PoolSettings>&()> pools;
        // A line of the log: of what no worker can tell.
        std::function<void(std::string_view line)> note;
    };

    explicit QueueDesk(Options options) : options_(std::move(options)) {}
    QueueDesk(const QueueDesk&) = delete;
    QueueDesk& operator=(const QueueDesk&) = delete;

    // The response, or nothing: reply() follows.
    [[nodiscard]] std::optional<HttpResponse> ask(const QueueRequest& request, Ticket ticket);
    void take(QueueAnswer answer);

  private:
    using Rounds = admin::Rounds<QueueQuestion, QueueAnswer>;
    using Round = Rounds::Round;

    [[nodiscard]] std::optional<HttpResponse> unknown_name(const QueueFilter& filter) const;
    [[nodiscard]] std::optional<std::vector<std::uint64_t>> ages_of(std::string_view cursor) const;
    [[nodiscard]] std::string cursor_of(std::vector<std::uint64_t> ages) const;
    void note_retry(const Round& over) const;
    [[nodiscard]] HttpResponse respond(const Round& open) const;
    [[nodiscard]] HttpResponse list_page(const Round& open) const;

    Options options_;
    Rounds rounds_;
};

} // namespace ringmx::admin
