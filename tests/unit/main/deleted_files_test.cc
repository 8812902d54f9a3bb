#include "deleted_files.h"

#include "unit/main/spool_folder.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

namespace ringmx {
namespace {

class DeletedFilesTest : public testing::Test {
  protected:
    OwnedDescriptor create(std::uint64_t bytes) {
        folder.put("file", "x");
        OwnedDescriptor file(::open(path.c_str(), O_RDWR | O_CLOEXEC));
        EXPECT_EQ(::ftruncate(file.number(), static_cast<off_t>(bytes)), 0);
        witness = OwnedDescriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
        return file;
    }
    [[nodiscard]] std::uint64_t size() const {
        struct stat status{};
        EXPECT_EQ(::fstat(witness.number(), &status), 0);
        return static_cast<std::uint64_t>(status.st_size);
    }

    SpoolFolder folder;
    const std::string path = folder.path + "/file";
    OwnedDescriptor witness;
    DeletedFiles deleted;
};

TEST_F(DeletedFilesTest, SpaceIsGivenBackInPartsWithRestsBetween) {
    constexpr std::uint64_t part = DeletedFiles::part_bytes;
    OwnedDescriptor file = create(part * 5 / 2);
    ASSERT_EQ(::unlink(path.c_str()), 0);
    EXPECT_EQ(deleted.deadline(), never);
    deleted.add(std::move(file));
    Instant now = deleted.deadline();
    deleted.run(now);
    EXPECT_EQ(size(), part * 3 / 2);
    deleted.run(now);
    EXPECT_EQ(size(), part * 3 / 2) << "it rests";
    now = deleted.deadline();
    deleted.run(now);
    EXPECT_EQ(size(), part / 2);
    EXPECT_NE(deleted.deadline(), never);
    deleted.run(deleted.deadline()); // it is closed
    EXPECT_EQ(deleted.deadline(), never);
}

// A copy by `cp -l`, or what was set aside.
TEST_F(DeletedFilesTest, WhatHasAnotherNameStaysWhole) {
    constexpr std::uint64_t size_bytes = 2 * DeletedFiles::part_bytes;
    OwnedDescriptor file = create(size_bytes);
    ASSERT_EQ(::link(path.c_str(), (path + ".copy").c_str()), 0);
    ASSERT_EQ(::unlink(path.c_str()), 0);
    deleted.add(std::move(file));
    EXPECT_EQ(deleted.deadline(), never);
    EXPECT_EQ(size(), size_bytes);
}

} // namespace
} // namespace ringmx
