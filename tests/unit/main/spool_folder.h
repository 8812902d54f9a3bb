// A spool's directory for a test: segments and other files are put there, and what is there is told.
#pragma once

#include "spool_layout.h"
#include "unit/spool/segment_image.h"

#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <gtest/gtest.h>
#include <string>
#include <unistd.h>
#include <vector>

namespace ringmx {

class SpoolFolder {
  public:
    SpoolFolder() {
        std::string pattern = testing::TempDir() + "ringmx-spool-XXXXXX";
        EXPECT_NE(::mkdtemp(pattern.data()), nullptr);
        parent_ = pattern;
        path = pattern + "/spool";
    }
    ~SpoolFolder() {
        std::error_code ignored;
        std::filesystem::remove_all(parent_, ignored);
    }
    SpoolFolder(const SpoolFolder&) = delete;
    SpoolFolder& operator=(const SpoolFolder&) = delete;

    // At a path below the directory; folders are made.
    void put(const std::string& name, Bytes octets) const {
        const std::filesystem::path whole = path + "/" + name;
        std::filesystem::create_directories(whole.parent_path());
        const OwnedDescriptor file(
            ::open(whole.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
        EXPECT_EQ(::write(file.number(), octets.data(), octets.size()),
                  static_cast<ssize_t>(octets.size()));
    }
    void put(const std::string& name, std::string_view text) const { put(name, as_bytes(text)); }
    // In its generation's folder, as a worker's file of this number.
    void put(const spool::SegmentImage& image, std::uint32_t number) const {
        put(run_name(image.header().generation) + "/" + segment_name(image.header().worker, number),
            Bytes(image.octets));
    }
    // Every file and empty folder, sorted, but for locks.
    [[nodiscard]] std::vector<std::string> all() const {
        std::vector<std::string> names;
        for (const auto& entry : std::filesystem::recursive_directory_iterator(path)) {
            if (entry.path().filename() != lock_name &&
                (!entry.is_directory() || is_bare(entry.path()))) {
                names.push_back(std::filesystem::relative(entry.path(), path).string());
            }
        }
        std::ranges::sort(names);
        return names;
    }
    [[nodiscard]] bool has(const std::string& name) const {
        return std::filesystem::exists(path + "/" + name);
    }

    // All of it.
    void give_to(uid_t user) const {
        EXPECT_EQ(::chown(parent_.c_str(), user, static_cast<gid_t>(-1)), 0);
        EXPECT_EQ(::chown(path.c_str(), user, static_cast<gid_t>(-1)), 0);
        for (const auto& entry : std::filesystem::recursive_directory_iterator(path)) {
            EXPECT_EQ(::chown(entry.path().c_str(), user, static_cast<gid_t>(-1)), 0);
        }
    }

    std::string path;

  private:
    static bool is_bare(const std::filesystem::path& folder) {
        return std::ranges::none_of(std::filesystem::directory_iterator(folder),
                                    [](const std::filesystem::directory_entry& entry) {
                                        return entry.path().filename() != lock_name;
                                    });
    }

    std::string parent_;
};

// While it lives this process is a user that permissions mean something to, and the folder is that
// user's.
class AsNobody {
  public:
    explicit AsNobody(const SpoolFolder& folder) {
        if (is_root_) {
            folder.give_to(nobody);
            EXPECT_EQ(::seteuid(nobody), 0);
        }
    }
    ~AsNobody() {
        if (is_root_) {
            EXPECT_EQ(::seteuid(0), 0);
        }
    }
    AsNobody(const AsNobody&) = delete;
    AsNobody& operator=(const AsNobody&) = delete;

  private:
    static constexpr uid_t nobody = 65534;
    bool is_root_ = ::geteuid() == 0;
};

} // namespace ringmx
