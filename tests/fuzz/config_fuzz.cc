// Any text is either settings without a fault or faults that are told one a line; nothing crashes,
// nothing looks at a file.
#include "base/assert.h"
#include "config/config.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace ringmx;
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const config::Loaded loaded = config::parse(text, "/etc/ringmx", config::Files::are_left);
    RINGMX_ASSERT((loaded.settings == nullptr) == !loaded.faults.empty());
    const std::string told = config::report("fuzz.json", loaded.faults);
    const auto is_control = [](char c) {
        return c != '\n' && (static_cast<unsigned char>(c) < 0x20 || c == 0x7f);
    };
    RINGMX_ASSERT(std::none_of(told.begin(), told.end(), is_control));
    const auto lines = static_cast<std::size_t>(std::count(told.begin(), told.end(), '\n'));
    const bool is_one = loaded.faults.size() == 1 && loaded.faults.front().pointer.empty();
    RINGMX_ASSERT(lines == loaded.faults.size() + (is_one ? 0 : 1));
    return 0;
}
