// Messages that stay for long, and what would stay with them if nobody moved them: segments that hold
// nothing else, those with marks about what was beside them, and so on.
#include "sim/spool_scenes.h"

#include "spool/message_id.h"

#include <cerrno>
#include <gtest/gtest.h>
#include <optional>
#include <string>
#include <vector>

namespace ringmx::sim {
namespace {

class SpoolPinned : public ::testing::Test {
  protected:
    void begin(RigOptions options = spooling()) {
        options.settings = [this](Settings& settings) {
            settings.spool.retry.initial = settings.spool.retry.maximum = retry;
        };
        rig.emplace(options);
        backend = &rig->backend(Rig::third_address);
        backend->answer = [this, count = 0](const std::string& command) mutable -> Answer {
            if (command.starts_with("RCPT TO:<stays")) {
                return "550 5.1.1 no such user\r\n";
            }
            const bool is_put_off = puts_off && command.starts_with("RCPT") && ++count % 3 == 0;
            return is_put_off ? Answer("451 4.2.0 later\r\n") : std::nullopt;
        };
    }
    bool send(std::string_view recipient = "<u@two.example>") {
        return send_message(*rig, rig->greeted(), content, recipient).starts_with("250");
    }
    // In two chunks.
    bool send_large(std::string_view recipient) {
        std::string large;
        while (large.size() < 400'000) {
            large += content;
        }
        return send_message(*rig, rig->greeted(), large, recipient).starts_with("250");
    }
    // Two a second.
    void send_on(int messages) {
        for (int count = 0; count < messages; ++count) {
            EXPECT_TRUE(send());
            rig->run_for(500ms);
        }
    }
    // A write fails in the one that is written to.
    void leave_segment() {
        rig->disk.write_error = EIO;
        EXPECT_FALSE(send());
        rig->disk.write_error = 0;
    }
    // Several times what the spool has room for, one after the other. (The smallest is full at times,
    // by what was put off.)
    void expect_takes_mail_on_and_on() {
        for (int count = 0; count < 600; ++count) {
            ASSERT_TRUE(rig->run_until([this] { return send(); }, 1min)) << count;
            rig->run_for(2s);
        }
    }

