#include "worker/backend_access.h"

#include "worker/log_reply.h"
#include "worker/worker.h"

namespace ringmx::worker {

using observe::ForwardFailure;
using observe::LogEvent;
using observe::LogRecord;

BackendConnection* BackendAccess::connection() const {
    return worker_.backends().find(connection_);
}

std::uint32_t BackendAccess::first_choice() const {
    return pool().upstream.table.first(upstream::SlotTable::slot_of(key_hash_));
}

void BackendAccess::choose(std::uint32_t pool_index, std::uint64_t key_hash) {
    if (pool_index != pool_index_ || key_hash != key_hash_) {
        tried_.clear();
        backend_index_ = upstream::no_backend;
    }
    pool_index_ = pool_index;
    key_hash_ = key_hash;
}

BackendAccess::Result BackendAccess::acquire(bool goes_back) {
    const upstream::Request request{.pool = &pool().upstream,
                                    .key_hash = key_hash_,
                                    .client_key = client_key_,
                                    .transaction = exchange_.packed(),
                                    .deadline = worker_.now() + settings().timeouts.backend_wait,
                                    .preferred = goes_back ? backend_index_ : upstream::no_backend};
    return take(worker_.book().acquire(request, tried_, worker_.now()));
}

BackendAccess::Result BackendAccess::grant(const upstream::Answer& answer) {
    is_waiting_ = false;
    if (answer.verdict == upstream::Verdict::refuse) {
        return std::unexpected(ForwardFailure::wait_timeout);
    }
    return take(answer);
}

void BackendAccess::take_over(const upstream::Answer& answer) {
    is_waiting_ = false;
    const Result result = take(answer);
    RINGMX_ASSERT(result.has_value() && has_connection());
    worker_.advance_later(exchange_);
}

BackendAccess::Result BackendAccess::take(const upstream::Answer& answer) {
    switch (answer.verdict) {
    case upstream::Verdict::reuse: {
        BackendConnection* const reused = worker_.backends().at(answer.connection);
        RINGMX_ASSERT(reused != nullptr);
        connection_ = reused->handle();
        backend_index_ = answer.lease.backend_index;
        has_heard_ = false;
        reused->reuse(answer.lease, exchange_, snapshot_, pool());
        return {};
    }
    case upstream::Verdict::dial:
        return dial(answer.lease);
    case upstream::Verdict::wait:
        is_waiting_ = true;
        waiter_ = answer.waiter;
        return {};
    case upstream::Verdict::refuse:
        break;
    }
    if (!tried_.empty()) {
        return std::unexpected(std::nullopt);
    }
    const std::uint32_t first = first_choice();
    const bool is_known =
        first == upstream::no_backend || pool().upstream.states[first]->is_resolved();
    return std::unexpected(is_known ? ForwardFailure::no_backend : ForwardFailure::resolve);
}

BackendAccess::Result BackendAccess::dial(const upstream::Lease& lease) {
    BackendConnection* const made = worker_.backends().create(worker_, snapshot_, pool());
    if (made == nullptr) {
        upstream::Lease unused = lease;
        worker_.book().retire(unused);
        return std::unexpected(ForwardFailure::no_backend);
    }
    connection_ = made->handle();
    backend_index_ = lease.backend_index;
    has_heard_ = false;
    made->dial(lease, exchange_);
    return {};
}

bool BackendAccess::send_commands() {
    BackendConnection* const current = connection();
    if (!current->send_commands()) {
        leave(Leave::broken); // a part may be queued: nothing but its end makes sense of it
        return false;
    }
    current->expect_within(settings().timeouts.backend_reply);
    return true;
}

void BackendAccess::heard(BackendConnection& from) {
    if (!std::exchange(has_heard_, true)) {
        from.transaction_answered();
    }
    if (from.session().unanswered() == 0) {
        from.expect_nothing();
    }
}

std::optional<upstream::Lease> BackendAccess::lose(BackendConnection& lost, ForwardFailure kind,
                                                   bool may_redial) {
    const bool is_drop = kind == ForwardFailure::dropped || kind == ForwardFailure::unavailable;
    connection_ = {};
    if (is_drop && lost.was_reused() && may_redial) {
        return lost.leave_lease();
    }
    const bool is_first_word = is_drop && !lost.was_reused() && !has_heard_;
    if (lost.is_ready() && (kind == ForwardFailure::reply_timeout || is_first_word)) {
        lost.leave_failed();
    } else {
        lost.leave(Leave::broken);
    }
    tried_.push_back(static_cast<std::uint16_t>(backend_index_));
    return std::nullopt;
}

void BackendAccess::leave(Leave how) {
    BackendConnection* const left = connection();
    connection_ = {};
    if (left != nullptr) {
        left->leave(how);
    }
}

void BackendAccess::stop_waiting() {
    if (std::exchange(is_waiting_, false)) {
        worker_.book().cancel(waiter_);
    }
}

void BackendAccess::count_failure(ForwardFailure kind) {
    const std::uint32_t index =
        backend_index_ != upstream::no_backend ? backend_index_ : first_choice();
    if (index < pool().rows.size()) {
        pool().rows[index]->workers[worker_.index()].failures[kind].add();
    }
}

void BackendAccess::note_loss(std::string_view id, ForwardFailure kind) {
    count_failure(kind);
    if (LogRecord* record = worker_.log().begin(LogEvent::backend_failure, worker_.wall_time())) {
        record->id(id).pool(pool().settings().name).backend(backend_address());
        record->detail(observe::name_of(kind));
        worker_.log().commit();
    }
}

void BackendAccess::note_fault(std::string_view id, std::string_view after,
                               const smtp::Reply& reply) {
    count_failure(ForwardFailure::our_fault);
    if (LogRecord* record = worker_.log().begin(LogEvent::backend_fault, worker_.wall_time())) {
        record->id(id).pool(pool().settings().name).backend(backend_address());
        record->after(after).reply(for_log(reply));
        worker_.log().commit();
    }
}

void BackendAccess::note_duplicate(std::string_view id, const IpAddress& client_ip,
                                   std::uint16_t client_port, bool is_queued) {
    count_failure(ForwardFailure::possible_duplicate);
    if (LogRecord* record =
            worker_.log().begin(LogEvent::possible_duplicate, worker_.wall_time())) {
        record->id(id).pool(pool().settings().name).backend(backend_address());
        record->client(client_ip, client_port);
        if (is_queued) {
            record->reason("queued");
        }
        worker_.log().commit();
    }
}

} // namespace ringmx::worker
