// Messages of which there are several records, or not all chunks.
#include "spool/recovery.h"

#include "unit/spool/recovered.h"
#include "unit/spool/segment_image.h"

#include <gtest/gtest.h>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace ringmx::spool {
namespace {

using Image = SegmentImage;
using Segments = std::vector<std::uint32_t>;

const std::string content(1000, 'x');

StoredMessage message_of(std::vector<StoredRecipient> recipients, std::vector<ChunkPlace> chunks) {
    StoredMessage message;
    message.recipients = std::move(recipients);
    message.chunks = std::move(chunks);
    return message;
}

void damage(Image& image, const ChunkPlace& chunk) {
    image.octets[chunk.offset + record_header_bytes] ^= std::byte{1};
}

// A message that was moved twice, each time with its chunk.
struct Moved {
    Moved() {
        for (std::uint64_t life = 1; life <= 3; ++life) {
            Image& image = images.emplace_back(1, life);
            chunks.push_back(image.add_chunk(1, 2 * life - 1, content));
            places.push_back(image.add_message(1, 2 * life, 2, {chunks.back()}));
        }
    }
    // The segments of its content.
    [[nodiscard]] Segments found_in() const {
        Recovered recovered;
        recover(recovered, {&images[0], &images[1], &images[2]});
        auto& messages = recovered.recovery.messages();
        EXPECT_EQ(messages.size() + recovered.recovery.damaged().size(), 1U);
        if (messages.empty()) {
            return {};
        }
        EXPECT_EQ(messages[0].offset, places[messages[0].segment]);
        EXPECT_EQ(messages[0].stored_bytes, messages[0].record_bytes + chunks[0].record_bytes);
        Segments found = messages[0].chunk_segments;
        found.push_back(messages[0].segment);
        return found;
    }

