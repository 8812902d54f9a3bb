#include "spool/journal.h"

#include "unit/spool/writes_under_way.h"

#include <cerrno>
#include <gtest/gtest.h>
#include <map>
#include <set>

namespace ringmx::spool {
namespace {

constexpr std::size_t segment_bytes = 2 * commit_bytes_max;

// Keeps what the journal tells, as text.
class Told final : public JournalObserver {
  public:
    void durable(const Commit::Record& record, const RecordPlace& place, const Commit&) override {
        all += "durable " + std::to_string(record.id) + "\n";
        places[record.id] = place;
    }
    void failed(const Commit::Record& record, bool, int error) override {
        all += "failed " + std::to_string(record.id) + " " + std::to_string(error) + "\n";
    }
    void mark_durable(std::uint64_t owner) override {
        all += "mark durable " + std::to_string(owner) + "\n";
    }
    void mark_failed(std::uint64_t owner, int error) override {
        all += "mark failed " + std::to_string(owner) + " " + std::to_string(error) + "\n";
    }
    std::string take() { return std::exchange(all, {}); }

    std::string all;
    std::map<std::uint64_t, RecordPlace> places;
};

class JournalTest : public testing::Test {
  protected:
    explicit JournalTest(int files = 3) {
        for (int count = 0; count < files; ++count) {
            (void)table.add(disk.create(segment_bytes, segment_open_flags()), segment_bytes);
        }
    }

