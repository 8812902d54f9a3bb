// Text appended to either kind of text that lines are made in. A fmt::memory_buffer's own append() is a
// call and a loop for each piece.
#pragma once

#include <cstring>
#include <fmt/format.h>
#include <string>
#include <string_view>

namespace ringmx {

inline void put(std::string& out, std::string_view text) { out.append(text); }

inline void put(fmt::memory_buffer& out, std::string_view text) {
    const std::size_t size = out.size();
    out.resize(size + text.size());
    if (!text.empty()) {
        std::memcpy(out.data() + size, text.data(), text.size());
    }
}

} // namespace ringmx
