#include "spool_recovery.h"

#include "base/assert.h"
#include "spool/message_id.h"
#include "spool_layout.h"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace ringmx {
namespace {

using Kind = SegmentReport::Kind;

} // namespace

SpoolRecovery::SpoolRecovery(const SpoolDirectory& directory, std::size_t workers,
                             SpoolNotices& notices, ring::Waker& waker)
    : path_(directory.path()), workers_(workers), own_generation_(directory.generation()),
      directory_(::fcntl(directory.directory(), F_DUPFD_CLOEXEC, 0)), notices_(notices),
      waker_(waker) {}

SpoolRecovery::~SpoolRecovery() {
    is_stopped_.store(true, relaxed);
    if (thread_.joinable()) {
        thread_.join();
    }
}

void SpoolRecovery::start() {
    RINGMX_ASSERT(!thread_.joinable() && !is_over_);
    thread_ = std::thread([this] {
        run();
        is_done_.store(true, std::memory_order_release);
        waker_.wake();
    });
}

std::optional<RecoveredSpool> SpoolRecovery::take() {
    if (is_over_ || !is_done_.load(std::memory_order_acquire)) {
        return std::nullopt;
    }
    thread_.join();
    is_over_ = true;
    return std::move(result_);
}

std::string SpoolRecovery::run_path(std::uint32_t generation) const {
    return path_ + "/" + run_name(generation);
}

void SpoolRecovery::run() {
    list();
    for (Found& found : found_) {
        if (is_stopped_.load(relaxed)) {
            return;
        }
        read(found);
        bytes_done_ += found.size_bytes;
        bytes_read_.store(bytes_done_, relaxed);
    }
    result_.queue = reader_.finish();
    result_.messages = dealt_out(std::move(result_.queue.messages), workers_);
    std::uint64_t unreadable_records = result_.queue.unreadable_records;
    for (std::size_t index = 0; index < judged_.size(); ++index) {
        SegmentReport& report = judged_[index].report;
        report.lost += result_.queue.lost_beside[index];
        result_.lost += report.lost;
        result_.files[index].is_damaged = report.is_damaged();
        result_.files[index].has_remains = result_.queue.has_remains[index];
        result_.files[index].stays = result_.files[index].stays || result_.queue.stays[index];
        unreadable_records -= report.unreadable_records;
        note_damage(judged_[index]);
    }
    for (const std::uint64_t id : result_.queue.damaged) {
        notices_.add(LogLevel::error, fmt::format("spool: {}: a part of this message is damaged, "
                                                  "missing or can't be read; it can't be delivered",
                                                  spool::id_text(id)));
    }
    if (unreadable_records > 0) {
        notices_.add(LogLevel::error,
                     fmt::format("spool: {} marks are about recipients that their messages don't "
                                 "have",
                                 unreadable_records));
    }
}

void SpoolRecovery::list() {
    const auto runs = runs_in(directory_.number(), path_);
    if (!runs) {
        notices_.add(LogLevel::error,
                     fmt::format("spool: the mail of earlier runs stays where it is: {}",
                                 runs.error().message()));
        return;
    }
    for (const std::uint32_t generation : *runs) {
        if (generation < own_generation_ && !is_stopped_.load(relaxed)) {
            list_run(generation);
        }
    }
}

void SpoolRecovery::list_run(std::uint32_t generation) {
    const std::string path = run_path(generation);
    auto folder = open_folder(directory_.number(), run_name(generation).c_str(), path);
    if (!folder) {
        note_unread(path, folder.error().code, generation);
        return;
    }
    auto lock = take_lock(folder->number(), path);
    if (!lock && lock.error().code == EWOULDBLOCK) {
        notices_.add(LogLevel::warning,
                     fmt::format("spool: {} is another gateway's: it is left alone", path));
        reader_.note_unread(generation);
        return;
    }
    const auto names = lock ? names_in(folder->number(), path) : std::unexpected(lock.error());
    if (!names) {
        note_unread(path, names.error().code, generation);
        return;
    }
    result_.runs.push_back({generation, std::move(*folder), std::move(*lock)});
    for (const std::string& name : *names) {
        if (name != lock_name) {
            open_segment(result_.runs.size() - 1, name);
        }
    }
}

