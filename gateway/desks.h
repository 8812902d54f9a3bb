// The desks of the admin address that ask workers: about the queue, and about the cache of
// verification. Here are the ways from them to the workers and back.
//
// Life:   the workers outlive it. Ask while all of them run: one that has ended answers nothing.
// Thread: main's.
// Errors: responses.
#pragma once

#include "admin/cache_desk.h"
#include "admin/queue_desk.h"
#include "worker_thread.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

namespace ringmx {

class Desks {
  public:
    using Workers = std::vector<std::unique_ptr<WorkerThread>>;
    using Reply = std::function<void(admin::Ticket ticket, const admin::HttpResponse& response)>;

    struct Options {
        const Workers& workers;
        std::uint32_t workers_count = 1;               // which there will be
        std::optional<std::uint32_t> spool_generation; // none: there is no spool
        std::uint32_t run = 0;                         // random
        Reply reply;
        std::function<bool()> is_recovering;
        std::function<const std::vector<PoolSettings>&()> pools;
        std::function<void(std::string_view line)> note;
    };

    explicit Desks(const Options& options);

    // The response, or nothing: Reply follows.
    [[nodiscard]] std::optional<admin::HttpResponse> ask(const admin::QueueRequest& request,
                                                         admin::Ticket ticket) {
        return queue_.ask(request, ticket);
    }
    [[nodiscard]] std::optional<admin::HttpResponse> ask(const admin::CacheRequest& request,
                                                         admin::Ticket ticket) {
        return cache_.ask(request, ticket);
    }
    // Once a turn: what workers have answered.
    void take_answers();

  private:
    const Workers& workers_;
    admin::QueueDesk queue_;
    admin::CacheDesk cache_;
};

} // namespace ringmx
