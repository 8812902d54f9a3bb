// A disk for tests of the spool: writes are durable when they are completed; a crash keeps any
// subset of the 512-octet sectors of each write that is still under way.
//
// Thread: one. A seed gives the same crash again.
#pragma once

#include "sim/random.h"
#include "spool/journal.h"
#include "spool/scanner.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

namespace ringmx::spool {

class SimDisk {
  public:
    static constexpr std::size_t sector_bytes = 512;

    // A file of zeros; its descriptor.
    int create(std::size_t bytes);
    void remove(int descriptor) { files_.erase(descriptor); }

    struct Pending {
        std::uint32_t slot = 0;
        int descriptor = -1;
        std::uint64_t offset = 0;
        std::vector<std::byte> octets;
    };
    void submit(const JournalWrite& write);
    [[nodiscard]] std::vector<Pending>& pending() { return pending_; }
    // Ends a write: all of it is durable. Its size.
    std::int64_t complete(std::size_t position);
    // Ends a write that failed: some of it may be there.
    void fail(std::size_t position, sim::Random& random);
    void crash(sim::Random& random);

    [[nodiscard]] SegmentReader reader(int descriptor) const;
    [[nodiscard]] std::vector<std::byte>& octets(int descriptor) { return files_.at(descriptor); }
    [[nodiscard]] std::vector<int> files() const;

  private:
    void keep_some(const Pending& write, sim::Random& random);

    std::map<int, std::vector<std::byte>> files_;
    std::vector<Pending> pending_;
    int next_ = 3;
};

} // namespace ringmx::spool
