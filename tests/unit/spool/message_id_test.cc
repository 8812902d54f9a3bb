#include "spool/message_id.h"

#include <gtest/gtest.h>

namespace ringmx::spool {
namespace {

constexpr MessageId largest{(1U << 20U) - 1, (1U << 10U) - 1, (1ULL << 34U) - 1};

TEST(MessageId, PacksItsPartsAndGivesThemBack) {
    EXPECT_EQ(packed({0, 0, 1}), 1U);
    EXPECT_EQ(packed({0, 1, 0}), 0x4'0000'0000U);
    EXPECT_EQ(packed({1, 0, 0}), 0x1000'0000'0000U);
    EXPECT_EQ(packed(largest), UINT64_MAX);
    const MessageId some{7, 513, 123'456'789'012 % (1ULL << 34U)};
    EXPECT_EQ(unpacked_id(packed(some)), some);
    EXPECT_EQ(unpacked_id(UINT64_MAX), largest);
}

TEST(MessageId, IsWrittenInThirteenLetters) {
    EXPECT_EQ(id_text(0), "BBBBBBBBBBBBB");
    EXPECT_EQ(id_text(1), "BBBBBBBBBBBBC");
    EXPECT_EQ(id_text(31), "BBBBBBBBBBBBn");
    EXPECT_EQ(id_text(32), "BBBBBBBBBBBCB");
    EXPECT_EQ(id_text(packed({3, 5, 1000})), "BBBCVDVBBBBnL");
    EXPECT_EQ(id_text(UINT64_MAX), "Tnnnnnnnnnnnn");
}

TEST(MessageId, IsReadBack) {
    for (unsigned bit = 0; bit < 64; ++bit) {
        const std::uint64_t id = (0x5555'1234'9876'FEDCU >> bit) ^ (1ULL << bit);
        EXPECT_EQ(read_id(id_text(id)), id);
    }
    EXPECT_EQ(read_id("BBBBBBBBBBBBB"), 0U);
    EXPECT_EQ(read_id("Tnnnnnnnnnnnn"), UINT64_MAX);
}

TEST(MessageId, TextsSortAsTheirNumbers) {
    EXPECT_LT(id_text(packed({1, 1023, 5})), id_text(packed({2, 0, 0})));
    EXPECT_LT(id_text(20), id_text(21)); // from capitals to small letters
}

TEST(MessageIds, CountUpAndGoOnAsWorkersThatAreNotThere) {
    constexpr std::uint64_t last = largest.counter;
    MessageIds ids(7, 3, 500, last - 1);
    EXPECT_EQ(unpacked_id(ids.next()), (MessageId{7, 3, last - 1}));
    EXPECT_EQ(unpacked_id(ids.next()), (MessageId{7, 3, last}));
    EXPECT_EQ(unpacked_id(ids.next()), (MessageId{7, 503, 0}));
    EXPECT_EQ(unpacked_id(ids.next()), (MessageId{7, 503, 1}));
    EXPECT_TRUE(ids.any_left());
    MessageIds last_ones(7, 503, 1000, last);
    EXPECT_TRUE(last_ones.any_left());
    EXPECT_EQ(unpacked_id(last_ones.next()), (MessageId{7, 503, last}));
    EXPECT_FALSE(last_ones.any_left());
}

TEST(MessageId, NothingElseIsRead) {
    for (const char* text :
         {"", "BBBBBBBBBBBB", "BBBBBBBBBBBBBB", "BBBBBBBBBBBBA", "BBBBBBBBBBBBo", "BBBBBBBBBBBB1",
          " BBBBBBBBBBBB", "BBBBBB-BBBBBB", "VBBBBBBBBBBBB", "nBBBBBBBBBBBB"}) {
        EXPECT_FALSE(read_id(text)) << text;
    }
    EXPECT_FALSE(read_id(std::string_view("BBBBBBBBBBBB\0", 13)));
}

} // namespace
} // namespace ringmx::spool
