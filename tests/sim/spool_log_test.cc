// What the log says of spooled mail: what truly became of it.
#include "sim/spool_scenes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <optional>

namespace ringmx::sim {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

RigOptions logging(Acknowledge acknowledge = Acknowledge::spool,
                   OnFailure on_failure = OnFailure::bounce) {
    RigOptions options = spooling();
    options.settings = [=](Settings& settings) {
        settings.listeners[0].acknowledge = acknowledge;
        settings.spool.on_failure = on_failure;
        settings.log.level = LogLevel::info;
    };
    return options;
}

void send(Rig& rig, const std::string& sender) {
    Client& client = rig.greeted();
    EXPECT_TRUE(rig.ask(client, "MAIL FROM:" + sender + "\r\n").starts_with("250"));
    EXPECT_TRUE(rig.ask(client, "RCPT TO:<a@two.example>\r\n").starts_with("250"));
    EXPECT_TRUE(rig.ask(client, "DATA\r\n").starts_with("354"));
    EXPECT_NE(rig.ask(client, "Subject: x\r\n\r\ny\r\n.\r\n"), "");
}

// Of <a@two.example>, to the end of the line.
std::string status_in_log(Rig& rig) {
    const std::string log = rig.log_text();
    const std::size_t line = log.find(": to=<a@two.example>, ");
    const std::size_t status = log.find("status=", line);
    return line == std::string::npos ? log : log.substr(status, log.find('\n', status) - status);
}

TEST(SpoolLog, SaysWhetherARecipientIsBouncedOrHeldAndWhy) {
    const std::string refused = "(550 5.1.1 no such user";
    struct Case {
        std::string sender;
        OnFailure on_failure;
        std::string status;
    };
    const Case cases[] = {
        {"<s@one.example>", OnFailure::bounce, "status=bounced " + refused + ")"},
        {"<s@one.example>", OnFailure::hold, "status=held " + refused + ")"},
        {"<>", OnFailure::bounce,
         "status=held " + refused + "; held: nobody is told of mail from <>)"},
        {"<s@far.example>", OnFailure::bounce,
         "status=held " + refused +
             "; held: no route takes a report to its sender, and there is no bounce_pool)"},
    };
    for (const Case& one : cases) {
        Rig rig(logging(Acknowledge::spool, one.on_failure));
        ScriptedBackend& backend = rig.backend(Rig::third_address);
        backend.answer = [](const std::string& command) -> std::optional<std::string> {
            return command.starts_with("RCPT") ? std::optional("550 5.1.1 no such user\r\n")
                                               : std::nullopt;
        };
        send(rig, one.sender);
        rig.run_for(1min);
        EXPECT_EQ(status_in_log(rig), one.status);
        rig.finish();
    }
}

// Only where its client was not told so already.
TEST(SpoolLog, APossibleDuplicateIsOfAMessageThatWasAcknowledgedOrWasNot) {
    const char* const queued = " may have taken a message that is tried again from the queue";
    const char* const unacknowledged = " may have taken a message that was not acknowledged";
    for (const bool spools : {true, false}) {
        Rig rig(logging(spools ? Acknowledge::spool : Acknowledge::backend));
        ScriptedBackend& backend = rig.backend(Rig::third_address);
        backend.answer = [](const std::string& command) -> std::optional<std::string> {
            return command == "." ? std::optional(ScriptedBackend::drop_now) : std::nullopt;
        };
        send(rig, "<s@one.example>");
        rig.run_for(10s);
        const std::string log = rig.log_text();
        EXPECT_THAT(log, HasSubstr(spools ? queued : unacknowledged));
        EXPECT_THAT(log, Not(HasSubstr(spools ? unacknowledged : queued)));
        backend.answer = nullptr;
        EXPECT_TRUE(rig.run_until([&] { return rig.queued() == 0; }, 1h));
        rig.finish();
    }
}

TEST(SpoolLog, SaysThatAFailedMessageWasKeptForAsLongAsItMay) {
    RigOptions options = logging(Acknowledge::spool, OnFailure::hold);
    options.settings = [logged = options.settings](Settings& settings) {
        logged(settings);
        settings.spool.held.max_age = 1h;
    };
    Rig rig(options);
    ScriptedBackend& backend = rig.backend(Rig::third_address);
    backend.answer = [](const std::string& command) {
        return command.starts_with("RCPT") ? std::optional<std::string>("550 5.1.1 no\r\n")
                                           : std::nullopt;
    };
    send(rig, "<s@far.example>");
    rig.run_for(50min);
    EXPECT_EQ(rig.log_text().find("removed: "), std::string::npos);
    rig.run_for(1h);
    EXPECT_NE(rig.log_text().find(": removed: failed, and older than spool.held.max_age"),
              std::string::npos);
    EXPECT_EQ(rig.queued(), 0);
    rig.finish();
}

} // namespace
} // namespace ringmx::sim
