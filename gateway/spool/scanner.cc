#include "spool/scanner.h"

#include "base/mutation.h"
#include "spool/zeros.h"

#include <algorithm>
#include <cstring>
#include <memory>

namespace ringmx::spool {

static_assert(SegmentScanner::window_bytes >= record_bytes_max + 2 * block_bytes,
              "a record fits in the window, wherever in a block it begins");

SegmentScanner::SegmentScanner() : memory_(window_bytes + block_bytes) {
    void* place = memory_.data();
    std::size_t space = memory_.size();
    window_ = static_cast<std::byte*>(std::align(block_bytes, window_bytes, place, space));
}

// Moves the window so that it begins with the block of `offset`, and reads on behind what it has.
// Blocks that can't be read count as zeros: there is no record in them.
bool SegmentScanner::fill(std::uint64_t offset) {
    const std::uint64_t begin = offset / block_bytes * block_bytes;
    const std::uint64_t end = start_ + filled_;
    std::size_t kept = 0;
    if (begin < end) {
        kept = end - begin;
        std::memmove(window_, window_ + (begin - start_), kept);
    }
    start_ = begin;
    filled_ = kept;
    while (!at_end_ && filled_ < window_bytes) {
        const std::size_t wanted = window_bytes - filled_;
        const std::int64_t got = (*read_)(start_ + filled_, {window_ + filled_, wanted});
        if (got == 0) {
            at_end_ = true;
        } else if (got > 0) {
            filled_ += static_cast<std::size_t>(got);
            // Reading goes on at block boundaries.
            const std::size_t whole = filled_ / block_bytes * block_bytes;
            at_end_ = whole != filled_;
        } else if (wanted > block_bytes &&
                   (*read_)(start_ + filled_, {window_ + filled_, block_bytes}) > 0) {
            filled_ += block_bytes; // a block at a time, as far as it goes
        } else {
            result_.error = result_.error == 0 ? static_cast<int>(-got) : result_.error;
            ++result_.unreadable_blocks;
            std::memset(window_ + filled_, 0, std::min(wanted, block_bytes));
            filled_ += std::min(wanted, block_bytes);
            if (result_.unreadable_blocks > unreadable_blocks_max) {
                at_end_ = true;
            }
        }
    }
    return filled_ > 0;
}

// At least `bytes` octets from `offset` on, and as many more as are there; fewer at the file's end.
Bytes SegmentScanner::window_at(std::uint64_t offset, std::size_t bytes) {
    if (offset < start_ || offset + bytes > start_ + filled_) {
        if (at_end_ && offset >= start_ + filled_) {
            return {};
        }
        (void)fill(offset);
    }
    if (offset >= start_ + filled_) {
        return {};
    }
    return {window_ + (offset - start_), static_cast<std::size_t>(start_ + filled_ - offset)};
}

ScanResult SegmentScanner::scan(const SegmentReader& read, const RecordVisitor& visit) {
    read_ = &read;
    result_ = {};
    start_ = filled_ = 0;
    at_end_ = false;
    result_.header = decode_segment_header(window_at(0, block_bytes));
    if (!result_.header) {
        return result_;
    }
    const Nonce& nonce = result_.header->nonce;
    std::uint64_t offset = block_bytes;
    std::uint64_t zeros = 0; // octets in a row
    while (true) {
        const Bytes octets = window_at(offset, record_header_bytes);
        if (octets.size() < record_header_bytes) {
            return result_;
        }
        const Bytes rest = octets.first(
            std::min<std::uint64_t>(octets.size(), block_bytes - offset % block_bytes));
        const auto peeked = peek_record(octets, nonce, offset);
        if (!peeked) {
            RINGMX_MUTATE(hole_ends_segment, if (offset % block_bytes == 0) return result_);
            const bool is_empty = is_zero(rest);
            zeros = is_empty ? zeros + rest.size() : 0;
            offset += is_empty ? rest.size() : next_record_like(rest);
            if (zeros >= zeros_max) {
                const auto next = end_of_zeros(read, offset);
                if (!next) {
                    return result_;
                }
                offset = *next;
                zeros = 0;
            }
            continue;
        }
        const bool fits = peeked->record_bytes <= record_bytes_max;
        const auto header =
            fits ? decode_record(window_at(offset, peeked->record_bytes), nonce, offset)
                 : std::nullopt;
        zeros = 0;
        if (!header) {
            ++result_.torn;
            offset += next_record_like(rest);
            continue;
        }
        ++result_.records;
        const Bytes record = window_at(offset, header->record_bytes).first(header->record_bytes);
        visit(*header, record.subspan(record_header_bytes));
        offset = round_up(offset + header->record_bytes, record_alignment);
    }
}

} // namespace ringmx::spool
