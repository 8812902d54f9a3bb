#include "spool/format.h"

#include "base/crc32c.h"

#include <gtest/gtest.h>
#include <string>
#include <vector>

namespace ringmx::spool {
namespace {

constexpr Nonce nonce{std::byte{1}, std::byte{2}, std::byte{3}};

std::vector<std::byte> record(std::string_view body, std::uint64_t offset) {
    std::vector<std::byte> octets(record_header_bytes);
    encode_record_header(
        {.type = RecordType::chunk,
         .record_bytes = static_cast<std::uint32_t>(record_header_bytes + body.size()),
         .nonce = nonce,
         .offset = offset,
         .sequence = 77,
         .id = 12345678901234567890U,
         .part = 3},
        crc32c(0, as_bytes(body)),
        std::span<std::byte, record_header_bytes>(octets.data(), octets.size()));
    const Bytes text = as_bytes(body);
    octets.insert(octets.end(), text.begin(), text.end());
    return octets;
}

TEST(SegmentHeader, IsReadAsItWasWritten) {
    const SegmentHeader header{
        .nonce = nonce, .generation = 7, .worker = 9, .life = 1U << 20U, .size_bytes = 4U << 20U};
    std::array<std::byte, block_bytes> block;
    encode_segment_header(header, block);
    EXPECT_EQ(decode_segment_header(block), header);
}

TEST(SegmentHeader, OneWrongBitAnywhereMakesItNone) {
    std::array<std::byte, block_bytes> block;
    encode_segment_header({.nonce = nonce, .generation = 7, .worker = 9}, block);
    for (std::size_t bit = 0; bit < block.size() * 8; ++bit) {
        block[bit / 8] ^= std::byte{1} << (bit % 8);
        EXPECT_FALSE(decode_segment_header(block)) << bit;
        block[bit / 8] ^= std::byte{1} << (bit % 8);
    }
    EXPECT_FALSE(decode_segment_header(Bytes(block).first(block_bytes - 1)));
}

TEST(Record, IsReadAsItWasWritten) {
    const std::vector<std::byte> octets = record("some content", 8192);
    const auto header = decode_record(octets, nonce, 8192);
    ASSERT_TRUE(header);
    EXPECT_EQ(header->type, RecordType::chunk);
    EXPECT_EQ(header->record_bytes, octets.size());
    EXPECT_EQ(header->sequence, 77U);
    EXPECT_EQ(header->id, 12345678901234567890U);
    EXPECT_EQ(header->part, 3U);
}

TEST(Record, OneWrongBitAnywhereMakesItNone) {
    std::vector<std::byte> octets = record("some content", 8192);
    for (std::size_t bit = 0; bit < octets.size() * 8; ++bit) {
        octets[bit / 8] ^= std::byte{1} << (bit % 8);
        EXPECT_FALSE(decode_record(octets, nonce, 8192)) << bit;
        octets[bit / 8] ^= std::byte{1} << (bit % 8);
    }
}

TEST(Record, CutAnywhereItIsNone) {
    const std::vector<std::byte> octets = record("some content", 8192);
    for (std::size_t bytes = 0; bytes < octets.size(); ++bytes) {
        EXPECT_FALSE(decode_record(Bytes(octets).first(bytes), nonce, 8192)) << bytes;
    }
}

// Mail may contain a copy of a record, and a segment's file holds those of its earlier lives.
TEST(Record, ElsewhereOrInAnotherLifeItIsNone) {
    const std::vector<std::byte> octets = record("some content", 8192);
    EXPECT_FALSE(decode_record(octets, nonce, 12288));
    Nonce other = nonce;
    other[15] = std::byte{1};
    EXPECT_FALSE(decode_record(octets, other, 8192));
    EXPECT_FALSE(peek_record(octets, other, 8192));
    EXPECT_TRUE(peek_record(octets, nonce, 8192));
}

} // namespace
} // namespace ringmx::spool
