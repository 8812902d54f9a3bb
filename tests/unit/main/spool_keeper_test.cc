#include "spool_keeper.h"

#include "spool/message_id.h"
#include "unit/main/spool_folder.h"
#include "unit/main/wait_waker.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/stat.h>

namespace ringmx {
namespace {

using News = worker::SegmentSupply::News;
using Urgency = worker::SegmentSupply::Urgency;
using spool::SegmentImage;
using Names = std::vector<std::string>;

constexpr std::uint64_t segment_bytes = 2U << 20U;

class SpoolKeeperTest : public testing::Test {
  protected:
    // `start`: else the test says when.
    void open(bool start = true, Duration look_every = 5ms, std::uint64_t bytes_max = UINT64_MAX) {
        open(folder, start, look_every, bytes_max);
    }
    void open(const SpoolFolder& of, bool start = true, Duration look_every = 5ms,
              std::uint64_t bytes_max = UINT64_MAX) {
        auto directory = SpoolDirectory::open(of.path);
        ASSERT_TRUE(directory.has_value());
        recovery = std::make_unique<SpoolRecovery>(*directory, 1, notices, main_waker);
        keeper = std::make_unique<SpoolKeeper>(
            std::move(*directory), SpoolSizes{segment_bytes, 4, 0, bytes_max},
            std::vector<ring::Waker*>{&wakers[0], &wakers[1]}, notices, look_every);
        if (start) {
            keeper->start();
        }
    }
    News next(std::uint32_t worker = 0) {
        News news;
        const bool came =
            wakers[worker].wait_until([&] { return keeper->supply(worker).take(news); });
        EXPECT_TRUE(came);
        return news;
    }
    News ask(Urgency urgency, std::uint32_t worker = 0) {
        keeper->supply(worker).request(urgency);
        return next(worker);
    }
    News ask(bool at_once, std::uint32_t worker = 0) {
        return ask(at_once ? Urgency::at_once : Urgency::ahead, worker);
    }
    // What earlier runs left is the keeper's; their messages, and the segments of them.
    std::vector<worker::AdoptedSegment*> adopt() {
        recovery->start();
        std::optional<RecoveredSpool> result;
        EXPECT_TRUE(main_waker.wait_until([&] { return (result = recovery->take()).has_value(); }));
        return keeper->adopt(*result);
    }
    [[nodiscard]] bool is_told(std::string_view text) {
        for (SpoolNotice& notice : notices.take()) {
            told += notice.text + "\n";
        }
        return told.find(text) != std::string::npos;
    }
    // The keeper says so in a while.
    void expect_told(std::string_view text) {
        for (int tries = 0; tries < 10'000 && !is_told(text); ++tries) {
            ::poll(nullptr, 0, 1);
        }
        EXPECT_TRUE(is_told(text)) << told;
    }

