// What a delivery counts and logs.
#include "worker/backend_connection.h"
#include "worker/delivery.h"
#include "worker/log_reply.h"
#include "worker/replies.h"
#include "worker/snapshot.h"
#include "worker/worker.h"

#include <algorithm>
#include <fmt/format.h>

namespace ringmx::worker {

using observe::ForwardFailure;
using observe::LogEvent;
using observe::LogRecord;

// What a backend's refusal of the data or of the message counts as.
void Delivery::count_refusal(std::string_view after, const smtp::Reply& reply) {
    if (replies::is_our_fault(reply.code)) {
        access_.note_fault(id_, after, reply);
    } else {
        access_.count_failure(reply.severity() == 4 ? ForwardFailure::tempfail
                                                    : ForwardFailure::reject);
    }
}

void Delivery::log_refusal(const Recipient& recipient, const smtp::Reply& reply) {
    if (LogRecord* record =
            worker_.log().begin(LogEvent::recipient_rejected, worker_.wall_time())) {
        record->client(client_ip_, client_port_)
            .sender(mail_.reverse_path)
            .recipient(recipient.mailbox);
        record->protocol(esmtp_ ? "ESMTP" : "SMTP").hello(hello_name_).reply(for_log(reply));
        record->reason(observe::name_of(recipient.reason));
        worker_.log().commit();
    }
}

void Delivery::log_message_refusal(const smtp::Reply& reply, observe::RejectReason reason,
                                   std::string_view after) {
    note_content();
    if (LogRecord* record = worker_.log().begin(LogEvent::message_rejected, worker_.wall_time())) {
        record->id(id_)
            .client(client_ip_, client_port_)
            .sender(mail_.reverse_path)
            .size(content_bytes_);
        record->protocol(esmtp_ ? "ESMTP" : "SMTP").hello(hello_name_).reply(for_log(reply));
        record->reason(observe::name_of(reason));
        if (!after.empty()) {
            record->after(after);
        }
        const auto first = std::ranges::find(recipients_, Fate::accepted, &Recipient::fate);
        if (first != recipients_.end()) {
            record->recipient(first->mailbox);
        }
        worker_.log().commit();
    }
}

// Backends that are up, and a 451 all the same: the operator is told which limit it was.
void Delivery::log_wait() {
    if (!worker_.may_log_wait()) {
        return;
    }
    if (LogRecord* record =
            worker_.log().begin(LogEvent::notice, LogLevel::warning, worker_.wall_time())) {
        record->detail(fmt::format(
            "pool {}: no connection was free within backend_wait, the client gets 451: see "
            "max_connections, of which one client gets a quarter (said once a minute)",
            pool().settings().name));
        worker_.log().commit();
    }
}

// One line at acceptance, one for the delivery; in `backend` mode both are known at the same
// moment.
void Delivery::log_final(const BackendConnection& taker, const smtp::Reply& reply) {
    const std::string& backend = access_.backend_address();
    const std::string address = taker.address().text();
    const WallTime now = worker_.wall_time();
    if (LogRecord* record = worker_.log().begin(LogEvent::accepted, now)) {
        record->id(id_).client(client_ip_, client_port_).sender(mail_.reverse_path);
        record->recipients(accepted_).size(content_bytes_).protocol(esmtp_ ? "ESMTP" : "SMTP");
        record->hello(hello_name_).pool(pool().settings().name).backend(backend);
        record->backend_address(address).reply(for_log(reply));
        record->duration(worker_.now() - content_ended_at_);
        worker_.log().commit();
    }
    if (LogRecord* record = worker_.log().begin(LogEvent::delivered, now)) {
        record->id(id_).pool(pool().settings().name).backend(backend);
        record->backend_address(address).duration(worker_.now() - offered_at_);
        record->client(client_ip_, client_port_).sender(mail_.reverse_path).size(content_bytes_);
        record->recipients(accepted_).reply(for_log(reply));
        const auto first = std::ranges::find(recipients_, Fate::accepted, &Recipient::fate);
        record->recipient(first->mailbox);
        bool has_room = true;
        for (auto next = first + 1; next != recipients_.end() && has_room; ++next) {
            has_room = next->fate != Fate::accepted || record->add_recipient(next->mailbox);
        }
        worker_.log().commit();
    }
}

} // namespace ringmx::worker
