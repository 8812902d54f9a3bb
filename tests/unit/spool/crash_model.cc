#include "unit/spool/crash_model.h"

#include "unit/spool/crash_message.h"
#include "unit/spool/crash_recovery.h"
#include "unit/spool/writes_under_way.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <gtest/gtest.h>
#include <map>
#include <memory>
#include <optional>
#include <set>

namespace ringmx::spool {
namespace {

constexpr std::size_t segment_bytes = commit_bytes_max + 256 * 1024;
constexpr std::uint32_t files_max = 4;
constexpr std::uint32_t extra_files_max = 2; // for marks alone
constexpr int runs = 3;

// Of records and marks: whose they are, above the message's id.
enum class Owner : std::uint8_t { refusal = 1, command, delivery, failure };

std::uint64_t owner(Owner kind, std::uint64_t id, std::uint32_t number = 0) {
    return std::uint64_t{static_cast<std::uint8_t>(kind)} << 60U | std::uint64_t{number} << 32U |
           id;
}
Owner kind_of(std::uint64_t owner) { return static_cast<Owner>(owner >> 60U); }
std::uint32_t number_of(std::uint64_t owner) {
    return static_cast<std::uint32_t>(owner >> 32U) & 0xFFFFFFFU;
}
std::uint64_t id_of(std::uint64_t owner) { return owner & 0xFFFFFFFFU; }

class Model final : public JournalObserver {
  public:
    Model(std::uint64_t seed, CrashTally& tally)
        : random_(seed), disk_(random_.next()), tally_(tally) {}

    void run() {
        for (int number = 1; number <= runs; ++number) {
            begin_run(static_cast<std::uint32_t>(number));
            const std::uint64_t steps = random_.between(50, 900);
            for (std::uint64_t step = 0; step < steps && !testing::Test::HasFatalFailure();
                 ++step) {
                this->step();
            }
            if (random_.chance(0.3)) {
                settle();
            } else {
                command(); // for the crash to find it under way
                submit();
            }
            const bool is_quiet = journal_->idle();
            writes_.crash();
            end_run();
            recover(is_quiet);
            if (testing::Test::HasFailure()) {
                return;
            }
        }
        tally_.add(CrashSight::write_error, disk_.totals().write_errors);
        tally_.add(CrashSight::short_write, disk_.totals().short_writes);
        tally_.add(CrashSight::full_write, disk_.totals().full);
        tally_.add(CrashSight::read_error, disk_.totals().read_errors);
    }

  private:
    void begin_run(std::uint32_t generation) {
        pool_ = std::make_unique<BufferPool>(BufferPool::Settings{.bytes_max = 64U << 20U});
        table_ = std::make_unique<SegmentTable>(generation, std::uint16_t{0});
        for (std::uint64_t count = random_.between(2, files_max); count > 0; --count) {
            add_file();
        }
        journal_ = std::make_unique<Journal>(*pool_, *table_, [this] {
            Nonce nonce;
            std::ranges::generate(nonce, [this] { return static_cast<std::byte>(random_.next()); });
            return nonce;
        });
        disk_.faults = {};
        disk_.faults.write_error = random_.chance(0.3) ? (random_.chance(0.5) ? 0.025 : 0.1) : 0;
        disk_.faults.short_write = disk_.faults.write_error;
        resumes_ = random_.chance(0.5);
        full_steps_ = 0;
        was_full_ = false;
    }

    void end_run() {
        std::uint64_t lives = 0;
        for (std::uint32_t index = 0; index < table_->count(); ++index) {
            lives = std::max(lives, table_->at(index).name.life);
        }
        tally_.add(CrashSight::used_again, lives - std::min<std::uint64_t>(lives, table_->count()));
        journal_.reset();
        pool_.reset();
    }

    void step() {
        now_ += Duration{static_cast<std::int64_t>(1 + random_.below(60'000'000))};
        fill_disk();
        switch (random_.below(14)) {
        case 0:
        case 1:
        case 2:
            new_message();
            break;
        case 3:
            next_chunk();
            break;
        case 4:
        case 5:
        case 6:
        case 7:
        case 8:
            settle_one(random_.chance(0.1) ? MarkKind::failed : MarkKind::delivered);
            break;
        case 9:
            command();
            break;
        default:
            complete_one();
            break;
        }
        submit();
    }

