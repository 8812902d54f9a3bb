// All messages of a crash model's runs, and whether what a crash left of them is right.
//
// Thread: one.
// Errors: the judgements fail the test that calls.
#pragma once

#include "unit/spool/crash_message.h"
#include "unit/spool/crash_model.h"
#include "unit/spool/crash_recovery.h"

#include <cstdint>
#include <map>
#include <memory>

namespace ringmx::spool {

class CrashLedger {
  public:
    explicit CrashLedger(CrashTally& tally) : tally_(tally) {}

    [[nodiscard]] std::map<std::uint64_t, CrashMessage>& known() { return known_; }

    // `is_quiet`: nothing at all was under way.
    void judge(CrashRecovery& found, bool is_quiet);
    // Parts of the disk could not be read: what is found is what it was, and nothing else is.
    void judge_part(CrashRecovery& found);
    // The next run goes on with what was found; the table of its segments.
    [[nodiscard]] std::unique_ptr<SegmentTable> adopt(CrashRecovery& found);

  private:
    void count(const CrashMessage& known, CrashMessage::Found found);

    CrashTally& tally_;
    std::map<std::uint64_t, CrashMessage> known_;
    std::map<std::uint64_t, CrashMessage> past_; // of earlier runs
};

} // namespace ringmx::spool
