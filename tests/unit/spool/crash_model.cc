#include "unit/spool/crash_model.h"

#include "spool/recovery.h"
#include "spool/scanner.h"
#include "unit/spool/writes_under_way.h"

#include <algorithm>
#include <cerrno>
#include <gtest/gtest.h>
#include <memory>
#include <optional>
#include <set>

namespace ringmx::spool {
namespace {

constexpr std::size_t segment_bytes = commit_bytes_max + 256 * 1024;
constexpr std::uint32_t files_max = 4;
constexpr int runs = 3;
// Owners of marks: one of these plus the id.
constexpr std::uint64_t remove_owner = 1U << 31U;
constexpr std::uint64_t deliver_owner = 1U << 30U;
constexpr std::uint64_t cancel_owner = 1U << 29U;

struct Known {
    std::string content;
    std::uint32_t recipients = 1;
    std::vector<ChunkPlace> chunks; // durable ones
    std::size_t chunks_wanted = 0;
    bool acknowledged = false;
    bool failed = false;   // the client was told so
    bool removing = false; // an operator asked
    bool removing_failed = false;
    bool is_removed = false; // and was told that it is done
    std::set<std::uint32_t> delivered;
    std::uint32_t marks_durable = 0;
    // Where its records are held.
    SegmentTable* table = nullptr;
    std::vector<std::uint32_t> holds;
    SegmentName home;

    [[nodiscard]] bool is_over() const {
        return failed || removing || delivered.size() == recipients;
    }
};

class Model final : public JournalObserver {
  public:
    explicit Model(std::uint64_t seed) : random_(seed), disk_(random_.next()) {}

    void run() {
        for (int number = 1; number <= runs; ++number) {
            begin_run(static_cast<std::uint32_t>(number));
            const std::uint64_t steps = random_.between(50, 600);
            for (std::uint64_t step = 0; step < steps && !testing::Test::HasFatalFailure();
                 ++step) {
                this->step();
            }
            if (random_.chance(0.3)) {
                settle();
            }
            const bool is_quiet = journal_->idle();
            writes_.crash();
            end_run();
            recover(is_quiet);
            if (testing::Test::HasFailure()) {
                return;
            }
        }
    }

    CrashTally tally;

  private:
    void begin_run(std::uint32_t generation) {
        generation_ = generation;
        pool_ = std::make_unique<BufferPool>(BufferPool::Settings{.bytes_max = 64U << 20U});
        table_ = std::make_unique<SegmentTable>(generation, std::uint16_t{0});
        for (std::uint32_t count = 0; count < files_max; ++count) {
            (void)table_->add(disk_.create(segment_bytes, segment_open_flags()), segment_bytes);
        }
        journal_ = std::make_unique<Journal>(*pool_, *table_, [this] {
            Nonce nonce;
            std::ranges::generate(nonce, [this] { return static_cast<std::byte>(random_.next()); });
            return nonce;
        });
        disk_.faults.write_error = random_.chance(0.3) ? 0.025 : 0;
        disk_.faults.short_write = disk_.faults.write_error;
        resumes_ = random_.chance(0.5);
    }

    void end_run() {
        tally.failures += journal_->totals().failures;
        for (std::uint32_t index = 0; index < table_->count(); ++index) {
            tally.lives_max = std::max(tally.lives_max, table_->at(index).name.life);
        }
        journal_.reset();
        pool_.reset();
    }

    void step() {
        now_ += Duration{static_cast<std::int64_t>(random_.below(60'000'000))};
        switch (random_.below(12)) {
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
            deliver();
            break;
        case 8:
            remove();
            break;
        default:
            complete_one();
            break;
        }
        submit();
    }

    void submit() {
        if (resumes_) {
            const auto sealed = sealed_count();
            journal_->resume_segment();
            tally.resumed += sealed - sealed_count();
        }
        (void)writes_.begin(*journal_, now_);
        for (const WritesUnderWay::Write& write : writes_.all()) {
            EXPECT_EQ(write.offset % block_bytes, 0U);
            EXPECT_EQ(write.bytes % block_bytes, 0U);
        }
        EXPECT_LE(writes_.all().size(), writes_max + 1);
        discard();
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
            if (writes_.all().empty() && journal_->wants_segment()) {
                journal_->give_up(ENOSPC, *this);
                return;
            }
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
        std::string content(random_.chance(0.3) ? random_.below(200'000) : random_.below(20'000),
                            'x');
        for (char& octet : content) {
            octet = static_cast<char>(random_.next());
        }
        return content;
    }

    // Some mails are copies of what the disk has.
    void forge(std::string& content) {
        const std::vector<int> files = disk_.files();
        const std::vector<std::byte>& file = disk_.octets(files[random_.below(files.size())]);
        if (content.size() > block_bytes && content.size() < file.size()) {
            const std::size_t start = random_.below(file.size() - content.size());
            const Bytes copied =
                Bytes(file).subspan(start / block_bytes * block_bytes, content.size());
            content = as_text(copied);
        }
    }