    // For a while now and then, all of it or of some of the writes; then there is room again.
    void fill_disk() {
        if (full_steps_ > 0 && --full_steps_ == 0) {
            disk_.faults.write_full = 0;
            was_full_ = true;
        } else if (full_steps_ == 0 && random_.chance(0.003)) {
            full_steps_ = random_.between(5, 100);
            disk_.faults.write_full = random_.chance(0.5) ? 1 : 0.3;
        }
    }

    void submit() {
        begin_writes();
        if (journal_->wants_segment()) {
            want_file();
            begin_writes();
        }
        discard();
    }

    void begin_writes() {
        if (resumes_) {
            const auto sealed = sealed_count();
            journal_->resume_segment();
            tally_.add(CrashSight::resumed, sealed - sealed_count());
        }
        (void)writes_.begin(*journal_, now_);
        for (const WritesUnderWay::Write& write : writes_.all()) {
            EXPECT_EQ(write.offset % block_bytes, 0U);
            EXPECT_EQ(write.bytes % block_bytes, 0U);
        }
        EXPECT_LE(writes_.all().size(), writes_max + 1);
    }

    void want_file() {
        if (full_steps_ > 0) {
            tally_.add(CrashSight::full_file);
            journal_->give_up(ENOSPC, *this);
        } else if (table_->files_count() <
                   files_max + (random_.chance(0.1) ? extra_files_max : 0)) {
            add_file();
        } else {
            journal_->give_up(ENOSPC, *this);
        }
    }

    void add_file() {
        (void)table_->add(disk_.create(segment_bytes, segment_open_flags()), segment_bytes);
    }

    [[nodiscard]] std::uint64_t sealed_count() const {
        std::uint64_t sealed = 0;
        for (std::uint32_t index = 0; index < table_->count(); ++index) {
            sealed += table_->at(index).state == Segment::State::sealed ? 1U : 0U;
        }
        return sealed;
    }

    void complete_one() {
        if (!writes_.all().empty()) {
            writes_.end(random_.below(writes_.all().size()), *journal_, now_, *this);
        }
    }

    // Everything under way ends.
    void settle() {
        for (int rounds = 0; rounds < 1000 && !journal_->idle(); ++rounds) {
            now_ += 1s;
            submit();
            complete_one();
        }
    }

    void discard() {
        for (SegmentTable* table : {table_.get(), earlier_.get()}) {
            while (table != nullptr) {
                const auto index = table->next_to_discard();
                if (!index) {
                    break;
                }
                const SegmentName name = table->at(*index).name;
                disk_.remove(table->at(*index).descriptor);
                table->discarded(*index);
                table_->home_gone(name);
            }
        }
    }

    [[nodiscard]] std::string make_content() {
        std::string content(random_.chance(0.5) ? random_.below(200'000) : random_.below(20'000),
                            'x');
        for (std::size_t at = 0; at + sizeof(std::uint64_t) <= content.size();
             at += sizeof(std::uint64_t)) {
            const std::uint64_t octets = random_.next();
            std::memcpy(&content[at], &octets, sizeof octets);
        }
        return content;
    }

