#include "spool_inspect.h"

#include "spool/message_id.h"
#include "spool_directory.h"
#include "unit/main/spool_folder.h"

#include <cstdio>
#include <cstdlib>
#include <gtest/gtest.h>

namespace ringmx {
namespace {

using spool::MarkKind;
using spool::RecordType;
using spool::SegmentImage;
using spool::StoredMessage;

// What a run of the command prints, and its exit.
class SpoolInspectTest : public testing::Test {
  protected:
    void inspect(bool as_json = false, const std::string& directory = {}) {
        out = errors = {};
        char* texts[2] = {};
        std::size_t sizes[2] = {};
        std::FILE* const to = ::open_memstream(&texts[0], &sizes[0]);
        std::FILE* const errors_to = ::open_memstream(&texts[1], &sizes[1]);
        status = inspect_spool(directory.empty() ? folder.path : directory, as_json, to, errors_to);
        (void)std::fclose(to);
        (void)std::fclose(errors_to);
        out.assign(texts[0], sizes[0]);
        errors.assign(texts[1], sizes[1]);
        std::free(texts[0]); // NOLINT(cppcoreguidelines-no-malloc)
        std::free(texts[1]); // NOLINT(cppcoreguidelines-no-malloc)
    }
    // Two recipients; the second one's mailbox would paint a terminal red.
    static void add(SegmentImage& image, std::uint64_t id, std::uint64_t sequence) {
        StoredMessage message;
        message.accepted_at = WallTime(std::chrono::seconds(1'767'225'600));
        message.expires_from = message.accepted_at;
        message.content_bytes = 7;
        message.message_bytes = 123;
        message.reverse_path = "sender@a.example";
        message.recipients.resize(2);
        message.recipients[0].mailbox = "one@b.example";
        message.recipients[1].mailbox = "\"\x1b[31m\"@b.example";
        std::string body;
        append_message_body(body, message);
        (void)image.add(RecordType::message, id, sequence, body + "content");
    }
    [[nodiscard]] bool has(std::string_view text) const {
        return out.find(text) != std::string::npos;
    }

    SpoolFolder folder;
    int status = -1;
    std::string out;
    std::string errors;
};

TEST_F(SpoolInspectTest, TellsRunsSegmentsAndMessagesWithTheirStates) {
    SegmentImage image(1, 4, 2);
    add(image, 7, 1);
    add(image, 8, 2);
    image.add_mark(3, {.kind = MarkKind::failed,
                       .id = 7,
                       .recipient = 0,
                       .home = image.name(),
                       .at = WallTime::max(),
                       .reply = "550 5.1.1 no\tsuch user"});
    image.add_mark(4, {.kind = MarkKind::delivered, .id = 7, .recipient = 1, .home = image.name()});
    image.add_mark(5, {.kind = MarkKind::hold, .id = 8, .home = image.name()});
    folder.put(image, 1);
    folder.put("00000003/w0000-000001.seg", "");
    inspect();
    EXPECT_EQ(status, 0) << errors;
    EXPECT_TRUE(out.starts_with(folder.path + "\nrun 00000001\n")) << out;
    EXPECT_TRUE(has("  w0002-000001.seg 262144 octets, life 4 of worker 2, "));
    EXPECT_TRUE(has(" used, 2 messages, 0 chunks, 3 marks records, 2 held\n"));
    EXPECT_TRUE(has("run 00000003\n  w0000-000001.seg 0 octets, never written to\n"));
    EXPECT_TRUE(has(spool::id_text(7) + " failed, 2026-01-01T00:00:00Z, 123 octets, "));
    EXPECT_TRUE(has(" on disk, from <sender@a.example>\n"
                    "  failed <one@b.example>: 550 5.1.1 no\\tsuch user\n"
                    "  delivered <\"\\e[31m\"@b.example>\n"));
    EXPECT_TRUE(has(spool::id_text(8) + " hold, 2026"));
    EXPECT_TRUE(has("\n2 messages in 2 files of 2 runs\n"));
    EXPECT_EQ(out.find('\x1b'), std::string::npos);
    EXPECT_FALSE(has("AMAGE"));
}

TEST_F(SpoolInspectTest, TellsTheSameAsJson) {
    SegmentImage image(1, 4, 2);
    add(image, 7, 1);
    folder.put(image, 1);
    folder.put("aside/x", "");
    inspect(true);
    EXPECT_EQ(status, 0);
    EXPECT_TRUE(has(R"("in_use": false, "damaged": false, "runs": [)")) << out;
    EXPECT_TRUE(has(R"({"generation": 1, "in_use": false, "fault": null, "segments": [)"));
    EXPECT_TRUE(has(R"({"name": "w0002-000001.seg", "bytes": 262144, "fault": null, "worker": 2, )"
                    R"("life": 4, "used_bytes": )"));
    EXPECT_TRUE(has(R"("messages": 1, "chunks": 0, "marks": 0, "held": 1, "torn": 0, "lost": 0})"));
    EXPECT_TRUE(has(R"("state": "queued", "accepted": "2026-01-01T00:00:00Z")"));
    EXPECT_TRUE(
        has(R"({"mailbox": "\"\u001b[31m\"@b.example", "state": "pending", "reply": null})"))
        << out;
    EXPECT_TRUE(has(R"("damaged_messages": [], "unreadable_records": 0, "set_aside": 1})"));
}

TEST_F(SpoolInspectTest, DamageIsExit1AndNamed) {
    SegmentImage damaged(1, 1);
    for (std::uint64_t id = 1; id <= 10; ++id) {
        damaged.at_block(id);
        add(damaged, id, id);
    }
    damaged.octets[3 * spool::block_bytes + 100] ^= std::byte{1};
    folder.put(damaged, 1);
    folder.put("00000001/note", "");
    inspect();
    EXPECT_EQ(status, 1);
    EXPECT_TRUE(has("1 torn, DAMAGED: 1 durable records damaged or missing\n")) << out;
    EXPECT_TRUE(has("  note 0 octets, DAMAGED: it is no segment\n"));
    EXPECT_TRUE(has("9 messages in 2 files of 1 runs, DAMAGE was found\n"));
    inspect(true);
    EXPECT_EQ(status, 1);
    EXPECT_TRUE(has(R"("damaged": true)"));
    EXPECT_TRUE(has(R"("fault": "1 durable records damaged or missing")"));
}

TEST_F(SpoolInspectTest, MessageThatLacksAPartIsDamage) {
    SegmentImage image(1, 1);
    image.add_message(5, 1, 1, {{.life = 9, .offset = 4096, .record_bytes = 100}});
    folder.put(image, 1);
    inspect();
    EXPECT_EQ(status, 1);
    EXPECT_TRUE(has(spool::id_text(5) + " DAMAGED: a part of it is damaged or missing\n")) << out;
}

TEST_F(SpoolInspectTest, RecordsThatMakeNoSenseAreNamedWithTheirFile) {
    SegmentImage image(1, 1);
    (void)image.add(RecordType::message, 1, 1, "of another version");
    folder.put(image, 1);
    inspect();
    EXPECT_EQ(status, 1);
    EXPECT_TRUE(has("0 held, DAMAGED: 1 records are whole and make no sense\n")) << out;
}

TEST_F(SpoolInspectTest, TornTailIsNoDamage) {
    SegmentImage image(1, 1);
    add(image, 1, 1);
    image.at_block(2);
    add(image, 2, 2);
    image.octets[2 * spool::block_bytes + 100] ^= std::byte{1};
    folder.put(image, 1);
    inspect();
    EXPECT_EQ(status, 0);
    EXPECT_TRUE(has("1 held, 1 torn\n")) << out;
}

TEST_F(SpoolInspectTest, OneThatIsInUseIsReadAndNotJudgedForWhatMoves) {
    const auto directory = SpoolDirectory::open(folder.path);
    ASSERT_TRUE(directory.has_value());
    SegmentImage moving(1, 1);
    for (std::uint64_t id = 1; id <= 10; ++id) {
        moving.at_block(id);
        add(moving, id, id);
    }
    moving.octets[3 * spool::block_bytes + 100] ^= std::byte{1};
    folder.put(moving, 1);
    const auto before = folder.all();
    inspect();
    EXPECT_EQ(status, 0);
    EXPECT_TRUE(has(": a gateway serves from it")) << out;
    EXPECT_TRUE(has("run 00000001, in use\n"));
    EXPECT_TRUE(has("9 messages in"));
    EXPECT_EQ(folder.all(), before);
    folder.put("00000001/w0000-000002.seg", "no segment");
    inspect();
    EXPECT_EQ(status, 1);
}

TEST_F(SpoolInspectTest, WhatIsNoSpoolIsExit2) {
    inspect(false, folder.path + "/none");
    EXPECT_EQ(status, 2);
    EXPECT_EQ(errors,
              "ringmx: spool inspect: open " + folder.path + "/none: No such file or directory\n");
    folder.put("file", "");
    inspect();
    EXPECT_EQ(status, 2);
    EXPECT_EQ(errors, "ringmx: spool inspect: this is no spool: " + folder.path + "\n");
    EXPECT_EQ(out, "");
}

} // namespace
} // namespace ringmx
