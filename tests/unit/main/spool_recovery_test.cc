#include "spool_recovery.h"

#include "unit/main/spool_folder.h"
#include "unit/main/wait_waker.h"

#include <algorithm>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/magic.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <thread>
#include <unistd.h>

namespace ringmx {
namespace {

using spool::block_bytes;
using spool::MarkKind;
using spool::SegmentImage;
using Names = std::vector<std::string>;
using Ids = std::vector<std::uint64_t>;

std::size_t resident_pages(int file, std::size_t bytes) {
    void* const mapped = ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, file, 0);
    EXPECT_NE(mapped, MAP_FAILED);
    std::vector<unsigned char> pages(bytes / block_bytes);
    EXPECT_EQ(::mincore(mapped, bytes, pages.data()), 0);
    EXPECT_EQ(::munmap(mapped, bytes), 0);
    return static_cast<std::size_t>(
        std::ranges::count_if(pages, [](unsigned char page) { return (page & 1U) != 0; }));
}

// Segments of earlier runs, and one run that recovers them.
class SpoolRecoveryTest : public testing::Test {
  protected:
    RecoveredSpool recover() {
        auto directory = SpoolDirectory::open(folder.path);
        EXPECT_TRUE(directory.has_value());
        WaitWaker waker;
        SpoolRecovery recovery(*directory, 1, notices, waker);
        recovery.start();
        std::optional<RecoveredSpool> result;
        EXPECT_TRUE(waker.wait_until([&] { return (result = recovery.take()).has_value(); }));
        EXPECT_TRUE(recovery.is_over());
        EXPECT_EQ(recovery.bytes_read(), recovery.bytes_total());
        for (SpoolNotice& notice : notices.take()) {
            told += notice.text + "\n";
        }
        return std::move(*result);
    }
    static Ids ids(const RecoveredSpool& recovered) {
        Ids found;
        for (const spool::RecoveredMessage& message : recovered.messages[0]) {
            found.push_back(message.id);
        }
        return found;
    }
    [[nodiscard]] bool is_told(std::string_view text) const {
        return told.find(text) != std::string::npos;
    }

