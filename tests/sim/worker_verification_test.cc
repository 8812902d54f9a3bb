// Routes with `verify`: what clients hear of RCPT, what backends are asked, and how often.
#include "sim/worker_scenes.h"

#include <algorithm>
#include <gmock/gmock.h>

namespace ringmx::sim {
namespace {

using Kind = CacheQuestion::Kind;
using observe::VerificationResult;
using testing::ElementsAre;
using testing::StartsWith;

const std::string known = "RCPT TO:<user@two.example>\r\n";
const std::string unknown = "RCPT TO:<nobody@two.example>\r\n";

// Mail for two.example goes to one backend that knows everybody but nobody@; one.example is not
// verified unless `change` says so.
struct Verifying {
    explicit Verifying(const std::function<void(Settings&)>& change = {},
                       BackendProfile profile = {})
        : rig(options(change)), backend(rig.backend(Rig::third_address, profile)) {
        backend.answer = refuses_nobody;
    }

    static RigOptions options(const std::function<void(Settings&)>& change) {
        RigOptions made;
        made.spool = true;
        made.settings = [change](Settings& settings) {
            settings.routes[1].verify_backend = true;
            settings.log.level = LogLevel::error;
            if (change) {
                change(settings);
            }
        };
        return made;
    }
    static Said refuses_nobody(const std::string& command) {
        return command.starts_with("RCPT TO:<nobody@")
                   ? Said("550-5.1.1 <nobody@two.example>\r\n550 5.1.1 is not here\r\n")
                   : std::nullopt;
    }

    Client& with_mail() {
        Client& client = rig.greeted();
        EXPECT_THAT(rig.ask(client, "MAIL FROM:<a@b.example>\r\n"), StartsWith("250"));
        return client;
    }
    std::string answer_to(const std::string& recipient) { return rig.ask(with_mail(), recipient); }
    CacheAnswer ask_cache(CacheQuestion question) {
        question.number = ++last_number;
        EXPECT_TRUE(rig.worker->post(
            {.kind = worker::Inbox::Kind::cache_question, .cache_question = std::move(question)}));
        CacheAnswer answer;
        EXPECT_TRUE(rig.run_until([&] { return rig.worker->take_answer(answer); }, 1min));
        EXPECT_EQ(answer.question, last_number);
        return answer;
    }
    [[nodiscard]] std::uint64_t asked(VerificationResult result) const {
        return rig.counters.verifications_asked[result].value();
    }
    [[nodiscard]] std::uint64_t cached(VerificationResult result) const {
        return rig.counters.verifications_cached[result].value();
    }

