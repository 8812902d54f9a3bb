#include "queue_reader.h"

#include "spool/zeros.h"

#include <algorithm>
#include <cerrno>
#include <fmt/format.h>
#include <unistd.h>
#include <utility>

namespace ringmx {
namespace {

using spool::block_bytes;
using Kind = SegmentReport::Kind;

constexpr std::size_t zeros_piece_bytes = 1024 * 1024;

// All of `out`, or as much as there is.
std::int64_t read_all(const spool::SegmentReader& reader, std::uint64_t offset,
                      std::span<std::byte> out) {
    std::size_t filled = 0;
    while (filled < out.size()) {
        const std::int64_t got = reader(offset + filled, out.subspan(filled));
        if (got < 0) {
            return got;
        }
        if (got == 0) {
            break;
        }
        filled += static_cast<std::size_t>(got);
    }
    return static_cast<std::int64_t>(filled);
}

// Whether nothing was ever written to the file: the header comes first, and records from there on.
// What can't be read is not known to be zero.
bool is_zero_throughout(const spool::SegmentReader& reader) {
    std::vector<std::byte> piece(zeros_piece_bytes);
    std::uint64_t offset = 0;
    for (; offset < spool::zeros_max; offset += piece.size()) {
        const std::int64_t got = read_all(reader, offset, piece);
        if (got < 0 || !spool::is_zero(Bytes(piece).first(static_cast<std::size_t>(got)))) {
            return false;
        }
        if (got < static_cast<std::int64_t>(piece.size())) {
            return true;
        }
    }
    return !spool::end_of_zeros(reader, offset);
}

} // namespace

std::string why_no_segment(const SegmentReport& report) {
    switch (report.kind) {
    case Kind::foreign:
        return "it is no segment, or its header is damaged";
    case Kind::other_version:
        return "another version of ringmx wrote it";
    case Kind::misplaced:
        return fmt::format("it belongs to run {}", report.header.generation);
    case Kind::copy:
        return "it is a copy of another";
    case Kind::segment:
    case Kind::unused:
    case Kind::unreadable:
        break;
    }
    return {};
}

spool::SegmentReader reader_of(int file) {
    return [file](std::uint64_t offset, std::span<std::byte> out) -> std::int64_t {
        ssize_t got = 0;
        do {
            got = ::pread(file, out.data(), out.size(), static_cast<off_t>(offset));
        } while (got < 0 && errno == EINTR);
        return got < 0 ? -errno : got;
    };
}

// What it is, by its header.
SegmentReport QueueReader::judge(const File& file, const spool::SegmentReader& reader) const {
    SegmentReport report;
    std::vector<std::byte> block(block_bytes);
    const std::int64_t got = read_all(reader, 0, block);
    if (got < 0) {
        report.kind = Kind::unreadable;
        report.error = static_cast<int>(-got);
        return report;
    }
    block.resize(static_cast<std::size_t>(got));
    const auto header = spool::decode_segment_header(block);
    if (!header) {
        report.kind = spool::is_zero(block) && is_zero_throughout(reader) ? Kind::unused
                      : spool::is_other_version(block)                    ? Kind::other_version
                                                                          : Kind::foreign;
        return report;
    }
    report.header = *header;
    report.is_truncated = file.size_bytes < header->size_bytes;
    const bool is_known = names_.contains({header->generation, header->worker, header->life});
    report.kind = header->generation != file.generation ? Kind::misplaced
                  : is_known                            ? Kind::copy
                                                        : Kind::segment;
    return report;
}

SegmentReport QueueReader::read(const File& file, const spool::SegmentReader& reader) {
    SegmentReport report = judge(file, reader);
    if (report.kind != Kind::segment) {
        return report;
    }
    const spool::SegmentHeader& header = report.header;
    report.index = static_cast<std::uint32_t>(queue_.segments.size());
    auto segment = std::make_unique<worker::AdoptedSegment>();
    segment->descriptor = file.descriptor;
    segment->name = {header.generation, header.worker, header.life};
    segment->nonce = header.nonce;
    segment->size_bytes = file.size_bytes;
    names_.insert(segment->name);
    queue_.segments.push_back(std::move(segment));

    recovery_.begin_segment(report.index, header);
    const std::uint64_t unreadable_before = recovery_.unreadable_records();
    spool::SegmentGaps gaps;
    const spool::ScanResult result =
        scanner_.scan(reader, [&](const spool::RecordHeader& record, Bytes body) {
            gaps.record(record);
            report.messages += record.type == spool::RecordType::message ? 1U : 0U;
            report.chunks += record.type == spool::RecordType::chunk ? 1U : 0U;
            report.used_bytes = record.offset + record.record_bytes;
            recovery_.record(record, body);
        });
    report.records = result.records;
    report.unreadable_records = recovery_.unreadable_records() - unreadable_before;
    report.torn = result.torn;
    // Where blocks can't be read it is known why records are missing.
    report.lost = result.unreadable_blocks > 0 ? 0 : gaps.lost();
    report.unreadable_blocks = result.unreadable_blocks;
    report.error = result.error;
    if (report.unreadable_blocks > 0) {
        note_unread(file.generation);
    } else {
        gaps_.add({header.generation, header.worker, header.life}, gaps);
    }
    return report;
}

AdoptedQueue QueueReader::finish() {
    recovery_.finish();
    queue_.messages = std::move(recovery_.messages());
    queue_.damaged = recovery_.damaged();
    queue_.unreadable_records = recovery_.unreadable_records();
    for (const spool::RecoveredMessage& message : queue_.messages) {
        const std::uint64_t each = message.stored_bytes / (1 + message.chunk_segments.size());
        const auto hold = [&](std::uint32_t index) {
            worker::AdoptedSegment& segment = *queue_.segments[index];
            segment.holds.fetch_add(1, std::memory_order_relaxed);
            ++segment.records;
            segment.live_bytes += each;
        };
        hold(message.segment);
        std::ranges::for_each(message.chunk_segments, hold);
    }
    for (std::uint32_t index = 0; index < queue_.segments.size(); ++index) {
        const spool::SegmentName& name = queue_.segments[index]->name;
        queue_.lost_beside.push_back(gaps_.lost_beside(name));
        queue_.has_remains.push_back(recovery_.has_remains(index));
        queue_.stays.push_back(recovery_.stays_for(index, unread_));
        std::vector<spool::Segment::Marked> marked = recovery_.marked(index);
        // Marks about what is gone for good are about nothing.
        std::erase_if(marked, [this](const spool::Segment::Marked& mark) {
            return !names_.contains(mark.home) && !unread_.contains(mark.home.generation);
        });
        queue_.marked.push_back(std::move(marked));
    }
    return std::move(queue_);
}

std::vector<std::vector<spool::RecoveredMessage>>
dealt_out(std::vector<spool::RecoveredMessage> messages, std::size_t workers) {
    std::vector<std::vector<spool::RecoveredMessage>> parts;
    if (workers == 1) {
        parts.push_back(std::move(messages));
        return parts;
    }
    std::vector<std::size_t> counts(workers);
    for (const spool::RecoveredMessage& message : messages) {
        ++counts[message.id % workers];
    }
    for (const std::size_t count : counts) {
        parts.emplace_back().reserve(count);
    }
    for (spool::RecoveredMessage& message : messages) {
        parts[message.id % workers].push_back(std::move(message));
    }
    return parts;
}

} // namespace ringmx
