#include "spool/format.h"

#include "base/crc32c.h"
#include "base/mutation.h"
#include "spool/little_endian.h"

#include <algorithm>
#include <string_view>

namespace ringmx::spool {
namespace {

constexpr std::string_view segment_magic = "ringmxsg";
constexpr std::uint32_t record_magic = 0x72'58'4D'52; // "RMXr" in the file

// Where the fields stand.
namespace segment_at {
constexpr std::size_t version = 8;
constexpr std::size_t nonce = 16;
constexpr std::size_t generation = 32;
constexpr std::size_t worker = 36;
constexpr std::size_t life = 40;
constexpr std::size_t size = 48;
constexpr std::size_t crc = block_bytes - 4;
} // namespace segment_at

namespace record_at {
constexpr std::size_t type = 4;
constexpr std::size_t version = 5;
constexpr std::size_t bytes = 8;
constexpr std::size_t crc = 12;
constexpr std::size_t nonce = 16;
constexpr std::size_t offset = 32;
constexpr std::size_t sequence = 40;
constexpr std::size_t id = 48;
constexpr std::size_t part = 56;
constexpr std::size_t in_doubt = 60;
} // namespace record_at

Nonce nonce_at(const std::byte* place) {
    Nonce nonce;
    std::copy_n(place, nonce.size(), nonce.begin());
    return nonce;
}

// The header's own CRC field counts as zeros.
std::uint32_t crc_of_header(std::uint32_t body_crc, Bytes header) {
    constexpr std::array<std::byte, 4> zeros{};
    std::uint32_t crc = crc32c(body_crc, header.first(record_at::crc));
    crc = crc32c(crc, zeros);
    return crc32c(crc, header.subspan(record_at::crc + zeros.size()));
}

} // namespace

void encode_segment_header(const SegmentHeader& header, std::span<std::byte, block_bytes> out) {
    std::ranges::fill(out, std::byte{0});
    std::ranges::copy(as_bytes(segment_magic), out.begin());
    store(&out[segment_at::version], format_version);
    std::ranges::copy(header.nonce, out.begin() + segment_at::nonce);
    store(&out[segment_at::generation], header.generation);
    store(&out[segment_at::worker], header.worker);
    store(&out[segment_at::life], header.life);
    store(&out[segment_at::size], header.size_bytes);
    store(&out[segment_at::crc], crc32c(0, Bytes(out).first(segment_at::crc)));
}

bool is_other_version(Bytes block) {
    return block.size() > segment_at::version && as_text(block).starts_with(segment_magic) &&
           load<std::uint8_t>(&block[segment_at::version]) != format_version;
}

std::optional<SegmentHeader> decode_segment_header(Bytes block) {
    if (block.size() < block_bytes || as_text(block.first(segment_magic.size())) != segment_magic ||
        load<std::uint8_t>(&block[segment_at::version]) != format_version ||
        load<std::uint32_t>(&block[segment_at::crc]) != crc32c(0, block.first(segment_at::crc))) {
        return std::nullopt;
    }
    return SegmentHeader{.nonce = nonce_at(&block[segment_at::nonce]),
                         .generation = load<std::uint32_t>(&block[segment_at::generation]),
                         .worker = load<std::uint16_t>(&block[segment_at::worker]),
                         .life = load<std::uint64_t>(&block[segment_at::life]),
                         .size_bytes = load<std::uint64_t>(&block[segment_at::size])};
}

void encode_record_header(const RecordHeader& header, std::uint32_t body_crc,
                          std::span<std::byte, record_header_bytes> out) {
    std::ranges::fill(out, std::byte{0});
    store(out.data(), record_magic);
    store(&out[record_at::type], static_cast<std::uint8_t>(header.type));
    store(&out[record_at::version], format_version);
    store(&out[record_at::bytes], header.record_bytes);
    std::ranges::copy(header.nonce, out.begin() + record_at::nonce);
    store(&out[record_at::offset], header.offset);
    store(&out[record_at::sequence], header.sequence);
    store(&out[record_at::id], header.id);
    store(&out[record_at::part], header.part);
    store(&out[record_at::in_doubt], header.in_doubt);
    store(&out[record_at::crc], crc_of_header(body_crc, out));
}

std::optional<RecordHeader> peek_record(Bytes octets, const Nonce& nonce, std::uint64_t offset) {
    if (octets.size() < record_header_bytes || load<std::uint32_t>(octets.data()) != record_magic ||
        load<std::uint8_t>(&octets[record_at::version]) != format_version) {
        return std::nullopt;
    }
    bool is_here = load<std::uint64_t>(&octets[record_at::offset]) == offset;
    bool is_of_this_life = nonce_at(&octets[record_at::nonce]) == nonce;
    RINGMX_MUTATE(any_magic_is_a_record, is_here = is_of_this_life = true);
    RINGMX_MUTATE(earlier_life_trusted, is_of_this_life = true);
    if (!is_here || !is_of_this_life) {
        return std::nullopt;
    }
    const auto type = load<std::uint8_t>(&octets[record_at::type]);
    const auto record_bytes = load<std::uint32_t>(&octets[record_at::bytes]);
    if (record_bytes < record_header_bytes) {
        return std::nullopt;
    }
    return RecordHeader{.type = static_cast<RecordType>(type),
                        .record_bytes = record_bytes,
                        .nonce = nonce,
                        .offset = offset,
                        .sequence = load<std::uint64_t>(&octets[record_at::sequence]),
                        .id = load<std::uint64_t>(&octets[record_at::id]),
                        .part = load<std::uint32_t>(&octets[record_at::part]),
                        .in_doubt = load<std::uint32_t>(&octets[record_at::in_doubt])};
}

std::size_t next_record_like(Bytes octets) {
    std::size_t at = record_alignment;
    while (at + record_header_bytes <= octets.size() &&
           load<std::uint32_t>(&octets[at]) != record_magic) {
        at += record_alignment;
    }
    return at + record_header_bytes <= octets.size() ? at : octets.size();
}

std::optional<RecordHeader> decode_record(Bytes octets, const Nonce& nonce, std::uint64_t offset) {
    const std::optional<RecordHeader> header = peek_record(octets, nonce, offset);
    if (!header || header->record_bytes > octets.size()) {
        return std::nullopt;
    }
    const std::uint32_t body_crc =
        crc32c(0, octets.subspan(record_header_bytes, header->record_bytes - record_header_bytes));
    return has_body(octets, body_crc) ? header : std::nullopt;
}

bool has_body(Bytes header_octets, std::uint32_t body_crc) {
    return load<std::uint32_t>(&header_octets[record_at::crc]) ==
           crc_of_header(body_crc, header_octets.first(record_header_bytes));
}

} // namespace ringmx::spool
