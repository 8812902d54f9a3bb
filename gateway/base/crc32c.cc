#include "base/crc32c.h"

#include "base/cpu.h"

#include <array>
#include <cstddef>
#include <cstring>

#ifdef RINGMX_X86_64
#include <nmmintrin.h>
#endif

namespace ringmx {
namespace {

constexpr std::uint32_t polynomial = 0x82F63B78; // Castagnoli's, bits reversed

using Table = std::array<std::uint32_t, 256>;

// tables[k][o]: what octet o does to the checksum once k more octets have followed it.
constexpr std::array<Table, 8> make_tables() {
    std::array<Table, 8> tables{};
    for (std::uint32_t octet = 0; octet < 256; ++octet) {
        std::uint32_t crc = octet;
        for (int bit = 0; bit < 8; ++bit) {
            crc = (crc >> 1) ^ ((crc & 1) != 0 ? polynomial : 0);
        }
        tables[0][octet] = crc;
    }
    for (std::size_t slice = 1; slice < tables.size(); ++slice) {
        for (std::size_t octet = 0; octet < 256; ++octet) {
            const std::uint32_t before = tables[slice - 1][octet];
            tables[slice][octet] = (before >> 8) ^ tables[0][before & 0xFF];
        }
    }
    return tables;
}

constexpr std::array<Table, 8> tables = make_tables();

constexpr std::uint32_t step(std::uint32_t crc, std::uint8_t octet) {
    return (crc >> 8) ^ tables[0][(crc ^ octet) & 0xFF];
}

std::uint32_t little_endian_u32(const std::byte* octets) {
    return static_cast<std::uint32_t>(octets[0]) | static_cast<std::uint32_t>(octets[1]) << 8 |
           static_cast<std::uint32_t>(octets[2]) << 16 |
           static_cast<std::uint32_t>(octets[3]) << 24;
}

#ifdef RINGMX_X86_64

// Three streams hide the crc32 instruction's latency of three cycles. Joining them costs eight
// look-ups, little against 512 octets.
constexpr std::size_t stream_bytes = 512;

// shift[k][o]: what octet k of a checksum becomes when stream_bytes zero octets follow.
constexpr std::array<Table, 4> make_shift() {
    std::array<Table, 4> shift{};
    for (std::uint32_t position = 0; position < 4; ++position) {
        // The operation is linear: eight powers of two give all 256 values.
        for (std::uint32_t bit = 0; bit < 8; ++bit) {
            std::uint32_t crc = std::uint32_t{1} << (position * 8 + bit);
            for (std::size_t count = 0; count < stream_bytes; ++count) {
                crc = step(crc, 0);
            }
            for (std::uint32_t octet = 0; octet < 256; ++octet) {
                shift[position][octet] ^= ((octet >> bit) & 1) != 0 ? crc : 0;
            }
        }
    }
    return shift;
}

constexpr std::array<Table, 4> shift = make_shift();

std::uint64_t shifted(std::uint64_t crc) {
    return shift[0][crc & 0xFF] ^ shift[1][(crc >> 8) & 0xFF] ^ shift[2][(crc >> 16) & 0xFF] ^
           shift[3][(crc >> 24) & 0xFF];
}

std::uint64_t load_u64(const std::byte* octets) {
    std::uint64_t value = 0;
    std::memcpy(&value, octets, sizeof value);
    return value;
}

[[gnu::target("sse4.2")]] std::uint32_t crc32c_sse42(std::uint32_t seed, Bytes octets) {
    std::uint64_t crc = ~seed;
    const std::byte* at = octets.data();
    std::size_t left = octets.size();
    for (; left >= 3 * stream_bytes; left -= 3 * stream_bytes, at += 3 * stream_bytes) {
        std::uint64_t second = 0;
        std::uint64_t third = 0;
#pragma GCC unroll 8 // or half of its instructions count and jump; so below
        for (std::size_t offset = 0; offset < stream_bytes; offset += 8) {
            crc = _mm_crc32_u64(crc, load_u64(at + offset));
            second = _mm_crc32_u64(second, load_u64(at + stream_bytes + offset));
            third = _mm_crc32_u64(third, load_u64(at + 2 * stream_bytes + offset));
        }
        crc = shifted(shifted(crc) ^ second) ^ third;
    }
#pragma GCC unroll 8
    for (; left >= 8; left -= 8, at += 8) {
        crc = _mm_crc32_u64(crc, load_u64(at));
    }
    auto narrow = static_cast<std::uint32_t>(crc);
    for (; left > 0; --left, ++at) {
        narrow = _mm_crc32_u8(narrow, static_cast<std::uint8_t>(*at));
    }
    return ~narrow;
}

#endif

} // namespace

std::uint32_t crc32c_plain(std::uint32_t seed, Bytes octets) {
    std::uint32_t crc = ~seed;
    const std::byte* at = octets.data();
    std::size_t left = octets.size();
    for (; left >= 8; left -= 8, at += 8) {
        const std::uint32_t low = crc ^ little_endian_u32(at);
        const std::uint32_t high = little_endian_u32(at + 4);
        crc = tables[7][low & 0xFF] ^ tables[6][(low >> 8) & 0xFF] ^ tables[5][(low >> 16) & 0xFF] ^
              tables[4][low >> 24] ^ tables[3][high & 0xFF] ^ tables[2][(high >> 8) & 0xFF] ^
              tables[1][(high >> 16) & 0xFF] ^ tables[0][high >> 24];
    }
    for (; left > 0; --left, ++at) {
        crc = step(crc, static_cast<std::uint8_t>(*at));
    }
    return ~crc;
}

std::uint32_t crc32c(std::uint32_t seed, Bytes octets) {
#ifdef RINGMX_X86_64
    if (cpu_features().sse42) {
        return crc32c_sse42(seed, octets);
    }
#endif
    return crc32c_plain(seed, octets);
}

} // namespace ringmx
