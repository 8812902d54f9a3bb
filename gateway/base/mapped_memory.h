// Memory for what is large and gone soon: mapped for it alone, and the system's again once it is given
// back, where a general allocator may keep pages for the next who asks.
//
//   MappedMemory pages;
//   std::pmr::monotonic_buffer_resource memory(MappedMemory::piece_bytes, &pages);
//   std::pmr::unordered_map<…> many(&memory);
//
// Shape:  whole pages for each allocation: for those who ask for few and large ones.
// Thread: any; each allocation is a system call.
// Errors: where there is no memory, the program ends.
#pragma once

#include <cstddef>
#include <memory_resource>

namespace ringmx {

class MappedMemory : public std::pmr::memory_resource {
  public:
    static constexpr std::size_t piece_bytes = std::size_t{1} << 20U;

  private:
    void* do_allocate(std::size_t bytes, std::size_t alignment) override;
    void do_deallocate(void* memory, std::size_t bytes, std::size_t alignment) override;
    [[nodiscard]] bool do_is_equal(const memory_resource& other) const noexcept override;
};

} // namespace ringmx
