// A session in process, and what its owner would answer.
#pragma once

#include "smtp/command.h"
#include "smtp/server_session.h"

#include <gtest/gtest.h>
#include <string>
#include <string_view>
#include <utility>

namespace ringmx::smtp {

inline constexpr Reply ok = {250, {2, 0, 0}, "Ok"};
inline constexpr Reply go_ahead = {354, {}, ""};
inline constexpr Reply no_backend = {451, {4, 4, 1}, "No backend"};
inline constexpr Reply unknown_user = {550, {5, 1, 1}, "Unknown"};

inline ServerSettings settings_for_test(bool lmtp = false) {
    ServerSettings settings;
    settings.hostname = "mx1.example.com";
    settings.lmtp = lmtp;
    return settings;
}

class ServerSessionTest : public testing::Test {
  protected:
    explicit ServerSessionTest(bool lmtp = false)
        : settings_(settings_for_test(lmtp)), session_(settings_) {}

    // Feeds the octets behind what the session left last time; gives the next event.
    ServerEvent step(std::string_view more = {}) {
        rest_ += more;
        last_ = session_.receive(as_bytes(rest_));
        content_ = as_text(last_.content);
        rest_.erase(0, last_.consumed);
        return last_.event;
    }
    std::string heard() { return std::exchange(session_.output(), {}); }

    void begin(int recipients = 1) {
        ASSERT_EQ(step(settings_.lmtp ? "LHLO c\r\n" : "EHLO c\r\n"), ServerEvent::hello);
        begin_mail(recipients);
    }
    void begin_mail(int recipients = 1) {
        ASSERT_EQ(step("MAIL FROM:<a@b.c>\r\n"), ServerEvent::mail);
        session_.answer_mail(ok);
        for (int index = 0; index < recipients; ++index) {
            ASSERT_EQ(step("RCPT TO:<a@b.c>\r\n"), ServerEvent::recipient);
            session_.answer_recipient(ok, AnswerSource::own, false);
        }
        heard();
    }
    void begin_data() {
        ASSERT_EQ(step("DATA\r\n"), ServerEvent::data);
        session_.answer_data(go_ahead);
        heard();
    }

    ServerSettings settings_;
    ServerSession session_;
    ServerSession::Step last_;
    std::string rest_;
    std::string content_;
};

class LmtpSessionTest : public ServerSessionTest {
  protected:
    LmtpSessionTest() : ServerSessionTest(true) {}
};

} // namespace ringmx::smtp
