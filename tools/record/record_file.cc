#include "record/record_file.h"

#include <cerrno>
#include <fcntl.h>
#include <fmt/format.h>
#include <iterator>
#include <unistd.h>
#include <utility>

namespace ringmx {

bool write_whole(int descriptor, std::string_view octets) {
    while (!octets.empty()) {
        const ssize_t written = ::write(descriptor, octets.data(), octets.size());
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            return false;
        }
        octets.remove_prefix(static_cast<std::size_t>(written));
    }
    return true;
}

RecordFile::RecordFile(RecordFile&& other) noexcept { *this = std::move(other); }

RecordFile& RecordFile::operator=(RecordFile&& other) noexcept {
    std::swap(path_, other.path_);
    std::swap(gathered_, other.gathered_);
    std::swap(descriptor_, other.descriptor_);
    std::swap(error_, other.error_);
    return *this;
}

RecordFile::~RecordFile() {
    if (descriptor_ >= 0) {
        ::close(descriptor_);
    }
}

Expected<RecordFile> RecordFile::open(const std::string& path) {
    RecordFile file;
    file.path_ = path;
    file.descriptor_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (file.descriptor_ < 0) {
        return std::unexpected(Error{"open", errno, path});
    }
    return file;
}

void RecordFile::add(std::string_view message_id, std::uint64_t octets, std::uint32_t checksum,
                     bool is_acknowledged) {
    fmt::format_to(std::back_inserter(gathered_), "{} {} {:08x}{}\n", message_id, octets, checksum,
                   is_acknowledged ? "" : " unacknowledged");
    if (gathered_.size() >= gathered_bytes_max) {
        if (!write_whole(descriptor_, gathered_)) {
            error_ = errno;
        }
        gathered_.clear();
    }
}

Expected<void> RecordFile::flush() {
    if (!gathered_.empty() && !write_whole(descriptor_, gathered_)) {
        error_ = errno;
    }
    gathered_.clear();
    if (const int error = std::exchange(error_, 0); error != 0) {
        return std::unexpected(Error{"write", error, path_});
    }
    return {};
}

} // namespace ringmx
