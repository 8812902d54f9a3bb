#include "deleted_files.h"

#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace ringmx {

void DeletedFiles::add(OwnedDescriptor file) {
    struct stat status{};
    if (::fstat(file.number(), &status) == 0 && status.st_nlink == 0) {
        files_.push_back(std::move(file));
    }
}

void DeletedFiles::run(Instant now) {
    if (now < deadline()) {
        return;
    }
    if (!shorten(files_.front())) {
        files_.pop_front();
    }
    next_part_ = now + rest;
}

bool DeletedFiles::shorten(const OwnedDescriptor& file) {
    struct stat status{};
    if (::fstat(file.number(), &status) != 0 ||
        static_cast<std::uint64_t>(status.st_size) <= part_bytes) {
        return false;
    }
    const auto left = status.st_size - static_cast<off_t>(part_bytes);
    return ::ftruncate(file.number(), left) == 0 && ::fsync(file.number()) == 0;
}

} // namespace ringmx
