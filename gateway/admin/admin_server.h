// The admin HTTP server on the main thread's Port.
//
// The main loop joins it: queue() gives its operations for the next turn, handle() takes its
// completions (known by their tokens' operation numbers), next_deadline() and run_timers() do its
// time-outs. It keeps no Port turn of its own and never blocks.
//
//   accept ─▶ Connection ─ receive ─▶ HttpRequestParser ─▶ pages ─▶ send ─▶ (keep-alive) receive …
//                                                            └─ later ─▶ reply() ─┘
//
// Bounds:  connections_max at a time on each surface, so that neither locks out the other: the one
//          that has been idle for longest makes way for one more, which is closed at once when none
//          is idle. Requests are answered one by one, in order: while an answer is being sent, what
//          the client pipelines waits in at most input_bytes_max octets, past which reading stops.
//          So while an answer is awaited; one that has not come within answer_timeout is a 503.
// Closing: shutdown, cancel of the receive, wait until nothing is in flight, close, free the slot;
//          slots have generations.
// Thread:  main.
// Errors:  a broken connection is closed; an accept that fails is tried again after a pause.
#pragma once

#include "admin/http_request.h"
#include "admin/pages.h"
#include "base/buffer.h"
#include "base/instant.h"
#include "ring/port.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace ringmx::admin {

class AdminServer {
  public:
    // Token operation numbers first_operation to last_operation are this server's; the main loop
    // keeps off them.
    static constexpr std::uint8_t first_operation = 0xA0;
    static constexpr std::uint8_t last_operation = 0xA7;

    static constexpr std::size_t connections_max = 64; // of each surface
    // As many again may be closing, which takes a turn or two.
    static constexpr std::size_t slots_max = 2 * 2 * connections_max;
    static constexpr std::size_t input_bytes_max = 64 * 1024;
    // Without a whole request, or with an answer that isn't taken.
    static constexpr Duration idle_timeout = 30s;
    static constexpr Duration answer_timeout = 8s; // less than a client of ours waits
    // After a failed accept (no descriptors), before the next.
    static constexpr Duration accept_pause = 100ms;
    // After a receive that found no buffer (ENOBUFS).
    static constexpr Duration receive_pause = 10ms;
    // After refusing a request, so that the answer isn't lost to a reset.
    static constexpr Duration linger = 1s;

    // `port` outlives the last call. Destroy this when is_stopped(), or when the Port is gone:
    // operations name its memory.
    AdminServer(ring::Port& port, Pages pages);
    ~AdminServer();
    AdminServer(const AdminServer&) = delete;
    AdminServer& operator=(const AdminServer&) = delete;

    // A listening socket, which stays the caller's; accepting begins with the next queue().
    void listen(int descriptor, Surface surface);

    // Appends the operations that are due.
    void queue(std::vector<ring::Operation>& operations);
    // Whether the completion is this server's. `octets`: what a receive brought (already settled by
    // ReceiveBuffers), else empty.
    bool handle(const ring::Completion& completion, Slice octets, Instant now);
    [[nodiscard]] Instant next_deadline() const;
    void run_timers(Instant now);

    // The response that `pages` said would come later. Whoever asked may be gone.
    void reply(Ticket ticket, const HttpResponse& response, Instant now);

    // Ends accepting and closes every connection (those with an answer under way after it is sent);
    // queue()/handle() go on until is_stopped().
    void stop();
    [[nodiscard]] bool is_stopped() const; // nothing in flight: listening descriptors may be closed

    [[nodiscard]] std::size_t connections_open() const;

  private:
    struct Connection;
    struct Listener;

    // False: there are connections_max, and none is idle.
    [[nodiscard]] bool make_room(Surface surface);
    void handle_accept(const ring::Completion& completion, Instant now);
    void handle_receive(Connection& connection, const ring::Completion& completion,
                        const Slice& octets, Instant now);
    void handle_send(Connection& connection, const ring::Completion& completion, Instant now);
    void handle_end_of_send(Connection& connection, Instant now);
    void handle_timeout(Connection& connection, Instant now);
    void serve(Connection& connection, Instant now);
    void respond(Connection& connection, const HttpResponse& response, bool head, bool keep_alive);
    void begin_close(Connection& connection);
    void free_if_settled(Connection& connection);
    void queue_connection(Connection& connection, std::vector<ring::Operation>& operations);
    [[nodiscard]] Connection* find(const ring::Token& token);

    ring::Port& port_;
    Pages pages_;
    std::vector<std::unique_ptr<Listener>> listeners_;
    std::vector<std::unique_ptr<Connection>> connections_; // by slot; null: free
    std::vector<std::uint32_t> generations_;               // by slot
    std::size_t connections_open_ = 0;
    std::uint64_t last_ticket_ = 0;
    bool is_stopping_ = false;
};

} // namespace ringmx::admin
