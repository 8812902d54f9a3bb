#include "base/mapped_memory.h"

#include "base/assert.h"

#include <sys/mman.h>
#include <unistd.h>

namespace ringmx {

void* MappedMemory::do_allocate(std::size_t bytes, std::size_t alignment) {
    RINGMX_ASSERT_STATE(alignment <= static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)),
                        "alignment %zu", alignment);
    void* const memory =
        ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    RINGMX_ASSERT_STATE(memory != MAP_FAILED, "mmap of %zu bytes", bytes);
    return memory;
}

void MappedMemory::do_deallocate(void* memory, std::size_t bytes, std::size_t) {
    (void)::munmap(memory, bytes);
}

bool MappedMemory::do_is_equal(const memory_resource& other) const noexcept {
    return this == &other;
}

} // namespace ringmx
