#include "spool_inspect.h"

#include "base/escape.h"
#include "spool/message_id.h"
#include "spool_layout.h"
#include "spool_listing.h"

#include <algorithm>
#include <array>
#include <ctime>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <string_view>

namespace ringmx {
namespace {

constexpr int exit_damaged = 1;
constexpr int exit_usage = 2;
constexpr std::array<std::string_view, 4> recipient_states = {"pending", "delivered", "failed",
                                                              "bounced"};

std::string_view state_of(const spool::StoredRecipient& recipient) {
    return recipient_states.at(static_cast<std::size_t>(recipient.state));
}

std::string_view state_of(const spool::StoredMessage& message) {
    const bool is_pending = std::ranges::any_of(message.recipients, [](const auto& recipient) {
        return recipient.state == spool::RecipientState::pending;
    });
    return message.is_on_hold ? "hold" : is_pending ? "queued" : "failed";
}

std::string date_of(WallTime time) {
    const std::time_t seconds =
        std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count();
    std::tm parts{};
    ::gmtime_r(&seconds, &parts);
    return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", parts);
}

std::string escaped(std::string_view text) {
    std::string out;
    append_log_text(out, text);
    return out;
}

std::string quoted(std::string_view text) {
    std::string out = "\"";
    append_json_text(out, text);
    return out + "\"";
}

class Table {
  public:
    Table(const SpoolListing& listing, std::FILE* out) : listing_(listing), out_(out) {}

    void write(const std::string& directory) const {
        fmt::print(out_, "{}{}\n", directory,
                   listing_.is_in_use ? ": a gateway serves from it, what it writes just now may "
                                        "look torn or be missing"
                                      : "");
        for (const ListedRun& run : listing_.runs) {
            write(run);
        }
        for (const spool::RecoveredMessage& message : listing_.queue.messages) {
            write(message);
        }
        for (const std::uint64_t id : listing_.queue.damaged) {
            fmt::print(out_, "{} DAMAGED: a part of it is damaged or missing\n",
                       spool::id_text(id));
        }
        write_totals();
    }

  private:
    void write(const ListedRun& run) const {
        fmt::print(out_, "run {}{}\n", run_name(run.generation), run.is_in_use ? ", in use" : "");
        if (run.error != 0) {
            fmt::print(out_, "  DAMAGED: can't be read: {}\n", words_of(run.error));
        }
        for (const ListedFile& file : run.files) {
            write(file);
        }
    }
    void write(const ListedFile& file) const {
        const SegmentReport& report = file.report;
        fmt::print(out_, "  {} {} octets", escaped(file.name), file.size_bytes);
        const std::string fault = fault_of(file);
        if (report.kind == SegmentReport::Kind::segment) {
            fmt::print(out_,
                       ", life {} of worker {}, {} used, {} messages, {} chunks, {} marks "
                       "records, {} held",
                       report.header.life, report.header.worker, report.used_bytes, report.messages,
                       report.chunks, report.records - report.messages - report.chunks,
                       listing_.queue.segments[report.index]->holds.load());
            if (report.torn > 0) {
                fmt::print(out_, ", {} torn", report.torn);
            }
        } else if (fault.empty()) {
            fmt::print(out_, ", never written to");
        }
        fmt::print(out_, "{}{}\n", fault.empty() ? "" : ", DAMAGED: ", fault);
    }
    void write(const spool::RecoveredMessage& message) const {
        const ListedMessage read = read_message(listing_, message);
        if (!read.error.empty()) {
            fmt::print(out_, "{} can't be read: {}\n", spool::id_text(message.id), read.error);
            return;
        }
        const spool::StoredMessage& stored = read.stored;
        fmt::print(out_, "{} {}, {}, {} octets, {} on disk, from <{}>\n",
                   spool::id_text(message.id), state_of(stored), date_of(stored.accepted_at),
                   stored.message_bytes, message.stored_bytes, escaped(stored.reverse_path));
        for (const spool::StoredRecipient& recipient : stored.recipients) {
            fmt::print(out_, "  {} <{}>{}{}\n", state_of(recipient), escaped(recipient.mailbox),
                       recipient.last_reply.empty() ? "" : ": ", escaped(recipient.last_reply));
        }
    }
    void write_totals() const {
        std::size_t files = 0;
        for (const ListedRun& run : listing_.runs) {
            files += run.files.size();
        }
        fmt::print(out_, "{} messages in {} files of {} runs", listing_.queue.messages.size(),
                   files, listing_.runs.size());
        if (listing_.queue.unreadable_records > 0) {
            fmt::print(out_, ", {} records are whole and make no sense",
                       listing_.queue.unreadable_records);
        }
        if (listing_.aside_count > 0) {
            fmt::print(out_, ", {} files were set aside", listing_.aside_count);
        }
        fmt::print(out_, "{}\n", listing_.is_damaged() ? ", DAMAGE was found" : "");
    }