    [[nodiscard]] StoredMessage stored(const Known& known) const {
        StoredMessage message;
        message.accepted_at = WallTime(now_.time_since_epoch());
        message.content_bytes = known.content.size();
        message.reverse_path = "a@b.example";
        message.recipients.resize(known.recipients);
        for (StoredRecipient& recipient : message.recipients) {
            recipient.mailbox = "user@one.example";
        }
        message.chunks = known.chunks;
        return message;
    }

    void new_message() {
        if (journal_->room_bytes() < commit_bytes_max) {
            return;
        }
        const std::uint64_t id = next_id_++;
        Known& known = known_[id];
        known.content = make_content();
        if (random_.chance(0.1)) {
            forge(known.content);
        }
        known.recipients = static_cast<std::uint32_t>(random_.between(1, 3));
        known.table = table_.get();
        if (random_.chance(0.2)) {
            known.chunks_wanted = random_.between(1, 4);
            return; // next_chunk() goes on
        }
        std::string body;
        append_message_body(body, stored(known));
        append(id, {.type = RecordType::message, .id = id, .owner = cancel_owner + id}, body,
               known.content);
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
            known_[id].failed = true; // the client is told 452
        }
    }

    // A message whose chunks are all durable gets its record; another one its next chunk.
    void next_chunk() {
        for (auto& [id, known] : known_) {
            if (known.table != table_.get() || known.acknowledged || known.failed ||
                known.chunks_wanted == 0 || waiting_.contains(id)) {
                continue;
            }
            if (known.chunks.size() == known.chunks_wanted) {
                std::string body;
                append_message_body(body, stored(known));
                append(id, {.type = RecordType::message, .id = id, .owner = cancel_owner + id},
                       body, {});
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

    [[nodiscard]] std::optional<std::uint64_t> some_live() {
        std::vector<std::uint64_t> live;
        for (const auto& [id, known] : known_) {
            if (known.acknowledged && !known.is_over()) {
                live.push_back(id);
            }
        }
        return live.empty() ? std::nullopt : std::optional(live[random_.below(live.size())]);
    }

    void deliver() {
        const auto id = some_live();
        if (!id) {
            return;
        }
        Known& known = known_[*id];
        std::uint32_t recipient = 0;
        while (known.delivered.contains(recipient)) {
            ++recipient;
        }
        journal_->append_mark(
            {.kind = MarkKind::delivered, .id = *id, .recipient = recipient, .home = known.home},
            deliver_owner + *id, false, now_);
        known.delivered.insert(recipient);
    }

    void remove() {
        const auto id = some_live();
        if (!id) {
            return;
        }
        Known& known = known_[*id];
        known.removing = true;
        journal_->append_mark({.kind = MarkKind::removed, .id = *id, .home = known.home},
                              remove_owner + *id, true, now_);
    }

    static void let_go(Known& known) {
        for (const std::uint32_t index : known.holds) {
            known.table->release(index);
        }
        known.holds.clear();
    }

    void durable(const Commit::Record& record, const RecordPlace& place,
                 const Commit& commit) override {
        Known& known = known_[record.id];
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
        known.acknowledged = true;
        known.home = table_->at(place.segment).name;
        ++tally.acknowledged;
    }
    void failed(const Commit::Record& record, bool is_written, int error) override {
        EXPECT_NE(error, 0);
        Known& known = known_[record.id];
        known.failed = true;
        waiting_.erase(record.id);
        if (record.type == RecordType::chunk || !is_written) {
            let_go(known);
        }
    }
    void mark_durable(std::uint64_t owner) override {
        if (owner >= remove_owner) {
            Known& known = known_[owner - remove_owner];
            known.is_removed = true;
            let_go(known);
            return;
        }
        if (owner < deliver_owner) {
            let_go(known_[owner - cancel_owner]);
            return;
        }
        Known& known = known_[owner - deliver_owner];
        if (++known.marks_durable == known.recipients) {
            let_go(known);
        }
    }
    void mark_failed(std::uint64_t owner, int error) override {
        EXPECT_NE(error, 0);
        // The operator is told of the error. It may have been done all the same.
        known_[owner - remove_owner].removing = false;
        known_[owner - remove_owner].removing_failed = true;
    }

    void recover(bool is_quiet) {
        Recovery recovery;
        SegmentScanner scanner;
        auto adopted = std::make_unique<SegmentTable>(0U, std::uint16_t{0});
        std::vector<std::pair<int, SegmentHeader>> segments;
        for (const int descriptor : disk_.files()) {
            bool is_first = true;
            const SegmentReader read = [&](std::uint64_t offset, std::span<std::byte> out) {
                return disk_.read(descriptor, offset, out);
            };
            const ScanResult result =
                scanner.scan(read, [&](const RecordHeader& header, Bytes body) {
                    if (std::exchange(is_first, false)) {
                        std::vector<std::byte> block(block_bytes);
                        (void)read(0, block);
                        recovery.begin_segment(static_cast<std::uint32_t>(segments.size()),
                                               *decode_segment_header(block));
                    }
                    recovery.record(header, body);
                });
            if (result.header && !is_first) {
                segments.emplace_back(descriptor, *result.header);
            } else {
                disk_.remove(descriptor); // never used, or no record in it
            }
        }
        recovery.finish();
        EXPECT_EQ(recovery.unreadable_records(), 0U);
        EXPECT_TRUE(recovery.damaged().empty());
        for (std::uint32_t index = 0; index < segments.size(); ++index) {
            const SegmentHeader& header = segments[index].second;
            (void)adopted->adopt(segments[index].first,
                                 {header.generation, header.worker, header.life}, header.size_bytes,
                                 recovery.marked(index));
        }
        judge(recovery.messages(), segments, is_quiet);
        earlier_ = std::move(adopted);
        adopt(recovery.messages());
    }

    void judge(const std::vector<RecoveredMessage>& messages,
               const std::vector<std::pair<int, SegmentHeader>>& segments, bool is_quiet) {
        EXPECT_TRUE(std::ranges::is_sorted(messages, {}, &RecoveredMessage::accepted_at))
            << "not in order of acceptance";
        std::set<std::uint64_t> found;
        for (const RecoveredMessage& message : messages) {
            ASSERT_TRUE(found.insert(message.id).second) << "twice: " << message.id;
            ASSERT_TRUE(known_.contains(message.id)) << "invented: " << message.id;
            const Known& known = known_[message.id];
            EXPECT_FALSE(known.is_removed) << "removed, and back: " << message.id;
            EXPECT_FALSE(known.failed && is_quiet) << "refused, and there: " << message.id;
            EXPECT_EQ(message.recipients_count, known.recipients);
            for (const RecoveredMessage::Recipient& recipient : message.settled) {
                EXPECT_TRUE(known.delivered.contains(recipient.index) || known.removing)
                    << "never delivered: " << message.id;
            }
            EXPECT_EQ(content_of(message, segments), known.content) << message.id;
        }
        for (const auto& [id, known] : known_) {
            EXPECT_TRUE(!known.acknowledged || known.is_over() || known.removing_failed ||
                        found.contains(id))
                << "lost: " << id;
        }
    }

    [[nodiscard]] std::string
    content_of(const RecoveredMessage& message,
               const std::vector<std::pair<int, SegmentHeader>>& segments) {
        const std::string body = body_at(segments[message.segment], message.offset);
        Bytes content;
        const auto stored = read_message_body(as_bytes(body), &content);
        if (!stored) {
            return "(no message)";
        }
        std::string text(as_text(content));
        for (const ChunkPlace& chunk : stored->chunks) {
            const auto home = std::ranges::find_if(segments, [&](const auto& segment) {
                return segment.second.life == chunk.life &&
                       segment.second.generation == segments[message.segment].second.generation;
            });
            text += home == segments.end() ? "(no chunk)" : body_at(*home, chunk.offset);
        }
        return text;
    }

    [[nodiscard]] std::string body_at(const std::pair<int, SegmentHeader>& segment,
                                      std::uint64_t offset) {
        const Bytes file = disk_.octets(segment.first);
        const auto header = decode_record(file.subspan(offset), segment.second.nonce, offset);
        return header
                   ? std::string(as_text(file.subspan(offset + record_header_bytes,
                                                      header->record_bytes - record_header_bytes)))
                   : "(no record)";
    }

    // The next run goes on with what was found.
    void adopt(const std::vector<RecoveredMessage>& messages) {
        waiting_.clear();
        std::map<std::uint64_t, Known> next;
        for (const RecoveredMessage& message : messages) {
            Known& known = next[message.id] = known_[message.id];
            known.acknowledged = true;
            known.failed = known.removing = false;
            known.delivered.clear();
            for (const RecoveredMessage::Recipient& recipient : message.settled) {
                known.delivered.insert(recipient.index);
            }
            known.marks_durable = static_cast<std::uint32_t>(known.delivered.size());
            known.table = earlier_.get();
            known.holds = message.segments;
            for (const std::uint32_t index : known.holds) {
                earlier_->hold(index);
            }
            known.home = earlier_->at(message.segment).name;
        }
        for (auto& [id, known] : known_) {
            if (known.is_removed) { // it must not come back later either
                known.table = nullptr;
                known.holds.clear();
                next.try_emplace(id, known);
            }
        }
        known_ = std::move(next);
    }

    sim::Random random_;
    sim::SimDisk disk_;
    WritesUnderWay writes_{disk_};
    Instant now_{1s};
    bool resumes_ = false; // segments behind writes that failed
    std::uint32_t generation_ = 0;
    std::unique_ptr<BufferPool> pool_;
    std::unique_ptr<SegmentTable> table_;
    std::unique_ptr<SegmentTable> earlier_;
    std::unique_ptr<Journal> journal_;
    std::map<std::uint64_t, Known> known_;
    std::set<std::uint64_t> waiting_; // for a record of theirs to be durable
    std::uint64_t next_id_ = 1;
};

} // namespace

void run_crash_model(std::uint64_t seed, CrashTally& tally) {
    Model model(seed);
    model.run();
    tally.acknowledged += model.tally.acknowledged;
    tally.lives_max = std::max(tally.lives_max, model.tally.lives_max);
    tally.failures += model.tally.failures;
    tally.resumed += model.tally.resumed;
}

} // namespace ringmx::spool
