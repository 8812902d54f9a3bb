#include "spool_layout.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <memory>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>

namespace ringmx {
namespace {

constexpr std::size_t run_digits = 8;
constexpr std::size_t worker_digits = 4;
constexpr std::size_t number_digits_min = 6;
constexpr std::string_view segment_suffix = ".seg";
constexpr int lock_attempts = 50;
constexpr int lock_pause_ms = 20;
// A thousand files of one name were set aside: something is wrong that more renaming won't mend.
constexpr int aside_names_max = 1000;

bool is_number(std::string_view text) {
    return !text.empty() &&
           std::ranges::all_of(text, [](char digit) { return digit >= '0' && digit <= '9'; });
}

// Of this process or machine, for a while: it says nothing of what was to be opened.
bool is_own_want(int error) { return error == EMFILE || error == ENFILE || error == ENOMEM; }

std::unexpected<Error> failure(const char* operation, const std::string& path) {
    return std::unexpected(Error{operation, errno, path});
}

// Never onto a file that is there. A file system that can't promise so (NFS) is asked before: nobody
// but who holds the spool's lock puts anything in that folder.
bool move_to_new_name(int from, const std::string& name, int to, const std::string& taken) {
    if (::renameat2(from, name.c_str(), to, taken.c_str(), RENAME_NOREPLACE) == 0) {
        return true;
    }
    if (errno != EINVAL) {
        return false;
    }
    if (::faccessat(to, taken.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
        errno = EEXIST;
        return false;
    }
    return errno == ENOENT && ::renameat(from, name.c_str(), to, taken.c_str()) == 0;
}

} // namespace

std::string run_name(std::uint32_t generation) {
    return fmt::format("{:0{}}", generation, run_digits);
}

std::optional<std::uint32_t> parse_run_name(std::string_view name) {
    std::uint32_t number = 0;
    if (name.size() != run_digits || !is_number(name)) {
        return std::nullopt;
    }
    std::from_chars(name.data(), name.data() + name.size(), number);
    return number >= 1 && number <= generation_max ? std::optional(number) : std::nullopt;
}

std::string segment_name(std::uint32_t worker, std::uint32_t number) {
    return fmt::format("w{:0{}}-{:0{}}{}", worker, worker_digits, number, number_digits_min,
                       segment_suffix);
}

bool is_segment_name(std::string_view name) {
    if (!name.starts_with('w') || !name.ends_with(segment_suffix)) {
        return false;
    }
    name.remove_prefix(1);
    name.remove_suffix(segment_suffix.size());
    return name.size() > worker_digits + number_digits_min && name[worker_digits] == '-' &&
           is_number(name.substr(0, worker_digits)) && is_number(name.substr(worker_digits + 1));
}

std::string words_of(int error) {
    return std::error_code(error, std::generic_category()).message();
}

Expected<std::vector<std::string>> names_in(int folder, const std::string& path) {
    // Of its own, so that the place of reading is.
    OwnedDescriptor own(::openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!own.is_open()) {
        return failure("open", path);
    }
    const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(own.number()), ::closedir);
    if (stream == nullptr) {
        return failure("open", path);
    }
    (void)own.release();
    std::vector<std::string> names;
    for (;;) {
        errno = 0;
        const dirent* const entry = ::readdir(stream.get()); // NOLINT(concurrency-mt-unsafe)
        if (entry == nullptr) {
            break;
        }
        std::string name(static_cast<const char*>(entry->d_name));
        if (name != "." && name != "..") {
            names.push_back(std::move(name));
        }
    }
    if (errno != 0) {
        return failure("read", path);
    }
    std::ranges::sort(names);
    return names;
}

Expected<std::vector<std::uint32_t>> runs_in(int directory, const std::string& path) {
    const auto names = names_in(directory, path);
    if (!names) {
        return std::unexpected(names.error());
    }
    std::vector<std::uint32_t> runs;
    for (const std::string& name : *names) {
        if (const auto generation = parse_run_name(name)) {
            runs.push_back(*generation);
        }
    }
    return runs;
}

Expected<std::uint64_t> bytes_of_runs_before(std::uint32_t generation, int directory) {
    const auto runs = runs_in(directory, "");
    if (!runs) {
        return std::unexpected(runs.error());
    }
    std::uint64_t bytes = 0;
    for (const std::uint32_t run : *runs) {
        if (run >= generation) {
            continue;
        }
        const auto folder = open_folder(directory, run_name(run).c_str(), "");
        if (!folder && is_own_want(folder.error().code)) {
            return std::unexpected(folder.error());
        }
        if (!folder) {
            continue; // it is none
        }
        const auto names = names_in(folder->number(), "");
        if (!names) {
            return std::unexpected(names.error());
        }
        for (const std::string& name : *names) {
            struct stat status{};
            if (::fstatat(folder->number(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0) {
                bytes += static_cast<std::uint64_t>(status.st_size);
            }
        }
    }
    return bytes;
}

Expected<OwnedDescriptor> open_folder(int parent, const char* name, const std::string& path) {
    // A link within a spool may lead anywhere, and what is no segment there would be moved away.
    const int links = parent == AT_FDCWD ? 0 : O_NOFOLLOW;
    OwnedDescriptor folder(::openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | links));
    if (!folder.is_open()) {
        return failure("open", path);
    }
    return folder;
}

Expected<OwnedDescriptor> make_folder(int parent, const char* name, const std::string& path) {
    const bool is_new = ::mkdirat(parent, name, S_IRWXU) == 0;
    if (!is_new && errno != EEXIST) {
        return failure("create", path);
    }
    auto folder = open_folder(parent, name, path);
    if (folder && is_new) {
        const auto above = open_folder(folder->number(), "..", path);
        if (!above) {
            return std::unexpected(above.error());
        }
        if (::fsync(above->number()) != 0) {
            return failure("sync", path);
        }
    }
    return folder;
}

Expected<OwnedDescriptor> take_lock(int folder, const std::string& path) {
    OwnedDescriptor lock(
        ::openat(folder, lock_name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR));
    if (!lock.is_open()) {
        return failure("open", path + "/" + lock_name);
    }
    for (int attempt = 1; ::flock(lock.number(), LOCK_EX | LOCK_NB) != 0; ++attempt) {
        if (errno != EWOULDBLOCK || attempt == lock_attempts) {
            return failure("lock", path + "/" + lock_name);
        }
        ::poll(nullptr, 0, lock_pause_ms);
    }
    return lock;
}

bool may_be_in(int folder, const std::string& name) {
    return ::faccessat(folder, name.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT;
}

Expected<std::string> set_aside(int directory, const std::string& path, std::uint32_t generation,
                                const std::string& name) {
    const std::string aside_path = path + "/" + aside_name;
    const auto aside = make_folder(directory, aside_name, aside_path);
    if (!aside) {
        return std::unexpected(aside.error());
    }
    const auto run =
        open_folder(directory, run_name(generation).c_str(), path + "/" + run_name(generation));
    if (!run) {
        return std::unexpected(run.error());
    }
    const std::string wanted = fmt::format("{}-{}", run_name(generation), name);
    for (int count = 1; count <= aside_names_max; ++count) {
        const std::string taken = count == 1 ? wanted : fmt::format("{}-{}", wanted, count);
        if (move_to_new_name(run->number(), name, aside->number(), taken)) {
            if (::fsync(aside->number()) != 0 || ::fsync(run->number()) != 0) {
                return failure("sync", aside_path);
            }
            return fmt::format("{}/{}", aside_path, taken);
        }
        if (errno != EEXIST) {
            break;
        }
    }
    return failure("move aside", fmt::format("{}/{}/{}", path, run_name(generation), name));
}

} // namespace ringmx