    SpoolFolder folder;
    SpoolNotices notices;
    std::string told;
    WaitWaker main_waker;
    std::array<WaitWaker, 2> wakers;
    std::unique_ptr<SpoolRecovery> recovery;
    std::unique_ptr<SpoolKeeper> keeper;
};

TEST_F(SpoolKeeperTest, SegmentIsWholeWrittenThroughAndSynchronous) {
    open();
    const News news = ask(false);
    ASSERT_EQ(news.kind, News::Kind::segment);
    EXPECT_EQ(news.size_bytes, segment_bytes);
    EXPECT_TRUE(news.is_written);
    struct stat status{};
    ASSERT_EQ(::fstat(news.descriptor, &status), 0);
    EXPECT_EQ(static_cast<std::uint64_t>(status.st_size), segment_bytes);
    EXPECT_GE(static_cast<std::uint64_t>(status.st_blocks) * 512, segment_bytes);
    EXPECT_EQ(status.st_mode & 0777U, 0600U);
    EXPECT_EQ(::lseek(news.descriptor, 0, SEEK_HOLE), static_cast<off_t>(segment_bytes));
    const int flags = ::fcntl(news.descriptor, F_GETFL);
    EXPECT_EQ(flags & O_DSYNC, O_DSYNC);
    EXPECT_TRUE((flags & O_DIRECT) != 0 || is_told("has no O_DIRECT"));
    EXPECT_EQ(folder.all(), Names{"00000001/w0000-000001.seg"});
}

TEST_F(SpoolKeeperTest, WhoseMailWaitsIsServedFirst) {
    open(false);
    keeper->supply(0).request(Urgency::ahead);
    keeper->supply(1).request(Urgency::at_once);
    keeper->start();
    const News hurried = next(1);
    ASSERT_EQ(hurried.kind, News::Kind::segment);
    struct stat status{};
    ASSERT_EQ(::fstat(hurried.descriptor, &status), 0);
    EXPECT_GE(static_cast<std::uint64_t>(status.st_blocks) * 512, segment_bytes)
        << "a full disk is met now, not by a commit";
    EXPECT_FALSE(hurried.is_written);
    EXPECT_EQ(next(0).kind, News::Kind::segment);
    EXPECT_EQ(folder.all(), (Names{"00000001/w0000-000001.seg", "00000001/w0001-000001.seg"}));
}

TEST_F(SpoolKeeperTest, HurryingARequestDoesNotMakeItTwo) {
    open(false);
    keeper->supply(0).request(Urgency::ahead);
    keeper->supply(0).request(Urgency::at_once);
    keeper->start();
    EXPECT_EQ(next().kind, News::Kind::segment);
    keeper->supply(0).request(Urgency::at_once);
    EXPECT_EQ(next().kind, News::Kind::segment);
    News none;
    EXPECT_FALSE(keeper->supply(0).take(none));
    EXPECT_EQ(folder.all().size(), 2U);
}

TEST_F(SpoolKeeperTest, DiscardedSegmentIsDeletedAlsoWhenTheWorkerLeaves) {
    open();
    const News first = ask(true);
    const News second = ask(true);
    keeper->supply(0).discard(first.descriptor, false);
    const News gone = next(0);
    EXPECT_EQ(gone.kind, News::Kind::discarded);
    EXPECT_EQ(gone.descriptor, first.descriptor);
    (void)ask(true);
    EXPECT_FALSE(folder.has("00000001/w0000-000001.seg"));
    keeper->supply(0).discard(second.descriptor, false);
    keeper->stop();
    EXPECT_EQ(folder.all(), Names{"00000001/w0000-000003.seg"});
}

TEST_F(SpoolKeeperTest, DamagedSegmentIsSetAsideAndTriedAgainWhereItCannotBe) {
    open();
    const News segment = ask(true);
    folder.put("aside", "no folder");
    keeper->supply(0).discard(segment.descriptor, true);
    expect_told("/aside");
    News news;
    EXPECT_FALSE(keeper->supply(0).take(news));
    EXPECT_TRUE(folder.has("00000001/w0000-000001.seg"));
    std::filesystem::remove(folder.path + "/aside");
    news = next();
    EXPECT_EQ(news.kind, News::Kind::discarded);
    EXPECT_EQ(news.descriptor, segment.descriptor);
    EXPECT_TRUE(is_told("w0000-000001.seg: can't be read; set aside as"));
    EXPECT_EQ(folder.all(), (Names{"00000001", "aside/00000001-w0000-000001.seg"}));
}

// A worker found that out.
TEST_F(SpoolKeeperTest, EarlierSegmentThatCannotBeReadAnyMoreIsSetAside) {
    SegmentImage image(1, 1);
    image.add_message(1, 1);
    folder.put(image, 1);
    open();
    const std::vector<worker::AdoptedSegment*> segments = adopt();
    ASSERT_EQ(segments.size(), 1U);
    segments[0]->is_damaged.store(true);
    segments[0]->holds.fetch_sub(1);
    keeper->supply(0).released();
    EXPECT_EQ(next().kind, News::Kind::home_gone);
    keeper->stop();
    EXPECT_TRUE(is_told("set aside as"));
    EXPECT_EQ(folder.all(), (Names{"00000002", "aside/00000001-w0000-000001.seg"}));
}

// As on a file system that is read-only for a while: here a folder has the file's name.
TEST_F(SpoolKeeperTest, SegmentThatCannotBeDeletedIsTriedAgain) {
    open();
    const News segment = ask(true);
    const std::string path = folder.path + "/00000001/w0000-000001.seg";
    std::filesystem::rename(path, path + ".away");
    std::filesystem::create_directory(path);
    keeper->supply(0).discard(segment.descriptor, false);
    expect_told("delete");
    News news;
    EXPECT_FALSE(keeper->supply(0).take(news));
    std::filesystem::remove(path);
    news = next();
    EXPECT_EQ(news.kind, News::Kind::discarded);
    EXPECT_EQ(news.descriptor, segment.descriptor);
}

// What fails like a full disk, for want of one: a limit of this process.
TEST_F(SpoolKeeperTest, RequestThatFailsLeavesNothingBehindAndIsToldOnce) {
    open();
    (void)std::signal(SIGXFSZ, SIG_IGN);
    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
    rlimit low = before;
    low.rlim_cur = segment_bytes / 2;
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &low), 0);
    const News failed = ask(false);
    EXPECT_EQ(failed.kind, News::Kind::failed);
    EXPECT_EQ(failed.error, EFBIG);
    EXPECT_EQ(ask(true).kind, News::Kind::failed);
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
    EXPECT_EQ(folder.all(), Names{"00000001"});
    EXPECT_TRUE(is_told("spool: no further segment: allocate " + folder.path));
    EXPECT_EQ(told.find("further"), told.rfind("further"));
    EXPECT_EQ(ask(true).kind, News::Kind::segment);
}