void SpoolRecovery::open_segment(std::size_t run, const std::string& name) {
    const EarlierRun& of = result_.runs[run];
    Found found;
    found.run = run;
    found.name = name;
    found.path = run_path(of.generation) + "/" + name;
    struct stat status{};
    if (::fstatat(of.folder.number(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
        note_unread(found.path, errno, of.generation);
        return;
    }
    if (!is_segment_name(name) || !S_ISREG(status.st_mode)) {
        put_aside(found, "it is no segment");
        return;
    }
    found.file = OwnedDescriptor(
        ::openat(of.folder.number(), name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (!found.file.is_open()) {
        note_unread(found.path, errno, of.generation);
        return;
    }
    found.size_bytes = static_cast<std::uint64_t>(status.st_size);
    bytes_total_.fetch_add(found.size_bytes, relaxed);
    found_.push_back(std::move(found));
}

void SpoolRecovery::read(Found& found) {
    const int file = found.file.number();
    (void)::posix_fadvise(file, 0, 0, POSIX_FADV_SEQUENTIAL);
    const spool::SegmentReader whole = reader_of(file);
    const spool::SegmentReader reader = [&](std::uint64_t offset, std::span<std::byte> out) {
        if (is_stopped_.load(relaxed)) {
            return std::int64_t{0}; // nobody wants the result any more
        }
        const std::int64_t got = whole(offset, out);
        bytes_read_.fetch_add(got > 0 ? static_cast<std::uint64_t>(got) : 0, relaxed);
        // A queue is often larger than memory: the pages of what was read are used for what is next,
        // instead of pushing everybody else's out.
        (void)::posix_fadvise(file, 0, static_cast<off_t>(offset) + std::max<off_t>(got, 0),
                              POSIX_FADV_DONTNEED);
        return got;
    };
    const SegmentReport report =
        reader_.read({file, found.size_bytes, result_.runs[found.run].generation}, reader);
    if (!is_stopped_.load(relaxed)) {
        judge(found, report);
    }
}

void SpoolRecovery::judge(Found& found, const SegmentReport& report) {
    switch (report.kind) {
    case Kind::segment:
        result_.bytes += found.size_bytes;
        result_.records += report.records;
        result_.torn += report.torn;
        result_.unreadable_blocks += report.unreadable_blocks;
        RINGMX_ASSERT(report.index == result_.files.size());
        judged_.push_back({found.path, found.size_bytes, report});
        result_.files.push_back({.run = found.run,
                                 .name = std::move(found.name),
                                 .file = std::move(found.file),
                                 .stays = report.unreadable_blocks > 0});
        break;
    case Kind::unused:
        forget(found);
        break;
    case Kind::unreadable:
        note_unread(found.path, report.error, result_.runs[found.run].generation);
        break;
    case Kind::foreign:
    case Kind::other_version:
    case Kind::misplaced:
    case Kind::copy:
        put_aside(found, why_no_segment(report));
        break;
    }
}

// Known only when all segments have been read.
void SpoolRecovery::note_damage(const Judged& judged) {
    const auto& [path, size_bytes, report] = judged;
    if (report.lost > 0) {
        notices_.add(LogLevel::error,
                     fmt::format("spool: {}: {} records that were durable are damaged or missing",
                                 path, report.lost));
    }
    if (report.unreadable_records > 0) {
        notices_.add(LogLevel::error,
                     fmt::format("spool: {}: {} records are whole and make no sense: another "
                                 "version of ringmx wrote them, or one with a fault",
                                 path, report.unreadable_records));
    }
    if (report.is_truncated) {
        notices_.add(LogLevel::error, fmt::format("spool: {}: truncated to {} of its {} octets",
                                                  path, size_bytes, report.header.size_bytes));
    }
    if (report.unreadable_blocks > 0) {
        notices_.add(LogLevel::error,
                     fmt::format("spool: {}: {} blocks can't be read: {}; the file stays for the "
                                 "next start to try again",
                                 path, report.unreadable_blocks, words_of(report.error)));
    }
    if (report.torn > report.lost) { // ordinary after a crash
        notices_.add(LogLevel::info,
                     fmt::format("spool: {}: {} records were being written when the run ended",
                                 path, report.torn - report.lost));
    }
}

void SpoolRecovery::put_aside(const Found& found, const std::string& why) {
    const std::uint32_t generation = result_.runs[found.run].generation;
    const auto moved = set_aside(directory_.number(), path_, generation, found.name);
    if (moved) {
        ++result_.set_aside;
        notices_.add(LogLevel::warning,
                     fmt::format("spool: {}: {}; set aside as {}", found.path, why, *moved));
    } else {
        reader_.note_unread(generation);
        notices_.add(LogLevel::error, fmt::format("spool: {}: {}; it stays: {}", found.path, why,
                                                  moved.error().message()));
    }
}

// Nothing was ever written to it.
void SpoolRecovery::forget(const Found& found) {
    if (::unlinkat(result_.runs[found.run].folder.number(), found.name.c_str(), 0) != 0) {
        notices_.add(LogLevel::warning, Error{"spool: delete", errno, found.path}.message());
    }
}

void SpoolRecovery::note_unread(const std::string& path, int error, std::uint32_t generation) {
    ++result_.unreadable_files;
    reader_.note_unread(generation);
    notices_.add(LogLevel::error, fmt::format("spool: {}: can't be read: {}; the mail in it waits "
                                              "for the next start",
                                              path, words_of(error)));
}

} // namespace ringmx
