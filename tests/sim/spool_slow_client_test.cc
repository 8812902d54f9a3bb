// A client that takes hours for a message: what is on the disk of it does not keep the segments that were
// written since, but moves on (SpoolIntake::leave()).
#include "sim/spool_scenes.h"

#include <algorithm>
#include <cerrno>
#include <gtest/gtest.h>
#include <optional>
#include <string>

namespace ringmx::sim {
namespace {

class SpoolSlowClient : public ::testing::Test {
  protected:
    static constexpr std::size_t first_bytes = 550'000; // two chunks and a part of one

    void begin() {
        RigOptions options = spooling();
        options.settings = [](Settings& settings) {
            settings.spool.retry.initial = settings.spool.retry.maximum = 15s;
        };
        rig.emplace(options);
        backend = &rig->backend(Rig::third_address);
        backend->answer = [count = 0](const std::string& command) mutable {
            // So that marks come a segment and a half behind their mail.
            const bool is_put_off = command.starts_with("RCPT") && ++count % 3 == 0;
            return is_put_off ? std::optional<std::string>("451 4.2.0 later\r\n") : std::nullopt;
        };
        slow = &rig->greeted();
        for (const char* const command :
             {"MAIL FROM:<slow@x>\r\n", "RCPT TO:<u@two.example>\r\n"}) {
            ASSERT_TRUE(rig->ask(*slow, command).starts_with("250"));
        }
        while (large.size() < 600'000) {
            large += std::to_string(large.size()) + content;
        }
        ASSERT_TRUE(rig->ask(*slow, "BDAT " + std::to_string(first_bytes) + "\r\n" +
                                        large.substr(0, first_bytes))
                        .starts_with("250"));
        rig->run_for(1s); // it is durable
        const spool::SegmentTable& segments = rig->worker->queue()->log().segments();
        for (first_segment = 0; segments.at(first_segment).holds == 0;) {
            ++first_segment;
        }
    }
    bool send() {
        return send_message(*rig, rig->greeted(), content, "<u@two.example>").starts_with("250");
    }
    // Several times what the spool has room for.
    void expect_takes_mail_on_and_on() {
        for (int count = 0; count < 300; ++count) {
            ASSERT_TRUE(rig->run_until([this] { return send(); }, 1min)) << count;
            rig->run_for(2s);
            if (count % 50 == 0 && slow != nullptr) {
                ASSERT_TRUE(rig->ask(*slow, "NOOP\r\n").starts_with("250"));
            }
        }
    }
    // Its first chunk begins to move now, whoever needs that.
    void move_a_chunk() {
        rig->worker->queue()->intakes().for_each([this](worker::SpoolIntake& intake) {
            EXPECT_GT(intake.bytes_in(first_segment), 0U);
            EXPECT_TRUE(intake.leave(first_segment));
        });
    }
    std::string send_rest() {
        const std::string rest = large.substr(first_bytes);
        return rig->ask(*slow, "BDAT " + std::to_string(rest.size()) + " LAST\r\n" + rest);
    }
    [[nodiscard]] bool backend_has_it() const { // octet for octet
        return std::ranges::any_of(backend->messages, [this](const auto& message) {
            return message->octets.find(large) != std::string::npos;
        });
    }
    // When all is over.
    void expect_nothing_is_held() {
        EXPECT_TRUE(rig->run_until([this] { return rig->queued() == 0; }, 10h));
        rig->run_for(1min);
        const spool::SegmentTable& segments = rig->worker->queue()->log().segments();
        for (std::uint32_t index = 0; index < segments.count(); ++index) {
            EXPECT_EQ(segments.at(index).holds, 0U) << index;
        }
        rig->finish();
    }

    const std::string content = content_of_100_kb();
    std::string large;
    std::uint32_t first_segment = 0;
    std::optional<Rig> rig;
    Client* slow = nullptr;
    ScriptedBackend* backend = nullptr;
};

TEST_F(SpoolSlowClient, DoesNotKeepTheSegmentsOfHours) {
    begin();
    expect_takes_mail_on_and_on();
    EXPECT_TRUE(send_rest().starts_with("250"));
    expect_nothing_is_held();
    EXPECT_TRUE(backend_has_it());
}

TEST_F(SpoolSlowClient, EndsItsMessageWhileAChunkMoves) {
    begin();
    move_a_chunk();
    EXPECT_TRUE(send_rest().starts_with("250"));
    expect_nothing_is_held();
    EXPECT_TRUE(backend_has_it());
}

TEST_F(SpoolSlowClient, LeavesWhileAChunkMoves) {
    for (int step = 0; step < 20; ++step) {
        begin();
        move_a_chunk();
        rig->run_for(step * Duration(20'000));
        slow->socket->close();
        expect_nothing_is_held();
        slow = nullptr;
    }
}

TEST_F(SpoolSlowClient, IsToldWhenAChunkCannotBeReadAgain) {
    begin();
    const spool::SegmentTable& segments = rig->worker->queue()->log().segments();
    rig->disk.octets(segments.at(first_segment).descriptor)[100'000] ^= std::byte{1};
    move_a_chunk();
    rig->run_for(1s);
    EXPECT_TRUE(send_rest().starts_with("451 4.3.0")) << "its content is lost";
    expect_nothing_is_held();
    EXPECT_TRUE(backend->messages.empty());
}

TEST_F(SpoolSlowClient, IsToldWhenAChunkCannotBeWrittenAgain) {
    begin();
    move_a_chunk();
    rig->disk.write_error = EIO;
    rig->run_for(5s);
    rig->disk.write_error = 0;
    EXPECT_TRUE(send_rest().starts_with("451 4.3.0"));
    expect_nothing_is_held();
    EXPECT_TRUE(backend->messages.empty());
}

} // namespace
} // namespace ringmx::sim