TEST_F(SpoolKeeperTest, LostDirectoryIsToldToAllAndANewOneIsTaken) {
    open();
    (void)ask(true, 0);
    std::filesystem::rename(folder.path, folder.path + "-moved");
    EXPECT_EQ(next(0).kind, News::Kind::lost);
    const News lost = next(1);
    EXPECT_EQ(lost.kind, News::Kind::lost);
    EXPECT_EQ(lost.error, ENOENT);
    expect_told("put it or its file system back");
    std::filesystem::create_directory(folder.path);
    expect_told("spool: " + folder.path + " is there again");
    EXPECT_TRUE(is_told("is gone, was moved, or is not mounted any more"));
    EXPECT_EQ(ask(true, 1).kind, News::Kind::segment);
    EXPECT_EQ(folder.all(), Names{"00000001/w0001-000001.seg"});
}

TEST_F(SpoolKeeperTest, SegmentInTheMakingIsNotGivenWhenTheDirectoryIsLost) {
    open(false, 0ms); // a look behind each step
    std::filesystem::rename(folder.path, folder.path + "-moved");
    keeper->supply(0).request(Urgency::ahead);
    keeper->start();
    const News failed = next(0);
    EXPECT_EQ(failed.kind, News::Kind::failed);
    EXPECT_EQ(failed.error, ENOENT);
    EXPECT_EQ(next(0).kind, News::Kind::lost);
    EXPECT_EQ(ask(true).kind, News::Kind::failed);
    std::filesystem::rename(folder.path + "-moved", folder.path);
    expect_told("is there again");
    EXPECT_EQ(folder.all(), Names{"00000001"});
    EXPECT_EQ(ask(true).kind, News::Kind::segment);
}

