// The segments that simulated workers get, over two runs of a journal with a crash between them.
#include "sim/sim_segment_supply.h"

#include "base/buffer.h"
#include "sim/sim_port.h"
#include "spool/journal.h"

#include <cerrno>
#include <gtest/gtest.h>

namespace ringmx::sim {
namespace {

using News = worker::SegmentSupply::News;

// A worker that only writes a journal, through its port.
class Writer final : public spool::JournalObserver {
  public:
    Writer(SimNetwork& network, SimDisk& disk, SimSegments& segments)
        : port(network), segments_(segments) {
        port.attach(disk);
        segments_.begin_run({&port.waker()});
        table = std::make_unique<spool::SegmentTable>(segments_.generation(), std::uint16_t{0});
        journal = std::make_unique<spool::Journal>(pool_, *table, [this] {
            return spool::Nonce{std::byte{static_cast<unsigned char>(segments_.generation())},
                                std::byte{++nonces_}};
        });
    }
    void turn() {
        while (const spool::JournalWrite* write = journal->next_write(port.now())) {
            ring::Operation operation{};
            operation.code = ring::Opcode::write_file;
            operation.descriptor = write->descriptor;
            operation.token = {1, write->slot, 1};
            operation.pieces = write->pieces;
            operation.offset = write->offset;
            operations_.push_back(operation);
        }
        std::vector<ring::Completion> completions;
        port.turn(std::exchange(operations_, {}), port.now() + 1s, completions);
        for (const ring::Completion& completion : completions) {
            journal->written(completion.token.slot, completion.result, port.now(), *this);
        }
        News news;
        while (segments_.supply(0).take(news)) {
            told.push_back(news);
            if (news.kind == News::Kind::segment) {
                (void)table->add(news.descriptor, news.size_bytes);
            }
        }
    }
    template <typename Done> [[nodiscard]] bool run_until(Done done) {
        for (int turns = 0; turns < 1'000 && !done(); ++turns) {
            turn();
        }
        return done();
    }
    void append(std::uint64_t id) {
        spool::StoredMessage message;
        message.reverse_path = "a@b.example";
        message.recipients = {{.mailbox = "user@one.example", .last_reply = {}}};
        std::string body;
        spool::append_message_body(body, message);
        EXPECT_EQ(
            journal->append({.type = spool::RecordType::message, .id = id}, as_bytes(body), {}),
            spool::Commit::Append::taken);
    }
    void durable(const spool::Commit::Record& record, const spool::RecordPlace&,
                 const spool::Commit&) override {
        durable_ids.push_back(record.id);
    }
    void failed(const spool::Commit::Record&, bool, int error) override { EXPECT_EQ(error, 0); }
    void mark_durable(std::uint64_t owner) override { marked.push_back(owner); }
    void mark_failed(std::uint64_t, int error) override { EXPECT_EQ(error, 0); }

    SimPort port;
    std::unique_ptr<spool::SegmentTable> table;
    std::unique_ptr<spool::Journal> journal;
    std::vector<News> told;
    std::vector<std::uint64_t> durable_ids;
    std::vector<std::uint64_t> marked;

  private:
    SimSegments& segments_;
    BufferPool pool_{{.bytes_max = 16U << 20U}};
    std::vector<ring::Operation> operations_;
    unsigned char nonces_ = 0;
};

class SimSegmentsTest : public testing::Test {
  protected:
    void start() {
        writer_.reset();
        disk_.crash();
        writer_ = std::make_unique<Writer>(network_, disk_, segments_);
    }
    [[nodiscard]] bool get_segment() {
        segments_.supply(0).request(worker::SegmentSupply::Urgency::ahead);
        const std::uint32_t before = writer_->table->count();
        return writer_->run_until([&] { return writer_->table->count() > before; });
    }

    SimNetwork network_{Options::hostile(5)};
    SimDisk disk_{5};
    SimSegments segments_{network_, disk_, {}};
    std::unique_ptr<Writer> writer_;
};

TEST_F(SimSegmentsTest, WhatOneRunWroteTheNextRecoversAndDeletesWhenItIsDone) {
    start();
    ASSERT_TRUE(get_segment());
    writer_->append(1);
    writer_->append(2);
    ASSERT_TRUE(writer_->run_until([&] { return writer_->durable_ids.size() == 2; }));
    EXPECT_EQ(segments_.own_files(), 1U);

    start();
    AdoptedQueue& queue = segments_.recover();
    ASSERT_EQ(queue.messages.size(), 2U);
    EXPECT_TRUE(queue.messages[0].chunk_segments.empty());
    worker::AdoptedSegment& adopted = segments_.adopted(queue.messages[0].segment);
    EXPECT_EQ(adopted.holds.load(), 2U);
    EXPECT_EQ(adopted.name, (spool::SegmentName{1, 0, 1}));
    ASSERT_TRUE(get_segment());
    for (const spool::RecoveredMessage& message : queue.messages) {
        writer_->journal->append_mark({.id = message.id, .home = adopted.name}, message.id, true,
                                      writer_->port.now());
    }
    ASSERT_TRUE(writer_->run_until([&] { return writer_->marked.size() == 2; }));
    EXPECT_EQ(segments_.adopted_files(), 1U);
    adopted.holds -= 2;
    segments_.supply(0).released();
    const auto is_gone = [&] {
        return !writer_->told.empty() && writer_->told.back().kind == News::Kind::home_gone;
    };
    ASSERT_TRUE(writer_->run_until(is_gone));
    EXPECT_EQ(writer_->told.back().home, (spool::SegmentName{1, 0, 1}));
    EXPECT_EQ(segments_.adopted_files(), 0U);

    start();
    EXPECT_TRUE(segments_.recover().messages.empty());
}

TEST_F(SimSegmentsTest, RequestsFailWhenTheDiskIsFullOrAtAWord) {
    start();
    segments_.set_files_max(1);
    ASSERT_TRUE(get_segment());
    segments_.supply(0).request(worker::SegmentSupply::Urgency::at_once);
    ASSERT_TRUE(writer_->run_until([&] { return writer_->told.size() == 2; }));
    EXPECT_EQ(writer_->told.back().kind, News::Kind::failed);
    EXPECT_EQ(writer_->told.back().error, ENOSPC);
    segments_.request_error = EROFS;
    segments_.supply(0).request(worker::SegmentSupply::Urgency::at_once);
    ASSERT_TRUE(writer_->run_until([&] { return writer_->told.size() == 3; }));
    EXPECT_EQ(writer_->told.back().error, EROFS);
}

TEST_F(SimSegmentsTest, DiscardedSegmentIsGoneAndALossIsToldToAll) {
    start();
    ASSERT_TRUE(get_segment());
    segments_.supply(0).discard(writer_->table->at(0).descriptor, false);
    EXPECT_TRUE(disk_.files().empty());
    segments_.lose(ENOENT);
    ASSERT_TRUE(writer_->run_until([&] { return writer_->told.size() == 3; }));
    EXPECT_EQ(writer_->told[1].kind, News::Kind::discarded);
    EXPECT_EQ(writer_->told.back().kind, News::Kind::lost);
}

} // namespace
} // namespace ringmx::sim
