// A world: several workers on one thread that share what workers share, backends with moods, clients
// that behave and clients that don't, reloads, a network that resets, swallows and delays, and a clock
// that jumps. For a while there is trouble; then there is peace, and all mail must get through.
//
// run_world() makes one from a seed, lives it to its end, and fails the test that runs at the first
// fault: what world_ledger.h says, and after every turn what worlds count (see world.cc).
// Thread: one.
#pragma once

#include "sim/random.h"
#include "sim/worker_rig.h"
#include "sim/world_ledger.h"

#include <cstddef>
#include <cstdint>

namespace ringmx::sim {

struct World {
    Rig* rig = nullptr;
    Ledger ledger;
    Instant trouble_ends_at{};
    std::uint64_t size_max = 0; // limits.message_size
    bool trusts_clients = false;
    bool normalizes = false; // smtp.bare_newline

    std::size_t mails_sent = 0; // MAIL commands that were in order
    std::size_t mails_answered = 0;
    std::size_t through = 0; // messages that got through, of clients that behave

    [[nodiscard]] bool in_peace() const { return rig->network.now() >= trouble_ends_at; }
};

struct WorldTally {
    std::size_t through = 0;
    std::size_t duplicates = 0; // counted as possible
    std::size_t critical_turns = 0;
    std::size_t exact = 0; // worlds in which every MAIL was answered
};

void run_world(std::uint64_t seed, WorldTally& tally);

} // namespace ringmx::sim