TEST_F(SpoolKeeperTest, RequestsFailWhileThereIsNoDirectory) {
    open();
    folder.put("../spool-other", "no folder");
    const std::string other = folder.path + "-other";
    ASSERT_EQ(::renameat2(AT_FDCWD, folder.path.c_str(), AT_FDCWD, other.c_str(), RENAME_EXCHANGE),
              0);
    EXPECT_EQ(next(0).kind, News::Kind::lost);
    EXPECT_EQ(ask(true).kind, News::Kind::failed);
    expect_told("is no folder: set spool.directory to another");
    ASSERT_EQ(::renameat2(AT_FDCWD, folder.path.c_str(), AT_FDCWD, other.c_str(), RENAME_EXCHANGE),
              0);
    expect_told("is there again");
    EXPECT_EQ(ask(true).kind, News::Kind::segment);
}

TEST_F(SpoolKeeperTest, DeletedSegmentIsToldToItsWorkerOnce) {
    open();
    const News segment = ask(true, 1);
    std::filesystem::remove(folder.path + "/00000001/w0001-000001.seg");
    EXPECT_EQ(next(1).kind, News::Kind::lost);
    EXPECT_TRUE(is_told("/00000001/w0001-000001.seg was deleted"));
    keeper->supply(1).discard(segment.descriptor, false);
    EXPECT_EQ(next(1).kind, News::Kind::discarded);
    EXPECT_EQ(ask(true, 1).kind, News::Kind::segment);
    EXPECT_EQ(ask(true, 0).kind, News::Kind::segment) << "no loss of its";
}

TEST_F(SpoolKeeperTest, AdoptedSegmentGoesWithItsLastHoldAndThenItsRun) {
    SegmentImage first(1, 1);
    first.add_message(1, 1);
    first.add_message(2, 2);
    SegmentImage second(1, 2);
    second.add_message(3, 3);
    second.add_mark(4, {.id = 1, .home = first.name()});
    folder.put(first, 1);
    folder.put(second, 2);
    open();
    const std::vector<worker::AdoptedSegment*> segments = adopt();
    ASSERT_EQ(segments.size(), 2U);
    EXPECT_EQ(segments[0]->holds.load(), 1U);
    // The later one is free first, but has a mark about a message in the other.
    segments[1]->holds.fetch_sub(1);
    keeper->supply(0).released();
    (void)ask(true); // what was said before is heard
    (void)ask(true);
    EXPECT_TRUE(folder.has("00000001/w0000-000002.seg"));
    segments[0]->holds.fetch_sub(1);
    keeper->supply(1).released();
    for (std::uint32_t worker = 0; worker < 2; ++worker) {
        const News one = next(worker);
        EXPECT_EQ(one.kind, News::Kind::home_gone);
        EXPECT_EQ(one.home, first.name());
        EXPECT_EQ(next(worker).home, second.name());
    }
    keeper->stop();
    EXPECT_FALSE(folder.has("00000001"));
    EXPECT_TRUE(folder.has("00000002")) << "the newest stays";
}

