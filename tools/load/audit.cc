#include "load/audit.h"

#include "base/assert.h"
#include "base/escape.h"
#include "load/record_stream.h"

#include <algorithm>
#include <deque>
#include <fmt/format.h>
#include <limits>
#include <string_view>
#include <utility>
#include <xxhash.h>

namespace ringmx::load {
namespace {

using Fault = std::string;

struct Entry {
    XXH128_hash_t hash{};
    std::uint64_t octets = 0;
    std::uint32_t checksum = 0;
    bool is_sent : 1 = false;
    bool is_acknowledged : 1 = false;
    bool is_received : 1 = false;
    bool is_corrupted : 1 = false;
    bool is_duplicate : 1 = false;

    [[nodiscard]] bool is_lost() const { return is_acknowledged && !is_received; }
};
static_assert(sizeof(Entry) == 32, "the memory that the header promises");

// Messages by their Message-ID. Of 128 bits two different ones are never the same in practice: of
// 10^12 messages, with a probability of 10^-15.
class Ledger {
  public:
    // The entry of this Message-ID, which may be new: then nothing is set in it but the hash.
    Entry& at(std::string_view id) {
        if ((entries_.size() + 1) * 3 > places_.size() * 2) {
            grow();
        }
        const XXH128_hash_t hash = XXH3_128bits(id.data(), id.size());
        std::uint32_t& place = places_[find(hash)];
        if (place == free) {
            RINGMX_ASSERT(entries_.size() < std::numeric_limits<std::uint32_t>::max());
            entries_.push_back(Entry{.hash = hash});
            place = static_cast<std::uint32_t>(entries_.size());
        }
        return entries_[place - 1];
    }
    [[nodiscard]] const std::deque<Entry>& entries() const { return entries_; }

  private:
    static constexpr std::uint32_t free = 0;
    static constexpr std::size_t places_at_first = 1024;

    [[nodiscard]] std::size_t find(const XXH128_hash_t& hash) const {
        const std::size_t mask = places_.size() - 1;
        std::size_t index = hash.low64 & mask;
        while (places_[index] != free &&
               XXH128_isEqual(entries_[places_[index] - 1].hash, hash) == 0) {
            index = (index + 1) & mask;
        }
        return index;
    }
    void grow() {
        const std::size_t size = places_.empty() ? places_at_first : places_.size() * 2;
        places_ = {}; // before the new ones are taken
        places_.resize(size, free);
        for (std::size_t index = 0; index < entries_.size(); ++index) {
            places_[find(entries_[index].hash)] = static_cast<std::uint32_t>(index + 1);
        }
    }

    // A deque: a vector would hold all of them twice while it grows.
    std::deque<Entry> entries_;
    std::vector<std::uint32_t> places_; // an entry's number from 1 on; at most two thirds used
};

void list(Audit::Kind& kind, std::string_view id) {
    if (kind.listed.size() < Audit::listed_max) {
        kind.listed.emplace_back(id);
    }
}

void count(Audit::Kind& kind, std::string_view id) {
    ++kind.count;
    list(kind, id);
}

class Comparison {
  public:
    std::expected<void, Fault> read_sent(RecordStream& stream);
    std::expected<void, Fault> read_received(RecordStream& stream);
    void count_lost();
    // From the beginning of what read_sent() has read.
    std::expected<void, Fault> list_lost(RecordStream& stream);

    Audit& result() { return result_; }

  private:
    void take_received(const Record& record);
    void note_torn(const RecordStream& stream);

