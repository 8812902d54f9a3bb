// The octets of the spool's files: segment headers and record headers.
//
//   segment   4 KiB header, then commits one behind the other
//   commit    starts and ends on a 4 KiB boundary; records in it start on 64-octet boundaries, zeros
//             between and behind them
//   record    64-octet header, body
//
// A record is one only where it was written: its header carries the segment's nonce (random, new for
// each life of the file), its own offset in the file and its sequence number, all under its
// CRC-32C. So neither mail that contains a copied record, nor what an earlier life left behind, nor
// half a write is taken for one.
// The CRC covers the body first, then the header with its CRC field zero: a commit that must be
// written elsewhere gets new headers without a second pass over the content.
//
// All numbers are little-endian. The grammar with an example is in docs/spool-format.md.
// Thread: any.
// Errors: decoding gives nothing for what is no header.
#pragma once

#include "base/bytes.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace ringmx::spool {

inline constexpr std::uint8_t format_version = 1;
// What O_DIRECT writes in.
inline constexpr std::size_t block_bytes = 4096;
inline constexpr std::size_t record_alignment = 64;
inline constexpr std::size_t record_header_bytes = 64;
static_assert(block_bytes % record_alignment == 0, "a commit begins where a record may");
static_assert(record_header_bytes <= record_alignment,
              "a header is never cut by the end of an aligned piece of memory");

using Nonce = std::array<std::byte, 16>;

// One life of one segment file.
struct SegmentHeader {
    Nonce nonce{};
    std::uint32_t generation = 0;
    std::uint16_t worker = 0;
    std::uint64_t life = 0; // counts the lives of all segments of a worker in a generation, from 1
    std::uint64_t size_bytes = 0;

    bool operator==(const SegmentHeader&) const = default;
};

void encode_segment_header(const SegmentHeader& header, std::span<std::byte, block_bytes> out);
[[nodiscard]] std::optional<SegmentHeader> decode_segment_header(Bytes block);
// It begins as a segment of another format_version does.
[[nodiscard]] bool is_other_version(Bytes block);

// Sequence numbers go up by one, but behind a write that failed, which may have left nothing: there
// they go on with the next multiple of this. So what is missing says why.
inline constexpr std::uint64_t sequence_stretch = 1ULL << 36U;
[[nodiscard]] constexpr std::uint64_t stretch_of(std::uint64_t sequence) {
    return sequence / sequence_stretch;
}

enum class RecordType : std::uint8_t {
    message = 1, // an envelope, and its content or the places of its chunks
    chunk = 2,   // a part of a message's content
    marks = 3,   // what became of messages
};

struct RecordHeader {
    RecordType type = RecordType::message;
    std::uint32_t record_bytes = 0; // with this header, without padding behind it
    Nonce nonce{};
    std::uint64_t offset = 0;   // of the header in the file
    std::uint64_t sequence = 0; // rises with the records of a worker in a generation
    std::uint64_t id = 0;       // the message's; 0 for marks
    std::uint32_t part = 0;     // a chunk's ordinal
    // So many numbers, up to its own, were not durable yet when it was written, or some of them; 0: more
    // than can be said.
    std::uint32_t in_doubt = 0;

    bool operator==(const RecordHeader&) const = default;
};

void encode_record_header(const RecordHeader& header, std::uint32_t body_crc,
                          std::span<std::byte, record_header_bytes> out);

// The record that begins at `octets`, which go on to the segment's end (or as far as they are
// there): nothing unless the nonce and the offset are as given, the whole record is there and its
// CRC is right.
[[nodiscard]] std::optional<RecordHeader> decode_record(Bytes octets, const Nonce& nonce,
                                                        std::uint64_t offset);
// The header alone, without judging the body: how many octets decode_record() needs. Nothing unless
// nonce and offset are right.
[[nodiscard]] std::optional<RecordHeader> peek_record(Bytes octets, const Nonce& nonce,
                                                      std::uint64_t offset);
// How far behind the beginning of `octets`, where a record may stand, the next one may that begins as
// a record does; all of them if there is none.
[[nodiscard]] std::size_t next_record_like(Bytes octets);
// Whether the body that has this CRC-32C is the header's: for records that are not in one piece.
// `header_octets` begin with what peek_record() took for a header.
[[nodiscard]] bool has_body(Bytes header_octets, std::uint32_t body_crc);

[[nodiscard]] constexpr std::uint64_t round_up(std::uint64_t bytes, std::uint64_t unit) {
    return (bytes + unit - 1) / unit * unit;
}

} // namespace ringmx::spool
