#include "spool_listing.h"

#include "spool_layout.h"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace ringmx {
namespace {

using Kind = SegmentReport::Kind;

// Somebody holds the lock in this folder. (Holding it ourselves for an instant keeps nobody out:
// who starts tries for a while.)
bool is_locked(int folder) {
    const OwnedDescriptor lock(
        ::openat(folder, lock_name, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW));
    return lock.is_open() && ::flock(lock.number(), LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
}

void list_file(int folder, ListedRun& run, const std::string& name, QueueReader& reader) {
    OwnedDescriptor file(
        ::openat(folder, name.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW));
    const int open_error = file.is_open() ? 0 : errno;
    if (open_error == ENOENT) {
        return; // deleted by now
    }
    struct stat status{};
    ListedFile listed;
    listed.name = name;
    listed.error = open_error != 0 ? open_error : ::fstat(file.number(), &status) == 0 ? 0 : errno;
    listed.file = std::move(file);
    listed.size_bytes = static_cast<std::uint64_t>(status.st_size);
    listed.is_stranger = !is_segment_name(name) || !S_ISREG(status.st_mode);
    if (listed.error == 0 && !listed.is_stranger) {
        const int number = listed.file.number();
        listed.report = reader.read({number, listed.size_bytes, run.generation}, reader_of(number));
    }
    run.files.push_back(std::move(listed));
}

void list_run(int directory, const std::string& path, ListedRun& run, QueueReader& reader) {
    const std::string name = run_name(run.generation);
    const auto folder = open_folder(directory, name.c_str(), path + "/" + name);
    const auto names =
        folder ? names_in(folder->number(), path + "/" + name) : std::unexpected(folder.error());
    if (!names) {
        run.error = names.error().code;
        return;
    }
    run.is_in_use = is_locked(folder->number());
    for (const std::string& file : *names) {
        if (file != lock_name) {
            list_file(folder->number(), run, file, reader);
        }
    }
}

} // namespace

Expected<SpoolListing> SpoolListing::read(const std::string& path) {
    const auto directory = open_folder(AT_FDCWD, path.c_str(), path);
    if (!directory) {
        return std::unexpected(directory.error());
    }
    const auto runs = runs_in(directory->number(), path);
    if (!runs) {
        return std::unexpected(runs.error());
    }
    if (runs->empty() && ::faccessat(directory->number(), lock_name, F_OK, 0) != 0) {
        return std::unexpected(Error{"this is no spool:", 0, path});
    }
    SpoolListing listing;
    listing.is_in_use = is_locked(directory->number());
    QueueReader reader;
    for (const std::uint32_t generation : *runs) {
        ListedRun& run = listing.runs.emplace_back();
        run.generation = generation;
        list_run(directory->number(), path, run, reader);
    }
    if (const auto aside = open_folder(directory->number(), aside_name, path)) {
        const auto names = names_in(aside->number(), path);
        listing.aside_count = names ? names->size() : 0;
    }
    listing.queue = reader.finish();
    for (ListedRun& run : listing.runs) {
        for (ListedFile& file : run.files) {
            if (file.report.kind == Kind::segment && file.error == 0 && !file.is_stranger) {
                file.report.lost += listing.queue.lost_beside[file.report.index];
            }
        }
    }
    return listing;
}

std::string fault_of(const ListedFile& file) {
    const SegmentReport& report = file.report;
    if (file.error != 0) {
        return "can't be read: " + words_of(file.error);
    }
    if (file.is_stranger) {
        return "it is no segment";
    }
    if (report.kind == Kind::unreadable) {
        return "can't be read: " + words_of(report.error);
    }
    std::string fault = why_no_segment(report);
    const auto add = [&](const std::string& text) { fault += (fault.empty() ? "" : ", ") + text; };
    if (report.unreadable_blocks > 0) {
        add(fmt::format("{} blocks can't be read: {}", report.unreadable_blocks,
                        words_of(report.error)));
    }
    if (report.lost > 0) {
        add(fmt::format("{} durable records damaged or missing", report.lost));
    }
    if (report.unreadable_records > 0) {
        add(fmt::format("{} records are whole and make no sense", report.unreadable_records));
    }
    if (report.is_truncated) {
        add(fmt::format("truncated, was {} octets", report.header.size_bytes));
    }
    return fault;
}

bool SpoolListing::is_damaged() const {
    const auto is_faulty = [](const ListedRun& run, const ListedFile& file) {
        // What is missing may have been written since it was looked at.
        const bool is_moving = run.is_in_use && file.error == 0 &&
                               file.report.kind == Kind::segment && !file.report.is_truncated &&
                               file.report.unreadable_blocks == 0;
        return !is_moving && !fault_of(file).empty();
    };
    const bool has_faulty = std::ranges::any_of(runs, [&](const ListedRun& run) {
        return run.error != 0 || std::ranges::any_of(run.files, [&](const ListedFile& file) {
                   return is_faulty(run, file);
               });
    });
    return has_faulty || queue.unreadable_records > 0 || (!is_in_use && !queue.damaged.empty());
}

ListedMessage read_message(const SpoolListing& listing, const spool::RecoveredMessage& message) {
    const int file = listing.queue.segments[message.segment]->descriptor;
    std::vector<std::byte> record(message.record_bytes);
    const std::int64_t got = reader_of(file)(message.offset, record);
    if (got < 0) {
        return {{}, words_of(static_cast<int>(-got))};
    }
    const Bytes body = got == static_cast<std::int64_t>(record.size())
                           ? Bytes(record).subspan(spool::record_header_bytes)
                           : Bytes{};
    auto stored = spool::read_message_body(body);
    if (!stored || stored->recipients.size() != message.recipients_count) {
        return {{}, "it was overwritten meanwhile"};
    }
    stored->is_on_hold = message.is_on_hold;
    stored->expires_from = message.expires_from;
    for (spool::StoredRecipient& recipient : stored->recipients) {
        recipient.state = spool::RecipientState::pending;
    }
    for (const spool::RecoveredMessage::Recipient& settled : message.settled) {
        spool::StoredRecipient& recipient = stored->recipients[settled.index];
        recipient.state = settled.state;
        recipient.last_reply = settled.reply;
    }
    return {std::move(*stored), {}};
}

} // namespace ringmx