    Ledger ledger_;
    Audit result_;
};

std::expected<void, Fault> Comparison::read_sent(RecordStream& stream) {
    Record record;
    std::expected<bool, Fault> is_record = stream.next(record);
    for (; is_record && *is_record; is_record = stream.next(record)) {
        if (record.id.empty()) {
            return std::unexpected(stream.at_line("a message that was sent has a Message-ID"));
        }
        Entry& entry = ledger_.at(record.id);
        if (entry.is_sent) {
            return std::unexpected(stream.at_line(
                "this Message-ID stands in an earlier line too: give the record of each run once"));
        }
        entry.is_sent = true;
        entry.is_acknowledged = record.is_acknowledged;
        entry.octets = record.octets;
        entry.checksum = record.checksum;
        ++(record.is_acknowledged ? result_.acknowledged : result_.unacknowledged);
    }
    result_.is_sent_torn = stream.is_torn();
    return is_record ? std::expected<void, Fault>{} : std::unexpected(is_record.error());
}

std::expected<void, Fault> Comparison::read_received(RecordStream& stream) {
    Record record;
    std::expected<bool, Fault> is_record = stream.next(record);
    for (; is_record && *is_record; is_record = stream.next(record)) {
        if (!record.is_acknowledged) {
            return std::unexpected(stream.at_line(
                "found 'unacknowledged', which is a word of ringmx-load: give its record first, "
                "then those of ringmx-sink"));
        }
        take_received(record);
    }
    note_torn(stream);
    return is_record ? std::expected<void, Fault>{} : std::unexpected(is_record.error());
}

void Comparison::take_received(const Record& record) {
    if (record.id.empty()) { // each is another message
        ++result_.received;
        count(result_.unsent, record.id);
        return;
    }
    Entry& entry = ledger_.at(record.id);
    if (entry.is_received) {
        ++result_.duplicates.count;
        if (!entry.is_duplicate) {
            entry.is_duplicate = true;
            list(result_.duplicates, record.id);
        }
    } else {
        entry.is_received = true;
        ++result_.received;
        if (!entry.is_sent) {
            count(result_.unsent, record.id);
        }
    }
    const bool is_same = entry.octets == record.octets && entry.checksum == record.checksum;
    if (entry.is_sent && !is_same && !entry.is_corrupted) {
        entry.is_corrupted = true;
        count(result_.corrupted, record.id);
    }
}

void Comparison::count_lost() {
    result_.lost.count = static_cast<std::uint64_t>(std::ranges::count_if(
        ledger_.entries(), [](const Entry& entry) { return entry.is_lost(); }));
}

std::expected<void, Fault> Comparison::list_lost(RecordStream& stream) {
    const std::uint64_t wanted = std::min<std::uint64_t>(result_.lost.count, Audit::listed_max);
    Record record;
    while (result_.lost.listed.size() < wanted) {
        const std::expected<bool, Fault> is_record = stream.next(record);
        if (!is_record) {
            return std::unexpected(is_record.error());
        }
        if (!*is_record) {
            break;
        }
        if (ledger_.at(record.id).is_lost()) {
            list(result_.lost, record.id);
        }
    }
    return {};
}

void Comparison::note_torn(const RecordStream& stream) {
    if (stream.is_torn()) {
        result_.notes.push_back(fmt::format(
            "{}: the last line is not whole, as of a program that was killed: passed over",
            stream.path()));
    }
}

std::expected<void, Fault> open_received(const std::vector<std::string>& paths,
                                         const RecordStream& sent,
                                         std::deque<RecordStream>& streams) {
    for (const std::string& path : paths) {
        RecordStream& opened = streams.emplace_back(path);
        if (const std::expected<void, Fault> result = opened.open(); !result) {
            return result;
        }
        const auto is_same = [&opened](const RecordStream& other) {
            return &other != &opened && opened.is_same_file(other);
        };
        if (is_same(sent) || std::ranges::any_of(streams, is_same)) {
            return std::unexpected(
                fmt::format("{}: the same file is given twice: give each record once", path));
        }
    }
    return {};
}

void append_kind(std::string& out, std::string_view name, const Audit::Kind& kind) {
    if (kind.listed.empty()) {
        return;
    }
    out += fmt::format("{}:\n", name);
    for (const std::string& id : kind.listed) {
        out += "  ";
        append_log_text(out, id.empty() ? "(without a Message-ID)" : std::string_view(id));
        out += '\n';
    }
    if (kind.listed.size() == Audit::listed_max && kind.count > kind.listed.size()) {
        out += "  and more\n";
    }
}

} // namespace

std::expected<Audit, std::string> audit(const AuditOptions& options) {
    RecordStream sent(options.sent);
    if (const auto opened = sent.open(); !opened) {
        return std::unexpected(opened.error());
    }
    if (!sent.is_ordinary()) {
        return std::unexpected(fmt::format(
            "{}: the sent record is read twice: copy it to an ordinary file", options.sent));
    }
    std::deque<RecordStream> received;
    if (const auto opened = open_received(options.received, sent, received); !opened) {
        return std::unexpected(opened.error());
    }
    Comparison comparison;
    if (const auto read = comparison.read_sent(sent); !read) {
        return std::unexpected(read.error());
    }
    for (RecordStream& stream : received) {
        if (const auto read = comparison.read_received(stream); !read) {
            return std::unexpected(read.error());
        }
    }
    comparison.count_lost();
    if (comparison.result().lost.count > 0) {
        RecordStream again(options.sent);
        if (const auto opened = again.open(); !opened) {
            return std::unexpected(opened.error());
        }
        if (const auto listed = comparison.list_lost(again); !listed) {
            return std::unexpected(listed.error());
        }
    }
    if (comparison.result().acknowledged == 0) {
        comparison.result().notes.emplace_back(
            "nothing was acknowledged, so that nothing could be lost");
    }
    return std::move(comparison.result());
}

std::string Audit::text() const {
    const std::pair<std::string_view, std::uint64_t> numbers[] = {
        {"acknowledged", acknowledged},  {"unacknowledged", unacknowledged},
        {"received", received},          {"lost", lost.count},
        {"corrupted", corrupted.count},  {"unsent", unsent.count},
        {"duplicates", duplicates.count}};
    std::string out;
    for (const auto& [name, number] : numbers) {
        out += fmt::format("{:<15}{:>12}\n", name, number);
    }
    append_kind(out, "lost", lost);
    append_kind(out, "corrupted", corrupted);
    append_kind(out, "unsent", unsent);
    append_kind(out, "duplicates", duplicates);
    for (const std::string& note : notes) {
        out += "note: ";
        append_log_text(out, note);
        out += '\n';
    }
    if (passed()) {
        out += "passed: all that was acknowledged was received as it was sent, and nothing that "
               "was not sent\n";
    } else {
        out += fmt::format("failed: {} lost, {} corrupted, {} unsent{}\n", lost.count,
                           corrupted.count, unsent.count,
                           is_sent_torn ? "; the sent record's last line is not whole, and what "
                                          "followed is unknown: audit a run that ended by itself"
                                        : "");
    }
    return out;
}

} // namespace ringmx::load