    using Answer = std::optional<std::string>;
    const std::string content = content_of_100_kb(); // twenty of these are a segment
    bool puts_off = true; // each third recipient, so that marks come behind later mail
    Duration retry = 5s;
    std::optional<Rig> rig;
    ScriptedBackend* backend = nullptr;
};

// So that the spool is small, or the disk is smaller than the spool.
class SpoolPinnedInLittle : public SpoolPinned,
                            public ::testing::WithParamInterface<std::uint32_t> {
  protected:
    void expect_is_never_full(const RigOptions& options) {
        begin(options);
        EXPECT_TRUE(send("<stays@two.example>"));
        expect_takes_mail_on_and_on();
        EXPECT_TRUE(rig->run_until([this] { return rig->queued() == 1; }, 10h));
        rig->finish();
    }
};

TEST_P(SpoolPinnedInLittle, InASmallSpool) {
    RigOptions options = spooling();
    options.segments_max = GetParam();
    expect_is_never_full(options);
}

TEST_P(SpoolPinnedInLittle, OnASmallDisk) {
    RigOptions options = spooling();
    options.segments.files_max = GetParam();
    expect_is_never_full(options);
}

INSTANTIATE_TEST_SUITE_P(Segments, SpoolPinnedInLittle, ::testing::Range(4U, 9U));

// Of the files of one run each waits for the one before, and the first of them for what stays.
TEST_F(SpoolPinned, ByFilesOfAnEarlierRunOneBehindTheOther) {
    retry = 15s; // a file and a half
    begin();
    EXPECT_TRUE(send("<stays@two.example>"));
    send_on(70);
    rig->restart(1, true);
    expect_takes_mail_on_and_on();
    EXPECT_TRUE(rig->run_until([this] { return rig->queued() == 1; }, 10h));
    rig->restart(1, true);
    rig->run_for(1min);
    EXPECT_EQ(rig->queued(), 1) << "and it is still there, alone";
    rig->finish();
}

// Nearly all that the spool may take, each file for the sake of one message.
TEST_F(SpoolPinned, ByFilesOfAnEarlierRunThatHoldLittle) {
    puts_off = false;
    begin();
    constexpr int files = 5;
    for (int count = 0; count < files * 20; ++count) {
        EXPECT_TRUE(send(count % 20 == 0 ? "<stays@two.example>" : "<u@two.example>"));
        rig->run_for(500ms);
    }
    EXPECT_EQ(rig->queued(), files);
    rig->segments.set_files_for_mail_max(files + 1);
    rig->restart(1, true);
    rig->run_for(1min);
    expect_takes_mail_on_and_on();
    EXPECT_EQ(rig->queued(), files);
    rig->finish();
}

// The oldest file is mostly mail that stays, and nobody would gain by moving that; each of the others
// holds little.
TEST_F(SpoolPinned, BehindOneThatIsMostlyMail) {
    puts_off = false;
    begin();
    for (int count = 0; count < 20; ++count) {
        EXPECT_TRUE(send(count % 5 < 3 ? "<stays@two.example>" : "<u@two.example>"));
        rig->run_for(500ms);
    }
    for (int count = 0; count < 6 * 20; ++count) {
        EXPECT_TRUE(send(count % 20 == 0 ? "<stays@two.example>" : "<u@two.example>"));
        rig->run_for(500ms);
    }
    expect_takes_mail_on_and_on();
    EXPECT_EQ(rig->queued(), 12 + 6);
    rig->finish();
}

// Others don't stay for its sake, and it not for long.
TEST_F(SpoolPinned, BehindOneThatCannotBeRead) {
    puts_off = false;
    begin();
    for (int count = 0; count < 5 * 20; ++count) {
        EXPECT_TRUE(send(count % 20 == 0 ? "<stays@two.example>" : "<u@two.example>"));
        rig->run_for(500ms);
    }
    const spool::QueueEntry& oldest =
        rig->worker->queue()->index().at(rig->worker->queue()->index().first_after(0).value());
    const int file = rig->worker->queue()->log().segments().at(oldest.segment).descriptor;
    rig->disk.octets(file)[oldest.offset + 2000] ^= std::byte{1};
    expect_takes_mail_on_and_on();
    EXPECT_EQ(rig->queued(), 4);
    EXPECT_EQ(rig->segments.set_aside().size(), 1U);
    rig->finish();
}

class SpoolPinnedUnread : public SpoolPinned, public ::testing::WithParamInterface<bool> {
  protected:
    void damage(const spool::QueueEntry& entry) {
        const std::uint32_t index = entry.segment & ~worker::adopted_segment;
        const int file = index != entry.segment
                             ? rig->segments.adopted(index).descriptor
                             : rig->worker->queue()->log().segments().at(index).descriptor;
        rig->disk.octets(file)[entry.offset + 2000] ^= std::byte{1};
    }
};

// Each segment has marks about mail in the one before, and so none could be used again.
TEST_P(SpoolPinnedUnread, ByOneThatCannotBeReadUntilItsSegmentIsSetAside) {
    retry = 15s; // a segment and a half
    begin();
    EXPECT_TRUE(send("<stays@two.example>"));
    send_on(70);
    if (GetParam()) {
        rig->restart(1, true);
        rig->run_for(1s);
    }
    const spool::QueueIndex& index = rig->worker->queue()->index();
    const std::uint64_t id = index.at(index.first_after(0).value()).id;
    damage(index.at(index.first_after(0).value()));
    expect_takes_mail_on_and_on();
    EXPECT_TRUE(rig->run_until([this] { return rig->queued() == 0; }, 10h));
    EXPECT_EQ(rig->counters.queue_set_aside_total.value(), 1U);
    EXPECT_EQ(rig->segments.set_aside().size(), 1U);
    EXPECT_NE(rig->log_text().find("set aside) " + spool::id_text(id)), std::string::npos)
        << rig->log_text();
    rig->finish();
}

INSTANTIATE_TEST_SUITE_P(OfAnEarlierRun, SpoolPinnedUnread, ::testing::Bool());

// What is behind it can't be used again however often it is moved.
TEST_F(SpoolPinned, ByOneThatIsUnderWayForLongAndNothingIsMovedRoundAndRound) {
    retry = 15s; // a segment and a half
    begin();
    ScriptedBackend& slow = rig->backend(Rig::first_address);
    ScriptedBackend& slow_too = rig->backend(Rig::second_address);
    slow.hold();
    slow_too.hold();
    EXPECT_TRUE(send("<u@one.example>"));
    send_on(50);
    int kept = 0;
    for (; send("<stays@two.example>"); ++kept) {
        rig->run_for(500ms);
    }
    EXPECT_GT(kept, 40);
    rig->run_for(30s);
    const std::uint64_t written = rig->counters.spool_bytes_total.value();
    rig->run_for(3min);
    EXPECT_LT(rig->counters.spool_bytes_total.value() - written, 2UL << 20U);
    slow.go_on();
    slow_too.go_on();
    EXPECT_TRUE(rig->run_until([&] { return rig->queued() == kept; }, 1h));
    rig->finish();
}

// It is over when the message is moved once more, however long that stays.
TEST_F(SpoolPinned, ByACopyThatFailedThoughItsMessageStays) {
    begin();
    EXPECT_TRUE(send_large("<stays@two.example>"));
    rig->run_for(5s);
    leave_segment();
    const std::uint64_t before = rig->counters.spool_records_total.value();
    ASSERT_TRUE(rig->run_until(
        [&] { return rig->counters.spool_records_total.value() >= before + 2; }, 1min));
    rig->disk.write_error = EIO;
    rig->run_for(5s);
    rig->disk.write_error = 0;
    expect_takes_mail_on_and_on();
    EXPECT_TRUE(rig->run_until([this] { return rig->queued() == 1; }, 10h));
    rig->finish();
}

// A write failed in the segment with the first marks of this run: it waits for an earlier run's file as
// any other.
TEST_F(SpoolPinned, ByAFileOfAnEarlierRunThatASegmentWaitsForInWhichAWriteFailed) {
    retry = 15s;
    begin();
    EXPECT_TRUE(send("<stays@two.example>"));
    send_on(12);
    rig->restart(1, true);
    rig->run_for(1s);
    send_on(6);
    leave_segment();
    expect_takes_mail_on_and_on();
    EXPECT_TRUE(rig->run_until([this] { return rig->queued() == 1; }, 10h));
    rig->finish();
}

// Files are lost while it is copied: the original stays until a whole copy is in files that are there.
TEST_F(SpoolPinned, ByOneOfWhoseCopyPartsAreLost) {
    begin();
    EXPECT_TRUE(send_large("<stays@two.example>"));
    rig->run_for(5s);
    spool::QueueIndex& index = rig->worker->queue()->index();
    const auto slot = index.first_after(0).value();
    const auto places = [&] { return index.extra(slot)->chunk_segments; };
    const std::vector<std::uint32_t> original = places();
    ASSERT_EQ(original.size(), 2U);
    rig->segments.lose(EIO);
    const std::uint64_t before = rig->counters.spool_records_total.value();
    ASSERT_TRUE(
        rig->run_until([&] { return rig->counters.spool_records_total.value() > before; }, 1min));
    EXPECT_EQ(places(), original);
    rig->segments.lose(EIO);
    ASSERT_TRUE(rig->run_until([&] { return places() != original; }, 1min));
    for (const std::uint32_t segment : places()) {
        EXPECT_NE(rig->worker->queue()->log().segments().at(segment).state,
                  spool::Segment::State::sealed);
    }
    rig->finish();
}

// Its chunks are good, the write of its record fails: that may be on the disk all the same.
TEST_F(SpoolPinned, ByACopyThatFailedUntilItsMessageIsOver) {
    begin();
    backend->hold();
    EXPECT_TRUE(send_large("<u@two.example>"));
    leave_segment();
    backend->answer = [](const std::string& command) {
        return command.starts_with(".") ? Answer("451 4.2.0 later\r\n") : std::nullopt;
    };
    backend->go_on();
    // Its two chunks, counted a turn later.
    const std::uint64_t before = rig->counters.spool_records_total.value();
    ASSERT_TRUE(rig->run_until(
        [&] { return rig->counters.spool_records_total.value() >= before + 3; }, 1min));
    rig->disk.write_error = EIO;
    rig->run_for(5s);
    rig->disk.write_error = 0;
    backend->answer = {};
    EXPECT_TRUE(rig->run_until([this] { return rig->queued() == 0; }, 10h));
    rig->run_for(1min);
    const spool::SegmentTable& segments = rig->worker->queue()->log().segments();
    for (std::uint32_t index = 0; index < segments.count(); ++index) {
        EXPECT_EQ(segments.at(index).holds, 0U) << index;
    }
    rig->finish();
}

// What is being forwarded when its segment fails is moved when that is over.
TEST_F(SpoolPinned, ByAMessageThatWasUnderWayWhenAWriteFailed) {
    begin();
    backend->hold();
    EXPECT_TRUE(send());
    rig->disk.write_error = EIO;
    EXPECT_FALSE(send());
    rig->disk.write_error = 0;
    rig->run_for(1001ms); // the journal's pause
    EXPECT_TRUE(send("<v@one.example>"));
    rig->run_for(1min);
    const spool::SegmentTable& segments = rig->worker->queue()->log().segments();
    EXPECT_TRUE(segments.has_sealed_held());
    backend->answer = [](const std::string& command) {
        return command.starts_with(".") ? Answer("451 4.2.0 later\r\n") : std::nullopt;
    };
    backend->go_on();
    rig->run_for(1min);
    EXPECT_EQ(rig->queued(), 2);
    EXPECT_FALSE(segments.has_sealed_held());
    rig->restart(1, true);
    backend->answer = {};
    rig->backend(Rig::first_address);
    rig->backend(Rig::second_address);
    EXPECT_TRUE(rig->run_until([this] { return rig->queued() == 0; }, 10h));
    rig->finish();
}

} // namespace
} // namespace ringmx::sim
