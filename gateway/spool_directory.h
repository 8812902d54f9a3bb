// The spool's directory as one run has it: locked, with a folder of its own (see spool_layout.h).
//
// Life:   open(); while it serves, is_there() now and then. When it is not (deleted, moved, not
//         mounted any more), reopen() makes what is at the path now the spool, with the same
//         generation, as soon as that is possible; but never on another file system: what is on the
//         first one would be forgotten, and come back when it is mounted again.
// Thread: one at a time.
// Errors: Error whose message names the path and what to do. Another gateway holds it: the same.
// Source: flock(2), open(2), fsync(2) of folders: an entry is durable only when its folder is.
#pragma once

#include "base/error.h"
#include "owned_descriptor.h"

#include <cstdint>
#include <string>
#include <sys/types.h>
#include <utility>

namespace ringmx {

class SpoolDirectory {
  public:
    // Made if it is missing, its parents not. Waits up to a second for the lock of a process that
    // is just ending.
    [[nodiscard]] static Expected<SpoolDirectory> open(const std::string& path);

    [[nodiscard]] std::uint32_t generation() const { return generation_; }
    [[nodiscard]] const std::string& path() const { return path_; }
    [[nodiscard]] std::string run_path() const;
    [[nodiscard]] int directory() const { return directory_.number(); }
    [[nodiscard]] int run_folder() const { return run_.number(); }

    // What is at the path is what was opened.
    [[nodiscard]] bool is_there() const;
    [[nodiscard]] Expected<void> reopen();
    // Why its file system takes no write, as far as one sees that without writing: an errno, or 0.
    // The kernel's answer to an open for writing; ext4 of Linux 6.12 to 6.14 that found an error
    // tells only who writes.
    [[nodiscard]] int write_error() const;

  private:
    explicit SpoolDirectory(std::string path) : path_(std::move(path)) {}
    [[nodiscard]] Expected<void> take();
    [[nodiscard]] Expected<void> choose_generation();
    [[nodiscard]] Expected<void> take_run();
    [[nodiscard]] Error explained(const Error& error) const;

    std::string path_;
    std::uint32_t generation_ = 0;
    dev_t device_ = 0; // where the directory was first
    OwnedDescriptor directory_;
    OwnedDescriptor lock_;
    OwnedDescriptor run_;
    OwnedDescriptor run_lock_;
};

} // namespace ringmx
