#include "spool/commit.h"

#include "base/crc32c.h"

#include <algorithm>
#include <cstring>

namespace ringmx::spool {
namespace {

// A commit of one small message takes little; what grows takes the pool's largest blocks.
constexpr std::size_t first_block_bytes = 8192;
static_assert(BufferPool::draft_bytes_max % block_bytes == 0, "blocks are whole pages");

} // namespace

Commit::~Commit() { clear(); }

Commit::Append Commit::append(Record record, Bytes head, std::span<const Slice> content,
                              std::size_t bytes_max) {
    std::size_t content_bytes = 0;
    for (const Slice& slice : content) {
        content_bytes += slice.size();
    }
    const std::size_t bytes = record_header_bytes + head.size() + content_bytes;
    const auto start = static_cast<std::uint32_t>(round_up(used_, record_alignment));
    if (start + bytes > bytes_max) {
        RINGMX_ASSERT_STATE(bytes <= record_bytes_max, "a record of %zu octets", bytes);
        return Append::full;
    }
    if (!reserve(round_up(start + bytes, block_bytes))) {
        return Append::no_memory;
    }
    // Blocks are recycled memory: the gap before the record and its header are set.
    constexpr std::array<std::byte, record_alignment + record_header_bytes> zeros{};
    write(Bytes(zeros).first(start - used_ + record_header_bytes));
    std::uint32_t crc = crc32c(0, head);
    write(head);
    for (const Slice& slice : content) {
        crc = crc32c(crc, slice.bytes());
        write(slice.bytes());
    }
    record.start = start;
    record.record_bytes = static_cast<std::uint32_t>(bytes);
    record.content_bytes = static_cast<std::uint32_t>(content_bytes);
    record.body_crc = crc;
    records_.push_back(record);
    return Append::taken;
}

bool Commit::reserve(std::size_t bytes) {
    const std::size_t blocks_before = blocks_.size();
    const std::uint32_t capacity_before = capacity_;
    while (capacity_ < bytes) {
        const std::size_t wanted = bytes - capacity_;
        const std::size_t size = blocks_.empty() && wanted <= first_block_bytes
                                     ? first_block_bytes
                                     : BufferPool::draft_bytes_max;
        Block* const block = pool_.take_block(size);
        if (block == nullptr) {
            while (blocks_.size() > blocks_before) {
                pool_.release(blocks_.back().block);
                blocks_.pop_back();
            }
            capacity_ = capacity_before;
            return false;
        }
        blocks_.push_back({block, capacity_});
        capacity_ += block->size_bytes;
    }
    return true;
}

const Commit::Piece& Commit::piece_at(std::uint32_t offset) const {
    const auto behind = std::ranges::upper_bound(blocks_, offset, {}, &Piece::start);
    RINGMX_ASSERT(behind != blocks_.begin());
    return *(behind - 1);
}

std::byte* Commit::at(std::uint32_t offset) const {
    const Piece& piece = piece_at(offset);
    return piece.block->memory + (offset - piece.start);
}

void Commit::write(Bytes octets) {
    while (!octets.empty()) {
        const Piece& piece = piece_at(used_);
        const std::uint32_t offset = used_ - piece.start;
        const std::size_t count =
            std::min<std::size_t>(octets.size(), piece.block->size_bytes - offset);
        std::memcpy(piece.block->memory + offset, octets.data(), count);
        used_ += static_cast<std::uint32_t>(count);
        octets = octets.subspan(count);
    }
}

void Commit::place(const Nonce& nonce, std::uint64_t offset, std::uint64_t sequence,
                   std::uint64_t oldest_in_doubt) {
    for (Record& record : records_) {
        record.sequence = sequence++;
        const std::uint64_t in_doubt = sequence - oldest_in_doubt;
        const RecordHeader header{
            .type = record.type,
            .record_bytes = record.record_bytes,
            .nonce = nonce,
            .offset = offset + record.start,
            .sequence = record.sequence,
            .id = record.id,
            .part = record.part,
            .in_doubt = in_doubt > UINT32_MAX ? 0 : static_cast<std::uint32_t>(in_doubt)};
        // Aligned as records are, a header lies in one block.
        encode_record_header(
            header, record.body_crc,
            std::span<std::byte, record_header_bytes>(at(record.start), record_header_bytes));
    }
    pieces_.clear();
    std::uint64_t left = padded_bytes();
    for (const Piece& piece : blocks_) {
        const std::size_t count = std::min<std::uint64_t>(left, piece.block->size_bytes);
        const std::size_t used_here =
            used_ <= piece.start ? 0 : std::min<std::size_t>(used_ - piece.start, count);
        std::memset(piece.block->memory + used_here, 0, count - used_here);
        pieces_.push_back({piece.block->memory, count});
        left -= count;
    }
}

void Commit::content(const Record& record, std::vector<Slice>& out) const {
    std::uint32_t offset = record.start + record.record_bytes - record.content_bytes;
    std::uint32_t left = record.content_bytes;
    while (left > 0) {
        const Piece& piece = piece_at(offset);
        const std::uint32_t begin = offset - piece.start;
        const std::uint32_t count = std::min(left, piece.block->size_bytes - begin);
        out.emplace_back(piece.block, Bytes{piece.block->memory + begin, count});
        offset += count;
        left -= count;
    }
}

void Commit::clear() {
    for (const Piece& piece : blocks_) {
        pool_.release(piece.block);
    }
    blocks_.clear();
    records_.clear();
    pieces_.clear();
    used_ = 0;
    capacity_ = 0;
}

} // namespace ringmx::spool
