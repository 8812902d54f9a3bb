// Operators of a spool's life: they hold letters, let them go, try them again and remove them, whatever
// goes on, one word about a letter at a time; what they were told the ledger knows.
//
// Each word goes to all workers, since any may have the letter; a start forgets those that nobody
// answered.
// Thread: one.
// Errors: failures of the test that calls.
#pragma once

#include "sim/random.h"
#include "sim/spool_ledger.h"
#include "sim/spool_life.h"
#include "sim/worker_rig.h"

#include <cstddef>
#include <cstdint>
#include <map>

namespace ringmx::sim {

class SpoolOperators {
  public:
    SpoolOperators(Random& random, Rig& rig, SpoolLedger& ledger, SpoolLifeTally& tally)
        : random_(random), rig_(rig), ledger_(ledger), tally_(tally) {}

    void say_something();
    void take_answers();
    void forget() { commands_.clear(); }
    // In the end: what failed and what is on hold.
    void let_everything_go();

  private:
    using Kind = QueueQuestion::Kind;
    struct Command {
        Letter* letter = nullptr;
        Kind kind = Kind::hold;
        std::size_t answers_left = 0;
    };

    [[nodiscard]] Letter* choose(bool may_be_on_hold);
    [[nodiscard]] Kind choose_kind(bool is_on_hold);
    void answered(Command& command, QueueAnswer::Result result);
    [[nodiscard]] QueueAnswer ask(RigWorker& one, QueueQuestion question);

    Random& random_;
    Rig& rig_;
    SpoolLedger& ledger_;
    SpoolLifeTally& tally_;
    std::map<std::uint64_t, Command> commands_; // by question
    std::uint64_t questions_ = 0;
};

} // namespace ringmx::sim
