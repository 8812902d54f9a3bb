#include "admin/admin_server.h"

#include "base/assert.h"

#include <algorithm>
#include <cerrno>

namespace ringmx::admin {
namespace {

// The operation numbers of tokens. An accept's slot is its listener, all others' their connection.
constexpr std::uint8_t operation_accept = AdminServer::first_operation;
constexpr std::uint8_t operation_cancel_accept = operation_accept + 1;
constexpr std::uint8_t operation_receive = operation_accept + 2;
constexpr std::uint8_t operation_cancel_receive = operation_accept + 3;
constexpr std::uint8_t operation_send = operation_accept + 4;
constexpr std::uint8_t operation_shutdown = operation_accept + 5;
static_assert(operation_shutdown <= AdminServer::last_operation);

// What may gather behind an answer before its receive is really cancelled.
constexpr std::size_t input_bytes_hard_max = 4 * AdminServer::input_bytes_max;

} // namespace

struct AdminServer::Listener {
    int descriptor = -1;
    Surface surface = Surface::admin;
    bool is_armed = false;
    bool wants_accept = true;
    bool wants_cancel = false;
    bool cancel_in_flight = false;
    Instant retry_at = never;
};

struct AdminServer::Connection {
    int descriptor = -1;
    std::uint32_t slot = 0;
    std::uint32_t generation = 0;
    Surface surface = Surface::admin;

    HttpRequestParser parser;
    std::string input; // octets not yet parsed, from input_offset on
    std::size_t input_offset = 0;
    std::string wire; // what is being sent

    unsigned in_flight = 0; // operations without their last completion
    bool receive_armed = false;
    bool receive_paused = false; // cancelled because too much waits in `input`
    bool wants_receive_cancel = false;
    bool wants_send = false;
    bool is_sending = false;   // until the whole wire is sent
    std::uint64_t awaited = 0; // the ticket of the request whose answer is; 0: none
    bool wants_shutdown = false;
    bool close_after_send = false;
    bool linger_after_send = false;
    bool is_lingering = false; // reads and drops until the peer closes or the deadline comes
    bool peer_ended = false;
    bool is_closing = false;
    Instant deadline = never;
    Instant receive_retry_at = never;

