#include "unit/spool/crash_model.h"

#include "unit/spool/crash_ledger.h"
#include "unit/spool/crash_mail.h"
#include "unit/spool/crash_message.h"
#include "unit/spool/crash_recovery.h"
#include "unit/spool/writes_under_way.h"

#include <algorithm>
#include <cerrno>
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
    Model(std::uint64_t seed, CrashTally& tally, std::optional<std::uint64_t> crash_at)
        : random_(seed), disk_(random_.next()), tally_(tally), crash_at_(crash_at) {}

    void run() {
        for (int number = 1; number <= runs; ++number) {
            begin_run(static_cast<std::uint32_t>(number));
            const std::uint64_t steps = crash_at_ ? *crash_at_ : random_.between(50, 900);
            for (std::uint64_t step = 0; step < steps && !testing::Test::HasFatalFailure();
                 ++step) {
                this->step();
            }
            if (!crash_at_) {
                prepare_crash();
            }
            const bool is_quiet = journal_->idle();
            writes_.crash();
            tally_.disk_crc = disk_.crc(tally_.disk_crc);
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
    struct Move {
        std::vector<ChunkPlace> chunks; // durable copies
        std::vector<std::uint32_t> holds;
    };

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

    void prepare_crash() {
        if (random_.chance(0.3)) {
            settle();
        } else {
            command(); // for the crash to find it under way
            submit();
        }
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
        switch (random_.below(15)) {
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
        case 10:
            move();
            break;
        default:
            complete_one();
            break;
        }
        submit();
    }

    // For a while now and then, all of it or of some of the writes; then there is room again.
    void fill_disk() {
        if (full_steps_ > 0) {
            --full_steps_;
            if (full_steps_ == 0) {
                disk_.faults.write_full = 0;
                was_full_ = true;
            }
        } else if (random_.chance(0.003)) {
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

    [[nodiscard]] WallTime wall_time() const { return WallTime(now_.time_since_epoch()); }

    void new_message() {
        if (journal_->room_bytes() < commit_bytes_max && !random_.chance(0.05)) {
            return;
        }
        const std::uint64_t id = next_id_++;
        CrashMessage& known = known_[id];
        known.content = mail_.content();
        known.recipients = static_cast<std::uint32_t>(random_.between(1, 3));
        known.table = table_.get();
        known.accepted_at = wall_time();
        known.chunks_wanted = random_.chance(0.2) ? random_.between(1, 4) : 0;
        const bool is_inline = known.chunks_wanted == 0;
        if (random_.chance(0.15)) {
            mail_.forge(known.content,
                        record_header_bytes + (is_inline ? body_of(known).size() : 0));
        }
        if (is_inline) { // else next_chunk() goes on
            append_message(id, known, known.content);
        }
    }

    void append_message(std::uint64_t id, CrashMessage& known, std::string_view content) {
        known.is_refused =
            !append({.type = RecordType::message, .id = id, .owner = owner(Owner::refusal, id)},
                    body_of(known), content); // the client is told 452
    }

    // Whether there was room.
    [[nodiscard]] bool append(const Commit::Record& record, std::string_view head,
                              std::string_view content) {
        std::vector<Slice> slices;
        while (!content.empty()) {
            const std::string_view part = content.substr(0, random_.between(1, 60'000));
            slices.push_back(pool_->copy(as_bytes(part)));
            content.remove_prefix(part.size());
        }
        return journal_->append(record, as_bytes(head), slices) == Commit::Append::taken;
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
                known.is_refused = !append_chunk(id, known, known.chunks.size());
            }
            waiting_.insert(id);
            return;
        }
    }

    [[nodiscard]] bool append_chunk(std::uint64_t id, const CrashMessage& known,
                                    std::size_t number) {
        const std::size_t each = known.content.size() / known.chunks_wanted;
        const bool is_last = number + 1 == known.chunks_wanted;
        return append(
            {.type = RecordType::chunk, .id = id, .part = static_cast<std::uint32_t>(number)}, {},
            std::string_view(known.content)
                .substr(number * each, is_last ? std::string::npos : each));
    }

    // To elsewhere in the spool, as what keeps a segment from being used again is. Meanwhile nothing
    // else happens to it.
    void move() {
        const auto id = some([this](const CrashMessage& known) {
            return known.table == table_.get() && is_free(known);
        });
        if (id) {
            known_[*id].is_moving = true;
            moves_[*id] = {};
        }
        for (auto& [moved, move] : moves_) {
            if (waiting_.contains(moved)) {
                continue;
            }
            const CrashMessage& known = known_[moved];
            const bool is_taken =
                move.chunks.size() < known.chunks.size()
                    ? append_chunk(moved, known, move.chunks.size())
                    : append({.type = RecordType::message, .id = moved, .is_copy = true},
                             body_of(known, move.chunks),
                             known.chunks.empty() ? known.content : std::string_view());
            if (is_taken) {
                waiting_.insert(moved);
            }
        }
    }

    void end_move(std::map<std::uint64_t, Move>::iterator position) {
        known_[position->first].is_moving = false;
        moves_.erase(position);
    }

    void moved(CrashMessage& known, Move& move, const Commit::Record& record,
               const RecordPlace& place) {
        move.holds.push_back(place.segment);
        if (record.type == RecordType::chunk) {
            move.chunks.push_back(
                {table_->at(place.segment).name.life, place.offset, place.record_bytes});
            return;
        }
        table_->note_mark(place.segment, known.home);
        let_go(known);
        known.home = table_->at(place.segment).name;
        known.chunks = std::move(move.chunks);
        known.holds = std::move(move.holds);
        tally_.add(CrashSight::moved);
        end_move(moves_.find(record.id));
    }

    void move_failed(Move& move, const Commit::Record& record, bool is_written) {
        if (record.type == RecordType::message && is_written) {
            tally_.add(CrashSight::copy_failed); // what it names stays
        } else {
            for (const std::uint32_t index : move.holds) {
                table_->release(index);
            }
        }
        end_move(moves_.find(record.id));
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
        const auto id = some([](const CrashMessage& known) {
            return known.next_recipient().has_value() && !known.is_moving;
        });
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

    [[nodiscard]] static bool is_free(const CrashMessage& known) {
        return !known.is_under_command() && !known.is_moving;
    }

    // Of an operator. What waits for one comes first, or it would fill the disk.
    void command() {
        auto id = some([](const CrashMessage& known) {
            return is_free(known) && (known.is_held() || known.has_failures());
        });
        if (!id || random_.chance(0.4)) {
            id = some(is_free);
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
        waiting_.erase(record.id);
        std::vector<Slice> slices;
        commit.content(record, slices);
        std::string kept;
        for (const Slice& slice : slices) {
            kept += slice.text();
        }
        EXPECT_TRUE(record.type == RecordType::chunk || known.chunks_wanted > 0 ||
                    kept == known.content);
        if (const auto move = moves_.find(record.id); move != moves_.end()) {
            moved(known, move->second, record, place);
            return;
        }
        known.holds.push_back(place.segment);
        if (record.type == RecordType::chunk) {
            known.chunks.push_back(
                {table_->at(place.segment).name.life, place.offset, place.record_bytes});
            return;
        }
        known.acknowledge();
        known.home = table_->at(place.segment).name;
        tally_.add(CrashSight::acknowledged);
        tally_.add(CrashSight::goes_on, std::exchange(was_full_, false) ? 1 : 0);
    }
    void failed(const Commit::Record& record, bool is_written, int error) override {
        EXPECT_TRUE(error == ENOSPC || error == EIO) << error;
        waiting_.erase(record.id);
        if (const auto move = moves_.find(record.id); move != moves_.end()) {
            move_failed(move->second, record, is_written);
            return;
        }
        tally_.add(CrashSight::refused);
        CrashMessage& known = known_[record.id];
        known.is_refused = true;
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
            disk_.faults = {.read_error = 0.3, .short_read = 0.1};
            CrashRecovery found(disk_); // the files stay
            ledger_.judge_part(found);
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
        ledger_.judge(found, is_quiet);
        adopt(found);
    }

    // The next run goes on with what was found.
    void adopt(CrashRecovery& found) {
        for (const int file : found.empty_files()) {
            disk_.remove(file);
        }
        earlier_ = ledger_.adopt(found);
        waiting_.clear();
        moves_.clear();
    }

    sim::Random random_;
    sim::SimDisk disk_;
    CrashTally& tally_;
    std::optional<std::uint64_t> crash_at_; // step of each run
    CrashMail mail_{random_, disk_};
    WritesUnderWay writes_{disk_};
    Instant now_{1s};
    bool resumes_ = false;         // segments behind writes that failed
    std::uint64_t full_steps_ = 0; // for which the disk is full still
    bool was_full_ = false;        // and nothing was acknowledged since
    std::unique_ptr<BufferPool> pool_;
    std::unique_ptr<SegmentTable> table_;
    std::unique_ptr<SegmentTable> earlier_;
    std::unique_ptr<Journal> journal_;
    CrashLedger ledger_{tally_};
    std::map<std::uint64_t, CrashMessage>& known_{ledger_.known()};
    std::map<std::uint64_t, Move> moves_; // under way
    std::set<std::uint64_t> waiting_;     // for a record of theirs to be durable
    std::uint64_t next_id_ = 1;
};

} // namespace

void run_crash_model(std::uint64_t seed, CrashTally& tally, std::optional<std::uint64_t> crash_at) {
    Model(seed, tally, crash_at).run();
}

} // namespace ringmx::spool
