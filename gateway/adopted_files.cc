#include "adopted_files.h"

#include "spool_layout.h"

#include <cerrno>
#include <fcntl.h>
#include <fmt/format.h>
#include <set>
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
    for (;;) {
        const std::vector<std::uint32_t> unneeded = segments_.unneeded();
        if (unneeded.empty()) {
            return gone;
        }
        std::set<std::size_t> touched;
        for (const std::uint32_t index : unneeded) {
            remove(index);
            touched.insert(files_[index].run);
        }
        for (const std::size_t run : touched) {
            (void)::fsync(runs_[run].folder.number());
        }
        for (const std::uint32_t index : unneeded) { // this may free others
            segments_.gone(index);
            gone.push_back(segments_.at(index).name);
        }
        for (const std::size_t run : touched) {
            remove_run(runs_[run]);
        }
    }
}

void AdoptedFiles::remove(std::uint32_t index) {
    AdoptedFile& file = files_[index];
    const EarlierRun& run = runs_[file.run];
    if (file.is_damaged) {
        const auto moved =
            set_aside(directory_.directory(), directory_.path(), run.generation, file.name);
        notices_.add(
            moved ? LogLevel::warning : LogLevel::error,
            moved ? fmt::format("spool: {}: was damaged; set aside as {}", path_of(file), *moved)
                  : fmt::format("spool: {}: was damaged; it stays: {}", path_of(file),
                                moved.error().message()));
    } else if (::unlinkat(run.folder.number(), file.name.c_str(), 0) != 0 && errno != ENOENT) {
        notices_.add(LogLevel::warning, Error{"spool: delete", errno, path_of(file)}.message());
    }
    file.file = OwnedDescriptor();
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

void AdoptedFiles::look() {
    for (std::uint32_t index = 0; index < segments_.count(); ++index) {
        AdoptedFile& file = files_[index];
        struct stat status{};
        if (segments_.is_there(index) && !file.is_lost &&
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
