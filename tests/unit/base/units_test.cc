#include "base/units.h"

#include <gtest/gtest.h>

#include <utility>

namespace ringmx {
namespace {

TEST(ParseDuration, EveryUnit) {
    const std::pair<const char*, Duration> cases[] = {
        {"0", 0s},    {"0s", 0s}, {"250ms", 250ms}, {"30s", 30s},
        {"5m", 5min}, {"2h", 2h}, {"4d", 96h},      {"3650d", 24h * 3650},
    };
    for (const auto& [text, value] : cases) {
        EXPECT_EQ(parse_duration(text), value) << text;
    }
}

TEST(ParseDuration, AnythingElseIsRefused) {
    for (const char* text :
         {"", "s", "30", "-1s", "+1s", " 1s", "1s ", "1 s", "1.5s", "1min", "1S", "1w", "3651d",
          "99999999999999999999s", "18446744073709551615ms", "1s1s"}) {
        EXPECT_FALSE(parse_duration(text)) << text;
    }
}

TEST(ParseSize, EveryUnit) {
    const std::pair<const char*, std::uint64_t> cases[] = {
        {"0", 0},
        {"4096", 4096},
        {"512KiB", 512 << 10},
        {"50MiB", 50 << 20},
        {"10GiB", 10ULL << 30},
        {"1TiB", 1ULL << 40},
        {"18446744073709551615", 18446744073709551615ULL},
    };
    for (const auto& [text, value] : cases) {
        EXPECT_EQ(parse_size(text), value) << text;
    }
}

TEST(ParseSize, AnythingElseIsRefused) {
    for (const char* text : {"", "KiB", "1KB", "1K", "1kib", "-1", "1.5MiB", "1 MiB", "16777216TiB",
                             "18446744073709551616", "0x10"}) {
        EXPECT_FALSE(parse_size(text)) << text;
    }
}

TEST(ParseRate, CountPerDuration) {
    EXPECT_EQ(parse_rate("2000/1m")->count, 2000U);
    EXPECT_EQ(parse_rate("2000/1m")->period, 1min);
    EXPECT_EQ(parse_rate("0")->count, 0U);
    EXPECT_EQ(parse_rate("0/1s")->count, 0U);
    for (const char* text :
         {"", "5", "/1s", "5/", "5/0", "5/0s", "5/s", "5 / 1s", "-5/1s", "5/1s/1s", "x/1s"}) {
        EXPECT_FALSE(parse_rate(text)) << text;
    }
}

} // namespace
} // namespace ringmx