    // Some mails are copies of records on the disk, each at the beginning of a block if they come
    // first in a commit, and behind so many octets.
    void forge(std::string& content, std::size_t before) {
        const std::vector<int> files = disk_.files();
        if (files.empty()) {
            return;
        }
        const Bytes file = disk_.octets(files[random_.below(files.size())]);
        std::vector<std::size_t> records;
        for (std::size_t at = block_bytes; at < file.size(); at += block_bytes) {
            if (as_text(file.subspan(at, 4)) == "RMXr") {
                records.push_back(at);
            }
        }
        if (!records.empty()) {
            const Bytes copied = file.subspan(records[random_.below(records.size())]);
            content.assign(block_bytes - before % block_bytes, 'x');
            content += as_text(copied.first(std::min<std::size_t>(copied.size(), 100'000)));
        }
    }

    [[nodiscard]] static std::string body_of(const CrashMessage& known) {
        StoredMessage message;
        message.accepted_at = message.expires_from = known.accepted_at;
        message.content_bytes = known.content.size();
        message.reverse_path = "a@b.example";
        message.recipients.resize(known.recipients);
        for (StoredRecipient& recipient : message.recipients) {
            recipient.mailbox = "user@one.example";
        }
        message.chunks = known.chunks;
        std::string body;
        append_message_body(body, message);
        return body;
    }

    [[nodiscard]] WallTime wall_time() const { return WallTime(now_.time_since_epoch()); }

    void new_message() {
        if (journal_->room_bytes() < commit_bytes_max && !random_.chance(0.05)) {
            return;
        }
        const std::uint64_t id = next_id_++;
        CrashMessage& known = known_[id];
        known.content = make_content();
        known.recipients = static_cast<std::uint32_t>(random_.between(1, 3));
        known.table = table_.get();
        known.accepted_at = wall_time();
        known.chunks_wanted = random_.chance(0.2) ? random_.between(1, 4) : 0;
        const bool is_inline = known.chunks_wanted == 0;
        if (random_.chance(0.15)) {
            forge(known.content, record_header_bytes + (is_inline ? body_of(known).size() : 0));
        }
        if (is_inline) { // else next_chunk() goes on
            append_message(id, known, known.content);
        }
    }

    void append_message(std::uint64_t id, const CrashMessage& known, std::string_view content) {
        append(id, {.type = RecordType::message, .id = id, .owner = owner(Owner::refusal, id)},
               body_of(known), content);
    }

    void append(std::uint64_t id, const Commit::Record& record, std::string_view head,
                std::string_view content) {
        std::vector<Slice> slices;
        while (!content.empty()) {
            const std::string_view part = content.substr(0, random_.between(1, 60'000));
            slices.push_back(pool_->copy(as_bytes(part)));
            content.remove_prefix(part.size());
        }
        if (journal_->append(record, as_bytes(head), slices) != Commit::Append::taken) {
            known_[id].is_refused = true; // the client is told 452
        }
    }

    // A message whose chunks are all durable gets its record; another one its next chunk.
    void next_chunk() {
        for (auto& [id, known] : known_) {
            if (known.table != table_.get() || known.is_acknowledged || known.is_refused ||
                known.chunks_wanted == 0 || waiting_.contains(id)) {
                continue;
            }
            if (known.chunks.size() == known.chunks_wanted) {
                append_message(id, known, {});
            } else {
                const std::size_t each = known.content.size() / known.chunks_wanted;
                const bool is_last = known.chunks.size() + 1 == known.chunks_wanted;
                const std::size_t start = known.chunks.size() * each;
                append(id,
                       {.type = RecordType::chunk,
                        .id = id,
                        .part = static_cast<std::uint32_t>(known.chunks.size())},
                       {},
                       std::string_view(known.content)
                           .substr(start, is_last ? std::string::npos : each));
            }
            waiting_.insert(id);
            return;
        }
    }

    template <typename IsWanted> [[nodiscard]] std::optional<std::uint64_t> some(IsWanted wanted) {
        std::vector<std::uint64_t> live;
        for (const auto& [id, known] : known_) {
            if (known.is_acknowledged && !known.is_over() && wanted(known)) {
                live.push_back(id);
            }
        }
        return live.empty() ? std::nullopt : std::optional(live[random_.below(live.size())]);
    }

    // With the next recipient of some message.
    void settle_one(MarkKind kind) {
        const auto id =
            some([](const CrashMessage& known) { return known.next_recipient().has_value(); });
        if (!id) {
            return;
        }
        CrashMessage& known = known_[*id];
        const std::uint32_t recipient = *known.next_recipient();
        std::uint64_t whose = owner(Owner::delivery, *id, recipient);
        if (kind == MarkKind::failed) {
            whose = owner(Owner::failure, *id, known.fail(recipient));
        } else {
            known.deliver(recipient);
        }
        journal_->append_mark({.kind = kind,
                               .id = *id,
                               .recipient = recipient,
                               .home = known.home,
                               .at = wall_time()},
                              whose, false, now_);
    }

    // Of an operator. What waits for one comes first, or it would fill the disk.
    void command() {
        auto id = some([](const CrashMessage& known) {
            return !known.is_under_command() && (known.is_held() || known.has_failures());
        });
        if (!id || random_.chance(0.4)) {
            id = some([](const CrashMessage& known) { return !known.is_under_command(); });
        }
        if (!id) {
            return;
        }
        CrashMessage& known = known_[*id];
        const bool waits = known.is_held() || known.has_failures();
        const MarkKind kind = random_.chance(0.4)                 ? MarkKind::removed
                              : random_.chance(waits ? 0.9 : 0.3) ? MarkKind::release
                                                                  : MarkKind::hold;
        known.begin(kind, wall_time());
        journal_->append_mark({.kind = kind, .id = *id, .home = known.home, .at = wall_time()},
                              owner(Owner::command, *id), true, now_);
    }

    static void let_go(CrashMessage& known) {
        for (const std::uint32_t index : known.holds) {
            known.table->release(index);
        }
        known.holds.clear();
    }

    void durable(const Commit::Record& record, const RecordPlace& place,
                 const Commit& commit) override {
        CrashMessage& known = known_[record.id];
        known.holds.push_back(place.segment);
        waiting_.erase(record.id);
        std::vector<Slice> slices;
        commit.content(record, slices);
        std::string kept;
        for (const Slice& slice : slices) {
            kept += slice.text();
        }
        if (record.type == RecordType::chunk) {
            known.chunks.push_back(
                {table_->at(place.segment).name.life, place.offset, place.record_bytes});
            return;
        }
        EXPECT_TRUE(known.chunks_wanted > 0 || kept == known.content);
        known.acknowledge();
        known.home = table_->at(place.segment).name;
        tally_.add(CrashSight::acknowledged);
        tally_.add(CrashSight::goes_on, std::exchange(was_full_, false) ? 1 : 0);
    }
    void failed(const Commit::Record& record, bool is_written, int error) override {
        EXPECT_TRUE(error == ENOSPC || error == EIO) << error;
        tally_.add(CrashSight::refused);
        CrashMessage& known = known_[record.id];
        known.is_refused = true;
        waiting_.erase(record.id);
        if (record.type == RecordType::chunk || !is_written) {
            let_go(known);
        }
    }
    void mark_durable(std::uint64_t owner) override {
        CrashMessage& known = known_[id_of(owner)];
        bool is_end = true;
        switch (kind_of(owner)) {
        case Owner::refusal:
            break;
        case Owner::command:
            known.end(true);
            is_end = known.is_gone();
            break;
        case Owner::delivery:
            is_end = known.delivery_durable(number_of(owner));
            break;
        case Owner::failure:
            known.failure_durable(number_of(owner));
            is_end = false;
            break;
        }
        if (is_end) {
            let_go(known);
        }
    }
    void mark_failed(std::uint64_t owner, int error) override {
        EXPECT_TRUE(error == ENOSPC || error == EIO) << error;
        known_[id_of(owner)].end(false);
    }

    void recover(bool is_quiet) {
        if (random_.chance(0.2)) {
            recover_with_errors();
        }
        disk_.faults = {};
        CrashRecovery found(disk_);
        EXPECT_EQ(found.recovery().unreadable_records(), 0U);
        EXPECT_TRUE(found.recovery().damaged().empty());
        EXPECT_EQ(found.lost(), 0U) << "a crash is no damage";
        tally_.add(CrashSight::stale_record, found.sights().stale);
        tally_.add(CrashSight::copied_record, found.sights().copies);
        tally_.add(CrashSight::copied_record_of_ours, found.sights().copies_of_ours);
        tally_.add(CrashSight::torn_record, found.torn());
        judge(found, is_quiet);
        adopt(found);
    }

    // What can be read is what it was, and nothing else is found; the files stay.
    void recover_with_errors() {
        disk_.faults = {.read_error = 0.3, .short_read = 0.1};
        CrashRecovery found(disk_);
        for (const RecoveredMessage& message : found.recovery().messages()) {
            // Where marks can't be read it may be one that is over.
            ASSERT_TRUE(known_.contains(message.id) || past_.contains(message.id))
                << "invented: " << message.id;
            const CrashMessage& known =
                (known_.contains(message.id) ? known_ : past_).at(message.id);
            EXPECT_EQ(message.recipients_count, known.recipients);
            EXPECT_EQ(found.content_of(message), known.content) << message.id;
        }
    }

    void judge(CrashRecovery& found, bool is_quiet) {
        const auto& messages = found.recovery().messages();
        EXPECT_TRUE(std::ranges::is_sorted(messages, {}, &RecoveredMessage::accepted_at))
            << "not in order of acceptance";
        std::set<std::uint64_t> ids;
        for (const RecoveredMessage& message : messages) {
            ASSERT_TRUE(ids.insert(message.id).second) << "twice: " << message.id;
            ASSERT_TRUE(known_.contains(message.id)) << "invented: " << message.id;
            const CrashMessage& known = known_[message.id];
            count(known, known.judge(message, is_quiet));
            EXPECT_EQ(found.content_of(message), known.content) << message.id;
            if (known.has_failures() && !message.settled.empty()) {
                tally_.add(CrashSight::failed_for_good);
            }
        }
        for (const auto& [id, known] : known_) {
            if (!ids.contains(id)) {
                SCOPED_TRACE(id);
                count(known, known.judge_missing());
            }
        }
    }

    void count(const CrashMessage& known, CrashMessage::Found found) {
        using Found = CrashMessage::Found;
        if (found != Found::before && found != Found::after) {
            return;
        }
        const bool is_done = found == Found::after;
        switch (known.command()) {
        case MarkKind::hold:
            tally_.add(is_done ? CrashSight::hold_done : CrashSight::hold_not_done);
            break;
        case MarkKind::release:
            tally_.add(is_done ? CrashSight::release_done : CrashSight::release_not_done);
            break;
        case MarkKind::removed:
            tally_.add(is_done ? CrashSight::remove_done : CrashSight::remove_not_done);
            break;
        case MarkKind::delivered:
        case MarkKind::failed:
        case MarkKind::pool_hold:
        case MarkKind::pool_release:
            break;
        }
    }

    // The next run goes on with what was found.
    void adopt(CrashRecovery& found) {
        for (const int file : found.empty_files()) {
            disk_.remove(file);
        }
        earlier_ = std::make_unique<SegmentTable>(0U, std::uint16_t{0});
        for (std::uint32_t index = 0; index < found.segments().size(); ++index) {
            const SegmentHeader& header = found.segments()[index].header;
            (void)earlier_->adopt(found.segments()[index].file,
                                  {header.generation, header.worker, header.life},
                                  header.size_bytes, found.recovery().marked(index));
        }
        waiting_.clear();
        std::map<std::uint64_t, CrashMessage> next;
        for (const RecoveredMessage& message : found.recovery().messages()) {
            CrashMessage& known = next[message.id] = known_[message.id];
            known.adopt(message);
            known.table = earlier_.get();
            known.holds = message.segments;
            for (const std::uint32_t index : known.holds) {
                earlier_->hold(index);
            }
            known.home = earlier_->at(message.segment).name;
        }
        for (auto& [id, known] : known_) {
            if (known.is_gone()) { // it must not come back later either
                known.table = nullptr;
                known.holds.clear();
                next.try_emplace(id, known);
            }
            past_.try_emplace(id, known);
        }
        known_ = std::move(next);
    }

    sim::Random random_;
    sim::SimDisk disk_;
    CrashTally& tally_;
    WritesUnderWay writes_{disk_};
    Instant now_{1s};
    bool resumes_ = false;         // segments behind writes that failed
    std::uint64_t full_steps_ = 0; // for which the disk is full still
    bool was_full_ = false;        // and nothing was acknowledged since
    std::unique_ptr<BufferPool> pool_;
    std::unique_ptr<SegmentTable> table_;
    std::unique_ptr<SegmentTable> earlier_;
    std::unique_ptr<Journal> journal_;
    std::map<std::uint64_t, CrashMessage> known_;
    std::map<std::uint64_t, CrashMessage> past_; // of earlier runs
    std::set<std::uint64_t> waiting_;            // for a record of theirs to be durable
    std::uint64_t next_id_ = 1;
};

} // namespace

void run_crash_model(std::uint64_t seed, CrashTally& tally) { Model(seed, tally).run(); }

} // namespace ringmx::spool
