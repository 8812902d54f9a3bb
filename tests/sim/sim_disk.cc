#include "sim/sim_disk.h"

#include "base/assert.h"
#include "base/crc32c.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <utility>

namespace ringmx::sim {
namespace {

std::vector<std::byte> gathered(std::span<const iovec> pieces) {
    std::vector<std::byte> octets;
    for (const iovec& piece : pieces) {
        const auto* const first = static_cast<const std::byte*>(piece.iov_base);
        octets.insert(octets.end(), first, first + piece.iov_len);
    }
    return octets;
}

} // namespace

void SimDisk::resume() {
    is_stalled_ = false;
    for (const std::function<void()>& end : std::exchange(stalled_, {})) {
        end();
    }
}

void SimDisk::when_it_may_end(std::function<void()> end) {
    if (is_stalled_) {
        stalled_.push_back(std::move(end));
    } else {
        end();
    }
}

std::uint64_t SimDisk::slowness() {
    return random_.chance(faults.slow) ? 1 + random_.below(100) : 1;
}

int SimDisk::create(std::size_t bytes, int flags) {
    File& created = files_[next_file_];
    created.octets.resize(bytes);
    created.is_synced = (flags & O_DSYNC) != 0;
    return next_file_++;
}

void SimDisk::remove(int file) {
    RINGMX_ASSERT_STATE(under_way(file) == 0, "file %d is removed under %zu writes", file,
                        under_way(file));
    RINGMX_ASSERT(files_.erase(file) == 1);
}

std::vector<int> SimDisk::files() const {
    std::vector<int> numbers;
    numbers.reserve(files_.size());
    for (const auto& [number, file] : files_) {
        numbers.push_back(number);
    }
    return numbers;
}

std::size_t SimDisk::under_way(int file) const {
    return static_cast<std::size_t>(std::ranges::count_if(
        writes_, [file](const auto& write) { return write.second.file == file; }));
}

std::uint32_t SimDisk::crc(std::uint32_t before) const {
    std::uint32_t sum = before;
    for (const auto& [number, file] : files_) {
        sum = crc32c(sum, std::as_bytes(std::span(&number, 1)));
        sum = crc32c(sum, file.octets);
    }
    return sum;
}

std::uint64_t SimDisk::begin_write(int file, std::uint64_t offset, std::span<const iovec> pieces) {
    RINGMX_ASSERT(has(file));
    writes_[++last_write_] = {file, offset, gathered(pieces), pieces};
    return last_write_;
}

std::int64_t SimDisk::end_write(std::uint64_t number) {
    const auto found = writes_.find(number);
    RINGMX_ASSERT(found != writes_.end());
    const Write write = std::move(found->second);
    writes_.erase(found);
    RINGMX_ASSERT_STATE(write.octets == gathered(write.pieces),
                        "%zu octets at %llu of file %d changed while they were written",
                        write.octets.size(), static_cast<unsigned long long>(write.offset),
                        write.file);
    if (is_away_) {
        return -EIO;
    }
    int error = write_error;
    if (error == 0 && random_.chance(faults.write_error)) {
        error = EIO;
    } else if (error == 0 && random_.chance(faults.write_full)) {
        error = ENOSPC;
    }
    if (error != 0) {
        ++(error == ENOSPC ? totals_.full : totals_.write_errors);
        keep_some(write, 0);
        return -error;
    }
    std::size_t count = write.octets.size();
    if (count > sector_bytes && random_.chance(faults.short_write)) {
        ++totals_.short_writes;
        count = random_.between(1, (count - 1) / sector_bytes) * sector_bytes;
        keep_some(write, count);
    }
    store(write, 0, count);
    return static_cast<std::int64_t>(count);
}

std::int64_t SimDisk::read(int file, std::uint64_t offset, std::span<std::byte> out) {
    const std::vector<std::byte>& octets = files_.at(file).octets;
    ++reads;
    if (read_error != 0 || random_.chance(faults.read_error)) {
        ++totals_.read_errors;
        return -(read_error != 0 ? read_error : EIO);
    }
    if (offset >= octets.size()) {
        return 0;
    }
    std::size_t count = std::min<std::size_t>(out.size(), octets.size() - offset);
    if (count > sector_bytes && random_.chance(faults.short_read)) {
        count = random_.between(1, (count - 1) / sector_bytes) * sector_bytes;
    }
    std::copy_n(octets.begin() + static_cast<std::ptrdiff_t>(offset), count, out.begin());
    return static_cast<std::int64_t>(count);
}

std::int64_t SimDisk::read(int file, std::uint64_t offset, std::span<const iovec> pieces) {
    std::vector<std::byte> octets(gathered(pieces).size());
    const std::int64_t result = read(file, offset, std::span(octets));
    std::size_t left = result > 0 ? static_cast<std::size_t>(result) : 0;
    const std::byte* from = octets.data();
    for (const iovec& piece : pieces) {
        const std::size_t part = std::min(left, piece.iov_len);
        std::memcpy(piece.iov_base, from, part);
        from += part;
        left -= part;
    }
    return result;
}

void SimDisk::store(const Write& write, std::size_t start, std::size_t count) {
    File& file = files_.at(write.file);
    std::vector<std::byte>& octets = file.octets;
    const std::size_t end = write.offset + start + count;
    octets.resize(std::max<std::size_t>(octets.size(), end));
    for (std::size_t sector = (write.offset + start) / sector_bytes * sector_bytes;
         !file.is_synced && sector < end; sector += sector_bytes) {
        const std::size_t bytes = std::min(sector_bytes, octets.size() - sector);
        const auto first = octets.begin() + static_cast<std::ptrdiff_t>(sector);
        file.before.try_emplace(sector, first, first + static_cast<std::ptrdiff_t>(bytes));
    }
    std::copy_n(write.octets.begin() + static_cast<std::ptrdiff_t>(start), count,
                octets.begin() + static_cast<std::ptrdiff_t>(write.offset + start));
}

void SimDisk::keep_some(const Write& write, std::size_t start) {
    const std::uint64_t chance = random_.below(101);
    for (; start < write.octets.size(); start += sector_bytes) {
        if (random_.below(100) < chance) {
            store(write, start, std::min(sector_bytes, write.octets.size() - start));
        }
    }
}

void SimDisk::go_away() {
    is_away_ = true;
    for (const auto& [number, write] : writes_) {
        keep_some(write, 0);
    }
    resume();
}

void SimDisk::lose_some(File& file) {
    if (file.before.empty()) {
        return;
    }
    const std::uint64_t chance = random_.below(101);
    for (const auto& [sector, octets] : std::exchange(file.before, {})) {
        if (random_.below(100) < chance) {
            std::ranges::copy(octets, file.octets.begin() + static_cast<std::ptrdiff_t>(sector));
        }
    }
}

void SimDisk::crash() {
    totals_.torn += writes_.size();
    for (const auto& [number, write] : writes_) {
        keep_some(write, 0);
    }
    for (auto& [number, file] : files_) {
        lose_some(file);
    }
    writes_.clear();
    stalled_.clear();
    is_stalled_ = false;
}

} // namespace ringmx::sim
