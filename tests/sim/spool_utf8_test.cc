// Addresses and headers that are not ASCII, on their way from a spool: what was accepted while nobody
// knew what the backend takes.
#include "sim/queue_scene.h"

#include <gmock/gmock.h>

namespace ringmx::sim {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr const char* eight_bit_header = "Subject: \xC3\xA4\r\n\r\nx\r\n";

class SpoolUtf8 : public QueueScene {
  protected:
    // Pool "two" has one that lacks SMTPUTF8, which nobody knows before mail for it is accepted; with
    // `restarts` it goes out only after that, from the disk.
    std::uint64_t send_before_it_is_known(std::string_view sender, std::string_view recipients,
                                          bool restarts) {
        BackendProfile profile;
        profile.utf8 = false;
        backend = &rig.backend(Rig::third_address, profile);
        backend->refuse_connections(restarts);
        const std::uint64_t id = send(sender, recipients, eight_bit_header);
        if (restarts) {
            rig.restart(1, true);
            backend->refuse_connections(false);
        }
        return id;
    }

    ScriptedBackend* backend = nullptr;
};

TEST_F(SpoolUtf8, AnAddressThatItsBackendTurnsOutNotToTakeFailsForGood) {
    for (const bool restarts : {false, true}) {
        const std::uint64_t id = send_before_it_is_known(
            "<a@far.example> SMTPUTF8", "<\xC3\xBC@two.example> <plain@two.example>", restarts);
        ASSERT_TRUE(rig.run_until([&] { return show(id).state == QueueState::failed; }, 1h));
        const QueueRow row = show(id);
        EXPECT_EQ(row.recipients.at(0).state, RecipientState::failed);
        EXPECT_THAT(row.recipients.at(0).last_reply, StartsWith("550 5.6.7"));
        EXPECT_EQ(row.recipients.at(1).state, RecipientState::delivered) << "what it can take";
        rig.run_for(24h);
        ASSERT_EQ(backend->messages.size(), 1U) << "and no more is tried";
        EXPECT_THAT(backend->messages[0]->recipients,
                    ElementsAre(StartsWith("RCPT TO:<plain@two.example>")));
        EXPECT_EQ(change(Kind::remove, id), Result::done);
        backend->refuse_connections(true); // the next one takes its place
        rig.lasting->traits.at({"two", Rig::third_address})->smtputf8 =
            worker::BackendTraits::Known::unknown;
    }
    rig.finish();
}

// Once it is known, by RCPT: the client still has the message then. A pool takes what one of its
// backends may take.
TEST_F(SpoolUtf8, AnAddressThatItsPoolIsKnownNotToTakeIsRefusedAtRcpt) {
    BackendProfile profile;
    profile.utf8 = false;
    ScriptedBackend& other = rig.backend(Rig::first_address, profile);
    rig.backend(Rig::second_address).refuse_connections(true); // of that one nothing is known
    backend = &rig.backend(Rig::third_address, profile);
    while (backend->connections == 0 || other.connections == 0) {
        const std::string name = std::to_string(number++);
        (void)send("<a@far.example>", "<u" + name + "@one.example> <u@two.example>");
        ASSERT_TRUE(rig.run_until([&] { return rig.queued() == 0; }, 1h));
    }
    Client& client = rig.greeted();
    const auto ask = [&](std::string_view recipient) {
        return rig.ask(client, "RCPT TO:" + std::string(recipient) + "\r\n");
    };
    EXPECT_THAT(rig.ask(client, "MAIL FROM:<a@far.example> SMTPUTF8\r\n"), StartsWith("250"));
    EXPECT_THAT(ask("<\xC3\xBC@two.example>"), StartsWith("550 5.6.7"));
    EXPECT_THAT(ask("<plain@two.example>"), StartsWith("250"));
    EXPECT_THAT(ask("<\xC3\xBC@one.example>"), StartsWith("250"));
    EXPECT_THAT(rig.ask(client, "RSET\r\n"), StartsWith("250"));
    EXPECT_THAT(rig.ask(client, "MAIL FROM:<\xC3\xBC@far.example> SMTPUTF8\r\n"),
                StartsWith("250"));
    EXPECT_THAT(ask("<plain@two.example>"), StartsWith("550 5.6.7")) << "it has to say the sender";
    EXPECT_THAT(ask("<plain@one.example>"), StartsWith("250"));
    EXPECT_EQ(rig.counters.recipients_rejected[observe::RecipientReason::backend_reject].value(),
              2U);
    rig.finish();
}

TEST_F(SpoolUtf8, ASenderThatTheBackendTurnsOutNotToTakeFailsForGood) {
    const std::uint64_t id =
        send_before_it_is_known("<\xC3\xBC@far.example> SMTPUTF8", "<plain@two.example>", false);
    ASSERT_TRUE(rig.run_until([&] { return show(id).state == QueueState::failed; }, 1h));
    EXPECT_THAT(show(id).recipients.at(0).last_reply, StartsWith("550 5.6.7"));
    EXPECT_TRUE(backend->messages.empty());
    rig.finish();
}

// To one of the other pool.
TEST_F(SpoolUtf8, WhereFailuresAreReportedTheSenderHearsOfIt) {
    rig.reload([](Settings& settings) { settings.spool.on_failure = OnFailure::bounce; });
    ScriptedBackend& first = rig.backend(Rig::first_address);
    ScriptedBackend& second = rig.backend(Rig::second_address);
    for (const std::string sender : {"<a@one.example>", "<\xC3\xBC@one.example>"}) {
        const std::size_t before = taken(first) + taken(second);
        (void)send_before_it_is_known(sender + " SMTPUTF8", "<\xC3\xB6@two.example>", false);
        ASSERT_TRUE(rig.run_until([&] { return rig.queued() == 0; }, 1h));
        EXPECT_TRUE(backend->messages.empty());
        EXPECT_EQ(taken(first) + taken(second), before + 1);
        for (const ScriptedBackend* const other : {&first, &second}) {
            for (const std::shared_ptr<BackendMessage>& report : other->messages) {
                EXPECT_THAT(report->mail, StartsWith("MAIL FROM:<>"));
                EXPECT_THAT(report->octets, HasSubstr("5.6.7"));
                EXPECT_THAT(report->octets, HasSubstr("\xC3\xB6@two.example"));
            }
        }
        backend->refuse_connections(true);
        rig.lasting->traits.at({"two", Rig::third_address})->smtputf8 =
            worker::BackendTraits::Known::unknown;
    }
    EXPECT_EQ(rig.counters.reports[observe::ReportKind::failed].value(), 2U);
    rig.finish();
}

TEST_F(SpoolUtf8, WhereOnlyTheHeaderIsEightBitTheMessageGoesWithoutTheParameter) {
    for (const bool restarts : {false, true}) {
        (void)send_before_it_is_known("<a@far.example> SMTPUTF8 BODY=8BITMIME",
                                      "<plain@two.example>", restarts);
        ASSERT_TRUE(rig.run_until([&] { return taken(*backend) == 1; }, 1h));
        EXPECT_THAT(backend->messages[0]->mail, Not(HasSubstr("SMTPUTF8")));
        EXPECT_THAT(backend->messages[0]->mail, HasSubstr("BODY=8BITMIME"));
        EXPECT_TRUE(backend->messages[0]->octets.ends_with(eight_bit_header));
        backend->refuse_connections(true);
    }
    rig.run_for(1min); // connections are over
    // And with it to one that offers it.
    ScriptedBackend& modern = rig.backend(Rig::third_address);
    (void)send("<a@far.example> SMTPUTF8", "<plain@two.example>", eight_bit_header);
    ASSERT_TRUE(rig.run_until([&] { return rig.queued() == 0; }, 1h));
    ASSERT_EQ(taken(modern), 1U);
    EXPECT_THAT(modern.messages[0]->mail, HasSubstr("SMTPUTF8"));
    rig.finish();
}

} // namespace
} // namespace ringmx::sim
