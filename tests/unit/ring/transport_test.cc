#include "ring/transport.h"
#include "sim/sim_transport.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace ringmx::ring {
namespace {

std::string joined(const std::vector<Slice>& slices) {
    std::string text;
    for (const Slice& slice : slices) {
        text += slice.text();
    }
    return text;
}

TEST(PlainTransport, PassesSlicesWithoutCopying) {
    PlainTransport transport;
    Slice wire = Slice::literal("EHLO a\r\n");
    const std::byte* const data = wire.data();
    std::vector<Slice> plain;
    transport.received(std::move(wire), plain);
    ASSERT_EQ(plain.size(), 1U);
    EXPECT_EQ(plain[0].data(), data);
    transport.send(std::move(plain[0]));
    EXPECT_TRUE(transport.has_output());
    std::vector<Slice> out;
    transport.take_output(out);
    ASSERT_EQ(out.size(), 1U);
    EXPECT_EQ(out[0].data(), data);
    EXPECT_FALSE(transport.has_output());
}

TEST(PlainTransport, EndOfTheWireIsACleanEnd) {
    PlainTransport transport;
    EXPECT_EQ(transport.state(), Transport::State::open);
    transport.wire_ended();
    EXPECT_EQ(transport.state(), Transport::State::closed);
    EXPECT_FALSE(transport.wants_input());
    std::vector<Slice> plain;
    transport.received(Slice::literal("late"), plain);
    EXPECT_TRUE(plain.empty());
}

using Side = sim::FramedTransport::Side;

// Carries everything that `from` has to send, octet by octet or as it comes.
void carry(Transport& from, Transport& to, bool octet_by_octet, std::vector<Slice>& plain) {
    std::vector<Slice> wire;
    from.take_output(wire);
    for (Slice& slice : wire) {
        while (octet_by_octet && slice.size() > 1) {
            to.received(slice.share(0, 1), plain);
            slice.remove_prefix(1);
        }
        to.received(std::move(slice), plain);
    }
}

class FramedTransportTest : public testing::TestWithParam<bool> {
  protected:
    sim::FramedTransport client_{3, Side::asks};
    sim::FramedTransport server_{4, Side::answers};
    std::vector<Slice> at_client_;
    std::vector<Slice> at_server_;
};

TEST_P(FramedTransportTest, WhatIsSentBeforeTheHandshakeWaitsForIt) {
    server_.send(Slice::literal("220 hello\r\n"));
    EXPECT_FALSE(server_.has_output());
    EXPECT_TRUE(server_.wants_input());
    EXPECT_EQ(server_.state(), Transport::State::opening);
    EXPECT_TRUE(client_.has_output()); // though nobody sent anything
    carry(client_, server_, GetParam(), at_server_);
    EXPECT_TRUE(server_.has_output());
    carry(server_, client_, GetParam(), at_client_);
    EXPECT_EQ(joined(at_client_), "220 hello\r\n");
    EXPECT_TRUE(at_server_.empty());
    EXPECT_EQ(client_.state(), Transport::State::open);
}

TEST_P(FramedTransportTest, OctetsKeepTheirOrderInOtherPieces) {
    std::string text;
    for (int count = 0; count < 500; ++count) {
        text += std::to_string(count) + ' ';
    }
    client_.send(Slice::literal(text));
    carry(client_, server_, GetParam(), at_server_);
    carry(server_, client_, GetParam(), at_client_);
    carry(client_, server_, GetParam(), at_server_);
    EXPECT_EQ(joined(at_server_), text);
    EXPECT_GT(at_server_.size(), 1U);
}

TEST_P(FramedTransportTest, EndWithGoodbyeIsClosedAndWithoutItIsCut) {
    carry(client_, server_, GetParam(), at_server_);
    carry(server_, client_, GetParam(), at_client_);
    client_.finish();
    carry(client_, server_, GetParam(), at_server_);
    server_.wire_ended();
    EXPECT_EQ(server_.state(), Transport::State::closed);
    client_.wire_ended();
    EXPECT_EQ(client_.state(), Transport::State::cut);
}

INSTANTIATE_TEST_SUITE_P(Pieces, FramedTransportTest, testing::Bool(), [](const auto& pieces) {
    return pieces.param ? "OctetByOctet" : "AsItComes";
});

TEST(FramedTransport, RubbishInsteadOfTheHandshakeCuts) {
    sim::FramedTransport server(1, Side::answers);
    std::vector<Slice> plain;
    server.received(Slice::literal("EHLO a\r\n"), plain);
    EXPECT_EQ(server.state(), Transport::State::cut);
    EXPECT_TRUE(plain.empty());
}

} // namespace
} // namespace ringmx::ring
