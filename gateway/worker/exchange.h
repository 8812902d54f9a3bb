// Whoever speaks over a backend connection: a client's transaction in `backend` mode (Delivery), a
// message on its way from the spool (Forwarding), a question about a recipient (VerificationProbe).
//
// The connection book grants it a connection, at once or later; from then on the connection tells
// it of each reply, of progress in sending, and of the connection's loss, until it leaves the
// connection (BackendConnection::leave() and the like).
// Names: an ExchangeId travels through the book and the connections; it names nobody any more once
//        its exchange has ended.
// Thread: one worker's.
// Errors: events.
#pragma once

#include "base/slab.h"
#include "observe/counters.h"
#include "smtp/client_session.h"
#include "smtp/reply.h"
#include "upstream/connection_book.h"

#include <cstdint>

namespace ringmx::worker {

class BackendConnection;

class Exchange {
  public:
    // The book's answer after waiting: a connection, the right to dial one, or a refusal.
    virtual void granted(const upstream::Answer& answer) = 0;
    // A connection that another exchange leaves: taken now, gone on with later (that one is still
    // running).
    virtual void handed_over(const upstream::Answer& answer) = 0;
    virtual void advance() = 0;
    virtual void on_ready() = 0;
    virtual void on_reply(BackendConnection& connection, smtp::ClientCommand command,
                          const smtp::Reply& reply) = 0;
    virtual void on_sent(BackendConnection& connection) = 0;
    // The connection failed and is closing; it has settled its lease unless it can be dialled anew
    // (a reused one).
    virtual void on_lost(BackendConnection& connection, observe::ForwardFailure kind) = 0;

  protected:
    ~Exchange() = default;
};

// Which slab of the worker an exchange is in, and its handle there.
struct ExchangeId {
    enum class Kind : std::uint8_t { delivery, forwarding, verification };
    Kind kind = Kind::delivery;
    Handle handle; // a slot has 24 bits

    [[nodiscard]] constexpr std::uint64_t packed() const {
        return std::uint64_t{static_cast<std::uint8_t>(kind)} << 56U | handle.packed();
    }
    [[nodiscard]] static constexpr ExchangeId unpacked(std::uint64_t value) {
        return {static_cast<Kind>(value >> 56U),
                Handle::unpacked(value & ((std::uint64_t{1} << 56U) - 1))};
    }
};

} // namespace ringmx::worker
