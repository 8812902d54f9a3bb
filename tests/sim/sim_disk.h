// A disk for simulations: files whose writes take their time, fail by chance or at a word, and are
// torn by a crash.
//
//   begin_write() ─▶ under way ─▶ end_write(): durable, or failed
//                        │
//                        └─ crash(): any subset of its 512-octet sectors is there
//
// A write that fails leaves any subset of its sectors too; a short one its first octets for sure.
// What was written to a file that is not opened with O_DSYNC is there for readers, but of its
// sectors too a crash leaves any subset.
// Reads see what was completed. The pieces of a write must stay as they are until its end: a
// difference aborts.
// Files outlive crashes, and so do their descriptors: one a file, the same for every SimPort.
//
// Thread: one. The same seed gives the same faults and the same crash.
// Errors: negative errnos, as results of operations.
#pragma once

#include "sim/random.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <sys/uio.h>
#include <vector>

namespace ringmx::sim {

class SimDisk {
  public:
    static constexpr std::size_t sector_bytes = 512;
    static constexpr int descriptor_min = 1'000'000; // above those of sockets

    // Probabilities from 0 to 1, of each operation.
    struct Faults {
        double write_error = 0; // EIO
        double write_full = 0;  // ENOSPC
        double short_write = 0; // a part, in whole sectors
        double read_error = 0;  // EIO
        double short_read = 0;
        double slow = 0; // it takes up to a hundred times as long
    };

    explicit SimDisk(std::uint64_t seed = 1) : random_(seed) {}
    SimDisk(const SimDisk&) = delete;
    SimDisk& operator=(const SimDisk&) = delete;

    Faults faults;
    // By hand: while not 0, every write or read that ends does so with this errno.
    int write_error = 0;
    int read_error = 0;
    std::uint64_t reads = 0; // so far
    // What the faults came to, so far.
    struct Totals {
        std::uint64_t write_errors = 0; // other than:
        std::uint64_t full = 0;
        std::uint64_t short_writes = 0;
        std::uint64_t read_errors = 0;
        std::uint64_t torn = 0; // under way at a crash
    };
    [[nodiscard]] const Totals& totals() const { return totals_; }
    // From now on nothing reaches it: what is under way fails, torn as by a crash. For the workers of
    // a process that is gone, which a simulation can only take apart in good order.
    void go_away();
    void come_back() { is_away_ = false; }
    // What is under way stays so: the ends of operations wait for resume().
    void stall() { is_stalled_ = true; }
    void resume();

    // A file of zeros; its descriptor, opened with these flags. Numbers are not used again.
    int create(std::size_t bytes, int flags);
    void remove(int file); // no write to it is under way
    [[nodiscard]] bool has(int file) const { return files_.contains(file); }
    [[nodiscard]] std::vector<int> files() const; // in order of creation
    // What readers find; tests read and damage it.
    [[nodiscard]] std::vector<std::byte>& octets(int file) { return files_.at(file).octets; }

    // Of all files, their numbers included, behind what has this CRC.
    [[nodiscard]] std::uint32_t crc(std::uint32_t before) const;

    [[nodiscard]] std::uint64_t begin_write(int file, std::uint64_t offset,
                                            std::span<const iovec> pieces);
    [[nodiscard]] std::int64_t end_write(std::uint64_t write);
    [[nodiscard]] std::int64_t read(int file, std::uint64_t offset, std::span<std::byte> out);
    // Into all of `pieces`.
    [[nodiscard]] std::int64_t read(int file, std::uint64_t offset, std::span<const iovec> pieces);
    [[nodiscard]] std::size_t under_way() const { return writes_.size(); }
    [[nodiscard]] std::size_t under_way(int file) const;

    // The machine stops and starts anew: nothing is under way any more, nothing is stalled.
    void crash();

    // For SimPort: `end` is called now, or by resume().
    void when_it_may_end(std::function<void()> end);
    // Of an operation, in units of an ordinary one's.
    [[nodiscard]] std::uint64_t slowness();

  private:
    struct File {
        std::vector<std::byte> octets;
        bool is_synced = true; // by each write
        // What a crash may bring back, of sectors that were written and not synced; by offset.
        std::map<std::size_t, std::vector<std::byte>> before;
    };
    struct Write {
        int file = -1;
        std::uint64_t offset = 0;
        std::vector<std::byte> octets;
        std::span<const iovec> pieces;
    };
    void store(const Write& write, std::size_t start, std::size_t count);
    void keep_some(const Write& write, std::size_t start);
    void lose_some(File& file);

    Random random_;
    std::map<int, File> files_;
    std::map<std::uint64_t, Write> writes_;
    std::uint64_t last_write_ = 0;
    int next_file_ = descriptor_min;
    bool is_stalled_ = false;
    bool is_away_ = false;
    Totals totals_;
    std::vector<std::function<void()>> stalled_;
};

} // namespace ringmx::sim
