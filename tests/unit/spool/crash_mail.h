// What mail of the crash model is like on the disk.
//
// Thread: one.
#pragma once

#include "sim/random.h"
#include "sim/sim_disk.h"
#include "unit/spool/crash_message.h"

#include <cstddef>
#include <string>
#include <vector>

namespace ringmx::spool {

class CrashMail {
  public:
    CrashMail(sim::Random& random, sim::SimDisk& disk) : random_(random), disk_(disk) {}

    [[nodiscard]] std::string content();
    // Some mails are copies of records on the disk, each at the beginning of a block if they come
    // first in a commit, and behind so many octets.
    void forge(std::string& content, std::size_t before);

  private:
    sim::Random& random_;
    sim::SimDisk& disk_;
};

// Of its record now; with chunks that are elsewhere than its own.
[[nodiscard]] std::string body_of(const CrashMessage& known, const std::vector<ChunkPlace>& chunks);
[[nodiscard]] std::string body_of(const CrashMessage& known);

} // namespace ringmx::spool
