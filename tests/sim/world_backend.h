// A backend of a world: a ScriptedBackend whose mood changes, and which tells the ledger what it hears
// and says.
//
// Thread: the network's. It lives as long as the rig.
#pragma once

#include "sim/world.h"

#include <cstdint>
#include <string>

namespace ringmx::sim {

class WorldBackend {
  public:
    enum class Mood : std::uint8_t {
        well,
        flaky,    // any answer may be a refusal, an insane one, late, none, or the end
        storm,    // 421 to nearly everything
        slow,     // each answer takes its time
        silent,   // hears, says nothing
        deaf,     // reads nothing
        refusing, // greets with 554
        closing,  // idle connections are closed, with or without a word
        dead,     // all connections are cut; connects meet nobody, or nothing at all
        breaking, // drops when DATA or a chunk comes
        count_
    };

    // `recovers`: it is well in peace; else it stays out for good, in a way that others can make up
    // for.
    WorldBackend(World& world, ScriptedBackend& scripted, const char* address, const char* pool,
                 bool recovers);

  private:
    void change_mood();
    void become(Mood mood);
    void close_some_idle();
    [[nodiscard]] Judged judge(const Asked& asked);
    [[nodiscard]] Judged ordinary(const Asked& asked);
    [[nodiscard]] Judged moody(const Asked& asked);
    [[nodiscard]] Judged something_wrong(const Asked& asked);
    [[nodiscard]] std::string insane(const Asked& asked);
    [[nodiscard]] std::string about(const Asked& asked);

    World& world_;
    Random& random_;
    ScriptedBackend& scripted_;
    SocketAddress address_;
    std::string pool_;
    bool recovers_;
    Mood mood_ = Mood::well;
    std::uint64_t said_count_ = 0;
};

} // namespace ringmx::sim
