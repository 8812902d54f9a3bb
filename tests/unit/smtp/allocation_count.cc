#include "unit/smtp/allocation_count.h"

#include <cstdlib>
#include <malloc.h>
#include <new>

namespace ringmx {
namespace {
AllocationCount count;
} // namespace

AllocationCount allocation_count() { return count; }

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
bool counts_allocations() { return false; }
#else
bool counts_allocations() { return true; }
#endif

} // namespace ringmx

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
void* operator new(std::size_t bytes) {
    void* memory = std::malloc(bytes);
    if (memory == nullptr) {
        std::abort();
    }
    ++ringmx::count.times;
    ringmx::count.live_bytes += malloc_usable_size(memory);
    return memory;
}

void operator delete(void* memory) noexcept {
    if (memory != nullptr) {
        ringmx::count.live_bytes -= malloc_usable_size(memory);
        std::free(memory);
    }
}

void operator delete(void* memory, std::size_t) noexcept { operator delete(memory); }
#endif
