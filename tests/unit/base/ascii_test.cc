#include "base/ascii.h"

#include <gtest/gtest.h>
#include <string>

namespace ringmx {
namespace {

TEST(AsciiTest, EachOctetAtEachPlace) {
    for (std::size_t length = 0; length <= 17; ++length) {
        EXPECT_TRUE(is_ascii(std::string(length, '\0'))) << length;
        for (std::size_t place = 0; place < length; ++place) {
            for (unsigned value = 0; value < 256; ++value) {
                std::string text(length, '\x7F');
                text[place] = static_cast<char>(value);
                EXPECT_EQ(is_ascii(text), value < 0x80)
                    << "octet " << value << " at " << place << " of " << length;
            }
        }
    }
}

} // namespace
} // namespace ringmx
