// How a backend that the sink plays behaves, and how it misbehaves: plain values, one Personality
// for each listener.
//
//   connect ─▶ ehlo ─▶ mail ─▶ rcpt ─▶ data ─▶ content ─▶ end_of_data
//
// In each phase the answer may be late (delay), and with the probability of its share a mischief
// stands in its place. The shares of a phase exclude one another; where they add up to more than 1,
// the first in the order of Mischief have theirs. A storm gives 421 to whoever connects or begins a
// message while it lasts.
//
// Thread: any; plain values.
// Errors: none.
#pragma once

#include "base/instant.h"

#include <array>
#include <cstddef>
#include <cstdint>

namespace ringmx::sink {

enum class Phase : std::uint8_t { connect, ehlo, mail, rcpt, data, content, end_of_data, count };

// What may stand in an answer's place. All but the last two end the connection, one way or another.
enum class Mischief : std::uint8_t {
    none,
    disconnect,    // closes
    unanswered,    // takes the message, then closes: at the end of data only
    busy,          // 421, then closes
    malformed,     // a line that is no reply; then nothing more
    endless_line,  // a reply whose first line never ends
    endless_reply, // a reply whose last line never comes
    silence,       // never answers
    tempfail,      // 451; to a connection or in the middle of data it closes
    reject,        // 550, likewise
    count
};

struct PhaseBehavior {
    // In the order of Mischief; what is left of 1 behaves. That of `none` is not used.
    std::array<double, static_cast<std::size_t>(Mischief::count)> shares{};
    Duration delay{0};

    [[nodiscard]] double& share(Mischief mischief) {
        return shares[static_cast<std::size_t>(mischief)];
    }
    // `draw` is from [0, 1).
    [[nodiscard]] Mischief mischief_at(double draw) const;
    // For another recipient of the same message: tempfail, reject or none, `draw` being spread over
    // what the others leave.
    [[nodiscard]] Mischief verdict_at(double draw) const;
    [[nodiscard]] bool is_drawn() const; // whether any share is over 0
};

struct Personality {
    std::array<PhaseBehavior, static_cast<std::size_t>(Phase::count)> phases;
    std::uint64_t content_after_bytes = 0; // `content` comes once this much of a message has passed
    Duration storm_every{0};               // 0: never
    Duration storm_length{0};
    Duration greylist_delay{0}; // 0: none
    std::uint32_t greylist_entries = 100'000;
    Duration idle_timeout{0}; // 0: none
    bool idle_reply = true;   // 421 before an idle connection is closed

    [[nodiscard]] PhaseBehavior& at(Phase phase) { return phases[static_cast<std::size_t>(phase)]; }
    [[nodiscard]] const PhaseBehavior& at(Phase phase) const {
        return phases[static_cast<std::size_t>(phase)];
    }
    // `age`: since the sink began. The storm is the end of each `storm_every`.
    [[nodiscard]] bool is_storm(Duration age) const {
        return storm_every > Duration::zero() && age % storm_every >= storm_every - storm_length;
    }
};

} // namespace ringmx::sink