    SpoolFolder folder;
    SpoolNotices notices;
    std::string told;
};

TEST_F(SpoolRecoveryTest, MessagesOfAllRunsAndWorkersComeInOrderOfAcceptance) {
    SegmentImage first(1, 1);
    first.add_message(5, 1);
    SegmentImage second(1, 1, 7); // a worker that there may not be any more
    second.add_message(2, 1, 2);
    SegmentImage third(3, 9);
    third.add_message(9, 1);
    third.add_mark(2, {.kind = MarkKind::delivered, .id = 5, .home = first.name()});
    folder.put(first, 1);
    folder.put(second, 1);
    folder.put(third, 4);
    const RecoveredSpool recovered = recover();
    EXPECT_EQ(ids(recovered), (Ids{2, 9}));
    ASSERT_EQ(recovered.queue.segments.size(), 3U);
    EXPECT_EQ(recovered.files.size(), 3U);
    EXPECT_EQ(recovered.runs.size(), 2U);
    EXPECT_EQ(recovered.bytes, 3 * first.octets.size());
    EXPECT_EQ(recovered.records, 4U);
    const spool::RecoveredMessage& message = recovered.messages[0][0];
    const worker::AdoptedSegment& home = *recovered.queue.segments[message.segment];
    EXPECT_EQ(home.name, second.name());
    EXPECT_EQ(home.holds.load(), 1U);
    std::vector<std::byte> record(message.record_bytes);
    EXPECT_EQ(
        ::pread(home.descriptor, record.data(), record.size(), static_cast<off_t>(message.offset)),
        static_cast<ssize_t>(record.size()));
    EXPECT_TRUE(spool::decode_record(record, second.header().nonce, message.offset).has_value());
    EXPECT_EQ(told, "");
}

TEST_F(SpoolRecoveryTest, MarksAboutSegmentsThatAreGoneHoldNothing) {
    SegmentImage marks(2, 1);
    marks.add_mark(1, {.id = 1, .home = {1, 0, 1}});
    SegmentImage home(2, 1, 1);
    home.add_message(1, 1);
    marks.add_mark(2, {.id = 1, .home = home.name()});
    folder.put(marks, 1);
    folder.put(home, 1);
    const RecoveredSpool recovered = recover();
    EXPECT_EQ(recovered.messages[0].size(), 0U);
    ASSERT_EQ(recovered.queue.marked.size(), 2U);
    ASSERT_EQ(recovered.queue.marked[0].size(), 1U);
    EXPECT_EQ(recovered.queue.marked[0][0].home, home.name());
}

TEST_F(SpoolRecoveryTest, TornTailIsOrdinaryAndAHoleBeforeDurableCommitsIsDamage) {
    SegmentImage torn(1, 1);
    SegmentImage damaged(1, 1, 1);
    for (std::uint64_t id = 1; id <= 10; ++id) {
        torn.at_block(id);
        torn.add_message(id, id);
        damaged.at_block(id);
        damaged.add_message(100 + id, id);
    }
    torn.octets[9 * block_bytes + spool::record_header_bytes + 3] ^= std::byte{1};
    damaged.octets[4 * block_bytes + spool::record_header_bytes + 3] ^= std::byte{1};
    folder.put(torn, 1);
    folder.put(damaged, 1);
    const RecoveredSpool recovered = recover();
    EXPECT_EQ(ids(recovered),
              (Ids{1, 2, 3, 4, 5, 6, 7, 8, 10, 101, 102, 103, 105, 106, 107, 108, 109, 110}));
    EXPECT_EQ(recovered.torn, 2U);
    EXPECT_EQ(recovered.lost, 1U);
    EXPECT_FALSE(recovered.files[0].is_damaged);
    EXPECT_TRUE(recovered.files[1].is_damaged);
    EXPECT_TRUE(is_told("/00000001/w0001-000001.seg: 1 records that were durable are damaged"));
    EXPECT_TRUE(is_told("/00000001/w0000-000001.seg: 1 records were being written when"));
}

// The last record of a segment, which nothing in it stands behind.
TEST_F(SpoolRecoveryTest, DamageAtASegmentsEndIsSeenByTheNextOne) {
    SegmentImage first(1, 1);
    SegmentImage second(1, 2);
    for (std::uint64_t id = 1; id <= 5; ++id) {
        first.at_block(id);
        first.add_message(id, id);
    }
    for (std::uint64_t id = 6; id <= 6 + SegmentImage::in_doubt; ++id) {
        second.at_block(id - 5);
        second.add_message(id, id);
    }
    first.octets[5 * block_bytes + spool::record_header_bytes + 3] ^= std::byte{1};
    folder.put(first, 1);
    folder.put(second, 2);
    const RecoveredSpool recovered = recover();
    EXPECT_EQ(ids(recovered), (Ids{1, 2, 3, 4, 6, 7, 8, 9, 10}));
    EXPECT_EQ(recovered.lost, 1U);
    EXPECT_TRUE(recovered.files[0].is_damaged);
    EXPECT_FALSE(recovered.files[1].is_damaged);
    EXPECT_TRUE(is_told("/00000001/w0000-000001.seg: 1 records that were durable are damaged"));
    EXPECT_FALSE(is_told("were being written"));
}

TEST_F(SpoolRecoveryTest, TruncatedSegmentGivesWhatIsLeftOfIt) {
    SegmentImage image(1, 1);
    image.add_message(1, 1);
    image.at_block(20);
    image.add_message(2, 2);
    image.octets.resize(10 * block_bytes + 17);
    folder.put(image, 1);
    const RecoveredSpool recovered = recover();
    EXPECT_EQ(ids(recovered), Ids{1});
    EXPECT_TRUE(recovered.files.at(0).is_damaged);
    EXPECT_TRUE(is_told("truncated to 40977 of its 262144 octets"));
}

TEST_F(SpoolRecoveryTest, FilesThatWereNeverWrittenToGo) {
    SpoolFolder& files = folder;
    files.put("00000001/w0000-000001.seg", "");
    files.put("00000001/w0000-000002.seg", std::string(300'000, '\0'));
    (void)recover();
    EXPECT_EQ(files.all(), (Names{"00000001", "00000002"}));
    EXPECT_EQ(told, "");
}

TEST_F(SpoolRecoveryTest, WhatIsNoSegmentOfThisSpoolIsSetAsideAndNamed) {
    SegmentImage ours(3, 1);
    ours.add_message(1, 1);
    folder.put(ours, 1);
    folder.put("00000003/w0000-000002.seg", Bytes(ours.octets)); // a copy
    folder.put("00000004/w0000-000001.seg", Bytes(ours.octets)); // in the wrong folder
    SegmentImage header(3, 2);
    header.add_message(2, 1);
    header.octets[100] ^= std::byte{4};
    folder.put("00000003/w0000-000003.seg", Bytes(header.octets));
    SegmentImage newer(3, 3);
    newer.octets[8] = std::byte{99};
    folder.put("00000003/w0000-000004.seg", Bytes(newer.octets));
    folder.put("00000003/w0000-000005.seg", std::string(5000, '\0') + "late");
    folder.put("00000003/note.txt", "an operator's");
    folder.put("00000003/folder/file", "likewise");
    folder.put("stranger", "is in nobody's way");
    // Something of that name was set aside before.
    folder.put("aside/00000003-note.txt", "earlier");
    const RecoveredSpool recovered = recover();
    EXPECT_EQ(ids(recovered), Ids{1});
    EXPECT_EQ(recovered.set_aside, 7U);
    EXPECT_EQ(
        folder.all(),
        (Names{"00000003/w0000-000001.seg", "00000004", "00000005", "aside/00000003-folder/file",
               "aside/00000003-note.txt", "aside/00000003-note.txt-2",
               "aside/00000003-w0000-000002.seg", "aside/00000003-w0000-000003.seg",
               "aside/00000003-w0000-000004.seg", "aside/00000003-w0000-000005.seg",
               "aside/00000004-w0000-000001.seg", "stranger"}));
    EXPECT_TRUE(is_told("/00000003/w0000-000002.seg: it is a copy of another; set aside as " +
                        folder.path + "/aside/00000003-w0000-000002.seg"));
    EXPECT_TRUE(is_told("/00000004/w0000-000001.seg: it belongs to run 3"));
    EXPECT_TRUE(is_told("w0000-000003.seg: it is no segment, or its header is damaged"));
    EXPECT_TRUE(is_told("w0000-000004.seg: another version of ringmx wrote it"));
}

TEST_F(SpoolRecoveryTest, LinksAreNotFollowed) {
    SegmentImage image(2, 1);
    image.add_message(1, 1);
    folder.put(image, 1);
    const std::filesystem::path elsewhere = folder.path + "/../elsewhere";
    std::filesystem::create_directories(elsewhere);
    folder.put("../elsewhere/precious", "octets");
    std::filesystem::create_directory_symlink(elsewhere, folder.path + "/00000003");
    const RecoveredSpool recovered = recover();
    EXPECT_EQ(ids(recovered), Ids{1});
    EXPECT_EQ(recovered.set_aside, 0U);
    EXPECT_TRUE(folder.has("../elsewhere/precious"));
    EXPECT_FALSE(folder.has("../elsewhere/lock"));
    EXPECT_TRUE(is_told("/00000003"));
}

TEST_F(SpoolRecoveryTest, WhatCantBeReadStopsNothingAndStays) {
    SegmentImage good(1, 1);
    good.add_message(1, 1);
    SegmentImage bad(1, 1, 1);
    bad.add_message(2, 1);
    folder.put(good, 1);
    folder.put(bad, 1);
    folder.put("00000002", "no folder");
    folder.put("00000003/lock", "");
    ::chmod((folder.path + "/00000001/w0001-000001.seg").c_str(), 0);
    ::chmod((folder.path + "/00000003").c_str(), 0);
    const AsNobody nobody(folder);
    const RecoveredSpool recovered = recover();
    EXPECT_EQ(recovered.unreadable_files, 3U);
    EXPECT_EQ(ids(recovered), Ids{1});
    EXPECT_TRUE(folder.has("00000001/w0001-000001.seg"));
    EXPECT_TRUE(is_told("/00000001/w0001-000001.seg: can't be read: Permission denied; the mail"));
    EXPECT_TRUE(is_told("/00000002: can't be read: Not a directory; the mail in it waits"));
    EXPECT_TRUE(is_told("/00000003: can't be read: Permission denied; the mail in it waits"));
}

TEST_F(SpoolRecoveryTest, RunOfAnotherGatewayIsLeftAlone) {
    SegmentImage image(1, 1);
    image.add_message(1, 1);
    folder.put(image, 1);
    const auto run = open_folder(AT_FDCWD, (folder.path + "/00000001").c_str(), folder.path);
    const auto lock = take_lock(run->number(), folder.path);
    ASSERT_TRUE(lock.has_value());
    EXPECT_TRUE(recover().queue.messages.empty());
    EXPECT_TRUE(is_told("/00000001 is another gateway's"));
}

// As `spool inspect` does.
TEST_F(SpoolRecoveryTest, RunThatIsLookedAtJustNowIsTakenOver) {
    SegmentImage image(1, 1);
    image.add_message(1, 1);
    folder.put(image, 1);
    folder.put("00000001/lock", "");
    OwnedDescriptor lock(::open((folder.path + "/00000001/lock").c_str(), O_RDONLY | O_CLOEXEC));
    ASSERT_EQ(::flock(lock.number(), LOCK_SH | LOCK_NB), 0);
    std::thread looker([&] {
        ::poll(nullptr, 0, 100);
        lock = OwnedDescriptor();
    });
    EXPECT_EQ(ids(recover()), Ids{1});
    looker.join();
    EXPECT_EQ(told, "");
}

// A queue may be larger than memory, and what others have in the page cache is worth more than it.
TEST_F(SpoolRecoveryTest, WhatWasReadLeavesThePageCache) {
    SegmentImage segment(1, 1);
    for (std::uint64_t id = 1; id <= 100; ++id) {
        segment.add_message(id, id);
    }
    folder.put(segment, 1);
    const std::string path = folder.path + "/" + run_name(1) + "/" + segment_name(0, 1);
    const OwnedDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    struct statfs where{};
    ASSERT_EQ(::fstatfs(file.number(), &where), 0);
    if (where.f_type == TMPFS_MAGIC) {
        GTEST_SKIP() << "a file in memory has no other place to be";
    }
    ASSERT_EQ(::fsync(file.number()), 0); // what is dirty stays
    ASSERT_GT(resident_pages(file.number(), segment.octets.size()), 0U);
    EXPECT_EQ(ids(recover()).size(), 100U);
    EXPECT_EQ(resident_pages(file.number(), segment.octets.size()), 0U);
}

TEST_F(SpoolRecoveryTest, StopsBeforeItIsDone) {
    SegmentImage image(1, 1);
    image.octets.resize(64U << 20U);
    folder.put(image, 1);
    auto directory = SpoolDirectory::open(folder.path);
    WaitWaker waker;
    {
        SpoolRecovery recovery(*directory, 1, notices, waker);
        recovery.start();
    }
    EXPECT_TRUE(folder.has("00000001/w0000-000001.seg"));
}

} // namespace
} // namespace ringmx
