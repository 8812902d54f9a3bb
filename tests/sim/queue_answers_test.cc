// What workers say about the queue when they are asked, on whole workers: pages, filters, order.
#include "sim/queue_scene.h"

namespace ringmx::sim {
namespace {

using QueueAnswers = QueueScene;

TEST_F(QueueAnswers, AListGivesEachMessageOnceOldestFirstWhateverThePage) {
    Ids ids;
    for (int count = 0; count < 23; ++count) {
        ids.push_back(send_waiting());
    }
    for (const std::uint32_t limit : {1U, 4U, 7U, 23U, 24U}) {
        EXPECT_EQ(list({}, limit), ids) << limit;
    }
    rig.finish();
}

TEST_F(QueueAnswers, AnEmptyQueueIsAnEmptyList) {
    EXPECT_TRUE(list().empty());
    EXPECT_EQ(change(Kind::show, 1), Result::unknown);
    EXPECT_EQ(ask({.kind = Kind::retry_all}).changed, 0U);
    rig.finish();
}

TEST_F(QueueAnswers, ARowSaysWhatAnOperatorWantsToKnow) {
    (void)refusing("450 4.2.0 greylisted\r\n");
    const std::uint64_t id =
        send("<Sender@Far.example>", "<u@two.example> <v@two.example>", "a: b\r\n\r\n..c\r\n");
    rig.run_for(5s);
    const WallTime now = rig.port.wall_time();
    const QueueRow row = show(id);
    EXPECT_EQ(row.id, id);
    EXPECT_EQ(row.sender, "Sender@Far.example");
    ASSERT_EQ(row.recipients.size(), 2U);
    EXPECT_EQ(row.recipients[0].address, "u@two.example");
    EXPECT_EQ(row.recipients[1].address, "v@two.example");
    EXPECT_EQ(row.recipients[1].state, RecipientState::pending);
    EXPECT_EQ(row.recipients[1].last_reply, "450 4.2.0 greylisted");
    EXPECT_EQ(row.size_bytes, 12U); // unstuffed
    EXPECT_EQ(row.attempts, 1U);
    EXPECT_EQ(row.state, QueueState::due);
    EXPECT_EQ(row.pool, "two");
    EXPECT_GE(now - row.created, 5s);
    EXPECT_LE(now - row.created, 6s);
    ASSERT_TRUE(row.next_attempt.has_value());
    EXPECT_GT(*row.next_attempt - row.created, 23s); // 30 s, within a fifth
    EXPECT_LT(*row.next_attempt - row.created, 37s);
    rig.finish();
}

// And its own last reply, that of who took it too; after a restart those that pend begin anew.
TEST_F(QueueAnswers, EachRecipientHasItsOwnState) {
    ScriptedBackend& backend = rig.backend(Rig::third_address);
    backend.answer = [](const std::string& command) -> std::optional<std::string> {
        if (command.find("bad@") != std::string::npos) {
            return "550 5.1.1 no such user\r\n";
        }
        return command.find("slow@") != std::string::npos ? std::optional("450 4.2.1 busy\r\n")
                                                          : std::nullopt;
    };
    const std::uint64_t id = send("<>", "<good@two.example> <bad@two.example> <slow@two.example>");
    for (const bool is_restarted : {false, true}) {
        if (is_restarted) {
            backend.refuse_connections(true);
            rig.restart(1, true);
        }
        rig.run_for(5s);
        const QueueRow row = show(id);
        EXPECT_EQ(row.sender, "");
        ASSERT_EQ(row.recipients.size(), 3U);
        EXPECT_EQ(row.recipients[0].state, RecipientState::delivered);
        EXPECT_EQ(row.recipients[0].last_reply, "250 2.0.0 Taken by the backend");
        EXPECT_EQ(row.recipients[1].state, RecipientState::failed);
        EXPECT_EQ(row.recipients[1].last_reply, "550 5.1.1 no such user");
        EXPECT_EQ(row.recipients[2].state, RecipientState::pending);
        EXPECT_EQ(row.recipients[2].last_reply,
                  is_restarted ? "451 4.4.1 No backend takes this message now, try again later"
                               : "450 4.2.1 busy");
    }
    rig.finish();
}

// Its own backend's word, whoever was tried after it; and nobody's who has not been tried.
TEST_F(QueueAnswers, RecipientsOfSeveralPoolsHaveTheLastReplyOfTheirOwn) {
    rig.reload([](Settings& settings) { settings.pools[0].hash = HashKey::recipient_domain; });
    ScriptedBackend& first = rig.backend(Rig::first_address);
    ScriptedBackend& second = rig.backend(Rig::second_address);
    refuse(first, "452 4.2.2 over quota\r\n");
    refuse(second, "452 4.2.2 over quota\r\n");
    ScriptedBackend& third = rig.backend(Rig::third_address);
    third.answer = [](const std::string& command) -> std::optional<std::string> {
        return !command.starts_with("RCPT")  ? std::nullopt
               : command.contains("failed@") ? std::optional("550 5.1.1 no such user\r\n")
                                             : std::optional("450 4.2.0 greylisted\r\n");
    };
    const std::uint64_t id = send("<a@far.example>", "<u@one.example> <u@two.example> "
                                                     "<v@one.example> <failed@two.example>");
    rig.run_for(5s);
    const auto replies = [&] {
        std::vector<std::string> found;
        for (const QueueRow::Recipient& recipient : show(id).recipients) {
            found.push_back(recipient.last_reply);
        }
        return found;
    };
    EXPECT_EQ(replies(),
              (std::vector<std::string>{"452 4.2.2 over quota", "450 4.2.0 greylisted",
                                        "452 4.2.2 over quota", "550 5.1.1 no such user"}));
    refuse(first, "450 4.2.1 busy\r\n");
    refuse(second, "450 4.2.1 busy\r\n");
    third.hold(); // and says nothing more
    EXPECT_EQ(change(Kind::retry, id), Result::done);
    EXPECT_EQ(replies(),
              (std::vector<std::string>{"452 4.2.2 over quota", "450 4.2.0 greylisted",
                                        "452 4.2.2 over quota", "550 5.1.1 no such user"}));
    rig.run_for(10min);
    EXPECT_EQ(
        replies(),
        (std::vector<std::string>{
            "450 4.2.1 busy", "451 4.4.1 No backend takes this message now, try again later",
            "450 4.2.1 busy", "451 4.4.1 No backend takes this message now, try again later"}));
    third.go_on();
    rig.finish();
}

TEST_F(QueueAnswers, OneThatWasReportedToTheSenderKeepsItsLastReply) {
    rig.reload([](Settings& settings) { settings.spool.on_failure = OnFailure::bounce; });
    (void)rig.backend(Rig::first_address);
    (void)rig.backend(Rig::second_address);
    ScriptedBackend& backend = rig.backend(Rig::third_address);
    backend.answer = [](const std::string& command) -> std::optional<std::string> {
        if (command.starts_with("RCPT")) {
            return command.find("bad@") != std::string::npos ? "550 5.1.1 no such user\r\n"
                                                             : "450 4.2.1 busy\r\n";
        }
        return std::nullopt;
    };
    const std::uint64_t id = send("<s@one.example>", "<bad@two.example> <slow@two.example>");
    rig.run_for(5s);
    const QueueRow row = show(id);
    ASSERT_EQ(row.recipients.size(), 2U);
    EXPECT_EQ(row.recipients[0].state, RecipientState::bounced);
    EXPECT_EQ(row.recipients[0].last_reply, "550 5.1.1 no such user");
    EXPECT_EQ(row.recipients[1].last_reply, "450 4.2.1 busy");
    rig.finish();
}

TEST_F(QueueAnswers, WhatEarlierRunsLeftIsCountedWhenAWorkerSaysThatItHasIt) {
    for (int count = 0; count < 30; ++count) {
        (void)send_waiting();
    }
    rig.restart(3, true);
    const auto have_it = [&] {
        return std::ranges::count_if(
            rig.workers, [](const auto& one) { return one->counters.queue_has_earlier.is_set(); });
    };
    EXPECT_EQ(have_it(), 0) << "it is on its way to them";
    EXPECT_TRUE(rig.run_until([&] { return have_it() == 3; }, 1min));
    EXPECT_EQ(rig.queued(), 30);
    rig.finish();
}

TEST_F(QueueAnswers, FiltersBySenderRecipientPoolBackendStateAndAge) {
    const std::uint64_t first = send("<A@Far.example>", "<u@two.example>");
    const std::uint64_t second = send("<>", "<u@one.example> <x@two.example>");
    rig.run_for(1h);
    const std::uint64_t third = send("<b@other.example>", "<U@TWO.example>");
    EXPECT_EQ(list({.sender = "a@far.example"}), Ids{first});
    EXPECT_EQ(list({.sender = "@far.example"}), Ids{first});
    EXPECT_EQ(list({.sender = "<>"}), Ids{second});
    EXPECT_EQ(list({.sender = "@ar.example"}), Ids{});
    EXPECT_EQ(list({.recipient = "u@two.example"}), (Ids{first, third}));
    EXPECT_EQ(list({.recipient = "@one.example"}), Ids{second});
    EXPECT_EQ(list({.recipient = "@two.example", .sender = "<>"}), Ids{second});
    EXPECT_EQ(list({.pool = "one"}), Ids{second});
    EXPECT_EQ(list({.pool = "two"}), (Ids{first, second, third}));
    EXPECT_EQ(list({.pool = "none"}), Ids{});
    EXPECT_EQ(list({.backend = Rig::third_address}), (Ids{first, second, third}));
    const Ids at_first = list({.backend = Rig::first_address});
    const Ids at_second = list({.backend = Rig::second_address});
    EXPECT_EQ(at_first.size() + at_second.size(), 1U);
    EXPECT_EQ(list({.older_than = 30min}), (Ids{first, second}));
    EXPECT_EQ(change(Kind::hold, third), Result::done);
    EXPECT_EQ(list({.state = QueueState::on_hold}), Ids{third});
    EXPECT_EQ(list({.state = QueueState::parked}).size(), 2U);
    rig.finish();
}

// As long as it is not known that the backend is out, it is called; after that nobody is asked.
TEST_F(QueueAnswers, WhatHasNoBackendSaysSo) {
    ScriptedBackend& backend = rig.backend(Rig::third_address);
    backend.refuse_connections(true);
    const std::uint64_t first = send_waiting();
    rig.run_for(1s);
    EXPECT_GE(show(first).attempts, 1U);
    for (int count = 0; count < 3; ++count) {
        (void)send_waiting();
        rig.run_for(1s);
    }
    const std::uint64_t last = send_waiting();
    EXPECT_EQ(show(last).attempts, 0U);
    for (const std::uint64_t id : {first, last}) {
        EXPECT_EQ(show(id).state, QueueState::parked);
        EXPECT_EQ(show(id).recipients.at(0).last_reply,
                  "451 4.4.1 No backend takes this message now, try again later");
    }
    rig.finish();
}

TEST_F(QueueAnswers, WhatFailedIsFoundByTheBackendToo) {
    (void)refusing("550 5.1.1 no such user\r\n");
    const std::uint64_t id = send_waiting();
    rig.run_for(10s);
    EXPECT_EQ(show(id).state, QueueState::failed);
    EXPECT_EQ(list({.backend = Rig::third_address}), Ids{id});
    EXPECT_EQ(list({.backend = Rig::first_address}), Ids{});
    rig.finish();
}

// Of what stays for long: it would keep a number from ever being another pool's, and tell of routes
// that are past.
TEST_F(QueueAnswers, WhatFailedOrIsHeldIsOfThePoolThatItWouldGoToNow) {
    (void)refusing("550 5.1.1 no such user\r\n");
    const std::uint64_t failed = send_waiting();
    rig.run_for(10s);
    const std::uint64_t held = send_waiting();
    EXPECT_EQ(change(Kind::hold, held), Result::done);
    rig.run_for(10s);
    for (std::uint16_t pool = 0; pool < 100; ++pool) {
        EXPECT_FALSE(rig.worker->queue()->index().is_named(pool)) << pool;
    }
    EXPECT_EQ(list({.pool = "two"}), (Ids{failed, held}));
    rig.reload([](Settings& settings) { settings.routes[1].pool_index = 0; });
    EXPECT_EQ(list({.pool = "one"}), (Ids{failed, held}));
    EXPECT_EQ(list({.pool = "two"}), Ids{});
    rig.finish();
}

TEST_F(QueueAnswers, AMessageToSeveralPoolsIsOfThoseThatItIsStillToGoTo) {
    rig.reload([](Settings& settings) { settings.pools[1].hold = true; });
    const std::uint64_t id =
        send("<a@far.example>", "<u@one.example> <v@two.example> <w@one.example>");
    rig.run_for(1min);
    QueueRow row = show(id);
    EXPECT_EQ(row.pool, "one,two");
    EXPECT_EQ(row.recipients.at(0).pool, "one");
    EXPECT_EQ(row.recipients.at(1).pool, "two");
    EXPECT_EQ(list({.pool = "one"}), Ids{id});
    EXPECT_EQ(list({.pool = "two"}), Ids{id});
    (void)rig.backend(Rig::first_address);
    (void)rig.backend(Rig::second_address);
    EXPECT_TRUE(rig.run_until(
        [&] { return show(id).recipients.at(0).state == RecipientState::delivered; }, 1h));
    row = show(id);
    EXPECT_EQ(row.pool, "two");
    EXPECT_EQ(row.recipients.at(0).pool, "one");
    EXPECT_EQ(list({.pool = "one"}), Ids{});
    EXPECT_EQ(list({.pool = "two"}), Ids{id});
    (void)refusing("550 5.1.1 no such user\r\n");
    rig.reload([](Settings& settings) { settings.pools[1].hold = false; });
    rig.run_for(1min);
    EXPECT_EQ(show(id).pool, "two") << "where it failed";
    EXPECT_EQ(list({.pool = "two"}), Ids{id});
    rig.finish();
}

TEST_F(QueueAnswers, AReportIsOfThePoolThatReportsWithoutARouteGoTo) {
    rig.reload([](Settings& settings) {
        settings.spool.on_failure = OnFailure::bounce;
        settings.spool.bounce_pool = "one";
    });
    (void)refusing("550 5.1.1 no such user\r\n");
    (void)send_waiting();
    rig.run_for(1min);
    const Ids reports = list({.sender = "<>"});
    ASSERT_EQ(reports.size(), 1U);
    EXPECT_EQ(list({.pool = "one"}), reports);
    rig.restart(1, true);
    EXPECT_EQ(list({.pool = "one"}), reports);
    EXPECT_EQ(show(reports[0]).pool, "one");
    rig.finish();
}

TEST_F(QueueAnswers, PostmasterIsTheMailboxWithoutADomainTooAndADomainAsAnyOther) {
    // Whoever that is: it has a route here, or is said to be somebody.
    for (const bool has_route : {false, true}) {
        rig.reload([&](Settings& settings) {
            settings.postmaster = has_route ? "" : "admin@two.example";
            settings.routes[1].recipients = {"two.example", "postmaster"};
            if (has_route) {
                settings.routes[1].recipients.emplace_back("mx.example");
            }
        });
        const std::uint64_t bare = send("<a@far.example>", "<PostMaster>");
        const std::uint64_t domain = send("<a@far.example>", "<u@postmaster>");
        const std::uint64_t other = send("<a@far.example>", "<postmaster@two.example>");
        EXPECT_EQ(list({.recipient = "postmaster"}), (Ids{bare, domain}));
        EXPECT_EQ(list({.recipient = "@postmaster"}), Ids{domain});
        EXPECT_EQ(list({.recipient = "postmaster@two.example"}), Ids{other});
        for (const std::uint64_t id : {bare, domain, other}) {
            EXPECT_EQ(change(Kind::remove, id), Result::done);
        }
    }
    rig.finish();
}

TEST_F(QueueAnswers, AFilteredPageThatFoundNothingSaysWhereToGoOn) {
    rig.reload([](Settings& settings) { settings.spool.retry.initial = 4h; });
    for (std::uint32_t count = 0; count < worker::QueueAnswers::reads_max + 5; ++count) {
        (void)send_waiting();
    }
    const std::uint64_t last = send("<x@far.example>", "<u@two.example>");
    const QueueQuestion question{
        .kind = Kind::list, .filter = {.sender = "x@far.example"}, .limit = 10};
    const QueueAnswer answer = ask(question);
    EXPECT_TRUE(answer.rows.empty());
    EXPECT_FALSE(answer.is_end);
    EXPECT_EQ(list(question.filter), Ids{last});
    rig.finish();
}

} // namespace
} // namespace ringmx::sim
