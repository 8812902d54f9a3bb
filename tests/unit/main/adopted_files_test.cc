#include "adopted_files.h"

#include "spool/message_id.h"
#include "unit/main/spool_folder.h"
#include "unit/main/wait_waker.h"

#include <algorithm>
#include <gtest/gtest.h>
#include <memory>
#include <optional>
#include <string>
#include <sys/stat.h>
#include <vector>

namespace ringmx {
namespace {

using spool::SegmentImage;
using Names = std::vector<std::string>;
using Gone = std::vector<spool::SegmentName>;

const std::string content(5000, 'x');

class AdoptedFilesTest : public testing::Test {
  protected:
    // A run begins: it takes over what is there.
    void adopt() {
        files.reset();
        directory.reset();
        auto opened = SpoolDirectory::open(folder.path);
        ASSERT_TRUE(opened.has_value());
        directory = std::make_unique<SpoolDirectory>(std::move(*opened));
        WaitWaker waker;
        SpoolRecovery recovery(*directory, 1, notices, waker);
        recovery.start();
        std::optional<RecoveredSpool> result;
        ASSERT_TRUE(waker.wait_until([&] { return (result = recovery.take()).has_value(); }));
        messages = std::move(result->messages[0]);
        segments.clear();
        for (const auto& segment : result->queue.segments) {
            segments.push_back(segment.get());
        }
        files = std::make_unique<AdoptedFiles>(*directory, notices, deleted);
        files->adopt(std::move(*result));
    }
    // All mail is over: which segments are gone then.
    Gone end_all() {
        for (worker::AdoptedSegment* const segment : segments) {
            segment->holds = 0;
        }
        Gone gone = files->delete_unneeded();
        std::ranges::sort(gone);
        return gone;
    }
    [[nodiscard]] bool is_told(std::string_view text) {
        for (SpoolNotice& notice : notices.take()) {
            told += notice.text + "\n";
        }
        return told.find(text) != std::string::npos;
    }

    SpoolFolder folder;
    SpoolNotices notices;
    std::string told;
    std::unique_ptr<SpoolDirectory> directory;
    std::vector<spool::RecoveredMessage> messages;
    std::vector<worker::AdoptedSegment*> segments;
    DeletedFiles deleted;
    std::unique_ptr<AdoptedFiles> files;
};

// It may be found in what a later run wrote, as soon as that can be read; so the mark that ends it
// must be there still, however many runs later that is.
TEST_F(AdoptedFilesTest, MovedMessageThatIsOverIsNotAliveAgainWhenTheLaterRunsFileCanBeRead) {
    const std::uint64_t id = spool::packed({.generation = 1, .worker = 0, .counter = 7});
    SegmentImage earlier(1, 1);
    earlier.add_message(id, 1);
    SegmentImage later(2, 1);
    later.add_message(id, 1);
    folder.put(earlier, 1);
    folder.put(later, 1);
    const std::string path = folder.path + "/00000002/" + segment_name(0, 1);
    ASSERT_EQ(::chmod(path.c_str(), 0), 0);
    {
        const AsNobody nobody(folder);
        adopt();
        ASSERT_EQ(messages.size(), 1U);
        EXPECT_EQ(end_all(), Gone{}) << "the mark, which this run has, is about it";
        SegmentImage mark(3, 1);
        mark.add_mark(1, {.kind = spool::MarkKind::removed, .id = id, .home = earlier.name()});
        folder.put(mark, 1);
        adopt();
        EXPECT_EQ(messages.size(), 0U);
        (void)end_all();
    }
    ASSERT_EQ(::chmod(path.c_str(), 0600), 0);
    adopt();
    EXPECT_EQ(messages.size(), 0U);
    EXPECT_EQ(end_all().size(), segments.size()) << "nothing stays for ever";
    EXPECT_EQ(folder.all(), Names{"00000005"});
}

// Whoever finds the missing part has the message.
TEST_F(AdoptedFilesTest, PartsOfADamagedMessageAreSetAside) {
    SegmentImage lost(1, 1);
    SegmentImage chunk(1, 2);
    SegmentImage record(1, 3);
    const spool::ChunkPlace first = lost.add_chunk(1, 1, content);
    const spool::ChunkPlace second = chunk.add_chunk(1, 2, content);
    record.add_message(1, 3, 1, {first, second});
    record.add_message(2, 4);
    SegmentImage ended(1, 4); // its client was gone before the message's end
    (void)ended.add_chunk(3, 5, content);
    folder.put(chunk, 2);
    folder.put(record, 3);
    folder.put(ended, 4);
    adopt();
    ASSERT_EQ(messages.size(), 1U);
    EXPECT_EQ(files->delete_unneeded(), (Gone{chunk.name(), ended.name()}));
    EXPECT_TRUE(folder.has("00000001/w0000-000003.seg")) << "other mail is in it";
    EXPECT_EQ(end_all(), Gone{record.name()});
    EXPECT_EQ(folder.all(), (Names{"00000002", "aside/00000001-w0000-000002.seg",
                                   "aside/00000001-w0000-000003.seg"}));
    EXPECT_TRUE(is_told("w0000-000002.seg: has a part of a damaged message; set aside as"));
}

TEST_F(AdoptedFilesTest, SpaceOfADeletedFileIsGivenBackBesideOtherWork) {
    SegmentImage image(1, 1);
    image.add_message(spool::packed({.generation = 1, .worker = 0, .counter = 7}), 1);
    folder.put(image, 1);
    adopt();
    EXPECT_EQ(deleted.deadline(), never);
    EXPECT_EQ(end_all(), Gone{image.name()});
    EXPECT_NE(deleted.deadline(), never);
}

} // namespace
} // namespace ringmx
