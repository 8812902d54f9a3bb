#include "queue_reader.h"

#include "spool/message_id.h"
#include "unit/spool/segment_image.h"

#include <algorithm>
#include <cerrno>
#include <gtest/gtest.h>
#include <vector>

namespace ringmx {
namespace {

using spool::block_bytes;
using spool::SegmentImage;

// Blocks that the disk does not give.
TEST(QueueReader, SegmentWithUnreadableBlocksGivesTheRestAndMarksAboutItsRunStay) {
    SegmentImage marks(2, 1);
    marks.add_mark(1, {.id = 7, .home = {1, 5, 5}});
    SegmentImage bad(1, 1);
    bad.add_message(1, 1);
    bad.at_block(20);
    bad.add_message(2, 2);
    const spool::SegmentReader whole = bad.reader();
    const spool::SegmentReader reader = [&](std::uint64_t offset,
                                            std::span<std::byte> out) -> std::int64_t {
        const bool is_bad = offset < 2 * block_bytes && offset + out.size() > block_bytes;
        return is_bad ? -EIO : whole(offset, out);
    };
    QueueReader queue;
    EXPECT_EQ(queue.read({-1, marks.octets.size(), 2}, marks.reader()).kind,
              SegmentReport::Kind::segment);
    const SegmentReport report = queue.read({-1, bad.octets.size(), 1}, reader);
    EXPECT_EQ(report.kind, SegmentReport::Kind::segment);
    EXPECT_EQ(report.unreadable_blocks, 1U);
    EXPECT_EQ(report.error, EIO);
    EXPECT_EQ(report.lost, 0U) << "it is known why";
    const AdoptedQueue adopted = queue.finish();
    ASSERT_EQ(adopted.messages.size(), 1U);
    EXPECT_EQ(adopted.messages[0].id, 2U);
    EXPECT_EQ(adopted.marked[0].size(), 1U) << "its home may be what can't be read";
    EXPECT_EQ(adopted.stays, (std::vector{true, true}));
}

TEST(QueueReader, AFreshSegmentIsNotReadWholeAndOneWithALostBeginningIsNone) {
    constexpr std::uint64_t size_bytes = 64UL * 1024 * 1024;
    for (const bool is_fresh : {true, false}) {
        std::uint64_t octets_read = 0;
        const spool::SegmentReader reader = [&](std::uint64_t offset,
                                                std::span<std::byte> out) -> std::int64_t {
            const std::uint64_t there = std::min(size_bytes, offset + out.size());
            const std::uint64_t got = there - std::min(there, offset);
            const bool is_used = !is_fresh && offset >= 40UL * 1024 * 1024;
            std::ranges::fill(out.first(got),
                              std::byte{is_used ? std::uint8_t{7} : std::uint8_t{0}});
            octets_read += got;
            return static_cast<std::int64_t>(got);
        };
        QueueReader queue;
        EXPECT_EQ(queue.read({-1, size_bytes, 1}, reader).kind,
                  is_fresh ? SegmentReport::Kind::unused : SegmentReport::Kind::foreign);
        EXPECT_LT(octets_read, size_bytes / 4);
    }
}

TEST(QueueReader, HeaderThatCantBeReadIsNoVerdictOnTheFile) {
    QueueReader queue;
    const SegmentReport report = queue.read(
        {-1, 1 << 20, 1}, [](std::uint64_t, std::span<std::byte>) -> std::int64_t { return -EIO; });
    EXPECT_EQ(report.kind, SegmentReport::Kind::unreadable);
    EXPECT_EQ(report.error, EIO);
}

// Whether a segment of run 5 stays where a file of another could not be read.
bool stays(const SegmentImage& image, std::uint32_t unread) {
    QueueReader queue;
    EXPECT_EQ(queue.read({-1, image.octets.size(), image.header().generation}, image.reader()).kind,
              SegmentReport::Kind::segment);
    queue.note_unread(unread);
    return queue.finish().stays.at(0);
}

// A message is moved to later runs, so other records of it may be there. What was not moved has none
// in runs before its own.
TEST(QueueReader, MailStaysWhileARecordOfItMayBeInAFileOfAnyRunSinceItsOwnThatCantBeRead) {
    const std::uint64_t id = spool::packed({.generation = 4, .worker = 0, .counter = 1});
    SegmentImage live(5, 1);
    live.add_message(id, 1);
    EXPECT_FALSE(stays(live, 3));
    EXPECT_TRUE(stays(live, 4));
    EXPECT_TRUE(stays(live, 5));
    EXPECT_TRUE(stays(live, 6));
    SegmentImage chunk(5, 1);
    (void)chunk.add_chunk(id, 1, "a part");
    EXPECT_TRUE(stays(chunk, 5));
}

// Else that record would be alive once it can be read.
TEST(QueueReader, MarksStayWhileARecordOfWhatTheyAreAboutMayBeInAFileThatCantBeRead) {
    const std::uint64_t id = spool::packed({.generation = 4, .worker = 0, .counter = 1});
    SegmentImage over(5, 1);
    over.add_message(id, 1);
    over.add_mark(2, {.kind = spool::MarkKind::removed, .id = id, .home = over.name()});
    EXPECT_FALSE(stays(over, 3));
    EXPECT_TRUE(stays(over, 4));
    EXPECT_TRUE(stays(over, 5));
    EXPECT_FALSE(stays(over, 6)) << "nothing that is over is moved";
}

} // namespace
} // namespace ringmx