    const SpoolListing& listing_;
    std::FILE* out_;
};

class Json {
  public:
    Json(const SpoolListing& listing, std::FILE* out) : listing_(listing), out_(out) {}

    void write(const std::string& directory) const {
        fmt::print(out_, R"({{"directory": {}, "in_use": {}, "damaged": {}, "runs": [)",
                   quoted(directory), listing_.is_in_use, listing_.is_damaged());
        each(listing_.runs, [this](const ListedRun& run) { write(run); });
        fmt::print(out_, R"(], "messages": [)");
        each(listing_.queue.messages,
             [this](const spool::RecoveredMessage& message) { write(message); });
        fmt::print(out_, R"(], "damaged_messages": [)");
        each(listing_.queue.damaged,
             [this](std::uint64_t id) { fmt::print(out_, "{}", quoted(spool::id_text(id))); });
        fmt::print(out_, R"(], "unreadable_records": {}, "set_aside": {}}})",
                   listing_.queue.unreadable_records, listing_.aside_count);
        fmt::print(out_, "\n");
    }

  private:
    template <typename Values, typename Write> void each(const Values& values, Write write) const {
        std::string_view separator = "\n";
        for (const auto& value : values) {
            fmt::print(out_, "{}", separator);
            separator = ",\n";
            write(value);
        }
    }
    void write(const ListedRun& run) const {
        fmt::print(out_, R"({{"generation": {}, "in_use": {}, "fault": {}, "segments": [)",
                   run.generation, run.is_in_use,
                   run.error == 0 ? "null" : quoted(words_of(run.error)));
        each(run.files, [this](const ListedFile& file) { write(file); });
        fmt::print(out_, "]}}");
    }
    void write(const ListedFile& file) const {
        const SegmentReport& report = file.report;
        const std::string fault = fault_of(file);
        fmt::print(out_, R"({{"name": {}, "bytes": {}, "fault": {})", quoted(file.name),
                   file.size_bytes, fault.empty() ? "null" : quoted(fault));
        if (report.kind == SegmentReport::Kind::segment) {
            fmt::print(out_,
                       R"(, "worker": {}, "life": {}, "used_bytes": {}, "messages": {}, )"
                       R"("chunks": {}, "marks": {}, "held": {}, "torn": {}, "lost": {})",
                       report.header.worker, report.header.life, report.used_bytes, report.messages,
                       report.chunks, report.records - report.messages - report.chunks,
                       listing_.queue.segments[report.index]->holds.load(), report.torn,
                       report.lost);
        }
        fmt::print(out_, "}}");
    }
    void write(const spool::RecoveredMessage& message) const {
        const ListedMessage read = read_message(listing_, message);
        fmt::print(out_, R"({{"id": {}, )", quoted(spool::id_text(message.id)));
        if (!read.error.empty()) {
            fmt::print(out_, R"("fault": {}}})", quoted(read.error));
            return;
        }
        const spool::StoredMessage& stored = read.stored;
        fmt::print(out_,
                   R"("fault": null, "state": {}, "accepted": {}, "expires_from": {}, )"
                   R"("message_bytes": {}, "stored_bytes": {}, "sender": {}, "recipients": [)",
                   quoted(state_of(stored)), quoted(date_of(stored.accepted_at)),
                   quoted(date_of(stored.expires_from)), stored.message_bytes, message.stored_bytes,
                   quoted(stored.reverse_path));
        each(stored.recipients, [this](const spool::StoredRecipient& recipient) {
            fmt::print(out_, R"({{"mailbox": {}, "state": {}, "reply": {}}})",
                       quoted(recipient.mailbox), quoted(state_of(recipient)),
                       recipient.last_reply.empty() ? "null" : quoted(recipient.last_reply));
        });
        fmt::print(out_, "]}}");
    }

    const SpoolListing& listing_;
    std::FILE* out_;
};

} // namespace

int inspect_spool(const std::string& directory, bool as_json, std::FILE* out, std::FILE* errors) {
    const auto listing = SpoolListing::read(directory);
    if (!listing) {
        fmt::print(errors, "ringmx: spool inspect: {}\n", listing.error().message());
        return exit_usage;
    }
    if (as_json) {
        Json(*listing, out).write(directory);
    } else {
        Table(*listing, out).write(directory);
    }
    return listing->is_damaged() ? exit_damaged : 0;
}

} // namespace ringmx