// Five may be there: with two of an earlier run it is three, but no worker has less than two.
TEST_F(SpoolKeeperTest, WhatEarlierRunsLeftLeavesLessRoom) {
    std::vector<SegmentImage> earlier;
    for (std::uint32_t number = 1; number <= 2; ++number) {
        earlier.emplace_back(1, number);
        earlier.back().add_message(number, number);
        earlier.back().octets.resize(segment_bytes);
        folder.put(earlier.back(), number);
    }
    open(true, 5ms, 5 * segment_bytes);
    for (int count = 0; count < 3; ++count) {
        const News news = ask(count == 0);
        ASSERT_EQ(news.kind, News::Kind::segment);
        EXPECT_FALSE(news.is_over);
    }
    const News refused = ask(true);
    EXPECT_EQ(refused.kind, News::Kind::failed);
    EXPECT_EQ(refused.error, ENOSPC);
    for (int count = 0; count < 2; ++count) {
        const News beyond = ask(true, 1);
        ASSERT_EQ(beyond.kind, News::Kind::segment) << "its worker must write marks";
        EXPECT_TRUE(beyond.is_over);
    }
    EXPECT_EQ(ask(true, 1).kind, News::Kind::failed);
    const News for_marks = ask(Urgency::for_marks, 1);
    ASSERT_EQ(for_marks.kind, News::Kind::segment) << "without marks it would stay over";
    EXPECT_TRUE(for_marks.is_over) << "not for new mail";

    const std::vector<worker::AdoptedSegment*> segments = adopt();
    ASSERT_EQ(segments.size(), 2U);
    EXPECT_EQ(ask(true).kind, News::Kind::failed);
    for (worker::AdoptedSegment* const segment : segments) {
        for (int tries = 0; tries < 10'000 && !segment->is_in_the_way.load(); ++tries) {
            ::poll(nullptr, 0, 1);
        }
        EXPECT_TRUE(segment->is_in_the_way.load()) << "it holds little of what is too much";
        segment->holds.fetch_sub(1);
    }
    keeper->supply(0).released();
    EXPECT_EQ(next().kind, News::Kind::home_gone);
    EXPECT_EQ(next().kind, News::Kind::home_gone);
    const News again = ask(true);
    EXPECT_EQ(again.kind, News::Kind::segment);
    EXPECT_FALSE(again.is_over) << "nothing of earlier runs is left";
    keeper->stop();
    EXPECT_EQ(notices.take().size(), 0U) << "an ordinary full spool is no fault";
}

TEST_F(SpoolKeeperTest, LostSegmentsAreNotAmongThoseThatEmptyAFullSpool) {
    SegmentImage earlier(1, 1);
    earlier.add_message(1, 1);
    folder.put(earlier, 1);
    open(true, 5ms, 1);
    (void)ask(true);
    (void)ask(true);
    ASSERT_EQ(ask(true).kind, News::Kind::failed);
    std::filesystem::remove(folder.path + "/00000002/w0000-000001.seg");
    EXPECT_EQ(next().kind, News::Kind::lost);
    EXPECT_EQ(ask(true).kind, News::Kind::segment);
    EXPECT_EQ(ask(true).kind, News::Kind::failed);
}

// As a mount point's folder before its file system is mounted again.
TEST_F(SpoolKeeperTest, WhatEarlierRunsLeftCountsAgainWhenItsDirectoryIsPutBack) {
    SegmentImage earlier(1, 1);
    earlier.add_message(1, 1);
    earlier.octets.resize(segment_bytes);
    folder.put(earlier, 1);
    open(true, 5ms, segment_bytes);
    const std::string there_again = folder.path + " is there again";
    std::filesystem::rename(folder.path, folder.path + "-moved");
    EXPECT_EQ(next().kind, News::Kind::lost);
    std::filesystem::create_directory(folder.path);
    expect_told(there_again);
    EXPECT_FALSE(ask(true).is_over) << "nothing else is there";
    std::filesystem::rename(folder.path, folder.path + "-empty");
    EXPECT_EQ(next().kind, News::Kind::lost);
    told.clear();
    std::filesystem::rename(folder.path + "-moved", folder.path);
    expect_told(there_again);
    EXPECT_TRUE(ask(true).is_over);
}

TEST_F(SpoolKeeperTest, RunsAndSegmentsThatNothingNeedsGoAtOnce) {
    SegmentImage image(4, 1);
    image.add_message(1, 1);
    image.add_mark(2, {.id = 1, .home = image.name()});
    folder.put(image, 1);
    folder.put("00000002/lock", "");
    folder.put("00000003/w0000-000001.seg", "");
    open();
    (void)adopt();
    EXPECT_EQ(next().kind, News::Kind::home_gone);
    keeper->stop();
    EXPECT_EQ(folder.all(), Names{"00000005"});
}

