#include "spool_directory.h"

#include "spool_layout.h"

#include <cerrno>
#include <fcntl.h>
#include <fmt/format.h>
#include <string_view>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>

namespace ringmx {
namespace {

// What the operator can do about it.
std::string mend_of(const Error& error, const std::string& path) {
    switch (error.code) {
    case EACCES:
    case EPERM:
        return (error.operation == "create" && error.subject == path
                    ? "; make it for the user that ringmx runs as: install -d -m 700 -o USER "
                    : "; give it to the user that ringmx runs as: chown USER ") +
               path;
    case ENOENT:
        return "; create the folder above it, ringmx creates only the last one";
    case ENOTDIR:
        return "; it or a part of its path is no folder: set spool.directory to another";
    case EROFS:
        return "; its file system is read-only: remount it, or set spool.directory to another";
    case ENOSPC:
    case EDQUOT:
        return "; make room on its file system";
    case EMFILE:
    case ENFILE:
        return "; raise the limit of open files";
    default:
        return "";
    }
}

// Both are the same file, whatever they are called.
bool is_same(const struct stat& left, const struct stat& right) {
    return left.st_dev == right.st_dev && left.st_ino == right.st_ino;
}

} // namespace

std::string SpoolDirectory::run_path() const { return path_ + "/" + run_name(generation_); }

Error SpoolDirectory::explained(const Error& error) const {
    if (error.code == EWOULDBLOCK) {
        return {"spool.directory " + path_ +
                    ": another gateway serves from it; stop that one, or give each a directory of "
                    "its own",
                0, ""};
    }
    return {fmt::format("spool.directory: {}{}", error.message(), mend_of(error, path_)), 0, ""};
}

Expected<SpoolDirectory> SpoolDirectory::open(const std::string& path) {
    SpoolDirectory made(path);
    Expected<void> result = made.take();
    if (result) {
        result = made.choose_generation();
    }
    if (result) {
        result = made.take_run();
    }
    struct stat opened{};
    if (result && ::fstat(made.directory(), &opened) == 0) {
        made.device_ = opened.st_dev;
    }
    if (!result) {
        return std::unexpected(made.explained(result.error()));
    }
    return made;
}

Expected<void> SpoolDirectory::take() {
    auto directory = make_folder(AT_FDCWD, path_.c_str(), path_);
    if (!directory) {
        return std::unexpected(directory.error());
    }
    auto lock = take_lock(directory->number(), path_);
    if (!lock) {
        return std::unexpected(lock.error());
    }
    directory_ = std::move(*directory);
    lock_ = std::move(*lock);
    return {};
}

Expected<void> SpoolDirectory::choose_generation() {
    const auto runs = runs_in(directory_.number(), path_);
    if (!runs) {
        return std::unexpected(runs.error());
    }
    generation_ = runs->empty() ? 1 : runs->back() + 1;
    if (generation_ > generation_max) {
        return std::unexpected(
            Error{"there were as many runs as ids can tell; let the queue run empty, then set "
                  "spool.directory to a new one",
                  0, path_});
    }
    return {};
}

Expected<void> SpoolDirectory::take_run() {
    auto run = make_folder(directory_.number(), run_name(generation_).c_str(), run_path());
    if (!run) {
        return std::unexpected(run.error());
    }
    auto lock = take_lock(run->number(), run_path());
    if (!lock) {
        return std::unexpected(lock.error());
    }
    run_ = std::move(*run);
    run_lock_ = std::move(*lock);
    return {};
}

bool SpoolDirectory::is_there() const {
    struct stat at_path{};
    struct stat opened{};
    struct stat run_at_path{};
    struct stat run_opened{};
    return ::stat(path_.c_str(), &at_path) == 0 && ::fstat(directory_.number(), &opened) == 0 &&
           is_same(at_path, opened) &&
           ::fstatat(directory_.number(), run_name(generation_).c_str(), &run_at_path, 0) == 0 &&
           ::fstat(run_.number(), &run_opened) == 0 && is_same(run_at_path, run_opened);
}

Expected<void> SpoolDirectory::reopen() {
    // Never made anew: what is missing may be on a disk that is not mounted, or come back.
    struct stat at_path{};
    if (::stat(path_.c_str(), &at_path) != 0) {
        return std::unexpected(Error{"spool.directory " + path_ +
                                         ": put it or its file system back, or make a new one for "
                                         "the user that ringmx runs as",
                                     errno, ""});
    }
    if (at_path.st_dev != device_) {
        return std::unexpected(Error{"spool.directory " + path_ +
                                         ": another file system is there now; mount the spool's "
                                         "again, or restart ringmx to serve from this one",
                                     0, ""});
    }
    lock_ = OwnedDescriptor(); // where only the run's folder is gone it is in our own way
    Expected<void> result = take();
    if (result) {
        run_lock_ = OwnedDescriptor();
        result = take_run();
    }
    if (!result) {
        return std::unexpected(explained(result.error()));
    }
    return {};
}

int SpoolDirectory::write_error() const {
    const OwnedDescriptor lock(
        ::openat(run_.number(), lock_name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    // Others (too many open files) tell of something else than the file system.
    return !lock.is_open() && (errno == EROFS || errno == EIO) ? errno : 0;
}

} // namespace ringmx
