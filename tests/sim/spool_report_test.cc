// What a spool tells senders, on whole workers: reports of failure, whom they go to, what is held
// instead, and that no crash or full disk loses one.
#include "sim/worker_rig.h"

#include <algorithm>
#include <cerrno>
#include <gtest/gtest.h>

namespace ringmx::sim {
namespace {

using observe::ReportKind;

// Mail to two.example is refused by its backend; far.example, the senders' domain, is nobody's.
RigOptions reporting(const char* bounce_pool, std::uint32_t workers = 1) {
    RigOptions options;
    options.workers = workers;
    options.spool = true;
    options.settings = [bounce_pool](Settings& settings) {
        settings.spool.on_failure = OnFailure::bounce;
        settings.spool.bounce_pool = bounce_pool;
    };
    return options;
}

struct Scene {
    explicit Scene(const RigOptions& options, BackendProfile profile = {})
        : rig(options), first(rig.backend(Rig::first_address, profile)),
          second(rig.backend(Rig::second_address, profile)),
          third(rig.backend(Rig::third_address, profile)) {
        third.answer = [](const std::string& command) -> std::optional<std::string> {
            return command.starts_with("RCPT") ? std::optional("550 5.1.1 no such user\r\n")
                                               : std::nullopt;
        };
    }

    std::string send(std::string_view mail, const std::vector<std::string>& recipients,
                     std::string_view content = "Subject: x\r\n\r\nbody\r\n") {
        Client& client = rig.greeted();
        EXPECT_TRUE(rig.ask(client, "MAIL FROM:" + std::string(mail) + "\r\n").starts_with("250"));
        for (const std::string& recipient : recipients) {
            EXPECT_TRUE(rig.ask(client, "RCPT TO:" + recipient + "\r\n").starts_with("250"));
        }
        EXPECT_TRUE(rig.ask(client, "DATA\r\n").starts_with("354"));
        const std::string reply = rig.ask(client, std::string(content) + ".\r\n");
        EXPECT_TRUE(reply.starts_with("250 2.0.0 Ok: queued as ")) << reply;
        return reply.substr(std::min<std::size_t>(reply.size(), 24), 13);
    }

    // What pool "one" took.
    [[nodiscard]] std::vector<std::shared_ptr<BackendMessage>> taken() const {
        std::vector<std::shared_ptr<BackendMessage>> all;
        for (const ScriptedBackend* backend : {&first, &second}) {
            std::ranges::copy_if(backend->messages, std::back_inserter(all),
                                 [](const auto& message) { return message->taken; });
        }
        return all;
    }
    [[nodiscard]] std::vector<std::shared_ptr<BackendMessage>> reports() const {
        std::vector<std::shared_ptr<BackendMessage>> found = taken();
        std::erase_if(found, [](const auto& message) {
            return message->octets.find("multipart/report") == std::string::npos;
        });
        return found;
    }
    [[nodiscard]] std::uint64_t counted(ReportKind kind) {
        return rig.counters.reports[kind].value();
    }

