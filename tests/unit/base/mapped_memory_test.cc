#include "base/mapped_memory.h"

#include <cerrno>
#include <cstdint>
#include <gtest/gtest.h>
#include <memory_resource>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

namespace ringmx {
namespace {

// Whether anything is at the page of this address.
bool is_mapped(const void* address) {
    const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
    const std::uintptr_t start = reinterpret_cast<std::uintptr_t>(address) / page * page;
    unsigned char is_resident = 0;
    return ::mincore(reinterpret_cast<void*>(start), 1, &is_resident) == 0 || errno != ENOMEM;
}

TEST(MappedMemory, WhatIsGivenBackIsTheSystemsAgain) {
    MappedMemory pages;
    const char* place = nullptr;
    {
        std::pmr::monotonic_buffer_resource memory(MappedMemory::piece_bytes, &pages);
        std::pmr::vector<char> octets(3 * MappedMemory::piece_bytes, 'x', &memory);
        place = octets.data() + MappedMemory::piece_bytes;
        EXPECT_EQ(*place, 'x');
        EXPECT_TRUE(is_mapped(place));
    }
    EXPECT_FALSE(is_mapped(place));
}

TEST(MappedMemory, OnlyWhoGaveMemoryTakesItBack) {
    const MappedMemory one;
    const MappedMemory other;
    EXPECT_TRUE(one == one);
    EXPECT_FALSE(one == other);
}

} // namespace
} // namespace ringmx
