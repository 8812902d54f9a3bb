#include "base/plain_ascii.h"

#include <gtest/gtest.h>
#include <string>

namespace ringmx {
namespace {

TEST(PlainAsciiTest, EachOctetAtEachPlace) {
    for (std::size_t length = 0; length <= 17; ++length) {
        EXPECT_TRUE(is_plain_ascii(std::string(length, ' '))) << length;
        EXPECT_TRUE(is_plain_ascii(std::string(length, '~'))) << length;
        for (std::size_t place = 0; place < length; ++place) {
            for (unsigned value = 0; value < 256; ++value) {
                std::string text(length, 'x');
                text[place] = static_cast<char>(value);
                EXPECT_EQ(is_plain_ascii(text), value >= 0x20 && value < 0x7F)
                    << "octet " << value << " at " << place << " of " << length;
            }
        }
    }
}

// A test on eight at once must not let one octet's carry hide or accuse another.
TEST(PlainAsciiTest, NeighboursAreNotAccused) {
    for (unsigned first = 0x20; first < 0x7F; ++first) {
        for (unsigned second = 0; second < 256; ++second) {
            std::string text(8, static_cast<char>(first));
            text[3] = static_cast<char>(second);
            EXPECT_EQ(is_plain_ascii(text), second >= 0x20 && second < 0x7F) << first << second;
        }
    }
}

} // namespace
} // namespace ringmx
