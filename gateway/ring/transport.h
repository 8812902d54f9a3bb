// The seam between a connection and its session: wire octets on one side, plain octets on the
// other.
//
//   receive ──▶ received(slice) ──▶ plain slices ──▶ session
//      send ◀── take_output()   ◀── send(slice)  ◀── session
//
// A connection without encryption holds no Transport at all: a null pointer means that wire slices
// are plain slices, at no cost. PlainTransport says the same in this interface, for code and tests
// that want an object. TLS is the other implementation; handshakes and alerts are output that
// nobody sent, which is why the owner asks has_output() after every call and not only after send().
//
// Invariants: octets keep their order; nothing comes out of received() after state() left `open`.
// Bound:  an implementation holds at most one record's worth of received octets and what it was
//         given to send.
// Thread: the connection's.
// Errors: state() turns `cut`; the peer's protocol mistakes never abort.
#pragma once

#include "base/buffer.h"

#include <cstdint>
#include <vector>

namespace ringmx::ring {

class Transport {
  public:
    enum class State : std::uint8_t {
        opening, // a handshake is under way: send() only queues
        open,
        closed, // the peer said that nothing more comes
        cut, // the wire ended, or turned to rubbish, without that: what came last may be incomplete
    };

    virtual ~Transport() = default;

    // Octets from the wire; appends the plain ones that they complete. A slice without octets is
    // ignored.
    virtual void received(Slice wire, std::vector<Slice>& plain) = 0;
    // The wire gave its end (receive result 0) or an error.
    virtual void wire_ended() = 0;
    // Queues plain octets to be sent.
    virtual void send(Slice plain) = 0;
    // Nothing more will be sent: queues the goodbye, if there is one.
    virtual void finish() = 0;
    // Moves out what should be sent now; empty while it waits for the peer.
    virtual void take_output(std::vector<Slice>& wire) = 0;

    [[nodiscard]] virtual bool has_output() const = 0;
    // Octets that were sent() but wait for the peer (handshake) are still inside: there is reason
    // to read on.
    [[nodiscard]] virtual bool wants_input() const = 0;
    [[nodiscard]] virtual State state() const = 0;
};

class PlainTransport final : public Transport {
  public:
    void received(Slice wire, std::vector<Slice>& plain) override;
    void wire_ended() override;
    void send(Slice plain) override;
    void finish() override;
    void take_output(std::vector<Slice>& wire) override;
    [[nodiscard]] bool has_output() const override;
    [[nodiscard]] bool wants_input() const override;
    [[nodiscard]] State state() const override;

  private:
    std::vector<Slice> output_;
    State state_ = State::open;
};

} // namespace ringmx::ring
