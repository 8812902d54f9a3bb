#include "worker/content.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>

namespace ringmx::worker {
namespace {

std::string text_of(SliceList& list) {
    std::string text;
    for (const Slice& slice : list.slices()) {
        text += slice.text();
    }
    EXPECT_EQ(text.size(), list.bytes());
    return text;
}

void expect_bounded(SliceList& list) {
    EXPECT_LE(list.slices().size(), 2 * list.bytes() / shared_piece_bytes_min + 2);
}

// Octets in receive buffers, as the kernel would leave them.
class Wire {
  public:
    explicit Wire(BufferPool& pool) : pool_(pool) {}
    ~Wire() { reset(); }
    Wire(const Wire&) = delete;
    Wire& operator=(const Wire&) = delete;

    // A gap, so that pieces are no neighbours, is left behind each piece when asked for.
    Slice put(std::string_view octets, std::size_t gap = 0) {
        if (block_ == nullptr || used_ + octets.size() > block_->size_bytes) {
            reset();
            block_ = pool_.take_buffer();
        }
        std::memcpy(block_->memory + used_, octets.data(), octets.size());
        Slice slice(block_, {block_->memory + used_, octets.size()});
        used_ += octets.size() + gap;
        return slice;
    }

  private:
    void reset() {
        if (block_ != nullptr) {
            pool_.release(block_);
        }
        block_ = nullptr;
        used_ = 0;
    }
    BufferPool& pool_;
    Block* block_ = nullptr;
    std::size_t used_ = 0;
};

class ContentTest : public ::testing::Test {
  protected:
    void append(std::string_view octets, std::size_t piece, std::size_t gap = 0) {
        while (!octets.empty()) {
            const std::string_view part = octets.substr(0, piece);
            const Slice slice = wire.put(part, gap);
            ASSERT_TRUE(content.append(pool, slice, slice.bytes()));
            octets.remove_prefix(part.size());
        }
    }
    std::string take(WireForm form) {
        SliceList out;
        EXPECT_TRUE(content.take(pool, form, out));
        expect_bounded(out);
        return text_of(out);
    }

