// Spools that fill up: what is refused meanwhile, and that mail is taken again.
#include "sim/spool_scenes.h"

#include <algorithm>
#include <cerrno>
#include <gtest/gtest.h>
#include <optional>

namespace ringmx::sim {
namespace {

TEST(Spool, AFullSpoolRefusesAtMailAndGoesOnWhenThereIsRoom) {
    Rig rig(spooling());
    Client& client = rig.greeted();
    const std::string body = "a: b\r\n\r\n" + std::string(900, 'x') + "\r\n";
    std::string content;
    while (content.size() < 200'000) {
        content += body;
    }
    std::string reply;
    int accepted = -1;
    do {
        ++accepted;
        reply = send_message(rig, client, content, "<u@two.example>");
    } while (reply.starts_with("250") && accepted < 1000);
    EXPECT_EQ(reply, "452 4.3.1 Insufficient system storage, try again later\r\n");
    EXPECT_GT(accepted, 30); // of 16 MiB
    EXPECT_EQ(rig.ask(client, "MAIL FROM:<sender@far.example> SIZE=1000000\r\n").substr(0, 9),
              "452 4.3.1");
    EXPECT_EQ(rig.counters.messages_rejected[observe::RejectReason::spool_full].value(), 2U);
    EXPECT_EQ(rig.counters.spool_takes_mail.value(), 0);
    ScriptedBackend& backend = rig.backend(Rig::third_address);
    ASSERT_TRUE(rig.run_until([&] { return rig.queued() == 0; }, 6h));
    EXPECT_EQ(taken(backend).size(), static_cast<std::size_t>(accepted));
    rig.run_for(1min);
    Client& next = rig.greeted();
    EXPECT_TRUE(send_message(rig, next, content, "<u@two.example>").starts_with("250"));
    rig.finish();
}

// What does not fit says that the spool is full, unless hardly any spool would do.
TEST(Spool, ASpoolIsFullAsLongAsMailIsRefused) {
    Rig rig(spooling());
    Client& client = rig.greeted();
    const std::string content = content_of_100_kb();
    const auto offer = [&](int octets) {
        const std::string mail =
            "MAIL FROM:<sender@far.example> SIZE=" + std::to_string(octets) + "\r\n";
        const std::string reply = rig.ask(client, mail);
        (void)rig.ask(client, "RSET\r\n");
        rig.run_for(1s);
        return reply.substr(0, 3);
    };
    while (offer(1'000'000) == "250") {
        ASSERT_TRUE(send_message(rig, client, content, "<u@two.example>").starts_with("250"));
    }
    EXPECT_EQ(rig.counters.spool_takes_mail.value(), 0);
    EXPECT_EQ(offer(100'000), "250") << "less fits";
    EXPECT_EQ(rig.counters.spool_takes_mail.value(), 0);
    rig.run_for(worker::MailQueue::missing_room_memory);
    EXPECT_EQ(rig.counters.spool_takes_mail.value(), 1) << "nobody is refused any more";
    EXPECT_EQ(offer(1'000'000), "452");
    EXPECT_EQ(rig.counters.spool_takes_mail.value(), 0);
    (void)rig.backend(Rig::third_address);
    ASSERT_TRUE(rig.run_until([&] { return rig.queued() == 0; }, 6h));
    rig.run_for(1min);
    EXPECT_EQ(rig.counters.spool_takes_mail.value(), 1);
    EXPECT_EQ(offer(40'000'000), "452");
    EXPECT_EQ(rig.counters.spool_takes_mail.value(), 1);
    rig.finish();
}

// Puts off each third recipient once, so that marks about mail come behind its segment.
void put_off_some(ScriptedBackend& backend) {
    backend.answer = [count = 0](const std::string& command) mutable -> std::optional<std::string> {
        if (command.starts_with("RCPT TO:<stays")) {
            return "550 5.1.1 no such user\r\n";
        }
        return command.starts_with("RCPT") && ++count % 3 == 0
                   ? std::optional("451 4.2.0 later\r\n")
                   : std::nullopt;
    };
}

// Marks about its neighbours, which are delivered, must not keep every later segment from being used
// again: it goes elsewhere.
TEST(Spool, OneThatStaysOfAnEarlierRunDoesNotFillTheSpool) {
    for (const std::uint32_t workers : {1U, 2U}) {
        Rig rig(spooling(workers));
        const auto send = [&](std::string_view content, std::string_view recipient) {
            return send_message(rig, rig.greeted(), content, recipient).starts_with("250");
        };
        EXPECT_TRUE(send("a: b\r\n\r\nx\r\n", "<stays@two.example>"));
        const std::string content = content_of_100_kb();
        for (std::uint32_t count = 0; count < 30 * workers; ++count) {
            EXPECT_TRUE(send(content, "<u@two.example>"));
        }
        rig.restart(workers, true);
        put_off_some(rig.backend(Rig::third_address));
        ASSERT_TRUE(rig.run_until([&] { return rig.queued() == 1; }, 10h));
        for (int count = 0; count < 600; ++count) {
            ASSERT_TRUE(send(content, "<u@two.example>")) << count << " of " << workers;
            rig.run_for(3s);
        }
        EXPECT_TRUE(rig.run_until([&] { return rig.queued() == 1; }, 10h));
        rig.restart(workers, true);
        rig.run_for(1min);
        EXPECT_EQ(rig.queued(), 1) << "and it is still there, alone";
        rig.finish();
    }
}

// What can't be moved out of one file of an earlier run holds up no other one's, and that is set aside.
TEST(Spool, AFileOfAnEarlierRunThatCannotBeLeftHoldsUpNoOther) {
    Rig rig(spooling());
    const std::string content = content_of_100_kb();
    const auto send = [&](std::string_view recipient) {
        return send_message(rig, rig.greeted(), content, recipient).starts_with("250");
    };
    for (int count = 0; count < 60; ++count) {
        EXPECT_TRUE(send(count % 30 == 0 ? "<stays@two.example>" : "<u@two.example>"));
    }
    const std::vector<int> files = rig.disk.files();
    rig.restart(1, true);
    put_off_some(rig.backend(Rig::third_address));
    ASSERT_TRUE(rig.run_until([&] { return rig.queued() == 2; }, 10h));
    rig.run_for(1min);
    ASSERT_EQ(rig.segments.adopted_files(), 2U);
    for (const int file : files) { // the first message is the first record of the first file
        if (rig.disk.has(file)) {
            rig.disk.octets(file)[spool::block_bytes + 2000] ^= std::byte{1};
            break;
        }
    }
    for (int count = 0; count < 600 && rig.segments.adopted_files() > 1; ++count) {
        EXPECT_TRUE(send("<u@two.example>"));
        rig.run_for(3s);
    }
    EXPECT_EQ(rig.segments.adopted_files(), 1U);
    EXPECT_TRUE(rig.segments.set_aside().empty());
    rig.run_for(1h);
    EXPECT_EQ(rig.segments.adopted_files(), 0U);
    EXPECT_EQ(rig.segments.set_aside().size(), 1U);
    EXPECT_EQ(rig.queued(), 1);
    rig.finish();
}

// Nor does what waits for long and is most of some segments.
TEST(Spool, ABacklogAmongOthersMailDoesNotFillTheSpool) {
    Rig rig(spooling());
    put_off_some(rig.backend(Rig::first_address));
    put_off_some(rig.backend(Rig::second_address));
    const std::string content = content_of_100_kb();
    const auto send = [&](std::string_view recipient) {
        return send_message(rig, rig.greeted(), content, recipient).starts_with("250");
    };
    constexpr int waiting = 24;
    for (int count = 0; count < waiting; ++count) {
        EXPECT_TRUE(send("<u@two.example>")); // its backend is dead
        EXPECT_TRUE(count % 2 == 0 || send("<u@one.example>"));
    }
    for (int count = 0; count < 600; ++count) {
        ASSERT_TRUE(send("<u@one.example>")) << count;
        rig.run_for(3s);
    }
    EXPECT_TRUE(rig.run_until([&] { return rig.queued() == waiting; }, 1h));
    ScriptedBackend& back = rig.backend(Rig::third_address);
    EXPECT_TRUE(rig.run_until([&] { return rig.queued() == 0; }, 1h));
    EXPECT_EQ(taken(back).size(), static_cast<std::size_t>(waiting));
    rig.finish();
}

// What one was promised at MAIL is nobody else's, whatever he does until the end.
TEST(Spool, RoomIsReservedAtMail) {
    Rig rig(spooling());
    rig.run_for(1s);
    const std::string mail = "MAIL FROM:<a@far.example> SIZE=" + std::to_string(9'000'000) + "\r\n";
    Client& first = rig.greeted();
    Client& second = rig.greeted();
    for (const char* end : {"RSET\r\n", "EHLO again.example\r\n", "QUIT\r\n"}) {
        EXPECT_TRUE(rig.ask(first, mail).starts_with("250")) << end;
        EXPECT_EQ(rig.ask(second, mail),
                  "452 4.3.1 Insufficient system storage, try again later\r\n");
        (void)rig.ask(first, end);
        EXPECT_TRUE(rig.ask(second, mail).starts_with("250")) << end;
        EXPECT_TRUE(rig.ask(second, "RCPT TO:<u@two.example>\r\n").starts_with("250"));
        EXPECT_TRUE(rig.ask(second, "RSET\r\n").starts_with("250"));
    }
    rig.finish();
}

// With enough spare segments nobody needs another one, but a large message.
TEST(Spool, ADiskThatHasRoomAgainIsUsedThoughMailGoesRoundInWhatThereIs) {
    Rig rig(spooling());
    ScriptedBackend& backend = rig.backend(Rig::third_address);
    backend.hold();
    Client& client = rig.greeted();
    const std::string content = content_of_100_kb();
    int taken_count = 0;
    while (send_message(rig, client, content, "<u@two.example>").starts_with("250")) {
        rig.segments.request_error = ++taken_count < 10 ? 0 : ENOSPC; // there are three
        rig.run_for(100ms);
    }
    EXPECT_LT(taken_count, 60);
    backend.go_on();
    EXPECT_TRUE(rig.run_until([&] { return rig.queued() == 0; }));
    rig.run_for(10s);
    const std::string mail = "MAIL FROM:<a@far.example> SIZE=9000000\r\n";
    const std::string refused = rig.ask(client, mail);
    EXPECT_TRUE(refused.starts_with("452")) << refused;
    rig.segments.request_error = 0;
    rig.run_for(10s);
    EXPECT_TRUE(rig.ask(client, mail).starts_with("250"));
    rig.finish();
}

TEST(Spool, WhereThereAreTooManySegmentsOnlyThoseAreDiscarded) {
    RigOptions options = spooling();
    options.held_segments_max = 4;
    options.settings = [](Settings& settings) {
        settings.spool.held.max_age = 1h;
        settings.spool.retry.initial = settings.spool.retry.maximum = 1min;
    };
    Rig rig(options);
    ScriptedBackend& backend = rig.backend(Rig::third_address);
    backend.answer = [](const std::string& command) -> std::optional<std::string> {
        return command.starts_with("RCPT TO:<bad")     ? std::optional("550 5.1.1 no\r\n")
               : command.starts_with("RCPT TO:<later") ? std::optional("450 4.2.0 later\r\n")
                                                       : std::nullopt;
    };
    Client& client = rig.greeted();
    const std::string content = content_of_100_kb();
    const auto fill = [&](std::string_view recipient, int count) {
        while (count-- > 0 && send_message(rig, client, content, recipient).starts_with("250")) {
            rig.run_for(100ms);
        }
    };
    fill("<bad@two.example>", 60);
    fill("<later@two.example>", 1000);
    EXPECT_GE(rig.segments.own_files(), 11U);
    backend.answer = nullptr;
    EXPECT_TRUE(rig.run_until([&] { return rig.queued() == 0; }, 10h));
    rig.run_for(1min);
    EXPECT_EQ(rig.segments.own_files(), 9U);
    rig.finish();
}

// Of 16 MiB.
TEST(Spool, WhoSaysLargeSizesAndSendsNothingKeepsNoSmallMailAway) {
    Rig rig(spooling());
    rig.run_for(1s);
    const auto says = [&](int octets) {
        Client& client = rig.greeted();
        return rig.ask(client, "MAIL FROM:<a@far.example> SIZE=" + std::to_string(octets) + "\r\n")
            .substr(0, 3);
    };
    int promised = 0;
    while (says(1'000'000) == "250") {
        ASSERT_LT(++promised, 20);
    }
    EXPECT_GE(promised, 5);
    while (says(200'000) == "250") { // what is left of their half
        ASSERT_LT(++promised, 40);
    }
    EXPECT_EQ(says(50'000), "250");
    Client& client = rig.greeted();
    EXPECT_TRUE(
        send_message(rig, client, "a: b\r\n\r\nx\r\n", "<u@two.example>").starts_with("250"));
    const std::uint64_t reserved = rig.worker->queue()->reserved_bytes();
    EXPECT_GT(reserved, 5'000'000U);
    rig.backend(Rig::third_address);
    rig.finish();
}

TEST(Spool, OneLargeMessageMayHaveAllTheRoomThereIs) {
    Rig rig(spooling());
    rig.run_for(1s);
    Client& large = rig.greeted();
    Client& small = rig.greeted();
    EXPECT_TRUE(rig.ask(small, "MAIL FROM:<a@far.example>\r\n").starts_with("250"));
    EXPECT_TRUE(rig.ask(large, "MAIL FROM:<a@far.example> SIZE=9000000\r\n").starts_with("250"));
    rig.finish();
}

// A message is taken in one segment and marked in the next: each is free only when the one before
// it has begun anew.
TEST(Spool, SegmentsAreUsedRoundAndRound) {
    Rig rig(spooling());
    ScriptedBackend& backend = rig.backend(Rig::third_address);
    const std::string content = content_of_100_kb();
    Client& client = rig.greeted();
    constexpr std::size_t messages = 600; // four times what the spool can hold
    for (std::size_t count = 0; count < messages; ++count) {
        const std::string reply = send_message(rig, client, content, "<good@two.example>");
        ASSERT_TRUE(reply.starts_with("250")) << count << ": " << reply;
    }
    ASSERT_TRUE(rig.run_until([&] { return rig.queued() == 0; }));
    EXPECT_EQ(taken(backend).size(), messages);
    rig.finish();
}

TEST(Spool, TheSmallestSpoolTakesMailOnAndOn) {
    RigOptions options = spooling();
    options.segments_max = 4;
    Rig rig(options);
    ScriptedBackend& backend = rig.backend(Rig::third_address);
    const std::string content = content_of_100_kb();
    Client& client = rig.greeted();
    constexpr std::size_t messages = 600; // seven times what the spool can hold
    for (std::size_t count = 0; count < messages; ++count) {
        const std::string reply = send_message(rig, client, content, "<good@two.example>");
        ASSERT_TRUE(reply.starts_with("250")) << count << ": " << reply;
        rig.run_for(200ms); // delivered, marked
    }
    ASSERT_TRUE(rig.run_until([&] { return rig.queued() == 0; }));
    EXPECT_EQ(taken(backend).size(), messages);
    rig.finish();
}

// The first segment is given out before it is written through, since mail may wait for it.
TEST(Spool, ASegmentThatIsMerelyAllocatedGivesWayToABetterOne) {
    RigOptions options = spooling();
    Rig rig(options);
    ScriptedBackend& backend = rig.backend(Rig::third_address);
    Client& client = rig.greeted();
    EXPECT_TRUE(rig.run_until([&] { return !rig.disk.files().empty(); }));
    const int first = rig.disk.files().front();
    EXPECT_TRUE(send_message(rig, client, "one\r\n", "<u@two.example>").starts_with("250"));
    rig.run_for(1s);
    EXPECT_TRUE(send_message(rig, client, "two\r\n", "<u@two.example>").starts_with("250"));
    ASSERT_TRUE(rig.run_until([&] { return taken(backend).size() == 2 && rig.queued() == 0; }));
    rig.run_for(1s);
    EXPECT_EQ(std::ranges::count(rig.disk.files(), first), 0);
    rig.finish();
}

TEST(Spool, TheSmallestSpoolThatWasFullTakesMailAgain) {
    RigOptions options = spooling();
    options.segments_max = 4;
    Rig rig(options);
    const std::string content = content_of_100_kb();
    ScriptedBackend& backend = rig.backend(Rig::third_address);
    std::size_t accepted = 0;
    for (int round = 0; round < 5; ++round) {
        backend.refuse_connections(true);
        Client& client = rig.greeted();
        const std::size_t before = accepted;
        while (send_message(rig, client, content, "<u@two.example>").starts_with("250")) {
            ++accepted;
        }
        EXPECT_GT(accepted, before + 10) << round;
        EXPECT_EQ(rig.queued(), static_cast<std::int64_t>(accepted - before)) << round;
        backend.refuse_connections(false);
        ASSERT_TRUE(rig.run_until([&] { return rig.queued() == 0; }, 6h));
        rig.run_for(1min);
    }
    EXPECT_EQ(taken(backend).size(), accepted);
    rig.finish();
}

// They have a budget of their own, which new mail never pays for.
TEST(Spool, WhatFailedNeverShutsTheDoor) {
    RigOptions options = spooling();
    options.segments_max = 4;
    options.held_segments_max = 3;
    Rig rig(options);
    ScriptedBackend& backend = rig.backend(Rig::third_address);
    backend.answer = [](const std::string& command) -> std::optional<std::string> {
        return command.starts_with("RCPT TO:<bad") ? std::optional("550 5.1.1 no such user\r\n")
                                                   : std::nullopt;
    };
    const std::string content = content_of_100_kb();
    Client& client = rig.greeted();
    // What fails takes two segments more than what new mail leaves of four.
    for (int count = 0; count < 50; ++count) {
        const std::string reply = send_message(rig, client, content, "<bad@two.example>");
        ASSERT_TRUE(reply.starts_with("250")) << count << ": " << reply;
        rig.run_for(500ms);
    }
    for (int count = 0; count < 200; ++count) {
        const std::string reply = send_message(rig, client, content, "<good@two.example>");
        ASSERT_TRUE(reply.starts_with("250")) << count << ": " << reply;
        rig.run_for(500ms);
    }
    EXPECT_EQ(rig.queued(), 50);
    EXPECT_EQ(taken(backend).size(), 200U);
    rig.finish();
}

// Held messages would pin every segment after a while.
TEST(Spool, AFewHeldMessagesDoNotFillTheSpool) {
    Rig rig(spooling());
    ScriptedBackend& backend = rig.backend(Rig::third_address);
    backend.answer = [](const std::string& command) -> std::optional<std::string> {
        return command.starts_with("RCPT TO:<bad") ? std::optional("550 5.1.1 no such user\r\n")
                                                   : std::nullopt;
    };
    const std::string content = content_of_100_kb();
    Client& client = rig.greeted();
    constexpr int messages = 400; // two and a half times what the spool can hold
    for (int count = 0; count < messages; ++count) {
        const char* const to = count % 20 == 0 ? "<bad@two.example>" : "<good@two.example>";
        const std::string reply = send_message(rig, client, content, to);
        ASSERT_TRUE(reply.starts_with("250")) << count << ": " << reply;
        rig.run_for(500ms); // delivered, marked
    }
    EXPECT_EQ(rig.queued(), messages / 20);
    EXPECT_EQ(taken(backend).size(), static_cast<std::size_t>(messages - messages / 20));
    rig.restart(1, true);
    rig.run_for(1min);
    EXPECT_EQ(rig.queued(), messages / 20);
    EXPECT_EQ(taken(backend).size(), static_cast<std::size_t>(messages - messages / 20));
    rig.finish();
}

} // namespace
} // namespace ringmx::sim
