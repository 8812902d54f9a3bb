#include "desks.h"

#include <utility>

namespace ringmx {
namespace {

template <typename Answer, typename Desk> void take_all(WorkerThread& worker, Desk& desk) {
    Answer answer;
    while (worker.take_answer(answer)) {
        desk.take(std::move(answer));
    }
}

} // namespace

Desks::Desks(const Options& options)
    : workers_(options.workers),
      queue_({.workers = options.spool_generation ? options.workers_count : 0,
              .run = options.spool_generation.value_or(0),
              .post =
                  [this](std::uint32_t worker, QueueQuestion question) {
                      workers_[worker]->post(
                          {.kind = worker::Inbox::Kind::question, .question = std::move(question)});
                  },
              .reply = options.reply,
              .is_recovering = options.is_recovering,
              .pools = options.pools,
              .note = options.note}),
      cache_({.workers = options.workers_count,
              .run = options.run,
              .post =
                  [this](std::uint32_t worker, CacheQuestion question) {
                      workers_[worker]->post({.kind = worker::Inbox::Kind::cache_question,
                                              .cache_question = std::move(question)});
                  },
              .reply = options.reply}) {}

void Desks::take_answers() {
    for (const std::unique_ptr<WorkerThread>& worker : workers_) {
        take_all<QueueAnswer>(*worker, queue_);
        take_all<CacheAnswer>(*worker, cache_);
    }
}

} // namespace ringmx