TEST_F(SpoolKeeperTest, DamagedSegmentIsSetAsideWhenItsMailIsDelivered) {
    SegmentImage image(1, 1);
    image.add_message(1, 1);
    image.octets.resize(10 * spool::block_bytes);
    folder.put(image, 1);
    open();
    const std::vector<worker::AdoptedSegment*> segments = adopt();
    ASSERT_EQ(segments.size(), 1U);
    segments[0]->holds.fetch_sub(1);
    keeper->supply(0).released();
    EXPECT_EQ(next().kind, News::Kind::home_gone);
    keeper->stop();
    EXPECT_EQ(folder.all(), (Names{"00000002", "aside/00000001-w0000-000001.seg"}));
    EXPECT_TRUE(is_told("w0000-000001.seg: was damaged; set aside as"));
}

// What this version can't read another may.
TEST_F(SpoolKeeperTest, SegmentWithRecordsThatMakeNoSenseIsSetAside) {
    for (const bool is_mark : {false, true}) {
        const SpoolFolder spool;
        SegmentImage image(1, 1);
        if (is_mark) {
            image.add_mark(1, {.kind = static_cast<spool::MarkKind>(99), .id = 1});
        } else {
            (void)image.add(spool::RecordType::message, 1, 1, "of another version");
        }
        spool.put(image, 1);
        open(spool);
        (void)adopt();
        EXPECT_EQ(next().home, image.name());
        keeper->stop();
        EXPECT_EQ(spool.all(), (Names{"00000002", "aside/00000001-w0000-000001.seg"}));
        EXPECT_TRUE(is_told("w0000-000001.seg: 1 records are whole and make no sense"));
        keeper.reset();
    }
}

// As on a file system that is read-only for a while. While the file is there its mail is found by a
// restart, so it is not gone.
TEST_F(SpoolKeeperTest, AdoptedSegmentThatCannotBeDeletedIsNotGoneAndTriedAgain) {
    SegmentImage image(1, 1);
    image.add_message(1, 1);
    folder.put(image, 1);
    const SegmentImage other(2, 1);
    folder.put(other, 1);
    open();
    const std::vector<worker::AdoptedSegment*> segments = adopt();
    ASSERT_EQ(segments.size(), 2U);
    EXPECT_EQ(next().home, other.name());
    const std::string path = folder.path + "/00000001/w0000-000001.seg";
    const std::string away = folder.path + "/away";
    const auto exchange = [&] {
        return ::renameat2(AT_FDCWD, path.c_str(), AT_FDCWD, away.c_str(), RENAME_EXCHANGE);
    };
    std::filesystem::create_directory(away);
    ASSERT_EQ(exchange(), 0);
    EXPECT_EQ(segments[0]->holds.fetch_sub(1), 1U);
    keeper->supply(0).released();
    expect_told("delete");
    News news;
    EXPECT_FALSE(keeper->supply(0).take(news));
    ASSERT_EQ(exchange(), 0);
    EXPECT_EQ(next().home, image.name());
    keeper->stop();
    EXPECT_EQ(folder.all(), (Names{"00000003", "away"}));
    EXPECT_FALSE(is_told("was deleted"));
    EXPECT_EQ(told.find("delete"), told.rfind("delete")) << "told once";
}

TEST_F(SpoolKeeperTest, DamagedSegmentThatCannotBeSetAsideIsNotGoneAndTriedAgain) {
    SegmentImage image(1, 1);
    image.add_message(1, 1);
    image.octets.resize(10 * spool::block_bytes);
    folder.put(image, 1);
    folder.put("aside", "no folder");
    open();
    const std::vector<worker::AdoptedSegment*> segments = adopt();
    ASSERT_EQ(segments.size(), 1U);
    EXPECT_EQ(segments[0]->holds.fetch_sub(1), 1U);
    keeper->supply(0).released();
    expect_told("it stays: open " + folder.path + "/aside");
    News news;
    EXPECT_FALSE(keeper->supply(0).take(news));
    std::filesystem::remove(folder.path + "/aside");
    EXPECT_EQ(next().home, image.name());
    keeper->stop();
    EXPECT_EQ(folder.all(), (Names{"00000002", "aside/00000001-w0000-000001.seg"}));
}