    // A request is being answered.
    [[nodiscard]] bool is_busy() const { return is_sending || awaited != 0; }
    [[nodiscard]] std::size_t waiting() const { return input.size() - input_offset; }
    [[nodiscard]] ring::Token token(std::uint8_t operation) const {
        return {operation, slot, generation};
    }
};

AdminServer::AdminServer(ring::Port& port, Pages pages)
    : port_(port), pages_(std::move(pages)), connections_(slots_max), generations_(slots_max, 0) {}

AdminServer::~AdminServer() = default;

void AdminServer::listen(int descriptor, Surface surface) {
    auto listener = std::make_unique<Listener>();
    listener->descriptor = descriptor;
    listener->surface = surface;
    listener->wants_accept = !is_stopping_;
    listeners_.push_back(std::move(listener));
}

void AdminServer::queue(std::vector<ring::Operation>& operations) {
    for (std::uint32_t index = 0; index < listeners_.size(); ++index) {
        Listener& listener = *listeners_[index];
        const ring::Token token{operation_accept, index, 0};
        if (listener.wants_accept && !listener.is_armed && !is_stopping_) {
            listener.is_armed = true;
            ring::Operation operation{};
            operation.code = ring::Opcode::accept;
            operation.descriptor = listener.descriptor;
            operation.token = token;
            operations.push_back(operation);
        }
        if (listener.wants_cancel && !listener.cancel_in_flight) {
            listener.wants_cancel = false;
            listener.cancel_in_flight = true;
            ring::Operation operation{};
            operation.code = ring::Opcode::cancel;
            operation.descriptor = listener.descriptor;
            operation.token = {operation_cancel_accept, index, 0};
            operation.target = token;
            operations.push_back(operation);
        }
    }
    for (const std::unique_ptr<Connection>& connection : connections_) {
        if (connection != nullptr) {
            queue_connection(*connection, operations);
        }
    }
}

void AdminServer::queue_connection(Connection& connection,
                                   std::vector<ring::Operation>& operations) {
    const auto submit = [&](ring::Opcode code, std::uint8_t number) -> ring::Operation& {
        ++connection.in_flight;
        ring::Operation operation{};
        operation.code = code;
        operation.descriptor = connection.descriptor;
        operation.token = connection.token(number);
        return operations.emplace_back(operation);
    };
    const bool wants_receive = !connection.is_closing && !connection.peer_ended &&
                               !connection.receive_paused && connection.receive_retry_at == never;
    if (wants_receive && !connection.receive_armed) {
        connection.receive_armed = true;
        submit(ring::Opcode::receive, operation_receive);
    }
    if (connection.wants_send) {
        connection.wants_send = false;
        submit(ring::Opcode::send, operation_send).octets = as_bytes(connection.wire);
    }
    if (connection.wants_shutdown) {
        connection.wants_shutdown = false;
        submit(ring::Opcode::shutdown, operation_shutdown);
    }
    if (connection.wants_receive_cancel) {
        connection.wants_receive_cancel = false;
        if (connection.receive_armed) {
            submit(ring::Opcode::cancel, operation_cancel_receive).target =
                connection.token(operation_receive);
        }
    }
}

bool AdminServer::handle(const ring::Completion& completion, Slice octets, Instant now) {
    const std::uint8_t operation = completion.token.operation;
    if (operation < first_operation || operation > last_operation) {
        return false;
    }
    if (operation == operation_accept) {
        handle_accept(completion, now);
        return true;
    }
    if (operation == operation_cancel_accept) {
        listeners_[completion.token.slot]->cancel_in_flight = false;
        return true;
    }
    Connection* connection = find(completion.token);
    if (connection == nullptr) {
        return true; // of a connection that is gone
    }
    if (!completion.more) {
        RINGMX_ASSERT(connection->in_flight > 0);
        --connection->in_flight;
    }
    if (operation == operation_receive) {
        handle_receive(*connection, completion, octets, now);
    } else if (operation == operation_send) {
        handle_send(*connection, completion, now);
    }
    free_if_settled(*connection);
    return true;
}

// A request that drips in is idle too: only an answer under way is worth more than a new client. The
// deadline is set when a connection becomes idle, so that the nearest one is the oldest.
bool AdminServer::make_room(Surface surface) {
    std::size_t count = 0;
    Connection* oldest = nullptr;
    for (const std::unique_ptr<Connection>& each : connections_) {
        if (each == nullptr || each->surface != surface || each->is_closing) {
            continue;
        }
        ++count;
        if (!each->is_busy() && (oldest == nullptr || each->deadline < oldest->deadline)) {
            oldest = each.get();
        }
    }
    if (count >= connections_max && oldest != nullptr) {
        begin_close(*oldest);
    }
    return count < connections_max || oldest != nullptr;
}

void AdminServer::handle_accept(const ring::Completion& completion, Instant now) {
    Listener& listener = *listeners_[completion.token.slot];
    listener.is_armed = completion.more;
    if (completion.result < 0) {
        listener.wants_accept = false;
        listener.retry_at = is_stopping_ ? never : now + accept_pause;
        return;
    }
    const auto place =
        std::ranges::find_if(connections_, [](const auto& each) { return each == nullptr; });
    if (is_stopping_ || place == connections_.end() || !make_room(listener.surface)) {
        port_.close(completion.result);
        return;
    }
    auto connection = std::make_unique<Connection>();
    connection->descriptor = completion.result;
    connection->slot = static_cast<std::uint32_t>(place - connections_.begin());
    connection->generation = ++generations_[connection->slot];
    connection->surface = listener.surface;
    connection->deadline = now + idle_timeout;
    *place = std::move(connection);
    ++connections_open_;
}

void AdminServer::handle_receive(Connection& connection, const ring::Completion& completion,
                                 const Slice& octets, Instant now) {
    connection.receive_armed = completion.more;
    if (connection.is_closing) {
        return;
    }
    if (completion.result == -ENOBUFS) {
        connection.receive_retry_at = now + receive_pause;
        return;
    }
    if (completion.result == -ECANCELED) {
        return; // paused: it is armed again once there is room
    }
    if (completion.result < 0) {
        begin_close(connection);
        return;
    }
    if (completion.result == 0) {
        connection.peer_ended = true; // it may have shut its side only: what it asked is answered
        if (connection.is_lingering) {
            begin_close(connection);
        } else {
            serve(connection, now);
        }
        return;
    }
    if (connection.is_lingering || connection.close_after_send) {
        return; // nothing behind the last request is read
    }
    connection.input.append(octets.text());
    if (connection.waiting() > input_bytes_hard_max) {
        begin_close(connection);
        return;
    }
    serve(connection, now);
    if (!connection.is_closing && connection.waiting() > input_bytes_max &&
        !connection.receive_paused) {
        connection.receive_paused = true;
        connection.wants_receive_cancel = true;
    }
}

void AdminServer::handle_send(Connection& connection, const ring::Completion& completion,
                              Instant now) {
    connection.is_sending = false;
    if (connection.is_closing) {
        return;
    }
    if (completion.result < 0 ||
        static_cast<std::size_t>(completion.result) != connection.wire.size()) {
        begin_close(connection);
        return;
    }
    connection.wire = {}; // a metrics page is large, and an idle connection may keep little
    handle_end_of_send(connection, now);
}

void AdminServer::handle_end_of_send(Connection& connection, Instant now) {
    if (connection.linger_after_send && !connection.peer_ended) {
        connection.is_lingering = true;
        connection.deadline = now + linger;
        connection.receive_paused = false;
        return;
    }
    if (connection.close_after_send || is_stopping_) {
        begin_close(connection);
        return;
    }
    connection.deadline = now + idle_timeout;
    serve(connection, now);
    if (!connection.is_closing && connection.waiting() <= input_bytes_max) {
        connection.receive_paused = false;
    }
}

// Parses up to the next request and begins to answer it; the one after that waits until this answer
// is sent.
void AdminServer::serve(Connection& connection, Instant now) {
    if (connection.is_busy() || connection.is_closing || connection.close_after_send) {
        return;
    }
    const std::string_view waiting =
        std::string_view(connection.input).substr(connection.input_offset);
    const HttpRequestParser::Step step = connection.parser.receive(as_bytes(waiting));
    connection.input_offset += step.consumed;
    if (connection.waiting() == 0) {
        connection.input = {};
        connection.input_offset = 0;
    } else if (connection.input_offset >
               input_bytes_max) { // never more than one copy for each octet parsed
        connection.input.erase(0, connection.input_offset);
        connection.input_offset = 0;
    }
    switch (step.event) {
    case HttpEvent::need_input:
        if (connection.peer_ended) {
            begin_close(connection);
        } else if (connection.parser.take_continue()) {
            connection.wire = "HTTP/1.1 100 Continue\r\n\r\n";
            connection.is_sending = connection.wants_send = true;
        }
        return;
    case HttpEvent::request: {
        const HttpRequest& request = connection.parser.request();
        const Ticket ticket{connection.slot, ++last_ticket_};
        connection.awaited = ticket.number;
        connection.deadline = now + answer_timeout;
        if (const auto response = answer(pages_, connection.surface, request, ticket, now)) {
            reply(ticket, *response, now);
        }
        return;
    }
    case HttpEvent::refused: {
        HttpResponse response;
        response.status = connection.parser.status();
        response.body = std::string(reason_phrase(response.status)) + "\n";
        connection.deadline = now + idle_timeout;
        connection.linger_after_send = true;
        respond(connection, response, false, false);
        return;
    }
    }
}

void AdminServer::reply(Ticket ticket, const HttpResponse& response, Instant now) {
    Connection* const connection = connections_[ticket.slot].get();
    if (connection == nullptr || connection->awaited != ticket.number || connection->is_closing) {
        return;
    }
    const HttpRequest& request = connection->parser.request();
    connection->awaited = 0;
    connection->deadline = now + idle_timeout; // for the answer to be taken
    respond(*connection, response, request.method == Method::head,
            request.keep_alive && !is_stopping_);
}

void AdminServer::respond(Connection& connection, const HttpResponse& response, bool head,
                          bool keep_alive) {
    append_response(connection.wire, response, head, keep_alive);
    connection.is_sending = connection.wants_send = true;
    connection.close_after_send = !keep_alive;
}

void AdminServer::begin_close(Connection& connection) {
    if (connection.is_closing) {
        return;
    }
    connection.is_closing = true;
    connection.deadline = never;
    connection.receive_retry_at = never;
    connection.wants_send = false;
    connection.wants_shutdown =
        true; // what was sent still reaches the peer, and every operation ends
    connection.wants_receive_cancel = true;
}

void AdminServer::free_if_settled(Connection& connection) {
    if (!connection.is_closing || connection.in_flight > 0 || connection.wants_shutdown) {
        return;
    }
    port_.close(connection.descriptor);
    --connections_open_;
    connections_[connection.slot].reset();
}

Instant AdminServer::next_deadline() const {
    Instant next = never;
    for (const std::unique_ptr<Listener>& listener : listeners_) {
        next = std::min(next, listener->retry_at);
    }
    for (const std::unique_ptr<Connection>& connection : connections_) {
        if (connection != nullptr) {
            next = std::min({next, connection->deadline, connection->receive_retry_at});
        }
    }
    return next;
}

void AdminServer::run_timers(Instant now) {
    for (const std::unique_ptr<Listener>& listener : listeners_) {
        if (listener->retry_at <= now) {
            listener->retry_at = never;
            listener->wants_accept = true;
        }
    }
    for (const std::unique_ptr<Connection>& connection : connections_) {
        if (connection == nullptr) {
            continue;
        }
        if (connection->receive_retry_at <= now) {
            connection->receive_retry_at = never;
        }
        if (connection->deadline <= now) {
            handle_timeout(*connection, now);
        }
    }
}

void AdminServer::handle_timeout(Connection& connection, Instant now) {
    if (connection.awaited != 0) {
        HttpResponse response;
        response.status = 503;
        response.body = "no answer in time; what was asked for may still be done\n";
        reply({connection.slot, connection.awaited}, response, now);
        return;
    }
    const bool is_waiting = !connection.is_sending && !connection.is_lingering;
    if (!is_waiting || !connection.parser.mid_request()) {
        begin_close(connection);
        return;
    }
    connection.deadline = now + linger;
    HttpResponse response;
    response.status = 408;
    response.body = "a request took too long to arrive\n";
    respond(connection, response, false, false);
}

void AdminServer::stop() {
    is_stopping_ = true;
    for (const std::unique_ptr<Listener>& listener : listeners_) {
        listener->retry_at = never;
        listener->wants_accept = false;
        listener->wants_cancel = listener->is_armed;
    }
    for (const std::unique_ptr<Connection>& connection : connections_) {
        if (connection != nullptr && !connection->is_sending) {
            begin_close(*connection);
        }
    }
}

bool AdminServer::is_stopped() const {
    const bool listeners_idle = std::ranges::none_of(listeners_, [](const auto& listener) {
        return listener->is_armed || listener->wants_cancel || listener->cancel_in_flight;
    });
    return is_stopping_ && listeners_idle && connections_open_ == 0;
}

std::size_t AdminServer::connections_open() const { return connections_open_; }

AdminServer::Connection* AdminServer::find(const ring::Token& token) {
    if (token.slot >= connections_.size() || connections_[token.slot] == nullptr ||
        connections_[token.slot]->generation != token.generation) {
        return nullptr;
    }
    return connections_[token.slot].get();
}

} // namespace ringmx::admin
