// The writes that a journal wanted, on a simulated disk, until a test ends them in an order of its
// own.
#pragma once

#include "sim/sim_disk.h"
#include "spool/journal.h"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace ringmx::spool {

class WritesUnderWay {
  public:
    struct Write {
        std::uint32_t slot = 0;
        std::uint64_t on_disk = 0;
        std::uint64_t offset = 0;
        std::uint64_t bytes = 0;
    };

    explicit WritesUnderWay(sim::SimDisk& disk) : disk_(disk) {}

    // What the journal wants now; how many writes.
    std::size_t begin(Journal& journal, Instant now) {
        std::size_t count = 0;
        while (const JournalWrite* write = journal.next_write(now)) {
            writes_.push_back({write->slot,
                               disk_.begin_write(write->descriptor, write->offset, write->pieces),
                               write->offset, write->bytes});
            ++count;
        }
        return count;
    }
    void end(std::size_t position, Journal& journal, Instant now, JournalObserver& observer) {
        const Write write = writes_[position];
        writes_.erase(writes_.begin() + static_cast<std::ptrdiff_t>(position));
        journal.written(write.slot, disk_.end_write(write.on_disk), now, observer);
    }
    void crash() {
        disk_.crash();
        writes_.clear();
    }
    [[nodiscard]] const std::vector<Write>& all() const { return writes_; }

  private:
    sim::SimDisk& disk_;
    std::vector<Write> writes_;
};

} // namespace ringmx::spool
