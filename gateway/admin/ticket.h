// Names a request whose answer comes later.
//
// Thread: main's.
#pragma once

#include <cstdint>

namespace ringmx::admin {

struct Ticket {
    std::uint32_t slot = 0;   // of its connection
    std::uint64_t number = 0; // of the request, never used again; 0: names nothing

    bool operator==(const Ticket&) const = default;
};

} // namespace ringmx::admin
