// Asks workers about the answers that verification keeps, and makes one response of what they say.
//
// Lists:   worker after worker, a page from one at a time, since each keeps its own and an answer has no
//          name to be merged by; about one recipient, all are asked at once. A cursor names the run, a
//          worker, and a place there.
// Purges:  answered when every worker has purged.
// Bound:   of Rounds; more are refused with 503.
// Thread:  main's.
// Errors:  HTTP statuses: 400 (a cursor that is none), 503 (ask again).
// Source:  CONTRACT 6.
#pragma once

#include "admin/cache_request.h"
#include "admin/http_response.h"
#include "admin/rounds.h"
#include "admin/ticket.h"

#include <cstdint>
#include <functional>
#include <optional>

namespace ringmx::admin {

class CacheDesk {
  public:
    struct Options {
        std::uint32_t workers = 1;
        std::uint32_t run = 0; // random: cursors of another run are not taken for one of this
        std::function<void(std::uint32_t worker, CacheQuestion question)> post;
        std::function<void(Ticket ticket, HttpResponse response)> reply;
    };

    explicit CacheDesk(Options options) : options_(std::move(options)) {}
    CacheDesk(const CacheDesk&) = delete;
    CacheDesk& operator=(const CacheDesk&) = delete;

    // The response, or nothing: reply() follows.
    [[nodiscard]] std::optional<HttpResponse> ask(const CacheRequest& request, Ticket ticket);
    void take(CacheAnswer answer);

  private:
    using Rounds = admin::Rounds<CacheQuestion, CacheAnswer>;

    [[nodiscard]] HttpResponse respond(const Rounds::Round& round) const;
    [[nodiscard]] HttpResponse list_page(const Rounds::Round& round) const;

    Options options_;
    Rounds rounds_;
};

} // namespace ringmx::admin
