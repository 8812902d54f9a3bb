// The two forms in which message content travels.
#pragma once

#include <cstdint>

namespace ringmx::smtp {

enum class ContentForm : std::uint8_t {
    dot_stuffed, // as DATA carries it: a dot at a line's start is not part of the line
    raw,         // as BDAT carries it
};

} // namespace ringmx::smtp