    void append(std::uint64_t id, std::size_t bytes = 100) {
        const Slice content =
            pool.copy(as_bytes(std::string(std::min<std::size_t>(bytes, 60'000), 'x')));
        EXPECT_EQ(journal.append({.type = RecordType::message, .id = id}, as_bytes("head"),
                                 {&content, 1}),
                  Commit::Append::taken);
    }
    // Submits what the journal wants; how many writes.
    std::size_t submit() { return writes.begin(journal, now); }
    void complete(std::size_t position = 0) { writes.end(position, journal, now, told); }
    void fail(int error = EIO) {
        disk.write_error = error;
        complete();
        disk.write_error = 0;
    }
    // A segment is open after it.
    void begin() {
        append(1);
        EXPECT_EQ(submit(), 1U) << "the header";
        complete();
        EXPECT_EQ(submit(), 1U);
        complete();
        EXPECT_EQ(told.take(), "durable 1\n");
    }

    BufferPool pool{{.bytes_max = 16U << 20U}};
    SegmentTable table{1, 0};
    sim::SimDisk disk;
    WritesUnderWay writes{disk};
    std::uint8_t nonces = 0;
    Journal journal{pool, table, [this] { return Nonce{static_cast<std::byte>(++nonces)}; }};
    Told told;
    Instant now{1s};
};

TEST_F(JournalTest, NothingIsWrittenBeforeTheSegmentsHeaderIsDurable) {
    append(1);
    ASSERT_EQ(submit(), 1U);
    EXPECT_EQ(writes.all()[0].offset, 0U);
    EXPECT_EQ(submit(), 0U);
    complete();
    ASSERT_EQ(submit(), 1U);
    EXPECT_EQ(writes.all()[0].offset, block_bytes);
    EXPECT_EQ(told.take(), "");
    complete();
    EXPECT_EQ(told.take(), "durable 1\n");
    EXPECT_TRUE(journal.idle());
}

TEST_F(JournalTest, WhatIsAppendedWhileAWriteIsUnderWayGoesTogether) {
    begin();
    append(2);
    EXPECT_EQ(submit(), 1U);
    append(3);
    append(4);
    EXPECT_EQ(submit(), 1U) << "a second write, with both";
    complete(1);
    EXPECT_EQ(told.take(), "durable 3\ndurable 4\n") << "though the one before is not there";
    complete();
    EXPECT_EQ(told.take(), "durable 2\n");
}

TEST_F(JournalTest, ASegmentThatIsMerelyAllocatedCanBeLeft) {
    SegmentTable other{1, 0};
    (void)other.add(disk.create(segment_bytes, segment_open_flags()), segment_bytes, false);
    (void)other.add(disk.create(segment_bytes, segment_open_flags()), segment_bytes);
    Journal leaving{pool, other, [] { return Nonce{std::byte{1}}; }};
    const auto append_and_write = [&](std::uint64_t id) {
        EXPECT_EQ(leaving.append({.type = RecordType::message, .id = id}, as_bytes("head"), {}),
                  Commit::Append::taken);
        while (writes.begin(leaving, now) > 0) {
            writes.end(0, leaving, now, told);
        }
    };
    append_and_write(1);
    leaving.leave_unwritten_segment();
    append_and_write(2);
    leaving.leave_unwritten_segment();
    append_and_write(3);
    EXPECT_EQ(told.take(), "durable 1\ndurable 2\ndurable 3\n");
    EXPECT_EQ(told.places[1].segment, 0U);
    EXPECT_EQ(told.places[2].segment, 1U);
    EXPECT_EQ(told.places[3].segment, 1U) << "only those are left";
}

TEST_F(JournalTest, AtMostSoManyWritesAreUnderWay) {
    begin();
    for (std::uint64_t id = 2; id < 2 + writes_max; ++id) {
        append(id);
        EXPECT_EQ(submit(), 1U);
    }
    append(100);
    append(101);
    EXPECT_EQ(submit(), 0U);
    complete();
    EXPECT_EQ(submit(), 1U);
}

// What recovery tells damage from a crash by.
TEST_F(JournalTest, RecordsSayWhatIsNotDurableYetAndNumbersThatAWriteFailed) {
    begin();
    for (const std::uint64_t id : {2U, 3U}) {
        append(id);
        EXPECT_EQ(submit(), 1U);
    }
    complete(1); // the later one first
    append(4);
    EXPECT_EQ(submit(), 1U);
    complete();
    complete();
    append(5);
    EXPECT_EQ(submit(), 1U);
    complete();
    append(6);
    EXPECT_EQ(submit(), 1U);
    fail();
    EXPECT_EQ(submit(), 1U) << "another segment's header";
    complete();
    EXPECT_EQ(submit(), 1U);
    complete();
    const auto header = [this](std::uint64_t id) {
        const RecordPlace& place = told.places.at(id);
        const Segment& segment = table.at(place.segment);
        return decode_record(Bytes(disk.octets(segment.descriptor)).subspan(place.offset),
                             segment.nonce, place.offset)
            .value();
    };
    const std::uint64_t first = header(1).sequence;
    EXPECT_EQ(header(2).in_doubt, 1U);
    EXPECT_EQ(header(3).in_doubt, 2U);
    EXPECT_EQ(header(4).in_doubt, 3U) << "the first is under way still";
    EXPECT_EQ(header(5).in_doubt, 1U);
    EXPECT_EQ(header(5).sequence, first + 4);
    EXPECT_EQ(header(6).in_doubt, 1U);
    EXPECT_EQ(header(6).sequence, sequence_stretch);
}

TEST_F(JournalTest, CommitsBeginOnBlocksAndNoBlockIsWrittenTwice) {
    begin();
    std::uint64_t end = 2 * block_bytes;
    for (std::uint64_t id = 2; id < 10; ++id) {
        append(id, 100 * id);
        ASSERT_EQ(submit(), 1U);
        EXPECT_EQ(writes.all()[0].offset, end);
        EXPECT_EQ(writes.all()[0].bytes % block_bytes, 0U);
        end += writes.all()[0].bytes;
        complete();
    }
}

TEST_F(JournalTest, AFullSegmentIsFollowedByTheNext) {
    begin();
    for (std::uint64_t id = 2; id < 50; ++id) {
        append(id, 60'000);
        while (submit() > 0) {
            complete();
        }
    }
    EXPECT_NE(told.places[49].segment, told.places[2].segment);
    EXPECT_EQ(table.at(told.places[2].segment).state, Segment::State::full);
}

TEST_F(JournalTest, AFailedWriteSealsItsSegmentAndGoesToAnother) {
    begin();
    const std::uint32_t segment = told.places[1].segment;
    append(2);
    ASSERT_EQ(submit(), 1U);
    fail();
    EXPECT_EQ(told.take(), "");
    EXPECT_EQ(table.at(segment).state, Segment::State::sealed);
    ASSERT_EQ(submit(), 1U);
    complete();
    ASSERT_EQ(submit(), 1U);
    complete();
    EXPECT_EQ(told.take(), "durable 2\n");
    EXPECT_NE(told.places[2].segment, segment);
}

TEST_F(JournalTest, WhereThereIsNoOtherSegmentTheOneWithAFailedWriteGoesOnBehindIt) {
    begin();
    append(2);
    EXPECT_EQ(submit(), 1U);
    const std::uint64_t failed_at = writes.all()[0].offset;
    fail();
    journal.resume_segment();
    ASSERT_EQ(submit(), 1U) << "no other is opened";
    EXPECT_EQ(writes.all()[0].offset, failed_at + block_bytes);
    journal.resume_segment(); // there is one
    complete();
    EXPECT_EQ(told.take(), "durable 2\n");
    EXPECT_EQ(told.places[2].segment, told.places[1].segment);
    EXPECT_EQ(table.spare_count(), 2U);
}

// Of one that was lost meanwhile: its file stays as long as it is written to, and no other header takes
// the place of this one.
TEST_F(JournalTest, AHeaderThatIsBeingWrittenIsWaitedForThoughItsSegmentIsForsaken) {
    for (const bool fails : {true, false}) {
        const std::uint32_t before = table.count();
        append(7);
        (void)table.add(disk.create(segment_bytes, segment_open_flags()), segment_bytes);
        ASSERT_EQ(submit(), 1U) << "the header";
        journal.forsake_segments();
        while (const auto index = table.next_to_discard()) {
            table.leave(*index);
        }
        (void)table.add(disk.create(segment_bytes, segment_open_flags()), segment_bytes);
        EXPECT_EQ(submit(), 0U);
        std::uint32_t there = 0;
        for (std::uint32_t index = 0; index < table.count(); ++index) {
            there += table.at(index).state == Segment::State::sealed ? 1U : 0U;
        }
        EXPECT_EQ(there, 1U) << "the one whose header is being written";
        fails ? fail() : complete();
        EXPECT_TRUE(table.next_to_discard());
        table.leave(*table.next_to_discard());
        now += 2s;
        if (fails) { // what waited is told, and comes again
            EXPECT_EQ(told.take(), "failed 7 5\n");
            append(7);
        }
        ASSERT_EQ(submit(), 1U);
        complete();
        ASSERT_EQ(submit(), 1U);
        complete();
        EXPECT_EQ(told.take(), "durable 7\n");
        EXPECT_GT(told.places[7].segment, before);
        table.release(told.places[7].segment);
        journal.forsake_segments();
    }
}

TEST_F(JournalTest, AShortWriteIsAFailedOne) {
    begin();
    append(2);
    ASSERT_EQ(submit(), 1U);
    disk.faults.short_write = 1;
    complete();
    EXPECT_EQ(told.take(), "");
    EXPECT_EQ(table.at(told.places[1].segment).state, Segment::State::sealed);
}

TEST_F(JournalTest, WhatFailsTwiceIsToldAndAMarkThatRemovesItFollowsLater) {
    begin();
    append(2);
    ASSERT_EQ(submit(), 1U);
    fail();
    ASSERT_EQ(submit(), 1U);
    complete(); // the next segment's header
    ASSERT_EQ(submit(), 1U);
    fail(ENOSPC);
    EXPECT_EQ(told.take(), "failed 2 28\n");
    EXPECT_EQ(submit(), 0U) << "the disk is left alone for a while";
    EXPECT_LE(journal.deadline(), now + 1s);
    now = journal.deadline();
    ASSERT_EQ(submit(), 1U);
    complete();
    ASSERT_EQ(submit(), 1U);
    const std::uint64_t offset = writes.all()[0].offset;
    complete();
    const Bytes written = disk.octets(disk.files().back());
    EXPECT_EQ(as_text(written.subspan(offset, 4)), "RMXr");
    EXPECT_TRUE(journal.idle());
}

// A copy of a message that is safe elsewhere may stand where it failed, beside what others hold there for
// longer than the message's own segment is there.
TEST_F(JournalTest, WhatIsSaidOfAMessageIsSaidOfItsFailedCopiesToo) {
    begin();
    const SegmentName home = table.at(told.places[1].segment).name;
    EXPECT_EQ(journal.append({.type = RecordType::message, .id = 1, .is_copy = true},
                             as_bytes("head"), {}),
              Commit::Append::taken);
    ASSERT_EQ(submit(), 1U);
    fail();
    ASSERT_EQ(submit(), 1U);
    complete(); // the next segment's header
    ASSERT_EQ(submit(), 1U);
    fail();
    EXPECT_EQ(told.take(), "failed 1 5\n");
    now += 1s;
    for (const bool is_awaited : {false, true}) {
        const Mark mark{.kind = is_awaited ? MarkKind::removed : MarkKind::failed,
                        .id = 1,
                        .recipient = is_awaited ? every_recipient : 0,
                        .home = home};
        journal.append_mark(mark, is_awaited ? 9 : 0, is_awaited, now);
        journal.append_mark({.kind = MarkKind::delivered, .id = 2, .home = home}, 0, false, now);
    }
    while (submit() > 0) {
        complete();
    }
    EXPECT_EQ(told.take(), "mark durable 9\n");
    std::set<std::uint64_t> lives;
    std::uint32_t marks = 0;
    for (std::uint32_t index = 0; index < table.count(); ++index) {
        for (const Segment::Marked& marked : table.at(index).marked) {
            lives.insert(marked.home.life);
            marks += marked.marks;
        }
    }
    EXPECT_EQ(lives, (std::set<std::uint64_t>{home.life, home.life + 1}));
    EXPECT_EQ(marks, 6U) << "two of one message about two places, two of another about one";
}

// Clients that never stop fill each commit before it goes.
TEST_F(JournalTest, MarksFindTheirPlaceInCommitsThatAreFull) {
    begin();
    std::uint64_t id = 1;
    const auto fill = [&] {
        const Slice content = pool.copy(as_bytes(std::string(60'000, 'x')));
        while (journal.append({.type = RecordType::message, .id = ++id}, as_bytes("head"),
                              {&content, 1}) == Commit::Append::taken) {
        }
    };
    for (std::size_t count = 0; count < writes_max; ++count) {
        append(++id);
        EXPECT_EQ(submit(), 1U);
    }
    fill();
    for (std::uint32_t recipient = 0; recipient < 1000; ++recipient) {
        journal.append_mark({.id = 1, .recipient = recipient, .home = {1, 0, 1}},
                            recipient == 999 ? 7 : 0, false, now);
    }
    std::string all;
    for (int rounds = 0; rounds < 4; ++rounds) {
        for (std::size_t count = 0; count < writes_max && !writes.all().empty(); ++count) {
            complete();
            (void)submit();
            fill();
        }
        all += told.take();
    }
    EXPECT_NE(all.find("mark durable 7"), std::string::npos);
}

// However many there are of one message, with whatever replies: a record has its bound.
TEST_F(JournalTest, ManyMarksOfOneMessageTakeSeveralRecords) {
    begin();
    const std::string reply(5000, 'x');
    for (std::uint32_t recipient = 0; recipient < 3000; ++recipient) {
        journal.append_mark({.kind = MarkKind::failed,
                             .id = 1,
                             .recipient = recipient,
                             .home = {1, 0, 1},
                             .reply = reply},
                            recipient == 2999 ? 7 : 0, false, now);
    }
    now += 1s;
    std::size_t written = 0;
    while (submit() > 0) {
        for (const WritesUnderWay::Write& write : writes.all()) {
            EXPECT_LE(write.bytes, record_bytes_max / 2);
            written += write.bytes;
        }
        while (!writes.all().empty()) {
            complete();
        }
    }
    EXPECT_GT(written, 3000U * 256) << "of each reply its beginning";
    EXPECT_LT(written, 3000U * 400);
    EXPECT_EQ(told.take(), "mark durable 7\n");
}

TEST_F(JournalTest, MarksThatNobodyWaitsForGoWithTheNextCommitOrAfterAWhile) {
    begin();
    journal.append_mark({.id = 1}, 7, false, now);
    EXPECT_EQ(submit(), 0U);
    append(2);
    ASSERT_EQ(submit(), 1U);
    complete();
    EXPECT_EQ(told.take(), "durable 2\nmark durable 7\n");
    journal.append_mark({.id = 2}, 8, false, now);
    EXPECT_EQ(submit(), 0U);
    now = journal.deadline();
    ASSERT_EQ(submit(), 1U);
    complete();
    EXPECT_EQ(told.take(), "mark durable 8\n");
}

TEST_F(JournalTest, AMarkThatIsAwaitedGoesAtOnceAndItsFailureIsTold) {
    begin();
    journal.append_mark({.id = 1}, 7, true, now);
    ASSERT_EQ(submit(), 1U);
    fail();
    ASSERT_EQ(submit(), 1U);
    complete();
    ASSERT_EQ(submit(), 1U);
    fail();
    EXPECT_EQ(told.take(), "mark failed 7 5\n");
}

class FullJournalTest : public JournalTest {
  protected:
    FullJournalTest() : JournalTest(1) {}
};

TEST_F(FullJournalTest, WithoutASpareSegmentItWantsOneAndGivesUpWhenToldSo) {
    begin();
    EXPECT_EQ(journal.room_bytes(), segment_bytes - 2 * block_bytes);
    for (std::uint64_t id = 2; !journal.wants_segment(); ++id) {
        append(id, 60'000);
        while (submit() > 0) {
            complete();
        }
    }
    (void)told.take();
    journal.give_up(ENOSPC, told);
    EXPECT_TRUE(told.take().starts_with("failed "));
    EXPECT_FALSE(journal.wants_segment());
}

class JournalWithoutSegmentsTest : public JournalTest {
  protected:
    JournalWithoutSegmentsTest() : JournalTest(0) {}
};

// More than a record of marks has room for: what can't be written is left as it is.
TEST_F(JournalWithoutSegmentsTest, MarksThatNobodyWaitsForStayInTheirOrder) {
    constexpr std::uint64_t marks = 3000;
    const std::string reply(200, 'r');
    std::string in_order;
    for (std::uint64_t number = 1; number <= marks; ++number) {
        journal.append_mark({.id = number, .reply = reply}, number, false, now);
        in_order += "mark durable " + std::to_string(number) + "\n";
    }
    for (int turn = 0; turn < 3; ++turn) {
        now += 1s;
        EXPECT_EQ(submit(), 0U);
        EXPECT_TRUE(journal.wants_segment());
        journal.give_up(ENOSPC, told);
    }
    (void)table.add(disk.create(segment_bytes, segment_open_flags()), segment_bytes);
    while (submit() > 0) {
        while (!writes.all().empty()) {
            complete();
        }
    }
    EXPECT_TRUE(told.take() == in_order);
}

} // namespace
} // namespace ringmx::spool
