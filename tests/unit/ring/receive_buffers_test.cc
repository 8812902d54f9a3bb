#include "ring/receive_buffers.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>
#include <vector>

namespace ringmx::ring {
namespace {

constexpr std::size_t buffer_bytes = 64 * 1024;

// Only what ReceiveBuffers uses: it notes what is provided.
class NotingPort final : public Port {
  public:
    struct Provided {
        std::uint16_t id;
        std::span<std::byte> memory;
    };

    Instant turn(std::span<const Operation> /*operations*/, Instant until,
                 std::vector<Completion>& /*completions*/) override {
        return until;
    }
    void provide_buffer(std::uint16_t buffer_id, std::span<std::byte> memory) override {
        provided.push_back({buffer_id, memory});
    }
    [[nodiscard]] std::size_t provided_buffers_max() const override { return 16; }
    [[nodiscard]] bool incremental_buffers() const override { return true; }
    [[nodiscard]] Expected<int> open_socket(const SocketAddress& /*target*/) override { return -1; }
    [[nodiscard]] Expected<SocketAddress> peer_address(int /*descriptor*/) override {
        return SocketAddress{};
    }
    [[nodiscard]] Expected<SocketAddress> local_address(int /*descriptor*/) override {
        return SocketAddress{};
    }
    void close(int /*descriptor*/, bool /*reset*/) override {}
    [[nodiscard]] Instant now() override { return {}; }
    [[nodiscard]] WallTime wall_time() override { return {}; }
    [[nodiscard]] Waker& waker() override { return waker_; }

    std::vector<Provided> provided;

