// A Transport that changes the octets' shape as TLS does, without a key: for tests of whoever sits
// on the seam.
//
// Wire form: the side that asks sends '?', the other answers '!' (a handshake); from then on frames
//            of one length octet and 1 to 255 octets, their lengths chosen by the seed; a frame of
//            length 0 is the goodbye. Anything else is rubbish: `cut`. Received octets come out in
//            other pieces than they were sent in, and an incomplete handshake delays what was sent.
// Thread:    one.
// Bound:     holds what it was given to send, and no received octets.
#pragma once

#include "ring/transport.h"
#include "sim/random.h"

namespace ringmx::sim {

class FramedTransport final : public ring::Transport {
  public:
    enum class Side : std::uint8_t { asks, answers };
    FramedTransport(std::uint64_t seed, Side side);

    void received(Slice wire, std::vector<Slice>& plain) override;
    void wire_ended() override;
    void send(Slice plain) override;
    void finish() override;
    void take_output(std::vector<Slice>& wire) override;
    [[nodiscard]] bool has_output() const override;
    [[nodiscard]] bool wants_input() const override;
    [[nodiscard]] State state() const override { return state_; }

  private:
    void receive_handshake(std::byte octet);

    Random random_;
    Side side_;
    State state_ = State::opening;
    std::size_t frame_left_ = 0; // octets of the frame under way
    bool finishing_ = false;
    std::vector<Slice> greeting_; // the handshake's own octets to send
    std::vector<Slice> queued_;   // plain
};

} // namespace ringmx::sim
