#include "unit/smtp/scripted_owner.h"

#include <algorithm>
#include <gtest/gtest.h>
#include <memory>

namespace ringmx::smtp {
namespace {

constexpr Reply recipient_ok = {250, {2, 1, 5}, "Ok"};
constexpr Reply message_ok = {250, {2, 0, 0}, "Ok: queued as ID"};

ServerSettings settings_of(const dialog::Dialog& script) {
    ServerSettings settings;
    settings.hostname = "mx1.example.com";
    settings.lmtp = script.lmtp;
    settings.offer_chunking = script.chunking;
    settings.offer_smtputf8 = script.smtputf8;
    settings.offer_dsn = script.dsn;
    settings.offer_pipelining = script.pipelining;
    const auto limit = [&script](const char* name, std::uint64_t otherwise) {
        const auto found = script.limits.find(name);
        return found == script.limits.end() ? otherwise : found->second;
    };
    settings.message_size_bytes_max = limit("size", 1'000'000);
    settings.recipients_max = static_cast<std::uint32_t>(limit("recipients", 1000));
    settings.errors_max = static_cast<std::uint32_t>(limit("errors", 20));
    settings.unknown_recipients_max = static_cast<std::uint32_t>(limit("unknown", 100));
    settings.received_fields_max = static_cast<std::uint32_t>(limit("received", 100));
    return settings;
}

} // namespace

ScriptedOwner::ScriptedOwner(const dialog::Dialog& script, bool is_late)
    : script_(script), settings_(settings_of(script)), session_(settings_), is_late_(is_late) {
    session_.accept_bare_newlines(script.normalize);
}

void ScriptedOwner::start() {
    session_.greet();
    if (script_.starts_behind_hello) {
        feed(script_.lmtp ? "LHLO client.example\r\n" : "EHLO client.example\r\n");
    }
    if (script_.starts_behind_recipient) {
        feed("MAIL FROM:<from@example.com>\r\nRCPT TO:<to@example.com>\r\n");
    }
    output_ += std::exchange(session_.output(), {});
}

void ScriptedOwner::feed(std::string_view segment) {
    // A block of exactly its size, so that ASan sees a read past it.
    const std::unique_ptr<std::byte[]> memory(new std::byte[segment.size()]);
    std::copy_n(as_bytes(segment).begin(), segment.size(), memory.get());
    Bytes rest(memory.get(), segment.size());
    for (;;) {
        const bool waits = rest.empty() && session_.waits_for_input();
        const ServerSession::Step step = session_.receive(rest);
        EXPECT_TRUE(!waits || step.event == ServerEvent::need_input);
        ASSERT_LE(step.consumed, rest.size());
        const Bytes input = rest;
        rest = rest.subspan(step.consumed);
        if (step.event == ServerEvent::content && !step.is_literal) {
            EXPECT_GE(step.content.data(), input.data());
            EXPECT_LE(step.content.data() + step.content.size(), input.data() + input.size());
        }
        if (step.event == ServerEvent::need_input) {
            EXPECT_TRUE(rest.empty());
            if (unanswered_.empty()) {
                break;
            }
            answer_recipients(); // one of them may close: only the next receive() tells
            continue;
        }
        if (step.event == ServerEvent::close) {
            is_closed_ = true;
            break;
        }
        if (step.event == ServerEvent::blocked) {
            EXPECT_FALSE(rest.empty());
            ASSERT_FALSE(unanswered_.empty()) << "blocked with nothing to answer";
            answer_recipients();
            continue;
        }
        run(step.event, step);
    }
    output_ += std::exchange(session_.output(), {});
}

void ScriptedOwner::run(ServerEvent event, const ServerSession::Step& step) {
    switch (event) {
    case ServerEvent::hello:
        trail_ += 'h';
        break;
    case ServerEvent::mail:
        trail_ += 'm';
        content_.clear();
        is_refused_ = false;
        session_.answer_mail(script_.mail.view());
        break;
    case ServerEvent::recipient:
        trail_ += 'r';
        unanswered_.push_back(session_.recipient().mailbox);
        if (!is_late_) {
            answer_recipients();
        }
        break;
    case ServerEvent::data:
        trail_ += 'd';
        answer_recipients();
        session_.answer_data(script_.data.view());
        break;
    case ServerEvent::content:
        EXPECT_FALSE(is_refused_) << "content behind content_refused";
        EXPECT_FALSE(step.content.empty());
        content_ += as_text(step.content);
        break;
    case ServerEvent::content_refused:
        EXPECT_FALSE(is_refused_) << "content_refused twice";
        trail_ += 'f';
        is_refused_ = true;
        break;
    case ServerEvent::content_end:
        trail_ += 'e';
        EXPECT_FALSE(is_refused_);
        answer_message();
        break;
    case ServerEvent::reset:
        trail_ += 'x';
        content_.clear();
        break;
    case ServerEvent::need_input:
    case ServerEvent::blocked:
    case ServerEvent::close:
        break;
    }
}

void ScriptedOwner::answer_recipients() {
    for (const std::string& mailbox : std::exchange(unanswered_, {})) {
        const auto found = script_.recipients.find(mailbox);
        if (found == script_.recipients.end()) {
            session_.answer_recipient(recipient_ok, AnswerSource::own, false);
        } else {
            const dialog::RecipientAnswer& answer = found->second;
            session_.answer_recipient(answer.reply.view(),
                                      answer.is_own ? AnswerSource::own : AnswerSource::backend,
                                      answer.is_unknown);
        }
    }
}

void ScriptedOwner::answer_message() {
    const std::uint32_t count = script_.lmtp ? session_.recipients_accepted() : 1;
    bool is_accepted = false;
    for (std::uint32_t index = 0; index < count; ++index) {
        Reply reply = message_ok;
        if (!script_.messages.empty()) {
            reply =
                script_.messages[std::min(messages_answered_, script_.messages.size() - 1)].view();
        }
        ++messages_answered_;
        is_accepted = is_accepted || reply.severity() == 2;
        session_.answer_message(reply);
    }
    if (is_accepted) {
        contents_.push_back(content_);
    }
}

} // namespace ringmx::smtp