    Rig rig;
    ScriptedBackend& first;
    ScriptedBackend& second;
    ScriptedBackend& third;
};

std::size_t count_in(std::string_view text, std::string_view part) {
    std::size_t count = 0;
    for (std::size_t at = 0; (at = text.find(part, at)) != std::string_view::npos; ++at) {
        ++count;
    }
    return count;
}

TEST(SpoolReport, OneReportTellsTheSenderOfAllThatFailedTogether) {
    Scene scene(reporting(""));
    const std::string id =
        scene.send("<sender@one.example> ENVID=abc", {"<a@two.example>", "<b@two.example>"});
    ASSERT_TRUE(scene.rig.run_until([&] { return scene.taken().size() == 1; }));
    const BackendMessage& report = *scene.taken()[0];
    EXPECT_TRUE(report.mail.starts_with("MAIL FROM:<> ")) << report.mail;
    EXPECT_EQ(report.recipients.size(), 1U);
    EXPECT_TRUE(report.recipients[0].starts_with("RCPT TO:<sender@one.example>"));
    EXPECT_TRUE(report.octets.starts_with("Date: ")) << report.octets;
    for (const std::string& part :
         {std::string("Final-Recipient: rfc822; a@two.example"),
          "The message had the queue id " + id,
          std::string("Final-Recipient: rfc822; b@two.example"), std::string("Status: 5.1.1"),
          std::string("Remote-MTA: dns; [10.1.0.3]\r\n"),
          std::string("Diagnostic-Code: smtp; 550 5.1.1 no such user"),
          std::string("Original-Envelope-Id: abc"), std::string("Subject: x\r\n")}) {
        EXPECT_NE(report.octets.find(part), std::string::npos) << part;
    }
    EXPECT_TRUE(scene.rig.run_until([&] { return scene.rig.queued() == 0; }));
    scene.rig.run_for(1h);
    EXPECT_EQ(scene.taken().size(), 1U);
    EXPECT_EQ(scene.counted(ReportKind::failed), 1U);
    scene.rig.finish();
}

TEST(SpoolReport, BouncePoolTakesReportsThatNoRouteTakesAndSoAfterARestart) {
    for (const bool restarts : {false, true}) {
        Scene scene(reporting("one"));
        scene.first.refuse_connections(restarts);
        scene.second.refuse_connections(restarts);
        (void)scene.send("<sender@far.example>", {"<a@two.example>"});
        if (restarts) {
            ASSERT_TRUE(
                scene.rig.run_until([&] { return scene.counted(ReportKind::failed) == 1; }));
            scene.rig.run_for(1s); // marks
            scene.rig.restart(1, true);
            scene.first.refuse_connections(false);
            scene.second.refuse_connections(false);
        }
        ASSERT_TRUE(scene.rig.run_until([&] { return scene.taken().size() == 1; }, 2h));
        EXPECT_TRUE(scene.taken()[0]->recipients[0].starts_with("RCPT TO:<sender@far.example>"));
        EXPECT_TRUE(scene.rig.run_until([&] { return scene.rig.queued() == 0; }));
        scene.rig.finish();
    }
}

// bounce_pool is for reports of ours: what clients send from <> waits for a route, as all mail does.
TEST(SpoolReport, MailFromNobodyThatLostItsRouteDoesNotGoToBouncePool) {
    for (const bool restarts : {false, true}) {
        Scene scene(reporting("one"));
        scene.third.refuse_connections(true);
        (void)scene.send("<>", {"<a@two.example>"});
        scene.rig.run_for(1s);
        scene.rig.reload([](Settings& settings) { settings.routes.pop_back(); });
        if (restarts) {
            scene.rig.restart(1, true);
        }
        scene.rig.run_for(2h);
        EXPECT_EQ(scene.rig.queued(), 1);
        EXPECT_TRUE(scene.taken().empty());
        scene.rig.finish();
    }
}

TEST(SpoolReport, WithoutAWayToTheSenderTheMessageIsHeld) {
    Scene scene(reporting(""));
    (void)scene.send("<sender@far.example>", {"<a@two.example>"});
    scene.rig.run_for(2h);
    EXPECT_EQ(scene.rig.queued(), 1);
    EXPECT_EQ(scene.third.messages.size(), 1U);
    EXPECT_EQ(scene.counted(ReportKind::failed), 0U);
    scene.rig.finish();
}

TEST(SpoolReport, NullSenderMailIsHeldWhateverItsNotifySays) {
    Scene scene(reporting("one"));
    (void)scene.send("<>", {"<a@two.example> NOTIFY=NEVER", "<b@two.example>"});
    scene.rig.run_for(2h);
    EXPECT_EQ(scene.rig.queued(), 1);
    EXPECT_TRUE(scene.taken().empty());
    scene.rig.finish();
}

TEST(SpoolReport, AReportThatFailsIsHeldAndNeverReported) {
    Scene scene(reporting("two")); // which refuses everybody
    (void)scene.send("<sender@far.example>", {"<a@two.example>"});
    scene.rig.run_for(2h);
    EXPECT_EQ(scene.rig.queued(), 1);
    EXPECT_EQ(scene.third.count_of("MAIL"), 2U);
    EXPECT_EQ(scene.counted(ReportKind::failed), 1U);
    scene.rig.finish();
}

TEST(SpoolReport, NotifySaysWhoIsToldAndNeverEndsTheRecipient) {
    Scene scene(reporting(""));
    (void)scene.send("<sender@one.example>",
                     {"<a@two.example> NOTIFY=NEVER", "<b@two.example> NOTIFY=FAILURE,DELAY",
                      "<c@two.example> NOTIFY=SUCCESS"});
    ASSERT_TRUE(scene.rig.run_until([&] { return scene.taken().size() == 1; }));
    EXPECT_EQ(count_in(scene.taken()[0]->octets, "Final-Recipient"), 1U);
    EXPECT_NE(scene.taken()[0]->octets.find("b@two.example"), std::string::npos);
    EXPECT_TRUE(scene.rig.run_until([&] { return scene.rig.queued() == 0; }));
    (void)scene.send("<sender@one.example>", {"<a@two.example> NOTIFY=NEVER"});
    EXPECT_TRUE(scene.rig.run_until([&] { return scene.rig.queued() == 0; }));
    scene.rig.run_for(1h);
    EXPECT_EQ(scene.taken().size(), 1U);
    scene.rig.run_for(1s);
    scene.rig.restart(1, true);
    scene.rig.run_for(1h);
    EXPECT_EQ(scene.rig.queued(), 0);
    EXPECT_EQ(scene.taken().size(), 1U);
    scene.rig.finish();
}

TEST(SpoolReport, TheOthersOfAMessageAreTriedOn) {
    Scene scene(reporting(""));
    int refusals = 2;
    scene.third.answer = [&](const std::string& command) -> std::optional<std::string> {
        if (command.starts_with("RCPT TO:<bad")) {
            return "550 5.1.1 no such user\r\n";
        }
        return command.starts_with("RCPT") && refusals-- > 0
                   ? std::optional("450 4.2.0 greylisted\r\n")
                   : std::nullopt;
    };
    (void)scene.send("<sender@one.example>", {"<bad@two.example>", "<slow@two.example>"});
    ASSERT_TRUE(scene.rig.run_until([&] { return scene.taken().size() == 1; }));
    EXPECT_EQ(count_in(scene.taken()[0]->octets, "Final-Recipient"), 1U);
    ASSERT_TRUE(scene.rig.run_until([&] { return scene.rig.queued() == 0; }, 2h));
    EXPECT_EQ(scene.third.taken_count(), 1U);
    EXPECT_EQ(std::ranges::count_if(
                  scene.third.commands,
                  [](const std::string& command) { return command.starts_with("RCPT TO:<bad"); }),
              1);
    EXPECT_EQ(scene.taken().size(), 1U);
    scene.rig.finish();
}

TEST(SpoolReport, WhatExpiresIsReportedAsThat) {
    RigOptions options = reporting("");
    options.settings = [](Settings& settings) {
        settings.spool.on_failure = OnFailure::bounce;
        settings.spool.retry.expire = 10min;
    };
    Scene scene(options);
    scene.third.refuse_connections(true);
    (void)scene.send("<sender@one.example>", {"<a@two.example>"});
    ASSERT_TRUE(scene.rig.run_until([&] { return scene.taken().size() == 1; }, 1h));
    const std::string& octets = scene.taken()[0]->octets;
    EXPECT_NE(octets.find("Status: 4.4.7\r\n"), std::string::npos) << octets;
    EXPECT_NE(octets.find("Action: failed\r\n"), std::string::npos) << octets;
    EXPECT_EQ(octets.find("Diagnostic-Code"), std::string::npos) << octets; // nobody said anything
    EXPECT_TRUE(scene.rig.run_until([&] { return scene.rig.queued() == 0; }));
    scene.rig.finish();
}

TEST(SpoolReport, ALargeMessageIsReportedWithTheHeaderFromTheDisk) {
    Scene scene(reporting(""));
    scene.third.answer = [](const std::string& command) -> std::optional<std::string> {
        return command == "." || command.ends_with("LAST") || command == "chunk"
                   ? std::optional("554 5.6.0 not here\r\n")
                   : std::nullopt;
    };
    std::string content = "Subject: large\r\n\r\n";
    while (content.size() < 1'000'000) {
        content += "a line of this message that is fairly long, " + std::to_string(content.size()) +
                   "\r\n";
    }
    (void)scene.send("<sender@one.example> RET=FULL", {"<a@two.example>"}, content);
    ASSERT_TRUE(scene.rig.run_until([&] { return scene.taken().size() == 1; }));
    const std::string& octets = scene.taken()[0]->octets;
    EXPECT_NE(octets.find("Subject: large\r\n"), std::string::npos);
    EXPECT_NE(octets.find("text/rfc822-headers"), std::string::npos);
    EXPECT_EQ(octets.find("a line of this message"), std::string::npos);
    EXPECT_TRUE(scene.rig.run_until([&] { return scene.rig.queued() == 0; }));
    scene.rig.finish();
}

TEST(SpoolReport, AMessageThatIsRefusedAtOnceIsReturnedWholeWhereItsSenderWantsThat) {
    for (const bool is_whole : {true, false}) {
        Scene scene(reporting(""));
        scene.third.answer = [](const std::string& command) -> std::optional<std::string> {
            return command.starts_with("RCPT") ? std::optional("550 5.1.1 no such user\r\n")
                                               : std::nullopt;
        };
        (void)scene.send(is_whole ? "<sender@one.example> RET=FULL" : "<sender@one.example>",
                         {"<a@two.example>"}, "Subject: small\r\n\r\nthe text\r\n");
        ASSERT_TRUE(scene.rig.run_until([&] { return scene.taken().size() == 1; }));
        const std::string& octets = scene.taken()[0]->octets;
        EXPECT_EQ(octets.find("message/rfc822\r\n") != std::string::npos, is_whole) << octets;
        EXPECT_EQ(octets.find("the text") != std::string::npos, is_whole);
        scene.rig.finish();
    }
}

TEST(SpoolReport, RecipientsThatFillARecordAreToldInSeveralReports) {
    RigOptions options = reporting("");
    Scene scene(options);
    const std::string words(400, 'w');
    scene.third.answer = [&](const std::string& command) -> std::optional<std::string> {
        return command.starts_with("RCPT") ? std::optional("550 5.1.1 " + words + "\r\n")
                                           : std::nullopt;
    };
    std::vector<std::string> recipients;
    recipients.reserve(300);
    for (int count = 0; count < 300; ++count) {
        recipients.push_back("<r" + std::to_string(count) + std::string(50, 'x') + "@two.example>");
    }
    (void)scene.send("<sender@one.example>", recipients);
    ASSERT_TRUE(scene.rig.run_until([&] { return scene.rig.queued() == 0; }, 2h));
    std::size_t told = 0;
    for (const auto& report : scene.taken()) {
        told += count_in(report->octets, "Final-Recipient");
    }
    EXPECT_GT(scene.taken().size(), 1U);
    EXPECT_EQ(told, recipients.size());
    scene.rig.finish();
}

TEST(SpoolReport, NotifySuccessIsAnsweredHereWhereTheBackendHasNoDsn) {
    for (const bool has_dsn : {false, true}) {
        BackendProfile profile;
        profile.dsn = has_dsn;
        Scene scene(reporting(""), profile);
        scene.third.answer = nullptr;
        // What no backend has is not offered: nobody has been asked yet.
        (void)scene.send("<sender@one.example>", {"<a@two.example> NOTIFY=SUCCESS,FAILURE",
                                                  "<b@two.example> NOTIFY=FAILURE"});
        ASSERT_TRUE(scene.rig.run_until([&] { return scene.rig.queued() == 0; }));
        EXPECT_EQ(scene.third.taken_count(), 1U);
        ASSERT_EQ(scene.reports().size(), has_dsn ? 0U : 1U);
        EXPECT_EQ(scene.counted(ReportKind::relayed), has_dsn ? 0U : 1U);
        if (!has_dsn) {
            const std::string& octets = scene.reports()[0]->octets;
            EXPECT_NE(octets.find("Action: relayed\r\n"), std::string::npos) << octets;
            EXPECT_EQ(count_in(octets, "Final-Recipient"), 1U) << octets;
        }
        scene.rig.finish();
    }
}

TEST(SpoolReport, ARelayedReportWithoutAWayIsDroppedAndCounted) {
    BackendProfile profile;
    profile.dsn = false;
    Scene scene(reporting(""), profile);
    scene.third.answer = nullptr;
    (void)scene.send("<sender@far.example>", {"<a@two.example> NOTIFY=SUCCESS"});
    ASSERT_TRUE(scene.rig.run_until([&] { return scene.rig.queued() == 0; }));
    EXPECT_EQ(scene.rig.counters.reports_dropped_total.value(), 1U);
    EXPECT_TRUE(scene.reports().empty());
    scene.rig.finish();
}

TEST(SpoolReport, WhileNothingCanBeWrittenTheMessageStaysAndIsReportedLater) {
    Scene scene(reporting(""));
    (void)scene.send("<sender@one.example>", {"<first@two.example>"});
    ASSERT_TRUE(scene.rig.run_until([&] { return scene.rig.queued() == 0; }));
    int refusals = 0;
    scene.third.answer = [&](const std::string& command) -> std::optional<std::string> {
        if (!command.starts_with("RCPT")) {
            return std::nullopt;
        }
        ++refusals;
        scene.rig.disk.write_error = refusals == 1 ? EIO : 0;
        return "550 5.1.1 no such user\r\n";
    };
    (void)scene.send("<sender@one.example>", {"<second@two.example>"});
    scene.rig.run_for(10s);
    EXPECT_EQ(scene.rig.queued(), 1);
    scene.rig.disk.write_error = 0;
    ASSERT_TRUE(scene.rig.run_until([&] { return scene.taken().size() == 2; }, 10min));
    EXPECT_EQ(refusals, 2);
    ASSERT_TRUE(scene.rig.run_until([&] { return scene.rig.queued() == 0; }));
    scene.rig.run_for(1h);
    EXPECT_EQ(scene.taken().size(), 2U);
    scene.rig.finish();
}

// The machine stops at every moment around the report's commit: the sender hears of it once or
// twice, whatever part of what was being written is there.
TEST(SpoolReport, NoCrashLosesAReport) {
    std::size_t second_reports = 0;
    for (int steps = 0; steps < 60; ++steps) {
        RigOptions options = reporting("", 1);
        options.network.seed = static_cast<std::uint64_t>(steps) + 1;
        Scene scene(options);
        bool is_refused = false;
        scene.third.answer = [&](const std::string& command) -> std::optional<std::string> {
            is_refused = is_refused || command.starts_with("RCPT");
            return command.starts_with("RCPT") ? std::optional("550 5.1.1 no such user\r\n")
                                               : std::nullopt;
        };
        (void)scene.send("<sender@one.example>", {"<a@two.example>", "<b@two.example>"});
        ASSERT_TRUE(scene.rig.run_until([&] { return is_refused; }));
        for (int count = 0; count < steps; ++count) {
            scene.rig.turn();
        }
        scene.rig.restart(1, true);
        ASSERT_TRUE(scene.rig.run_until(
            [&] { return scene.rig.queued() == 0 && !scene.taken().empty(); }, 6h))
            << "after " << steps << " turns";
        EXPECT_LE(scene.taken().size(), 2U) << "after " << steps << " turns";
        second_reports += scene.taken().size() - 1;
        scene.rig.finish();
    }
    EXPECT_GT(second_reports, 0U) << "no crash fell between a report and its marks";
}

} // namespace
} // namespace ringmx::sim