    std::vector<Image> images;
    std::vector<ChunkPlace> chunks;
    std::vector<std::uint64_t> places;
};

TEST(Recovery, TheLatestRecordWhoseChunksAreAllThereHasTheContent) {
    Moved moved;
    EXPECT_EQ(moved.found_in(), (Segments{2, 2}));
    damage(moved.images[2], moved.chunks[2]);
    EXPECT_EQ(moved.found_in(), (Segments{1, 1}));
    damage(moved.images[1], moved.chunks[1]);
    EXPECT_EQ(moved.found_in(), (Segments{0, 0}));
    damage(moved.images[0], moved.chunks[0]);
    EXPECT_EQ(moved.found_in(), Segments{});
}

// The one that it names may go first, as when another could not be read at that time.
TEST(Recovery, AMarkIsNeededAsLongAsARecordFromBeforeItIsThere) {
    Image earlier(1, 1);
    Image later(2, 1);
    Image marks(3, 1);
    Image latest(4, 1);
    (void)earlier.add_message(1, 1);
    (void)later.add_message(1, 1);
    marks.add_mark(1, {.kind = MarkKind::removed, .id = 1, .home = earlier.name()});
    (void)latest.add_message(1, 1);
    Recovered recovered;
    recover(recovered, {&earlier, &later, &marks, &latest});
    std::set<SegmentName> homes;
    for (const Segment::Marked& marked : recovered.recovery.marked(2)) {
        homes.insert(marked.home);
    }
    EXPECT_EQ(homes, (std::set<SegmentName>{earlier.name(), later.name()}));
}

// It was moved with the states of that time, and marks from before may be gone.
TEST(Recovery, WhatTheLatestRecordSaysOfRecipientsHoldsAlsoWhereAnEarlierOneHasTheContent) {
    Image earlier(1, 1);
    Image later(1, 2);
    const ChunkPlace whole = earlier.add_chunk(1, 1, content);
    (void)earlier.add_message(1, 2, 5, {whole});
    earlier.add_mark(3, {.kind = MarkKind::hold, .id = 1});
    earlier.add_mark(4, {.kind = MarkKind::failed, .id = 1, .recipient = 3, .at = WallTime(3s)});
    const ChunkPlace damaged = later.add_chunk(1, 5, content);
    StoredMessage moved = message_of({{"a", RecipientState::delivered},
                                      {"b", RecipientState::bounced},
                                      {"c", RecipientState::failed},
                                      {"d", RecipientState::pending},
                                      {"e", RecipientState::pending}},
                                     {damaged});
    moved.expires_from = WallTime(4s);
    moved.waits_for_pool = true;
    (void)later.add_message(1, 6, moved);
    later.add_mark(7, {.kind = MarkKind::delivered, .id = 1, .recipient = 4});
    damage(later, damaged);
    Recovered recovered;
    recover(recovered, {&earlier, &later});
    ASSERT_EQ(ids(recovered), Ids{1});
    const RecoveredMessage& message = recovered.recovery.messages()[0];
    EXPECT_EQ(message.segment, 0U);
    EXPECT_FALSE(message.is_on_hold) << "released before it was moved";
    EXPECT_TRUE(message.waits_for_pool);
    EXPECT_EQ(message.expires_from, WallTime(4s));
    std::vector<std::pair<std::uint32_t, RecipientState>> settled;
    settled.reserve(message.settled.size());
    for (const RecoveredMessage::Recipient& recipient : message.settled) {
        settled.emplace_back(recipient.index, recipient.state);
    }
    const decltype(settled) expected{{0, RecipientState::delivered},
                                     {1, RecipientState::bounced},
                                     {2, RecipientState::failed},
                                     {4, RecipientState::delivered}};
    EXPECT_EQ(settled, expected);
}

TEST(Recovery, AMessageThatTheLatestRecordSaysIsOverIsSoWhateverIsDamaged) {
    Image earlier(1, 1);
    Image later(1, 2);
    (void)earlier.add_message(1, 2, 1, {earlier.add_chunk(1, 1, content)});
    const ChunkPlace damaged = later.add_chunk(1, 3, content);
    (void)later.add_message(1, 4, message_of({{"a", RecipientState::delivered}}, {damaged}));
    damage(later, damaged);
    Recovered recovered;
    recover(recovered, {&earlier, &later});
    EXPECT_EQ(ids(recovered), Ids{});
    EXPECT_TRUE(recovered.recovery.damaged().empty());
}

TEST(Recovery, EverySegmentWithAPartOfADamagedMessageIsKnown) {
    Image lost(1, 1);
    Image chunk(1, 2);
    Image earlier(1, 3);
    Image record(1, 4);
    const ChunkPlace first = lost.add_chunk(1, 1, content);
    const ChunkPlace second = chunk.add_chunk(1, 2, content);
    (void)earlier.add_message(1, 3, 1, {first, second});
    (void)record.add_message(1, 4, 1, {first, second});
    Image whole(1, 5);
    (void)whole.add_message(2, 6, 1, {whole.add_chunk(2, 5, content)});
    Image ended(1, 6); // its client was gone before the message's end
    (void)ended.add_chunk(3, 7, content);
    Image over(1, 7);
    (void)over.add_message(4, 8, 1, {first});
    over.add_mark(9, {.kind = MarkKind::removed, .id = 4});
    Recovered recovered;
    recover(recovered, {&chunk, &earlier, &record, &whole, &ended, &over});
    EXPECT_EQ(ids(recovered), Ids{2});
    EXPECT_EQ(recovered.recovery.damaged(), Ids{1});
    for (std::uint32_t segment = 0; segment < 6; ++segment) {
        EXPECT_EQ(recovered.recovery.has_remains(segment), segment < 3) << segment;
    }
}

// Another version's.
TEST(Recovery, ChunksOfAMessageWhoseRecordMakesNoSenseArePartsOfADamagedOne) {
    Image chunk(1, 1);
    Image record(1, 2);
    (void)chunk.add_chunk(1, 1, content);
    (void)record.add(RecordType::message, 1, 2, "of another version");
    Recovered recovered;
    recover(recovered, {&chunk, &record});
    EXPECT_TRUE(recovered.recovery.has_remains(0));
}

} // namespace
} // namespace ringmx::spool
