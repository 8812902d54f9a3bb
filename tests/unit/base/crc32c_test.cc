#include "base/crc32c.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace ringmx {
namespace {

struct Check {
    std::string octets;
    std::uint32_t crc;
};

// RFC 3720, B.4, whose bytes are in the order of the wire; and the usual check value.
std::vector<Check> known() {
    std::string rising;
    std::string falling;
    for (int value = 0; value < 32; ++value) {
        rising.push_back(static_cast<char>(value));
        falling.push_back(static_cast<char>(31 - value));
    }
    return {{"", 0},
            {"123456789", 0xE3069283},
            {std::string(32, '\0'), 0x8A9136AA},
            {std::string(32, '\xFF'), 0x62A8AB43},
            {rising, 0x46DD794E},
            {falling, 0x113FDB5C}};
}

TEST(Crc32c, GivesTheKnownValues) {
    for (const Check& check : known()) {
        EXPECT_EQ(crc32c(0, as_bytes(check.octets)), check.crc);
        EXPECT_EQ(crc32c_plain(0, as_bytes(check.octets)), check.crc);
    }
}

TEST(Crc32c, FastAndPlainAgreeAtEveryLengthAndAlignment) {
    std::mt19937 random(3720);
    std::string octets(5000, '\0');
    for (char& octet : octets) {
        octet = static_cast<char>(random());
    }
    for (std::size_t length = 0; length < 4900; length += length < 64 ? 1 : 37) {
        for (std::size_t start = 0; start < 9; ++start) {
            const Bytes part = as_bytes(octets).subspan(start, length);
            const auto before = static_cast<std::uint32_t>(random());
            ASSERT_EQ(crc32c(before, part), crc32c_plain(before, part)) << start << ' ' << length;
        }
    }
}

TEST(Crc32c, GoesOnWhereItStopped) {
    std::string octets;
    for (int value = 0; value < 4000; ++value) {
        octets.push_back(static_cast<char>(value * 7));
    }
    const std::uint32_t whole = crc32c(0, as_bytes(octets));
    for (std::size_t cut = 0; cut <= octets.size(); cut += 13) {
        const std::uint32_t front = crc32c(0, as_bytes(octets).first(cut));
        ASSERT_EQ(crc32c(front, as_bytes(octets).subspan(cut)), whole) << cut;
    }
}

} // namespace
} // namespace ringmx