    BufferPool pool{{.bytes_max = 128UL << 20U}};
    Wire wire{pool};
    Content content;
};

const std::string plain = "Subject: x\r\n\r\n.\r\n..\r\n.a\r\nend\r\n";
const std::string wire_form = "Subject: x\r\n\r\n..\r\n...\r\n..a\r\nend\r\n";

TEST_F(ContentTest, EveryFormBecomesEveryFormAtEveryPieceSize) {
    for (std::size_t piece = 1; piece <= wire_form.size(); ++piece) {
        content.begin(WireForm::stuffed);
        append(wire_form, piece);
        EXPECT_EQ(take(WireForm::stuffed), wire_form);
        content.rewind();
        EXPECT_EQ(take(WireForm::raw), plain);
        EXPECT_EQ(content.terminator(), ".\r\n");
        content.begin(WireForm::raw);
        append(plain, piece, 1);
        EXPECT_EQ(take(WireForm::raw), plain);
        content.rewind();
        EXPECT_EQ(take(WireForm::stuffed), wire_form);
        EXPECT_EQ(content.terminator(), ".\r\n");
    }
}

TEST_F(ContentTest, RawContentWithoutALineEndGetsOneBeforeTheDot) {
    content.begin(WireForm::raw);
    append("no end", 3);
    EXPECT_EQ(take(WireForm::stuffed), "no end");
    EXPECT_EQ(content.terminator(), "\r\n.\r\n");
}

TEST_F(ContentTest, WhatComesLaterIsTakenLater) {
    content.begin(WireForm::stuffed);
    std::string taken;
    for (const char octet : wire_form) {
        append(std::string_view(&octet, 1), 1);
        taken += take(WireForm::raw);
        EXPECT_EQ(content.unsent_bytes(), 0U);
    }
    EXPECT_EQ(taken, plain);
    EXPECT_TRUE(content.replayable());
    content.rewind();
    EXPECT_EQ(take(WireForm::stuffed), wire_form);
}

TEST_F(ContentTest, LargeContentIsDroppedOnceTakenAndSmallContentIsKept) {
    content.begin(WireForm::stuffed);
    append(std::string(replayable_bytes_max, 'x'), 5000);
    (void)take(WireForm::stuffed);
    content.drop_taken(false);
    EXPECT_TRUE(content.replayable());
    append("y", 1);
    EXPECT_EQ(take(WireForm::stuffed), "y");
    content.drop_taken(false);
    EXPECT_FALSE(content.replayable());
    EXPECT_EQ(content.held_bytes(), 0U);
    append("the rest", 2);
    EXPECT_EQ(content.held_bytes(), 8U);
    EXPECT_EQ(take(WireForm::stuffed), "the rest");
    content.begin(WireForm::raw);
    EXPECT_TRUE(content.replayable());
    EXPECT_EQ(content.held_bytes(), 0U);
}

TEST_F(ContentTest, SmallSlicesLeaveTheirReceiveBuffersAndStayTheSame) {
    content.begin(WireForm::stuffed);
    append(std::string(600, 'a') + std::string(600, 'b'), 600, 1);
    content.compact(pool);
    SliceList out;
    ASSERT_TRUE(content.take(pool, WireForm::stuffed, out));
    EXPECT_EQ(text_of(out), std::string(600, 'a') + std::string(600, 'b'));
    EXPECT_TRUE(std::ranges::none_of(
        out.slices(), [](const Slice& slice) { return slice.block()->is_receive_buffer; }));
    append("more", 4);
    EXPECT_EQ(take(WireForm::stuffed), "more");
}

TEST_F(ContentTest, WithoutMemoryNothingIsTakenAndAllOfItLater) {
    BufferPool small({.bytes_max = 128 * 1024});
    std::string lines;
    while (lines.size() < 70'000) {
        lines += ".x\r\n";
    }
    content.begin(WireForm::raw);
    append(lines, 60000);
    {
        const Draft hoard = small.draft(65536);
        SliceList out;
        EXPECT_FALSE(content.take(small, WireForm::stuffed, out));
        EXPECT_EQ(content.unsent_bytes(), lines.size());
    }
    std::string stuffed;
    while (stuffed.size() < lines.size() / 4 * 5) {
        stuffed += "..x\r\n";
    }
    EXPECT_EQ(take(WireForm::stuffed), stuffed);
    EXPECT_EQ(content.terminator(), ".\r\n");
}

// Gathering memory is for what is held, not for all that has come.
TEST_F(ContentTest, LongContentThatIsSentAsItComesHoldsLittleMemory) {
    content.begin(WireForm::stuffed);
    std::size_t most = 0;
    for (int count = 0; count < 2000; ++count) {
        append("a line of some length\r\n", 23, 1);
        (void)take(WireForm::raw);
        content.drop_taken(true);
        append("x", 1, 1); // what comes next
        most = std::max(most, pool.bytes_in_use());
    }
    EXPECT_EQ(content.received_bytes(), 2000 * 24U);
    EXPECT_LE(most, pool.receive_buffer_bytes() + 4096); // the wire's own
}

TEST_F(ContentTest, FiftyMegabytesOfLoneDotsStayFewSlices) {
    std::string lines;
    while (lines.size() < 1UL << 20U) {
        lines += "..\r\n";
    }
    content.begin(WireForm::stuffed);
    for (int mebibyte = 0; mebibyte < 50; ++mebibyte) {
        append(lines, 60000);
    }
    SliceList out;
    ASSERT_TRUE(content.take(pool, WireForm::raw, out));
    EXPECT_EQ(out.bytes(), 50 * lines.size() / 4 * 3);
    expect_bounded(out);
}

TEST_F(ContentTest, PiecesOfOneOctetStayFewSlices) {
    const std::string octets(100'000, 'x');
    SliceList list;
    for (const char& octet : octets) {
        const Slice slice = wire.put({&octet, 1}, 1);
        ASSERT_TRUE(list.append(pool, slice, slice.bytes()));
    }
    EXPECT_EQ(text_of(list), octets);
    expect_bounded(list);
}

TEST_F(ContentTest, MixedPiecesStayFewSlices) {
    SliceList list;
    std::string whole;
    for (std::size_t count = 0; count < 500; ++count) {
        const std::string piece(count % 2 == 0 ? 1 : shared_piece_bytes_min, 'x');
        const Slice slice = wire.put(piece, 1);
        ASSERT_TRUE(list.append(pool, slice, slice.bytes()));
        whole += piece;
    }
    EXPECT_EQ(text_of(list), whole);
    expect_bounded(list);
}

TEST(Content, NoMemoryIsSaidAndNothingIsLeftBehind) {
    BufferPool pool({.bytes_max = 64 * 1024});
    Content content;
    content.begin(WireForm::raw);
    const std::string octets(100, 'x');
    bool kept = true;
    for (int count = 0; count < 10000 && kept; ++count) {
        kept = content.append_copy(pool, as_bytes(octets));
    }
    EXPECT_FALSE(kept);
    content.clear();
    EXPECT_EQ(pool.bytes_in_use(), 0U);
}

} // namespace
} // namespace ringmx::worker
