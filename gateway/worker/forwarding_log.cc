// What a forwarding counts and logs.
#include "worker/backend_connection.h"
#include "worker/dispatch.h"
#include "worker/forwarding.h"
#include "worker/log_reply.h"
#include "worker/snapshot.h"
#include "worker/worker.h"

#include <algorithm>

namespace ringmx::worker {

using observe::ForwardFailure;
using observe::LogEvent;
using observe::LogRecord;

void Forwarding::count_failure(ForwardFailure kind) {
    const std::uint32_t index =
        backend_index_ != upstream::no_backend && backend_index_ < pool().rows.size()
            ? backend_index_
            : pool().upstream.table.first(upstream::SlotTable::slot_of(key_hash_));
    if (index < pool().rows.size()) {
        pool().rows[index]->workers[worker_.index()].failures[kind].add();
    }
}

void Forwarding::log_duplicate() {
    count_failure(ForwardFailure::possible_duplicate);
    if (LogRecord* record =
            worker_.log().begin(LogEvent::possible_duplicate, worker_.wall_time())) {
        const spool::StoredMessage& message = dispatch_.message();
        record->id(dispatch_.id_text()).pool(pool().settings().name);
        record->client(message.client_ip, message.client_port);
        record->backend(pool().settings().backends[backend_index_].address);
        worker_.log().commit();
    }
}

void Forwarding::log_attempt(ForwardFailure kind) {
    if (LogRecord* record = worker_.log().begin(LogEvent::backend_failure, worker_.wall_time())) {
        record->id(dispatch_.id_text()).pool(pool().settings().name);
        record->backend(pool().settings().backends[backend_index_].address);
        record->detail(observe::name_of(kind));
        worker_.log().commit();
    }
}

void Forwarding::log_fault(std::string_view after, const smtp::Reply& reply) {
    if (LogRecord* record = worker_.log().begin(LogEvent::backend_fault, worker_.wall_time())) {
        record->id(dispatch_.id_text()).pool(pool().settings().name).after(after);
        record->backend(pool().settings().backends[backend_index_].address);
        record->reply(for_log(reply));
        worker_.log().commit();
    }
}

// One line for those recipients that this reply is about.
void Forwarding::log_delivered(const BackendConnection& taker, const smtp::Reply& reply) {
    LogRecord* const record = worker_.log().begin(LogEvent::delivered, worker_.wall_time());
    if (record == nullptr) {
        return;
    }
    const spool::StoredMessage& message = dispatch_.message();
    record->id(dispatch_.id_text()).pool(pool().settings().name);
    record->backend(pool().settings().backends[backend_index_].address);
    record->backend_address(taker.address().text()).duration(worker_.now() - offered_at_);
    record->waited(
        std::max(worker_.wall_time() - message.accepted_at - record->duration(), Duration{0}));
    record->client(message.client_ip, message.client_port).sender(message.reverse_path);
    record->size(message.message_bytes).reply(for_log(reply));
    record->recipients(taken_now_.size());
    bool has_room = true;
    for (const std::uint32_t index : taken_now_) {
        const std::string& mailbox = message.recipients[index].mailbox;
        if (index == taken_now_.front()) {
            record->recipient(mailbox);
        } else {
            has_room = has_room && record->add_recipient(mailbox);
        }
    }
    worker_.log().commit();
}

} // namespace ringmx::worker