  private:
    class NoWaker final : public Waker {
      public:
        void wake() override {}
    };
    NoWaker waker_;
};

// Puts the text where the kernel would, and says so as the kernel does.
Completion filled(const NotingPort::Provided& buffer, std::size_t offset, std::string_view text,
                  bool buffer_more) {
    std::memcpy(buffer.memory.data() + offset, text.data(), text.size());
    Completion completion;
    completion.result = static_cast<std::int32_t>(text.size());
    completion.more = true;
    completion.has_buffer = true;
    completion.buffer_more = buffer_more;
    completion.buffer_id = buffer.id;
    return completion;
}

class ReceiveBuffersTest : public testing::Test {
  protected:
    NotingPort port_;
    BufferPool pool_{{.bytes_max = 64 * buffer_bytes}};
};

TEST_F(ReceiveBuffersTest, PostsThePortsMaximumAtOnceAndReturnsThemAllAtTheEnd) {
    {
        const ReceiveBuffers buffers(pool_, port_);
        EXPECT_EQ(buffers.posted(), 16U);
        EXPECT_EQ(port_.provided.size(), 16U);
        EXPECT_EQ(pool_.bytes_in_use(), 16 * buffer_bytes);
        EXPECT_FALSE(buffers.low());
    }
    EXPECT_EQ(pool_.bytes_in_use(), 0U);
}

TEST_F(ReceiveBuffersTest, HalfOfASmallPoolIsLeftForSlices) {
    BufferPool small({.bytes_max = 4 * buffer_bytes});
    const ReceiveBuffers buffers(small, port_);
    EXPECT_EQ(buffers.posted(), 2U);
    EXPECT_FALSE(buffers.low());
}

TEST_F(ReceiveBuffersTest, ReceivesThatShareABufferFollowOneAnotherInIt) {
    ReceiveBuffers buffers(pool_, port_);
    const NotingPort::Provided first = port_.provided[0];
    const Slice one = buffers.settle(filled(first, 0, "EHLO a\r\n", true));
    const Slice two = buffers.settle(filled(first, 8, "QUIT\r\n", true));
    const Slice three = buffers.settle(filled(first, 14, "RSET\r\n", false));
    EXPECT_EQ(one.text(), "EHLO a\r\n");
    EXPECT_EQ(two.text(), "QUIT\r\n");
    EXPECT_EQ(three.text(), "RSET\r\n");
}

TEST_F(ReceiveBuffersTest, OffsetAdvancesThoughTheSliceIsDropped) {
    ReceiveBuffers buffers(pool_, port_);
    const NotingPort::Provided first = port_.provided[0];
    static_cast<void>(buffers.settle(filled(first, 0, "of a stale connection", true)));
    const Slice next = buffers.settle(filled(first, 21, "mine", true));
    EXPECT_EQ(next.text(), "mine");
}

TEST_F(ReceiveBuffersTest, OffsetsOfTwoBuffersAreIndependent) {
    ReceiveBuffers buffers(pool_, port_);
    static_cast<void>(buffers.settle(filled(port_.provided[0], 0, "12345", true)));
    EXPECT_EQ(buffers.settle(filled(port_.provided[1], 0, "abc", true)).text(), "abc");
    EXPECT_EQ(buffers.settle(filled(port_.provided[0], 5, "678", true)).text(), "678");
}

TEST_F(ReceiveBuffersTest, EndedBufferIsReplacedAndRecycledWithItsLastSlice) {
    ReceiveBuffers buffers(pool_, port_);
    Slice slice = buffers.settle(filled(port_.provided[0], 0, "x", false));
    EXPECT_EQ(buffers.posted(), 16U);
    EXPECT_EQ(port_.provided.size(), 17U);
    EXPECT_EQ(pool_.bytes_in_use(), 17 * buffer_bytes);
    slice.reset();
    EXPECT_EQ(pool_.bytes_in_use(), 16 * buffer_bytes);
    // The buffer that comes back is posted next, from its beginning: the free list is last in,
    // first out.
    static_cast<void>(buffers.settle(filled(port_.provided[1], 0, "y", false)));
    EXPECT_EQ(port_.provided.back().id, port_.provided[0].id);
    EXPECT_EQ(buffers.settle(filled(port_.provided.back(), 0, "new", true)).text(), "new");
}

TEST_F(ReceiveBuffersTest, CompletionsWithoutBufferChangeNothing) {
    ReceiveBuffers buffers(pool_, port_);
    Completion completion;
    completion.result = 5; // a send
    EXPECT_TRUE(buffers.settle(completion).empty());
    completion.result = -ENOBUFS;
    EXPECT_TRUE(buffers.settle(completion).empty());
    EXPECT_EQ(buffers.posted(), 16U);
}

TEST_F(ReceiveBuffersTest, EmptyOrFailedReceiveWithABufferGivesItBack) {
    ReceiveBuffers buffers(pool_, port_);
    Completion completion = filled(port_.provided[0], 0, "", false);
    EXPECT_TRUE(buffers.settle(completion).empty());
    completion = filled(port_.provided[1], 0, "", false);
    completion.result = -ECONNRESET;
    EXPECT_TRUE(buffers.settle(completion).empty());
    EXPECT_EQ(pool_.bytes_in_use(), 16 * buffer_bytes);
}

TEST_F(ReceiveBuffersTest, ExhaustedPoolShowsAndRefillMendsIt) {
    BufferPool small({.bytes_max = 2 * buffer_bytes});
    ReceiveBuffers buffers(small, port_, 2);
    Slice first = buffers.settle(filled(port_.provided[0], 0, "a", false));
    EXPECT_TRUE(buffers.low());
    EXPECT_FALSE(buffers.exhausted());
    Slice second = buffers.settle(filled(port_.provided[1], 0, "b", false));
    EXPECT_TRUE(buffers.exhausted());
    first.reset();
    buffers.refill();
    EXPECT_EQ(buffers.posted(), 1U);
    EXPECT_TRUE(buffers.low());
    second.reset();
    buffers.refill();
    EXPECT_FALSE(buffers.low());
}

TEST_F(ReceiveBuffersTest, StarvedReceiversAreArmedOldestFirstAsManyAsBuffersArePosted) {
    BufferPool small({.bytes_max = 2 * buffer_bytes});
    ReceiveBuffers buffers(small, port_, 2);
    for (std::uint32_t slot = 0; slot < 5; ++slot) {
        buffers.starve({1, slot, 0});
    }
    std::vector<std::uint32_t> armed;
    const auto arm = [&](Token token) {
        armed.push_back(token.slot);
        return token.slot != 1; // 1 is stale: it takes no share
    };
    buffers.rearm_starved(arm);
    EXPECT_EQ(armed, (std::vector<std::uint32_t>{0, 1, 2}));
    EXPECT_EQ(buffers.starved(), 2U);
    buffers.starve({1, 5, 0});
    buffers.rearm_starved(arm);
    buffers.rearm_starved(arm);
    EXPECT_EQ(armed, (std::vector<std::uint32_t>{0, 1, 2, 3, 4, 5}));
    EXPECT_EQ(buffers.starved(), 0U);
}

TEST_F(ReceiveBuffersTest, NobodyIsArmedWhileNothingIsPosted) {
    BufferPool small({.bytes_max = buffer_bytes});
    ReceiveBuffers buffers(small, port_, 1);
    const Slice held = buffers.settle(filled(port_.provided[0], 0, "a", false));
    buffers.starve({1, 0, 0});
    buffers.rearm_starved([](Token /*token*/) {
        ADD_FAILURE();
        return true;
    });
    EXPECT_EQ(buffers.starved(), 1U);
}

TEST_F(ReceiveBuffersTest, CompletionOfABufferThatIsNotPostedAborts) {
    ReceiveBuffers buffers(pool_, port_);
    const Completion completion = filled(port_.provided[0], 0, "x", false);
    const Slice slice = buffers.settle(completion);
    EXPECT_DEATH(static_cast<void>(buffers.settle(completion)), "not posted");
}

} // namespace
} // namespace ringmx::ring
