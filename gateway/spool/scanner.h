// Finds the records of one segment file, whatever a crash left of it.
//
// Every place where a record may begin is looked at, but for blocks of zeros: with several writes
// under way a later one may be there and an earlier one torn, and a damaged record is to hide no other
// one of its commit. Only behind many zeros are there steps (zeros.h). A record is visited once. Octets
// inside one that is whole are not looked at, and those of one that is not can hold none of ours but
// by knowing the nonce (see format.h). Most places, full of mail or of an earlier life's records, are
// told by four octets, or by the nonce.
//
// In:   a reader of the file; each octet is read once, but for blocks that end many zeros.
// Out:  the visitor is called for each record, in order of offset.
// Memory: one window of window_bytes.
// Thread: any.
// Errors: what the reader gives, with the offset in `subject`; the rest of the file is looked at all
//         the same, as far as it can be read.
#pragma once

#include "base/error.h"
#include "spool/commit.h"
#include "spool/format.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

namespace ringmx::spool {

// Reads into all of `out` from `offset` on; how many octets there were (fewer at the file's end), or
// a negative errno.
using SegmentReader = std::function<std::int64_t(std::uint64_t offset, std::span<std::byte> out)>;
using RecordVisitor = std::function<void(const RecordHeader& header, Bytes body)>;

struct ScanResult {
    std::optional<SegmentHeader> header; // none: this is no segment, nothing was visited
    std::uint64_t records = 0;
    // Headers of this life whose record is not whole: a write that was under way at the end, or
    // damage.
    std::uint64_t torn = 0;
    std::uint64_t unreadable_blocks = 0;
    int error = 0; // of the first of those
};

class SegmentScanner {
  public:
    SegmentScanner();
    [[nodiscard]] ScanResult scan(const SegmentReader& read, const RecordVisitor& visit);

    static constexpr std::size_t window_bytes = 2 * commit_bytes_max;
    // A file that gives errors all along is given up.
    static constexpr std::uint64_t unreadable_blocks_max = 4096;

  private:
    [[nodiscard]] Bytes window_at(std::uint64_t offset, std::size_t bytes);
    [[nodiscard]] bool fill(std::uint64_t offset);

    const SegmentReader* read_ = nullptr;
    ScanResult result_;
    std::byte* window_ = nullptr; // in memory_, page-aligned, so that the reader may use O_DIRECT
    std::vector<std::byte> memory_;
    std::uint64_t start_ = 0; // of the window in the file
    std::size_t filled_ = 0;
    bool at_end_ = false;
};

} // namespace ringmx::spool
