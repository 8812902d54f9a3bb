#include "new_segment.h"

#include "spool/format.h"
#include "spool/journal.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace ringmx {
namespace {

// Large enough to be fast, small enough that who waits for the disk hardly notices.
constexpr std::size_t step_bytes = 1024 * 1024;

// Aligned for O_DIRECT, and read-only: all zeros.
struct alignas(spool::block_bytes) Zeros {
    std::array<std::byte, step_bytes> octets;
};
constinit const Zeros zeros{};

} // namespace

Expected<NewSegment> NewSegment::create(int folder, const std::string& folder_path,
                                        const std::string& name, std::uint64_t size_bytes) {
    NewSegment made(folder, folder_path + "/" + name, name, size_bytes);
    if (const int error = made.open(); error != 0) {
        return std::unexpected(Error{"create", error, made.path_});
    }
    if (::fallocate(made.file_.number(), 0, 0, static_cast<off_t>(size_bytes)) == 0) {
        made.is_allocated_ = true;
    } else if (errno != EOPNOTSUPP) {
        return std::unexpected(Error{"allocate", errno, made.path_});
    }
    // A file system that takes O_DIRECT and means otherwise says so now.
    if (const auto written = made.write_some(spool::block_bytes); !written) {
        return std::unexpected(written.error());
    }
    return made;
}

int NewSegment::open() {
    const int flags = spool::segment_open_flags() | O_CREAT | O_EXCL;
    constexpr mode_t mode = S_IRUSR | S_IWUSR;
    file_ = OwnedDescriptor(::openat(folder_, name_.c_str(), flags | O_DIRECT, mode));
    if (!file_.is_open() && errno == EINVAL) {
        // Some have made the file by now.
        (void)::unlinkat(folder_, name_.c_str(), 0);
        is_buffered_ = true;
        file_ = OwnedDescriptor(::openat(folder_, name_.c_str(), flags, mode));
    }
    return file_.is_open() ? 0 : errno;
}

NewSegment::~NewSegment() {
    if (file_.is_open()) {
        (void)::unlinkat(folder_, name_.c_str(), 0);
    }
}

Expected<void> NewSegment::step() { return write_some(step_bytes); }

Expected<void> NewSegment::write_some(std::size_t bytes) {
    const auto count =
        static_cast<std::size_t>(std::min<std::uint64_t>(bytes, size_bytes_ - written_bytes_));
    const ssize_t result =
        ::pwrite(file_.number(), zeros.octets.data(), count, static_cast<off_t>(written_bytes_));
    const std::uint64_t whole = result > 0 ? static_cast<std::uint64_t>(result) : 0;
    if (whole >= spool::block_bytes) {
        written_bytes_ += whole / spool::block_bytes * spool::block_bytes;
        return {};
    }
    if (result < 0 && errno == EINVAL && !is_buffered_) {
        is_buffered_ = true;
        const int flags = ::fcntl(file_.number(), F_GETFL);
        if (flags >= 0 && ::fcntl(file_.number(), F_SETFL, flags & ~O_DIRECT) == 0) {
            return write_some(bytes);
        }
    }
    return std::unexpected(Error{"write", result >= 0 ? ENOSPC : errno, path_});
}

Expected<OwnedDescriptor> NewSegment::finish() {
    if (::fsync(file_.number()) != 0 || ::fsync(folder_) != 0) {
        return std::unexpected(Error{"sync", errno, path_});
    }
    return std::move(file_);
}

} // namespace ringmx