    Rig rig;
    ScriptedBackend& backend;
    std::uint64_t last_number = 0;
};

TEST(WorkerVerification, TheBackendIsAskedOnceAndThenItsAnswerIsKnown) {
    Verifying one;
    for (int count = 0; count < 3; ++count) {
        EXPECT_THAT(one.answer_to(known), StartsWith("250 2.1.5"));
        EXPECT_EQ(one.answer_to(unknown),
                  "550-5.1.1 <nobody@two.example>\r\n550 5.1.1 is not here\r\n");
        EXPECT_THAT(one.answer_to("RCPT TO:<NOBODY@TWO.example>\r\n"),
                    StartsWith("550-5.1.1 <NOBODY@TWO.example>"));
    }
    EXPECT_THAT(one.backend.commands,
                ElementsAre("EHLO mx.example", "MAIL FROM:<>", "RCPT TO:<user@two.example>", "RSET",
                            "MAIL FROM:<>", "RCPT TO:<nobody@two.example>", "RSET"));
    EXPECT_EQ(one.asked(VerificationResult::exists), 1U);
    EXPECT_EQ(one.asked(VerificationResult::unknown), 1U);
    EXPECT_EQ(one.cached(VerificationResult::exists), 2U);
    EXPECT_EQ(one.cached(VerificationResult::unknown), 5U);
    EXPECT_EQ(one.rig.counters.verification_entries.value(), 2);
    EXPECT_EQ(
        one.rig.counters.recipients_rejected[observe::RecipientReason::unknown_recipient].value(),
        6U);
    one.rig.finish();
}

TEST(WorkerVerification, RoutesWithoutVerifyAskNobody) {
    Verifying one([](Settings& settings) { settings.routes[1].verify_backend = false; });
    EXPECT_THAT(one.answer_to(unknown), StartsWith("250"));
    EXPECT_EQ(one.backend.connections, 0U);
    one.rig.finish();
}

TEST(WorkerVerification, AnswersEndWithTheirTimes) {
    Verifying one([](Settings& settings) {
        settings.verification.positive = 60s;
        settings.verification.negative = 10s;
    });
    (void)one.answer_to(known);
    (void)one.answer_to(unknown);
    one.rig.run_for(12s);
    (void)one.answer_to(known);
    (void)one.answer_to(unknown);
    EXPECT_EQ(one.asked(VerificationResult::exists), 1U);
    EXPECT_EQ(one.asked(VerificationResult::unknown), 2U);
    one.rig.run_for(60s);
    (void)one.answer_to(known);
    EXPECT_EQ(one.asked(VerificationResult::exists), 2U);
    one.rig.finish();
}

TEST(WorkerVerification, OneQuestionServesAllWhoAsk) {
    Verifying one;
    one.backend.hold();
    std::vector<Client*> clients;
    for (int count = 0; count < 5; ++count) {
        clients.push_back(&one.with_mail());
        one.rig.send(*clients.back(), unknown + known);
    }
    one.rig.run_for(1s);
    one.backend.go_on();
    for (Client* client : clients) {
        EXPECT_THAT(one.rig.reply(*client), StartsWith("550-5.1.1 <nobody@two.example>"));
        EXPECT_THAT(one.rig.reply(*client), StartsWith("250 2.1.5"));
    }
    EXPECT_EQ(one.backend.count_of("RCPT"), 2U);
    one.rig.finish();
}

TEST(WorkerVerification, APipelinedTransactionIsAnsweredInOrderAndTakesWhoExists) {
    for (const bool pipelining : {true, false}) {
        Verifying one({}, BackendProfile{.pipelining = pipelining});
        Client& client = one.rig.greeted();
        std::string commands = "MAIL FROM:<a@b.example>\r\nRCPT TO:<first@one.example>\r\n";
        commands += unknown;
        commands += known;
        commands += "RCPT TO:<x@elsewhere.example>\r\nRCPT TO:<last@one.example>\r\n"
                    "RCPT TO:<bad>\r\nDATA\r\n";
        one.rig.send(client, commands);
        for (const char* expected : {"250 2.1.0", "250 2.1.5", "550-5.1.1", "250 2.1.5",
                                     "550 5.7.1", "250 2.1.5", "501 5.1.3", "354"}) {
            EXPECT_THAT(one.rig.reply(client), StartsWith(expected));
        }
        EXPECT_THAT(one.rig.ask(client, "Subject: x\r\n\r\nx\r\n.\r\n"), StartsWith("250 2.0.0"));
        EXPECT_TRUE(one.rig.run_until([&] { return one.backend.taken_count() == 1; }));
        EXPECT_THAT(one.backend.messages.back()->recipients,
                    ElementsAre("RCPT TO:<user@two.example>"));
        one.rig.finish();
    }
}

TEST(WorkerVerification, WhatSaysNothingOfTheRecipientIsUnavailable) {
    struct Case {
        std::string verb;
        std::string reply;
    };
    for (const bool defers : {false, true}) {
        for (const Case& one_case :
             {Case{"RCPT", "450 4.2.0 Greylisted\r\n"}, Case{"MAIL", "550 5.7.1 No bounces\r\n"},
              Case{"RCPT", "555 5.5.4 What?\r\n"}, Case{"RCPT", "421 4.3.2 Busy\r\n"},
              Case{"RCPT", ScriptedBackend::drop_now}, Case{"connect", "554 No\r\n"},
              Case{"RCPT", ScriptedBackend::say_nothing}}) {
            Verifying one(
                [&](Settings& settings) { settings.verification.defer_unavailable = defers; });
            one.backend.answer = always(one_case.verb, one_case.reply);
            EXPECT_THAT(one.answer_to(known), StartsWith(defers ? "450 4.1.1" : "250 2.1.5"))
                << one_case.verb << one_case.reply;
            EXPECT_EQ(one.asked(VerificationResult::unavailable), 1U);
            EXPECT_EQ(one.rig.counters.verification_entries.value(), 0);
            one.backend.answer = Verifying::refuses_nobody;
            one.rig.run_for(6min); // it is back, whatever it was taken out for
            EXPECT_THAT(one.answer_to(unknown), StartsWith("550")) << "nothing of it was kept";
            one.rig.finish();
        }
    }
}

TEST(WorkerVerification, ABackendThatIsAwayIsUnavailable) {
    Verifying one([](Settings& settings) { settings.verification.defer_unavailable = true; });
    one.backend.refuse_connections(true);
    EXPECT_THAT(one.answer_to(known), StartsWith("450 4.1.1"));
    one.rig.finish();
}

TEST(WorkerVerification, AnyOther5xxIsTheBackendsAnswerTooButNoUnknownRecipient) {
    Verifying one([](Settings& settings) {
        settings.limits.unknown_recipients_per_connection = 1;
        settings.limits.errors_per_connection = 1;
    });
    one.backend.answer = always("RCPT", "552 5.2.2 Mailbox full\r\n");
    Client& client = one.with_mail();
    for (int count = 0; count < 4; ++count) {
        EXPECT_EQ(one.rig.ask(client, known), "552 5.2.2 Mailbox full\r\n");
    }
    EXPECT_EQ(one.backend.count_of("RCPT"), 1U);
    one.rig.finish();
}

TEST(WorkerVerification, ABackendWithoutSmtputf8TakesNoAddressThatNeedsIt) {
    Verifying one({}, {.utf8 = false});
    Client& client = one.rig.greeted();
    EXPECT_THAT(one.rig.ask(client, "MAIL FROM:<a@b.example> SMTPUTF8\r\n"), StartsWith("250"));
    EXPECT_THAT(one.rig.ask(client, "RCPT TO:<j\u00FCrgen@two.example>\r\n"),
                StartsWith("550 5.6.7 "));
    EXPECT_EQ(one.backend.count_of("RCPT"), 0U);
    one.rig.finish();
}

TEST(WorkerVerification, TooManyUnknownRecipientsEndTheConnection) {
    Verifying one(
        [](Settings& settings) { settings.limits.unknown_recipients_per_connection = 2; });
    Client& client = one.with_mail();
    one.rig.send(client, unknown + unknown + unknown + known + "DATA\r\n");
    EXPECT_THAT(one.rig.reply(client), StartsWith("550"));
    EXPECT_THAT(one.rig.reply(client), StartsWith("550"));
    EXPECT_THAT(one.rig.reply(client), StartsWith("421 4.7.0"));
    EXPECT_EQ(one.rig.reply(client), "(closed)");
    one.rig.finish();
}

TEST(WorkerVerification, AClientThatLeavesIsForgottenAndTheAnswerIsKept) {
    Verifying one;
    one.backend.hold();
    Client& client = one.with_mail();
    one.rig.send(client, unknown + "DATA\r\n");
    one.rig.run_for(1s);
    client.socket->close();
    one.rig.run_for(1s);
    one.backend.go_on();
    one.rig.run_for(1s);
    EXPECT_THAT(one.answer_to(unknown), StartsWith("550"));
    EXPECT_EQ(one.cached(VerificationResult::unknown), 1U);
    one.rig.finish();
}

TEST(WorkerVerification, AConnectionThatWasClosedMeanwhileIsReplaced) {
    Verifying one;
    (void)one.answer_to(known);
    bool is_second = false;
    one.backend.answer = [&](const std::string& command) -> Said {
        if (command.starts_with("MAIL") && !std::exchange(is_second, true)) {
            return ScriptedBackend::drop_now;
        }
        return Verifying::refuses_nobody(command);
    };
    EXPECT_THAT(one.answer_to(unknown), StartsWith("550"));
    EXPECT_EQ(one.backend.connections, 2U);
    one.rig.finish();
}

TEST(WorkerVerification, AnotherBackendIsAskedWhenOneDropsTheQuestion) {
    RigOptions options;
    options.spool = true;
    options.settings = [](Settings& settings) { settings.routes[0].verify_backend = true; };
    Pair pair(options);
    pair.once("RCPT", ScriptedBackend::drop_now);
    Client& client = pair.rig.greeted();
    (void)pair.rig.ask(client, "MAIL FROM:<a@b.example>\r\n");
    EXPECT_THAT(pair.rig.ask(client, "RCPT TO:<u@one.example>\r\n"), StartsWith("250 2.1.5"));
    EXPECT_EQ(pair.count_of("RCPT"), 2U);
    EXPECT_EQ(pair.rig.counters.verifications_asked[VerificationResult::exists].value(), 1U);
    pair.rig.finish();
}

TEST(WorkerVerification, NoClientWaitsForASilentBackendLongerThanItWould) {
    Verifying one;
    one.backend.answer = always("RCPT", ScriptedBackend::say_nothing);
    Client& client = one.with_mail();
    one.rig.send(client, known);
    one.rig.run_for(29s);
    EXPECT_EQ(client.take_reply(), "");
    one.rig.run_for(2s);
    EXPECT_THAT(client.take_reply(), StartsWith("250 2.1.5"));
    one.rig.finish();
}

TEST(WorkerVerification, QuestionsLeaveMostConnectionsToMail) {
    Verifying one([](Settings& settings) { settings.pools[1].max_connections = 8; });
    one.backend.hold();
    std::vector<Client*> clients;
    clients.reserve(20);
    for (int count = 0; count < 20; ++count) {
        clients.push_back(&one.with_mail());
    }
    for (std::size_t index = 0; index < clients.size(); ++index) {
        one.rig.send(*clients[index],
                     "RCPT TO:<user" + std::to_string(index) + "@two.example>\r\n");
    }
    one.rig.run_for(2s);
    EXPECT_EQ(one.backend.connections, 2U) << "a quarter";
    one.backend.go_on();
    for (Client* client : clients) {
        EXPECT_THAT(one.rig.reply(*client), StartsWith("250 2.1.5"));
    }
    EXPECT_EQ(one.backend.count_of("RCPT"), 20U);
    one.rig.finish();
}

TEST(WorkerVerification, APoolOnHoldIsNotAsked) {
    Verifying one([](Settings& settings) { settings.pools[1].hold = true; });
    EXPECT_THAT(one.answer_to(unknown), StartsWith("250 2.1.5"));
    EXPECT_EQ(one.backend.connections, 0U);
    one.rig.finish();
}

TEST(WorkerVerification, InBackendModeTheTransactionItselfAsksButWhatIsUnknownIsRefusedAtOnce) {
    Verifying one;
    (void)one.answer_to(unknown);
    one.rig.reload(
        [](Settings& settings) { settings.listeners[0].acknowledge = Acknowledge::backend; });
    const std::size_t asked_before = one.backend.count_of("RCPT");
    Client& client = one.with_mail();
    EXPECT_THAT(one.rig.ask(client, unknown), StartsWith("550-5.1.1 <nobody@two.example>"));
    EXPECT_EQ(one.backend.count_of("RCPT"), asked_before);
    EXPECT_EQ(one.rig.ask(client, known), "250 2.1.5 Fine here\r\n");
    EXPECT_EQ(one.backend.count_of("RCPT"), asked_before + 1);
    EXPECT_EQ(one.backend.commands.back(), "RCPT TO:<user@two.example>");
    EXPECT_EQ(one.asked(VerificationResult::exists), 0U);
    one.rig.finish();
}

TEST(WorkerVerification, AReloadKeepsAnswersAndAPurgeDoesNot) {
    Verifying one;
    (void)one.answer_to(unknown);
    one.rig.reload([](Settings& settings) { settings.limits.recipients = 5; });
    (void)one.answer_to(unknown);
    EXPECT_EQ(one.backend.count_of("RCPT"), 1U);
    EXPECT_EQ(one.ask_cache({.kind = Kind::purge}).purged, 1U);
    EXPECT_EQ(one.rig.counters.verification_entries.value(), 0);
    (void)one.answer_to(unknown);
    EXPECT_EQ(one.backend.count_of("RCPT"), 2U);
    one.rig.reload([](Settings& settings) { settings.routes[1].verify_backend = false; });
    EXPECT_THAT(one.answer_to(unknown), StartsWith("250"));
    EXPECT_EQ(one.rig.counters.verification_entries.value(), 0);
    one.rig.finish();
}

TEST(WorkerVerification, WhatIsKnownIsListedAndPurgedByRecipient) {
    Verifying one([](Settings& settings) { settings.verification.positive = 1h; });
    (void)one.answer_to(known);
    (void)one.answer_to(unknown);
    const CacheAnswer all = one.ask_cache({.kind = Kind::list, .limit = 50});
    ASSERT_EQ(all.rows.size(), 2U);
    EXPECT_EQ(all.next, 0U);
    EXPECT_EQ(all.rows[0].reply, "");
    EXPECT_LE(all.rows[0].remaining, 1h);
    EXPECT_GE(all.rows[0].remaining, 59min);
    EXPECT_EQ(all.rows[1].reply, "550 5.1.1 <recipient> is not here");
    const CacheAnswer page = one.ask_cache({.kind = Kind::list, .limit = 1});
    ASSERT_EQ(page.rows.size(), 1U);
    const CacheAnswer rest = one.ask_cache({.kind = Kind::list, .after = page.next, .limit = 1});
    ASSERT_EQ(rest.rows.size(), 1U);
    EXPECT_EQ(rest.rows[0].reply, all.rows[1].reply);
    EXPECT_EQ(rest.next, 0U);

    const std::string nobody = "nobody@two.example";
    const CacheAnswer of_one = one.ask_cache({.kind = Kind::list, .recipient = nobody});
    ASSERT_EQ(of_one.rows.size(), 1U);
    EXPECT_EQ(of_one.rows[0].reply, "550 5.1.1 <nobody@two.example> is not here");
    EXPECT_TRUE(one.ask_cache({.kind = Kind::list, .recipient = "x@two.example"}).rows.empty());
    EXPECT_TRUE(one.ask_cache({.kind = Kind::list, .recipient = "x@no.example"}).rows.empty());
    EXPECT_EQ(one.ask_cache({.kind = Kind::purge, .recipient = "x@no.example"}).purged, 0U);
    EXPECT_EQ(one.ask_cache({.kind = Kind::purge, .recipient = nobody}).purged, 1U);
    EXPECT_EQ(one.ask_cache({.kind = Kind::purge, .recipient = nobody}).purged, 0U);
    EXPECT_EQ(one.rig.counters.verification_entries.value(), 1);
    (void)one.answer_to(known);
    EXPECT_EQ(one.backend.count_of("RCPT"), 2U);
    (void)one.answer_to(unknown);
    EXPECT_EQ(one.backend.count_of("RCPT"), 3U);
    one.rig.finish();
}

// What the backend had said before the operator made the account must not come in behind the purge.
TEST(WorkerVerification, AnAnswerThatWasAskedForBeforeAPurgeIsNotKept) {
    for (const char* const recipient : {"", "nobody@two.example"}) {
        Verifying one;
        one.backend.answer = always("RCPT", ScriptedBackend::say_nothing);
        Client& first = one.with_mail();
        one.rig.send(first, unknown);
        EXPECT_TRUE(one.rig.run_until([&] { return one.backend.count_of("RCPT") == 1; }, 5s));
        EXPECT_EQ(one.ask_cache({.kind = Kind::purge, .recipient = recipient}).purged, 0U);
        one.backend.answer = always("RCPT", "250 2.1.5 here now\r\n");
        Client& second = one.with_mail();
        EXPECT_THAT(one.rig.ask(second, unknown), StartsWith("250")) << "asked anew";
        one.backend.interject("550 5.1.1 not yet\r\n");
        EXPECT_EQ(one.rig.reply(first), "550 5.1.1 not yet\r\n");
        EXPECT_EQ(one.rig.counters.verification_entries.value(), 1);
        EXPECT_THAT(one.answer_to(unknown), StartsWith("250"));
        EXPECT_EQ(one.backend.count_of("RCPT"), 2U);
        one.rig.finish();
    }
}

TEST(WorkerVerification, WithoutARouteThatVerifiesNothingIsKnown) {
    Verifying one([](Settings& settings) { settings.routes[1].verify_backend = false; });
    EXPECT_TRUE(one.ask_cache({.kind = Kind::list, .limit = 50}).rows.empty());
    EXPECT_EQ(one.ask_cache({.kind = Kind::purge}).purged, 0U);
    one.rig.finish();
}

TEST(WorkerVerification, ADrainDoesNotWaitForAnswersThatNobodyHears) {
    for (const char* verb : {"RCPT", "connect"}) {
        Verifying one;
        one.backend.answer = always(verb, ScriptedBackend::say_nothing);
        Client& client = one.with_mail();
        one.rig.send(client, known);
        one.rig.run_for(1s);
        client.socket->reset();
        one.rig.post(worker::Inbox::Kind::drain);
        EXPECT_TRUE(one.rig.run_until([&] { return one.rig.finished(); }, 5s)) << verb;
        one.rig.finish();
    }
}

TEST(WorkerVerification, ACutEndsWhoWaits) {
    Verifying one;
    one.backend.answer = always("RCPT", ScriptedBackend::say_nothing);
    Client& client = one.with_mail();
    one.rig.send(client, known);
    one.rig.run_for(1s);
    one.rig.post(worker::Inbox::Kind::cut);
    EXPECT_THAT(one.rig.reply(client), StartsWith("421 4.3.2"));
    one.rig.finish();
}

} // namespace
} // namespace ringmx::sim
