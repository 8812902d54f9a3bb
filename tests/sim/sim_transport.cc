#include "sim/sim_transport.h"

#include <algorithm>
#include <array>
#include <utility>

namespace ringmx::sim {
namespace {

constexpr std::size_t frame_bytes_max = 255;

// A frame's length octet, as octets with static storage duration.
Slice length_octet(std::size_t length) {
    static constexpr std::array<char, frame_bytes_max + 1> octets = [] {
        std::array<char, frame_bytes_max + 1> all{};
        for (std::size_t value = 0; value < all.size(); ++value) {
            all[value] = static_cast<char>(value);
        }
        return all;
    }();
    return Slice::literal({octets.data() + length, 1});
}

} // namespace

FramedTransport::FramedTransport(std::uint64_t seed, Side side) : random_(seed), side_(side) {
    if (side_ == Side::asks) {
        greeting_.push_back(Slice::literal("?"));
    }
}

void FramedTransport::receive_handshake(std::byte octet) {
    if (std::to_integer<char>(octet) != (side_ == Side::asks ? '!' : '?')) {
        state_ = State::cut;
        return;
    }
    state_ = State::open;
    if (side_ == Side::answers) {
        greeting_.push_back(Slice::literal("!"));
    }
}

void FramedTransport::received(Slice wire, std::vector<Slice>& plain) {
    while (!wire.empty() && (state_ == State::opening || state_ == State::open)) {
        if (state_ == State::opening) {
            receive_handshake(wire.data()[0]);
            wire.remove_prefix(1);
        } else if (frame_left_ == 0) {
            frame_left_ = std::to_integer<std::size_t>(wire.data()[0]);
            wire.remove_prefix(1);
            if (frame_left_ == 0) {
                state_ = State::closed;
            }
        } else {
            const std::size_t count = std::min(frame_left_, wire.size());
            plain.push_back(wire.share(0, count));
            wire.remove_prefix(count);
            frame_left_ -= count;
        }
    }
}

void FramedTransport::wire_ended() {
    if (state_ != State::closed) {
        state_ = State::cut;
    }
}

void FramedTransport::send(Slice plain) {
    if (!plain.empty()) {
        queued_.push_back(std::move(plain));
    }
}

void FramedTransport::finish() { finishing_ = true; }

void FramedTransport::take_output(std::vector<Slice>& wire) {
    std::ranges::move(greeting_, std::back_inserter(wire));
    greeting_.clear();
    if (state_ == State::opening || state_ == State::cut) {
        return;
    }
    for (Slice& slice : queued_) {
        while (!slice.empty()) {
            const std::size_t count =
                std::min<std::size_t>(slice.size(), random_.between(1, frame_bytes_max));
            wire.push_back(length_octet(count));
            wire.push_back(slice.share(0, count));
            slice.remove_prefix(count);
        }
    }
    queued_.clear();
    if (finishing_) {
        finishing_ = false;
        wire.push_back(length_octet(0));
    }
}

bool FramedTransport::has_output() const {
    const bool can_send = state_ == State::open || state_ == State::closed;
    return !greeting_.empty() || (can_send && (!queued_.empty() || finishing_));
}

bool FramedTransport::wants_input() const {
    return state_ == State::opening || state_ == State::open;
}

} // namespace ringmx::sim
