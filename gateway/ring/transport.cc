#include "ring/transport.h"

#include <utility>

namespace ringmx::ring {

void PlainTransport::received(Slice wire, std::vector<Slice>& plain) {
    if (!wire.empty() && state_ == State::open) {
        plain.push_back(std::move(wire));
    }
}

// TCP's own end is all the goodbye that plain octets have.
void PlainTransport::wire_ended() { state_ = State::closed; }

void PlainTransport::send(Slice plain) {
    if (!plain.empty()) {
        output_.push_back(std::move(plain));
    }
}

void PlainTransport::finish() {}

void PlainTransport::take_output(std::vector<Slice>& wire) {
    for (Slice& slice : output_) {
        wire.push_back(std::move(slice));
    }
    output_.clear();
}

bool PlainTransport::has_output() const { return !output_.empty(); }

bool PlainTransport::wants_input() const { return state_ == State::open; }

Transport::State PlainTransport::state() const { return state_; }

} // namespace ringmx::ring
