#include "spool_directory.h"

#include "unit/main/spool_folder.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

namespace ringmx {
namespace {

unsigned mode_of(const std::string& path) {
    struct stat status{};
    EXPECT_EQ(::stat(path.c_str(), &status), 0) << path;
    return status.st_mode & 0777U;
}

std::string fault_of(const std::string& path) {
    const auto opened = SpoolDirectory::open(path);
    return opened ? "opened" : opened.error().message();
}

TEST(SpoolDirectory, IsMadeIfItIsMissingForItsUserAlone) {
    const SpoolFolder folder;
    const auto opened = SpoolDirectory::open(folder.path);
    ASSERT_TRUE(opened.has_value()) << opened.error().message();
    EXPECT_EQ(opened->generation(), 1U);
    EXPECT_EQ(mode_of(folder.path), 0700U);
    EXPECT_EQ(mode_of(folder.path + "/lock"), 0600U);
    EXPECT_EQ(mode_of(folder.path + "/00000001"), 0700U);
    EXPECT_EQ(mode_of(folder.path + "/00000001/lock"), 0600U);
    EXPECT_TRUE(opened->is_there());
}

TEST(SpoolDirectory, EachRunHasANumberThatWasNeverUsed) {
    const SpoolFolder folder;
    EXPECT_EQ(SpoolDirectory::open(folder.path)->generation(), 1U);
    EXPECT_EQ(SpoolDirectory::open(folder.path)->generation(), 2U);
    folder.put("00000041/lock", "");
    folder.put("00000099x/lock", "");
    folder.put("lost+found/999", "");
    EXPECT_EQ(SpoolDirectory::open(folder.path)->generation(), 42U);
    folder.put("01048575/lock", "");
    EXPECT_NE(fault_of(folder.path).find(folder.path), std::string::npos);
}

TEST(SpoolDirectory, TwoGatewaysNeverServeFromOne) {
    const SpoolFolder folder;
    const auto first = SpoolDirectory::open(folder.path);
    ASSERT_TRUE(first.has_value());
    EXPECT_EQ(fault_of(folder.path),
              "spool.directory " + folder.path +
                  ": another gateway serves from it; stop that one, or give each a directory of "
                  "its own");
    EXPECT_FALSE(folder.has("00000002"));
}

TEST(SpoolDirectory, FaultsNameThePathAndTheMend) {
    const SpoolFolder folder;
    folder.put("file", "");
    EXPECT_EQ(fault_of(folder.path + "/a/b"),
              "spool.directory: create " + folder.path +
                  "/a/b: No such file or directory; create the folder above it, ringmx creates "
                  "only the last one");
    EXPECT_EQ(fault_of(folder.path + "/file"),
              "spool.directory: open " + folder.path +
                  "/file: Not a directory; it or a part of its path is no folder: set "
                  "spool.directory to another");
}

TEST(SpoolDirectory, OneThatItsUserMayNotUseIsAFaultThatSaysWhose) {
    const SpoolFolder folder;
    folder.put("file", "");
    ::chmod(folder.path.c_str(), 0);
    const AsNobody nobody(folder);
    const std::string fault = fault_of(folder.path);
    EXPECT_TRUE(fault.find("Permission denied; give it to the user that ringmx runs as: chown "
                           "USER " +
                           folder.path) != std::string::npos)
        << fault;
}

TEST(SpoolDirectory, OneThatItsUserMayNotMakeIsAFaultThatSaysHowToMakeIt) {
    const SpoolFolder folder;
    folder.put("file", "");
    const AsNobody nobody(folder);
    ::chmod(folder.path.c_str(), 0500);
    const std::string path = folder.path + "/spool";
    EXPECT_EQ(fault_of(path), "spool.directory: create " + path +
                                  ": Permission denied; make it for the user that ringmx runs as: "
                                  "install -d -m 700 -o USER " +
                                  path);
    ::chmod(folder.path.c_str(), 0700);
}

TEST(SpoolDirectory, ThatWasDeletedOrMovedIsNoticedAndWaitedFor) {
    const SpoolFolder folder;
    folder.put("00000006/lock", "");
    auto opened = SpoolDirectory::open(folder.path);
    ASSERT_TRUE(opened.has_value());
    std::filesystem::rename(folder.path, folder.path + "-moved");
    EXPECT_FALSE(opened->is_there());
    const auto missing = opened->reopen();
    ASSERT_FALSE(missing.has_value());
    EXPECT_NE(missing.error().message().find("put it or its file system back"), std::string::npos);
    EXPECT_FALSE(std::filesystem::exists(folder.path)); // or what is moved back finds it in its way

    std::filesystem::create_directory(folder.path); // by the operator
    ASSERT_TRUE(opened->reopen().has_value());
    EXPECT_TRUE(opened->is_there());
    EXPECT_EQ(opened->generation(), 7U);
    EXPECT_TRUE(folder.has("00000007/lock"));
    EXPECT_NE(fault_of(folder.path).find("another gateway"), std::string::npos);

    std::filesystem::remove_all(folder.path + "/00000007");
    EXPECT_FALSE(opened->is_there());
    ASSERT_TRUE(opened->reopen().has_value());
    EXPECT_TRUE(opened->is_there());
}

TEST(SpoolDirectory, IsNotMadeAnewOnAnotherFileSystem) {
    struct stat here{};
    struct stat there{};
    const SpoolFolder folder;
    auto opened = SpoolDirectory::open(folder.path);
    ASSERT_TRUE(opened.has_value());
    ASSERT_EQ(::stat(folder.path.c_str(), &here), 0);
    ASSERT_EQ(::stat("/proc", &there), 0);
    ASSERT_NE(here.st_dev, there.st_dev);
    std::filesystem::rename(folder.path, folder.path + "-moved");
    std::filesystem::create_directory_symlink("/proc", folder.path);
    EXPECT_FALSE(opened->is_there());
    const auto again = opened->reopen();
    ASSERT_FALSE(again.has_value());
    EXPECT_NE(again.error().message().find("another file system is there now"), std::string::npos);
    std::filesystem::remove(folder.path);
    std::filesystem::rename(folder.path + "-moved", folder.path);
    EXPECT_TRUE(opened->is_there());
}

} // namespace
} // namespace ringmx
