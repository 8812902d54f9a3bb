// Every tests/golden/config/NAME.json is loaded and must be told as NAME.txt says, octet for octet.
// RINGMX_GOLDEN_WRITE=1 writes what is told now; look at the difference before keeping it.
#include "config/config.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

namespace ringmx::config {
namespace {

std::string read_text(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<std::string> names() {
    std::vector<std::string> result;
    for (const auto& entry : std::filesystem::directory_iterator(RINGMX_GOLDEN_CONFIGS)) {
        if (entry.path().extension() == ".json") {
            result.push_back(entry.path().stem().string());
        }
    }
    std::sort(result.begin(), result.end());
    return result;
}

class GoldenConfig : public testing::TestWithParam<std::string> {};

TEST_P(GoldenConfig, IsToldAsWritten) {
    const std::filesystem::path folder = RINGMX_GOLDEN_CONFIGS;
    const Loaded loaded = load(folder / (GetParam() + ".json"));
    EXPECT_EQ(loaded.settings, nullptr);
    const std::string told = report(GetParam() + ".json", loaded.faults);
    const std::filesystem::path expected = folder / (GetParam() + ".txt");
    if (std::getenv("RINGMX_GOLDEN_WRITE") != nullptr) {
        std::ofstream(expected, std::ios::binary) << told;
    }
    EXPECT_EQ(told, read_text(expected));
    const auto lines = static_cast<std::size_t>(std::count(told.begin(), told.end(), '\n'));
    const bool is_one = loaded.faults.size() == 1 && loaded.faults.front().pointer.empty();
    EXPECT_EQ(lines, loaded.faults.size() + (is_one ? 0 : 1)) << "each fault is one line";
}

INSTANTIATE_TEST_SUITE_P(All, GoldenConfig, testing::ValuesIn(names()),
                         [](const auto& one) { return one.param; });

} // namespace
} // namespace ringmx::config
