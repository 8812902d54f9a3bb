#include "base/buffer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace ringmx {
namespace {

constexpr std::size_t buffer_bytes = 64 * 1024;

TEST(BufferPool, GivesBuffersUpToItsBoundAndTakesThemBack) {
    BufferPool pool({.bytes_max = 4 * buffer_bytes});
    std::vector<Block*> taken;
    while (Block* block = pool.take_buffer()) {
        taken.push_back(block);
        ASSERT_LE(pool.bytes_in_use(), pool.bytes_max());
    }
    EXPECT_EQ(taken.size(), 4U);
    EXPECT_FALSE(pool.draft(1));
    EXPECT_TRUE(pool.copy(as_bytes("x")).empty());
    Block* const last = taken.back();
    pool.release(last);
    EXPECT_EQ(pool.take_buffer(), last) << "the hottest first";
    for (Block* block : taken) {
        pool.release(block);
    }
    EXPECT_EQ(pool.bytes_in_use(), 0U);
}

TEST(BufferPool, SliceKeepsItsBufferUntilTheLastOneGoes) {
    BufferPool pool({.bytes_max = buffer_bytes});
    Block* const block = pool.take_buffer();
    std::memcpy(block->memory, "abcdef", 6);
    Slice whole(block, {block->memory, 6});
    pool.release(block);
    Slice part = whole.share(2, 3);
    whole.reset();
    EXPECT_EQ(part.text(), "cde");
    EXPECT_EQ(pool.take_buffer(), nullptr);
    part.remove_prefix(1);
    part.remove_suffix(1);
    EXPECT_EQ(part.text(), "d");
    part.reset();
    EXPECT_EQ(pool.bytes_in_use(), 0U);
}

TEST(BufferPool, NeighboursInOneBlockAreOneSlice) {
    BufferPool pool({.bytes_max = 4 * buffer_bytes});
    Block* const block = pool.take_buffer();
    Slice first(block, {block->memory, 10});
    EXPECT_TRUE(first.extend(block, {block->memory + 10, 5}));
    EXPECT_EQ(first.size(), 15U);
    EXPECT_FALSE(first.extend(block, {block->memory + 16, 5})) << "a gap";
    EXPECT_FALSE(first.extend(nullptr, {block->memory + 15, 5})) << "a literal";
    Block* const other = pool.take_buffer();
    EXPECT_FALSE(first.extend(other, {other->memory, 5}));
    pool.release(other);
    pool.release(block);
}

TEST(BufferPool, LiteralsCostNothing) {
    BufferPool pool({.bytes_max = buffer_bytes});
    const Slice literal = Slice::literal("250 Ok");
    EXPECT_EQ(literal.share(4, 2).text(), "Ok");
    EXPECT_EQ(pool.bytes_in_use(), 0U);
}

TEST(BufferPool, DraftGivesWhatWasWrittenSinceTheLastTake) {
    BufferPool pool({.bytes_max = 4 * buffer_bytes});
    Draft draft = pool.draft(100);
    EXPECT_GE(draft.room(), 100U);
    draft.append("one");
    Slice first = draft.take();
    draft.append("two");
    Slice second = draft.take();
    EXPECT_EQ(first.text(), "one");
    EXPECT_EQ(second.text(), "two");
    EXPECT_TRUE(first.extend(second.block(), second.bytes()));
    EXPECT_EQ(first.text(), "onetwo");
    draft = {};
    second.reset();
    EXPECT_GT(pool.bytes_in_use(), 0U);
    first.reset();
    EXPECT_EQ(pool.bytes_in_use(), 0U);
}

TEST(BufferPool, DraftsOfEverySizeFitAndTooLargeOnesAreRefused) {
    BufferPool pool({.bytes_max = 16 * buffer_bytes});
    for (const std::size_t size : {1U, 128U, 129U, 512U, 4096U, 65536U}) {
        Draft draft = pool.draft(size);
        ASSERT_TRUE(draft) << size;
        EXPECT_GE(draft.room(), size);
        EXPECT_LE(pool.bytes_in_use(), std::max<std::size_t>(128, 5 * size));
    }
    EXPECT_EQ(pool.bytes_in_use(), 0U);
    EXPECT_FALSE(pool.draft(BufferPool::draft_bytes_max + 1));
}

TEST(BufferPool, CopyHasTheSameOctetsInMemoryOfItsOwn) {
    BufferPool pool({.bytes_max = 4 * buffer_bytes});
    const std::string text(1000, 'x');
    const Slice copy = pool.copy(as_bytes(text));
    EXPECT_EQ(copy.text(), text);
    EXPECT_FALSE(copy.block()->is_receive_buffer);
}

// The classes of drafts and the receive buffers share one bound, whatever was wanted before.
TEST(BufferPool, ResidentMemoryStaysWithinTheBoundWhateverSizesAreAskedForInTurn) {
    BufferPool pool({.bytes_max = 16 * buffer_bytes});
    std::mt19937 random(1);
    for (int round = 0; round < 30; ++round) {
        const std::size_t kind = random() % (BufferPool::draft_sizes.size() + 1);
        std::vector<Draft> drafts;
        std::vector<Block*> buffers;
        while (true) {
            if (kind == BufferPool::draft_sizes.size()) {
                Block* const block = pool.take_buffer();
                if (block == nullptr) {
                    break;
                }
                std::memset(block->memory, 'x', block->size_bytes);
                buffers.push_back(block);
            } else {
                Draft draft = pool.draft(BufferPool::draft_sizes[kind]);
                if (!draft) {
                    break;
                }
                draft.append(std::string(draft.room(), 'x'));
                drafts.push_back(std::move(draft));
            }
            ASSERT_LE(pool.bytes_resident(), pool.bytes_max());
            ASSERT_LE(pool.bytes_in_use(), pool.bytes_resident());
        }
        // Nearly all may be had in each size: what others have left is given back for it.
        EXPECT_GE(pool.bytes_in_use(), pool.bytes_max() / 16 * 15) << "round " << round;
        std::ranges::shuffle(buffers, random);
        for (Block* const block : buffers) {
            pool.release(block);
        }
        std::ranges::shuffle(drafts, random);
    }
    EXPECT_EQ(pool.bytes_in_use(), 0U);
}

TEST(BufferPool, FreedMemoryOfOneSizeServesAnother) {
    BufferPool pool({.bytes_max = 4 * buffer_bytes});
    std::vector<Draft> drafts;
    while (Draft draft = pool.draft(128)) {
        drafts.push_back(std::move(draft));
    }
    EXPECT_EQ(pool.bytes_resident(), pool.bytes_max());
    drafts.clear();
    EXPECT_EQ(pool.bytes_resident(), pool.bytes_max()) << "kept for reuse";
    Block* const block = pool.take_buffer();
    ASSERT_NE(block, nullptr);
    Draft large = pool.draft(BufferPool::draft_bytes_max);
    EXPECT_TRUE(large);
    EXPECT_LE(pool.bytes_resident(), pool.bytes_max());
    pool.release(block);
}

// A buffer whose pages were given back is a buffer again, with its own number.
TEST(BufferPool, BuffersWhosePagesWereGivenBackAreUsedAgain) {
    BufferPool pool({.bytes_max = 4 * buffer_bytes});
    std::vector<Block*> buffers;
    for (int round = 0; round < 3; ++round) {
        while (Block* const block = pool.take_buffer()) {
            EXPECT_EQ(&pool.buffer(block->index), block);
            std::memset(block->memory, 'x', block->size_bytes);
            buffers.push_back(block);
        }
        EXPECT_EQ(buffers.size(), 4U);
        for (Block* const block : buffers) {
            pool.release(block);
        }
        buffers.clear();
        std::vector<Draft> drafts;
        while (Draft draft = pool.draft(4096)) {
            drafts.push_back(std::move(draft));
        }
        EXPECT_EQ(drafts.size(), 4 * buffer_bytes / 4096);
        EXPECT_LE(pool.bytes_resident(), pool.bytes_max());
    }
}

// Else all buffers could be taken without the pool being full by its octets.
TEST(BufferPool, HoldsNoMoreThanTheBuffersThatTheKernelCanName) {
    const BufferPool pool({.bytes_max = 16UL << 30U});
    EXPECT_EQ(pool.bytes_max(), 4UL << 30U);
    EXPECT_EQ(pool.buffers_max(), 65536U);
    EXPECT_EQ(pool.receiving_bytes_max(), (4UL << 30U) / 16 * 15);
}

TEST(BufferPool, DraftsAreStillToBeHadWhenReceiveBuffersAreExhausted) {
    BufferPool pool({.bytes_max = 32 * buffer_bytes});
    std::vector<Block*> buffers;
    while (Block* const block = pool.take_buffer()) {
        buffers.push_back(block);
    }
    EXPECT_EQ(buffers.size(), 30U);
    for (const std::size_t size : BufferPool::draft_sizes) {
        EXPECT_TRUE(pool.draft(size)) << size;
    }
    std::vector<Draft> drafts;
    while (Draft draft = pool.draft(1024)) {
        drafts.push_back(std::move(draft));
    }
    EXPECT_EQ(drafts.size(), 2 * buffer_bytes / 1024);
    for (Block* const block : buffers) {
        pool.release(block);
    }
}

} // namespace
} // namespace ringmx
