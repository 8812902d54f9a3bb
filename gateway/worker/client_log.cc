// What a client's connection logs.
#include "worker/client_connection.h"
#include "worker/log_reply.h"
#include "worker/snapshot.h"
#include "worker/worker.h"

#include <algorithm>
#include <fmt/format.h>
#include <iterator>

namespace ringmx::worker {

using observe::LogEvent;
using observe::LogRecord;

void ClientConnection::log_client(LogEvent event, std::string_view detail) {
    if (LogRecord* record = worker_.log().begin(event, worker_.wall_time())) {
        record->client(client_ip_, client_port_);
        if (!detail.empty()) {
            record->detail(detail);
        }
        worker_.log().commit();
    }
}

// The limit lets through `limit`: this one was the next.
void ClientConnection::log_limit(LogEvent event, std::uint64_t limit) {
    if (LogRecord* record = worker_.log().begin(event, worker_.wall_time())) {
        record->client(client_ip_, client_port_).count(limit + 1);
        worker_.log().commit();
    }
}

void ClientConnection::log_after(LogEvent event) {
    if (LogRecord* record = worker_.log().begin(event, worker_.wall_time())) {
        record->client(client_ip_, client_port_).after(phase_word());
        if (session_.in_content()) {
            record->size(session_.content_bytes());
        }
        worker_.log().commit();
    }
}

// Postfix's "commands=3/5": those that worked, of all.
void ClientConnection::log_disconnect() {
    LogRecord* const record = worker_.log().begin(LogEvent::disconnect, worker_.wall_time());
    if (record == nullptr) {
        return;
    }
    const std::uint32_t all = session_.commands_total();
    const std::uint32_t good = all - std::min(all, session_.errors_total());
    fmt::memory_buffer text;
    fmt::format_to(std::back_inserter(text), "commands={}", good);
    if (good < all) {
        fmt::format_to(std::back_inserter(text), "/{}", all);
    }
    record->client(client_ip_, client_port_).detail({text.data(), text.size()});
    worker_.log().commit();
}

void ClientConnection::log_sender_refusal(std::string_view sender, const smtp::Reply& reply,
                                          observe::RejectReason reason) {
    if (LogRecord* record = worker_.log().begin(LogEvent::sender_rejected, worker_.wall_time())) {
        record->client(client_ip_, client_port_).sender(sender).hello(session_.hello_name());
        record->protocol(session_.esmtp() ? "ESMTP" : "SMTP").reply(for_log(reply));
        record->reason(observe::name_of(reason));
        worker_.log().commit();
    }
}

void ClientConnection::log_recipient_refusal(std::string_view mailbox, const smtp::Reply& reply,
                                             observe::RecipientReason reason) {
    if (LogRecord* record =
            worker_.log().begin(LogEvent::recipient_rejected, worker_.wall_time())) {
        record->client(client_ip_, client_port_).sender(session_.mail().reverse_path);
        record->recipient(mailbox).hello(session_.hello_name());
        record->protocol(session_.esmtp() ? "ESMTP" : "SMTP").reply(for_log(reply));
        record->reason(observe::name_of(reason));
        worker_.log().commit();
    }
}

} // namespace ringmx::worker
