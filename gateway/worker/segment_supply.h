// Where a worker's segment files come from and go to: the blocking work on files is done by somebody
// else (the keeper's thread; in the simulator, a disk of its own).
//
// request()  one more file, of the size and with the flags that all segments of this run have;
//            answered by `segment` or `failed`. The worker asks for one at a time; asking again
//            only hurries the one that is on its way.
// discard()  a segment that the worker was given and that nobody needs any more: closed, deleted (set
//            aside, if it is damaged), answered by `discarded`; until then marks about it matter.
// released() of an adopted segment: the worker that took its holds to zero says so.
// take()     the next piece of news; the worker's waker is woken when there is some.
//
// Thread: one worker's; the news come from another.
// Errors: News::failed with an errno.
#pragma once

#include "spool/stored_message.h"

#include <atomic>
#include <cerrno>
#include <cstdint>

namespace ringmx::worker {

// A segment of an earlier run, read by whichever worker has messages in it. Made before the workers
// are told of it, gone only after its holds are zero.
struct AdoptedSegment {
    int descriptor = -1; // buffered, read-only
    spool::SegmentName name;
    spool::Nonce nonce{};
    std::uint64_t size_bytes = 0;
    // As recovery found it: records of live messages, and what they take, about.
    std::uint32_t records = 0;
    std::uint64_t live_bytes = 0;
    // One for each such record, and for each read of one; from zero it never rises.
    std::atomic<std::uint32_t> holds{0};
    // As long as this is there others can't be used again, or the spool takes more than it may: all
    // workers move what they have in it.
    std::atomic<bool> is_in_the_way{false};
    // A worker can't read something in it: its file is set aside, not deleted.
    std::atomic<bool> is_damaged{false};
};

// Beside the segments that a worker may have, for a while, for marks and reports where no other has
// room. A segment of small messages is empty once all of them are reported, which may take several:
// small spools need more than as many again.
inline constexpr std::uint32_t extra_segments_min = 12;
inline constexpr std::uint32_t extra_segments_kept = 2; // not for reports
[[nodiscard]] constexpr std::uint32_t extra_segments(std::uint32_t segments_max) {
    return segments_max > extra_segments_min ? segments_max : extra_segments_min;
}

// A disk, a quota or a limit that is full: there may be room again without anybody's doing, and who
// can't write for this reason says so.
[[nodiscard]] constexpr bool is_full(int error) {
    return error == ENOSPC || error == EDQUOT || error == EFBIG;
}

class SegmentSupply {
  public:
    struct News {
        enum class Kind : std::uint8_t {
            segment,   // descriptor, size_bytes: allocated whole, empty
            failed,    // error: the request is over, ask again later
            home_gone, // home: that adopted segment is deleted; marks about it concern nothing
            discarded, // descriptor: that file is gone, for good
            lost,      // error: the directory or files in it are gone: what is written is not safe
            file_system, // error: nothing can be written to it now; 0: it can again
        };
        Kind kind = Kind::failed;
        int descriptor = -1;
        std::uint64_t size_bytes = 0;
        int error = 0;
        bool is_written = true; // the segment: through; writes to it change no metadata
        bool is_over = false;   // the segment: the spool takes more than it may by it, so it is for
                                // marks, not for new mail
        spool::SegmentName home = {};
    };

    // at_once:   mail waits for it, so it is allocated but not written through first (writes to it
    //            are slower once).
    // for_marks: at once, and whatever the spool takes: no mark can be written, and without marks it
    //            would never take less.
    enum class Urgency : std::uint8_t { ahead, at_once, for_marks };

    virtual ~SegmentSupply() = default;
    virtual void request(Urgency urgency) = 0;
    virtual void discard(int descriptor, bool is_damaged) = 0; // no operation on it is in flight
    virtual void released() = 0;
    [[nodiscard]] virtual bool take(News& news) = 0;
};

} // namespace ringmx::worker
