// How many octets and how many times this program took from the heap. Counts nothing in sanitizer
// builds, whose own allocator stays in place.
#pragma once

#include <cstddef>

namespace ringmx {

struct AllocationCount {
    std::size_t times = 0;
    std::size_t live_bytes = 0;
};

[[nodiscard]] AllocationCount allocation_count();
[[nodiscard]] bool counts_allocations();

} // namespace ringmx
