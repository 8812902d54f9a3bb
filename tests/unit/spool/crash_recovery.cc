#include "unit/spool/crash_recovery.h"

#include <algorithm>
#include <span>
#include <utility>

namespace ringmx::spool {

CrashRecovery::CrashRecovery(sim::SimDisk& disk) : disk_(disk) {
    for (const int file : disk.files()) {
        read(file);
    }
    recovery_.finish();
    for (const Found& segment : segments_) {
        lost_ += gaps_.lost_beside(
            {segment.header.generation, segment.header.worker, segment.header.life});
    }
}

void CrashRecovery::read(int file) {
    bool is_first = true;
    std::vector<std::pair<std::uint64_t, std::uint64_t>> found;
    SegmentGaps gaps;
    const SegmentReader reader = [&](std::uint64_t offset, std::span<std::byte> out) {
        return disk_.read(file, offset, out);
    };
    const ScanResult result = scanner_.scan(reader, [&](const RecordHeader& header, Bytes body) {
        if (std::exchange(is_first, false)) {
            const auto begun = decode_segment_header(Bytes(disk_.octets(file)).first(block_bytes));
            recovery_.begin_segment(static_cast<std::uint32_t>(segments_.size()), *begun);
        }
        recovery_.record(header, body);
        gaps.record(header);
        found.emplace_back(header.offset, header.offset + header.record_bytes);
    });
    torn_ += result.torn;
    unreadable_blocks_ += result.unreadable_blocks;
    if (!result.header || is_first) {
        empty_files_.push_back(file);
        return;
    }
    segments_.push_back({file, *result.header});
    lost_ += gaps.lost();
    gaps_.add({result.header->generation, result.header->worker, result.header->life}, gaps);
    const CrashSights seen = look_around(disk_.octets(file), result.header->nonce, found);
    sights_.stale += seen.stale;
    sights_.copies += seen.copies;
    sights_.copies_of_ours += seen.copies_of_ours;
}

std::string CrashRecovery::content_of(const RecoveredMessage& message) const {
    const Found& home = segments_[message.segment];
    const std::string body = body_at(home, message.offset);
    Bytes content;
    const auto stored = read_message_body(as_bytes(body), &content);
    if (!stored) {
        return "(no message)";
    }
    std::string text(as_text(content));
    for (const ChunkPlace& chunk : stored->chunks) {
        const auto segment = std::ranges::find_if(segments_, [&](const Found& other) {
            return other.header.life == chunk.life &&
                   other.header.generation == home.header.generation;
        });
        text += segment == segments_.end() ? "(no chunk)" : body_at(*segment, chunk.offset);
    }
    return text;
}

std::string CrashRecovery::body_at(const Found& segment, std::uint64_t offset) const {
    const Bytes file = disk_.octets(segment.file);
    const auto header = decode_record(file.subspan(offset), segment.header.nonce, offset);
    return header ? std::string(as_text(file.subspan(offset + record_header_bytes,
                                                     header->record_bytes - record_header_bytes)))
                  : "(no record)";
}

} // namespace ringmx::spool
