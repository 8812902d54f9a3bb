// What the simulated disk does to files that the kernel can't be asked to do.
#include "sim/sim_disk.h"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <set>
#include <span>
#include <string>

namespace ringmx::sim {
namespace {

constexpr std::size_t sectors = 8;
constexpr std::size_t file_bytes = sectors * SimDisk::sector_bytes;

class SimDiskTest : public testing::Test {
  protected:
    std::uint64_t begin() { return disk_.begin_write(file_, 0, {&piece_, 1}); }
    // Which sectors of the write are there; each is there whole or not at all.
    [[nodiscard]] std::string kept() {
        std::string map;
        const std::vector<std::byte>& octets = disk_.octets(file_);
        for (std::size_t sector = 0; sector < sectors; ++sector) {
            const auto ours = std::count(
                octets.begin() + static_cast<std::ptrdiff_t>(sector * SimDisk::sector_bytes),
                octets.begin() + static_cast<std::ptrdiff_t>((sector + 1) * SimDisk::sector_bytes),
                std::byte{'x'});
            EXPECT_TRUE(ours == 0 || ours == SimDisk::sector_bytes);
            map += ours > 0 ? 'x' : '.';
        }
        return map;
    }
    void clear() { std::ranges::fill(disk_.octets(file_), std::byte{0}); }

    SimDisk disk_{7};
    int file_ = disk_.create(file_bytes, O_DSYNC);
    std::string text_ = std::string(file_bytes, 'x');
    iovec piece_{text_.data(), text_.size()};
};

TEST_F(SimDiskTest, NothingIsThereUntilTheWriteEnds) {
    const std::uint64_t write = begin();
    EXPECT_EQ(kept(), "........");
    EXPECT_EQ(disk_.end_write(write), static_cast<std::int64_t>(file_bytes));
    EXPECT_EQ(kept(), "xxxxxxxx");
}

TEST_F(SimDiskTest, CrashKeepsAnySectorsOfWhatIsUnderWay) {
    std::set<std::string> maps;
    for (int count = 0; count < 300; ++count) {
        clear();
        (void)begin();
        disk_.crash();
        EXPECT_EQ(disk_.under_way(), 0U);
        maps.insert(kept());
    }
    EXPECT_GT(maps.size(), 50U);
    EXPECT_TRUE(maps.contains("........"));
    EXPECT_TRUE(maps.contains("xxxxxxxx"));
}

TEST_F(SimDiskTest, WhatIsNotSyncedIsThereUntilACrashWhichKeepsAnySectors) {
    std::set<std::string> maps;
    for (int count = 0; count < 300; ++count) {
        file_ = disk_.create(file_bytes, 0);
        EXPECT_EQ(disk_.end_write(begin()), static_cast<std::int64_t>(file_bytes));
        EXPECT_EQ(kept(), "xxxxxxxx");
        disk_.crash();
        maps.insert(kept());
    }
    EXPECT_GT(maps.size(), 50U);
    EXPECT_TRUE(maps.contains("........"));
    EXPECT_TRUE(maps.contains("xxxxxxxx"));
    EXPECT_EQ(disk_.end_write(begin()), static_cast<std::int64_t>(file_bytes));
    disk_.crash(); // what survives one crash survives the next
    const std::string left = kept();
    disk_.crash();
    EXPECT_EQ(kept(), left);
}

TEST_F(SimDiskTest, FailedWriteLeavesAnySectors) {
    disk_.faults.write_error = 1;
    std::set<std::string> maps;
    for (int count = 0; count < 100; ++count) {
        clear();
        EXPECT_EQ(disk_.end_write(begin()), -EIO);
        maps.insert(kept());
    }
    EXPECT_GT(maps.size(), 20U);
    disk_.write_error = EROFS;
    EXPECT_EQ(disk_.end_write(begin()), -EROFS);
}

TEST_F(SimDiskTest, ShortWriteHasItsFirstOctets) {
    disk_.faults.short_write = 1;
    for (int count = 0; count < 100; ++count) {
        clear();
        const std::int64_t result = disk_.end_write(begin());
        ASSERT_GT(result, 0);
        ASSERT_LT(result, static_cast<std::int64_t>(file_bytes));
        const auto whole = static_cast<std::size_t>(result) / SimDisk::sector_bytes;
        EXPECT_EQ(kept().substr(0, whole), std::string(whole, 'x'));
    }
}

TEST_F(SimDiskTest, ReadsFailAndFallShort) {
    std::string out(file_bytes, '?');
    disk_.faults.short_read = 1;
    EXPECT_LT(disk_.read(file_, 0, std::as_writable_bytes(std::span(out))),
              static_cast<std::int64_t>(file_bytes));
    disk_.faults.read_error = 1;
    EXPECT_EQ(disk_.read(file_, 0, std::as_writable_bytes(std::span(out))), -EIO);
    disk_.read_error = ENXIO;
    EXPECT_EQ(disk_.read(file_, 0, std::as_writable_bytes(std::span(out))), -ENXIO);
}

TEST_F(SimDiskTest, StalledOperationsEndWhenItResumes) {
    int ended = 0;
    disk_.stall();
    disk_.when_it_may_end([&] { ++ended; });
    EXPECT_EQ(ended, 0);
    disk_.resume();
    EXPECT_EQ(ended, 1);
    disk_.when_it_may_end([&] { ++ended; });
    EXPECT_EQ(ended, 2);
}

TEST_F(SimDiskTest, ChangingWhatIsBeingWrittenAborts) {
    const std::uint64_t write = begin();
    text_[4000] = 'y';
    EXPECT_DEATH((void)disk_.end_write(write), "changed while they were written");
}

} // namespace
} // namespace ringmx::sim
