#include "config/large_numbers.h"

#include <gtest/gtest.h>

namespace ringmx::config {
namespace {

TEST(BluntNumbers, WhatATypeHoldsStaysAsItIs) {
    for (const char* json :
         {"", "0", "-0", "18446744073709551615", "-9223372036854775808", "1.7e308", "-1.7E+308",
          "1e-400", "[1, 2.5,-3]", R"({"123456789012345678901234567890": "1e999"})",
          R"(["\"", "1e999\\", 7, "\u0031e999"])"}) {
        EXPECT_EQ(with_blunt_numbers(json), json);
    }
}

TEST(BluntNumbers, WhatNoTypeHoldsBecomesOneOutOfEveryRangeAndNothingMoves) {
    EXPECT_EQ(with_blunt_numbers("18446744073709551616"), "9e307               ");
    EXPECT_EQ(with_blunt_numbers("-9223372036854775809"), "-9e307              ");
    EXPECT_EQ(with_blunt_numbers("1e309"), "9e307");
    EXPECT_EQ(with_blunt_numbers("-1e309"), "-9e307");
    EXPECT_EQ(with_blunt_numbers(R"({"a\"": 1e400, "b": [2E+999,3]})"),
              R"({"a\"": 9e307, "b": [9e307 ,3]})");
}

} // namespace
} // namespace ringmx::config
