#include "unit/spool/sim_disk.h"

#include <algorithm>

namespace ringmx::spool {

int SimDisk::create(std::size_t bytes) {
    files_[next_].resize(bytes);
    return next_++;
}

void SimDisk::submit(const JournalWrite& write) {
    Pending& added = pending_.emplace_back(write.slot, write.descriptor, write.offset);
    for (const iovec& piece : write.pieces) {
        const auto* const octets = static_cast<const std::byte*>(piece.iov_base);
        added.octets.insert(added.octets.end(), octets, octets + piece.iov_len);
    }
}

std::int64_t SimDisk::complete(std::size_t position) {
    const Pending write = std::move(pending_[position]);
    pending_.erase(pending_.begin() + static_cast<std::ptrdiff_t>(position));
    std::ranges::copy(write.octets, files_.at(write.descriptor).begin() +
                                        static_cast<std::ptrdiff_t>(write.offset));
    return static_cast<std::int64_t>(write.octets.size());
}

void SimDisk::fail(std::size_t position, sim::Random& random) {
    keep_some(pending_[position], random);
    pending_.erase(pending_.begin() + static_cast<std::ptrdiff_t>(position));
}

void SimDisk::keep_some(const Pending& write, sim::Random& random) {
    std::vector<std::byte>& file = files_.at(write.descriptor);
    const std::uint64_t chance = random.below(101);
    for (std::size_t start = 0; start < write.octets.size(); start += sector_bytes) {
        if (random.below(100) < chance) {
            std::copy_n(write.octets.begin() + static_cast<std::ptrdiff_t>(start), sector_bytes,
                        file.begin() + static_cast<std::ptrdiff_t>(write.offset + start));
        }
    }
}

void SimDisk::crash(sim::Random& random) {
    for (const Pending& write : pending_) {
        keep_some(write, random);
    }
    pending_.clear();
}

SegmentReader SimDisk::reader(int descriptor) const {
    return [this, descriptor](std::uint64_t offset, std::span<std::byte> out) -> std::int64_t {
        const std::vector<std::byte>& file = files_.at(descriptor);
        if (offset >= file.size()) {
            return 0;
        }
        const std::size_t count = std::min<std::size_t>(out.size(), file.size() - offset);
        std::copy_n(file.begin() + static_cast<std::ptrdiff_t>(offset), count, out.begin());
        return static_cast<std::int64_t>(count);
    };
}

std::vector<int> SimDisk::files() const {
    std::vector<int> descriptors;
    descriptors.reserve(files_.size());
    for (const auto& [descriptor, octets] : files_) {
        descriptors.push_back(descriptor);
    }
    return descriptors;
}

} // namespace ringmx::spool
