// What a forwarding counts and logs.
#include "worker/backend_connection.h"
#include "worker/dispatch.h"
#include "worker/forwarding.h"
#include "worker/log_reply.h"
#include "worker/snapshot.h"
#include "worker/worker.h"

#include <algorithm>

namespace ringmx::worker {

using observe::LogEvent;
using observe::LogRecord;

void Forwarding::note_duplicate() {
    const spool::StoredMessage& message = dispatch_.message();
    access_.note_duplicate(dispatch_.id_text(), message.client_ip, message.client_port, true);
}

// One line for those recipients that this reply is about.
void Forwarding::log_delivered(const BackendConnection& taker, const smtp::Reply& reply) {
    LogRecord* const record = worker_.log().begin(LogEvent::delivered, worker_.wall_time());
    if (record == nullptr) {
        return;
    }
    const spool::StoredMessage& message = dispatch_.message();
    record->id(dispatch_.id_text()).pool(pool().settings().name);
    record->backend(access_.backend_address());
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
