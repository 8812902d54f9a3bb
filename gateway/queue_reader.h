// Reads the segments that earlier runs left, one after the other, and makes of them what a run goes
// on with: the live messages, and for each segment what it is still needed for.
//
// In:     a reader for each segment; the descriptor is only passed on.
// Out:    a report for each, and finish().
// Memory: as spool::Recovery, and one window of the scanner.
// Thread: one.
// Errors: are in the reports; none of one segment stops another.
#pragma once

#include "spool/gaps.h"
#include "spool/recovery.h"
#include "spool/scanner.h"
#include "worker/segment_supply.h"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace ringmx {

struct SegmentReport {
    enum class Kind : std::uint8_t {
        segment,       // one of ours: its records were read
        unused,        // nothing but zeros: allocated, never written to
        foreign,       // something else, or its header is damaged
        other_version, // a segment of another program's version
        misplaced,     // of another run than its folder is for
        copy,          // of a segment that was read before
        unreadable,    // its header can't be read
    };
    Kind kind = Kind::unreadable;
    spool::SegmentHeader header; // of `segment`, `misplaced` and `copy`
    std::uint32_t index = 0;     // of `segment`: in AdoptedQueue::segments
    std::uint64_t records = 0;   // in all; of them:
    std::uint64_t messages = 0;
    std::uint64_t chunks = 0;
    std::uint64_t used_bytes = 0; // to the end of the last record
    // Records that are not whole: writes that were under way when the run ended, or damage.
    std::uint64_t torn = 0;
    std::uint64_t lost = 0; // records that are missing, and were durable once
    // That are whole and make no sense: another version's, or one's with a fault.
    std::uint64_t unreadable_records = 0;
    std::uint64_t unreadable_blocks = 0;
    int error = 0; // of the first of those
    bool is_truncated = false;

    [[nodiscard]] bool is_damaged() const {
        return lost > 0 || unreadable_records > 0 || is_truncated;
    }
};

// Why the file is none of its folder's segments; empty for one, and for an unused or unreadable one.
[[nodiscard]] std::string why_no_segment(const SegmentReport& report);

// Of an open file.
[[nodiscard]] spool::SegmentReader reader_of(int file);

// What earlier runs left.
struct AdoptedQueue {
    // RecoveredMessage::segment is an index of these. Each is held once for each record of a live
    // message.
    std::vector<std::unique_ptr<worker::AdoptedSegment>> segments;
    // Of each, what it must stay for beside its messages.
    std::vector<std::vector<spool::Segment::Marked>> marked;
    std::vector<spool::RecoveredMessage> messages; // in order of acceptance
    std::vector<std::uint64_t> damaged;            // messages of which a part is missing
    // A newer program's, or one's with a fault; also those that only the whole queue tells, beside
    // SegmentReport::unreadable_records.
    std::uint64_t unreadable_records = 0;
    // Of each segment, records that are missing by damage, as other segments tell: beside
    // SegmentReport::lost.
    std::vector<std::uint64_t> lost_beside;
    // Of each segment, whether a part of a damaged message is in it.
    std::vector<bool> has_remains;
    // Of each segment, whether another run may need it: it has mail that is not known to be over, or
    // marks, and of a run since the one that took that mail something could not be read. The rest of
    // the mail may be in there; so may another record of it, which marks about it must outlive.
    std::vector<bool> stays;
};

// Each worker's part of them, as they are in order. Whoever adopts a message forwards it: they are dealt
// out by id, whatever worker took them.
[[nodiscard]] std::vector<std::vector<spool::RecoveredMessage>>
dealt_out(std::vector<spool::RecoveredMessage> messages, std::size_t workers);

class QueueReader {
  public:
    struct File {
        int descriptor = -1;
        std::uint64_t size_bytes = 0;
        std::uint32_t generation = 0; // the folder's
    };
    [[nodiscard]] SegmentReport read(const File& file, const spool::SegmentReader& reader);
    // A file of this generation could not be looked into, and is left for another run: marks about
    // what it may hold stay, and so do the parts of mail that the rest of may be in it.
    void note_unread(std::uint32_t generation) { unread_.insert(generation); }
    // Ends it.
    [[nodiscard]] AdoptedQueue finish();

  private:
    [[nodiscard]] SegmentReport judge(const File& file, const spool::SegmentReader& reader) const;

    spool::SegmentScanner scanner_;
    spool::Recovery recovery_;
    spool::RunGaps gaps_;
    std::set<std::uint32_t> unread_;
    std::set<spool::SegmentName> names_;
    AdoptedQueue queue_;
};

} // namespace ringmx
