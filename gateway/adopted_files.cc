#include "adopted_files.h"

#include "spool_layout.h"

#include <cerrno>
#include <fcntl.h>
#include <fmt/format.h>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace ringmx {

void AdoptedFiles::adopt(RecoveredSpool recovered) {
    segments_.adopt(std::move(recovered.queue.segments), std::move(recovered.queue.marked));
    files_ = std::move(recovered.files);
    runs_ = std::move(recovered.runs);
    for (std::uint32_t index = 0; index < files_.size(); ++index) {
        if (files_[index].stays) {
            segments_.keep(index);
        }
    }
    for (const EarlierRun& run : runs_) {
        remove_run(run);
    }
}

std::vector<spool::SegmentName> AdoptedFiles::delete_unneeded() {
    std::vector<spool::SegmentName> gone;
    std::set<std::uint32_t> tried;
    for (;;) {
        std::vector<std::uint32_t> unneeded = segments_.unneeded();
        std::erase_if(unneeded, [&](std::uint32_t index) { return !tried.insert(index).second; });
        if (unneeded.empty()) {
            return gone;
        }
        std::erase_if(unneeded, [this](std::uint32_t index) { return !remove(index); });
        std::map<std::size_t, bool> is_durable; // by run
        for (const std::uint32_t index : unneeded) {
            is_durable[files_[index].run] = false;
        }
        for (auto& [run, is_synced] : is_durable) {
            is_synced = ::fsync(runs_[run].folder.number()) == 0;
        }
        for (const std::uint32_t index : unneeded) { // this may free others
            OwnedDescriptor file = std::move(files_[index].file);
            if (is_durable[files_[index].run]) {
                deleted_.add(std::move(file));
                segments_.gone(index);
                gone.push_back(segments_.at(index).name);
            } else {
                // It may come back, and a later success would prove nothing.
                segments_.keep(index);
            }
        }
        for (const auto& [run, is_synced] : is_durable) {
            remove_run(runs_[run]);
        }
    }
}

bool AdoptedFiles::remove(std::uint32_t index) {
    AdoptedFile& file = files_[index];
    const EarlierRun& run = runs_[file.run];
    std::optional<SpoolNotice> fault;
    OwnedDescriptor writable;
    const bool is_unread = segments_.at(index).is_damaged.load(std::memory_order_relaxed);
    if (file.is_damaged || file.has_remains || is_unread) {
        const std::string_view why = file.is_damaged    ? "was damaged"
                                     : file.has_remains ? "has a part of a damaged message"
                                                        : "can't be read";
        const auto moved =
            set_aside(directory_.directory(), directory_.path(), run.generation, file.name);
        if (moved) {
            notices_.add(LogLevel::warning,
                         fmt::format("spool: {}: {}; set aside as {}", path_of(file), why, *moved));
        } else {
            fault = {LogLevel::error, fmt::format("spool: {}: {}; it stays: {}", path_of(file), why,
                                                  moved.error().message())};
        }
    } else {
        writable = OwnedDescriptor(
            ::openat(run.folder.number(), file.name.c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW));
        if (::unlinkat(run.folder.number(), file.name.c_str(), 0) != 0) {
            fault = {LogLevel::warning, Error{"spool: delete", errno, path_of(file)}.message()};
        }
    }
    if (fault && may_be_in(run.folder.number(), file.name)) {
        if (!std::exchange(file.is_leaving, true)) {
            notices_.add(fault->level, fault->text);
        }
        return false;
    }
    file.file = std::move(writable); // until that is durable
    return true;
}

// When nothing but the lock is in it.
void AdoptedFiles::remove_run(const EarlierRun& run) {
    const std::string name = run_name(run.generation);
    const auto names = names_in(run.folder.number(), name);
    if (names && *names == std::vector<std::string>{lock_name} &&
        ::unlinkat(run.folder.number(), lock_name, 0) == 0 &&
        ::unlinkat(directory_.directory(), name.c_str(), AT_REMOVEDIR) == 0) {
        (void)::fsync(directory_.directory());
    }
}

void AdoptedFiles::look(bool is_over) {
    segments_.note_what_is_in_the_way(is_over);
    for (std::uint32_t index = 0; index < segments_.count(); ++index) {
        AdoptedFile& file = files_[index];
        struct stat status{};
        if (segments_.is_there(index) && !file.is_lost && !file.is_leaving &&
            ::fstat(file.file.number(), &status) == 0 && status.st_nlink == 0) {
            file.is_lost = true;
            notices_.add(LogLevel::error,
                         fmt::format("spool: {} was deleted: its mail is delivered while this run "
                                     "goes on, and gone with it",
                                     path_of(file)));
        }
    }
}

std::string AdoptedFiles::path_of(const AdoptedFile& file) const {
    return directory_.path() + "/" + run_name(runs_[file.run].generation) + "/" + file.name;
}

} // namespace ringmx
