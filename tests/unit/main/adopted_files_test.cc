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
        SpoolRecovery recovery(*directory, notices, waker);
        recovery.start();
        std::optional<RecoveredSpool> result;
        ASSERT_TRUE(waker.wait_until([&] { return (result = recovery.take()).has_value(); }));
        messages = std::move(result->queue.messages);
        segments.clear();
        for (const auto& segment : result->queue.segments) {
            segments.push_back(segment.get());
        }
        files = std::make_unique<AdoptedFiles>(*directory, notices);
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

    SpoolFolder folder;
    SpoolNotices notices;
    std::unique_ptr<SpoolDirectory> directory;
    std::vector<spool::RecoveredMessage> messages;
    std::vector<worker::AdoptedSegment*> segments;
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

} // namespace
} // namespace ringmx