// Of a file that can't be read it is not known what else is needed for the mail in it.
TEST_F(SpoolKeeperTest, PartsOfAMessageStayWhileTheRestOfItCantBeRead) {
    for (const std::uint32_t unreadable : {1U, 2U}) { // has the chunk, or the message's record
        const SpoolFolder spool;
        SegmentImage chunk(1, 1);
        const std::uint64_t place =
            chunk.add(spool::RecordType::chunk, 7, 1, std::string(5000, 'x'));
        chunk.add_message(8, 2);
        SegmentImage record(1, 2);
        record.add_message(7, 3, 1, {{1, place, spool::record_header_bytes + 5000}});
        record.add_message(9, 4);
        SegmentImage over(2, 1);
        const std::uint64_t later = spool::packed({.generation = 2, .worker = 0, .counter = 1});
        over.add_message(later, 1);
        over.add_mark(2, {.kind = spool::MarkKind::delivered, .id = later, .home = over.name()});
        spool.put(chunk, 1);
        spool.put(record, 2);
        spool.put(over, 1);
        const std::string path = spool.path + "/00000001/" + segment_name(0, unreadable);
        ASSERT_EQ(::chmod(path.c_str(), 0), 0);
        const AsNobody nobody(spool);
        open(spool);
        const std::vector<worker::AdoptedSegment*> segments = adopt();
        ASSERT_EQ(segments.size(), 2U);
        EXPECT_EQ(segments[0]->holds.fetch_sub(1), 1U) << "the other message";
        keeper->supply(0).released();
        EXPECT_EQ(next().home, over.name());
        keeper->stop();
        keeper.reset();
        ASSERT_EQ(::chmod(path.c_str(), 0600), 0);
        open(spool);
        recovery->start();
        std::optional<RecoveredSpool> result;
        ASSERT_TRUE(main_waker.wait_until([&] { return (result = recovery->take()).has_value(); }));
        EXPECT_TRUE(result->queue.damaged.empty());
        EXPECT_EQ(result->messages[0].size(), 3U);
        keeper.reset();
    }
}

// Marks that name an earlier record of a message are needed until it is known that no later one is
// found.
TEST_F(SpoolKeeperTest, EarlierRecordOfAMovedMessageStaysWhileTheLaterOneCantBeRead) {
    SegmentImage earlier(1, 1);
    earlier.add_message(7, 1);
    SegmentImage later(1, 2);
    later.add_message(7, 2);
    const SegmentImage other(2, 1);
    folder.put(earlier, 1);
    folder.put(later, 2);
    folder.put(other, 1);
    ASSERT_EQ(::chmod((folder.path + "/00000001/" + segment_name(0, 2)).c_str(), 0), 0);
    const AsNobody nobody(folder);
    open();
    const std::vector<worker::AdoptedSegment*> segments = adopt();
    ASSERT_EQ(segments.size(), 2U);
    EXPECT_EQ(next().home, other.name());
    EXPECT_EQ(segments[0]->holds.fetch_sub(1), 1U);
    keeper->supply(0).released();
    keeper->stop();
    News news;
    EXPECT_FALSE(keeper->supply(0).take(news)) << "marks about it are needed";
    EXPECT_TRUE(folder.has("00000001/" + segment_name(0, 1)));
}

TEST_F(SpoolKeeperTest, ManyNewsAtATimeAllArrive) {
    constexpr std::uint64_t count = 600; // more than have a place
    for (std::uint64_t number = 1; number <= count; ++number) {
        const SegmentImage image(1, number, 0, 2);
        folder.put(image, static_cast<std::uint32_t>(number));
    }
    open();
    (void)adopt();
    for (std::uint64_t number = 0; number < count; ++number) {
        ASSERT_EQ(next().kind, News::Kind::home_gone);
    }
    EXPECT_EQ(ask(true).kind, News::Kind::segment);
}

} // namespace
} // namespace ringmx
