#include "unit/smtp/allocation_count.h"

#include "base/sanitizers.h"

#include <cstdlib>
#include <malloc.h>
#include <new>

namespace ringmx {
namespace {
AllocationCount count;
} // namespace

AllocationCount allocation_count() { return count; }

#if defined(RINGMX_ADDRESS_SANITIZER) || defined(RINGMX_THREAD_SANITIZER)
bool counts_allocations() { return false; }
#else
bool counts_allocations() { return true; }
#endif

} // namespace ringmx

#if !defined(RINGMX_ADDRESS_SANITIZER) && !defined(RINGMX_THREAD_SANITIZER)
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
