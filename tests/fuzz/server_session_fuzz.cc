// Any octets, cut anywhere, answered at once or as late as pipelining allows, are heard the same
// way: equal replies, equal accepted content. What is heard is whole: replies that a client can
// read, and messages within the limits and without a line end or an end of data that was refused.
//
// The first octet chooses the settings, the second how the rest is cut: pieces of 1 to 256 octets.
#include "base/assert.h"
#include "smtp/newline_scanner.h"
#include "smtp/reply_parser.h"
#include "smtp/server_session.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace {

using namespace ringmx;
using namespace ringmx::smtp;

constexpr Reply ok = {250, {2, 0, 0}, "Ok"};
constexpr Reply refused = {550, {5, 1, 1}, "Unknown"};
constexpr Reply go_ahead = {354, {}, ""};
constexpr Reply lost = {451, {4, 4, 1}, "Try again"};

constexpr std::uint32_t recipients_max = 3;
constexpr std::size_t lost_after_bytes = 20;

enum class Answers : std::uint8_t { at_once, late };

struct Heard {
    std::string replies;
    std::string accepted;
    bool operator==(const Heard&) const = default;
};

class Owner {
  public:
    Owner(const ServerSettings& settings, bool normalizes, bool loses_backend, Answers answers)
        : session_(settings), size_max_(settings.message_size_bytes_max),
          loses_backend_(loses_backend), answers_(answers) {
        session_.accept_bare_newlines(normalizes);
    }

    // Whether the session goes on.
    bool feed(Bytes octets) {
        const std::vector<std::byte> memory(octets.begin(), octets.end());
        for (Bytes rest = memory;;) {
            const auto step = session_.receive(rest);
            RINGMX_ASSERT(step.consumed <= rest.size());
            rest = rest.subspan(step.consumed);
            if (step.event == ServerEvent::blocked) {
                RINGMX_ASSERT(is_due());
                answer();
                continue;
            }
            if (step.event == ServerEvent::need_input || step.event == ServerEvent::close) {
                RINGMX_ASSERT(step.event == ServerEvent::close || rest.empty());
                heard_.replies += std::exchange(session_.output(), {});
                return step.event == ServerEvent::need_input;
            }
            run(step, memory);
            if (answers_ == Answers::at_once) {
                answer();
            }
        }
    }

    // Gives what is still due when the client says no more.
    void finish() {
        while (is_due()) {
            answer();
            if (!feed({})) {
                return;
            }
        }
    }

    [[nodiscard]] const Heard& heard() const { return heard_; }

  private:
    void run(const ServerSession::Step& step, Bytes memory) {
        switch (step.event) {
        case ServerEvent::mail:
            content_.clear();
            mail_is_due_ = true;
            break;
        case ServerEvent::recipient:
            recipients_due_.push_back(session_.recipient().mailbox.size() % 3 != 0);
            break;
        case ServerEvent::data:
            data_is_due_ = true;
            break;
        case ServerEvent::content:
            RINGMX_ASSERT(step.is_literal || (step.content.data() >= memory.data() &&
                                              step.content.data() + step.content.size() <=
                                                  memory.data() + memory.size()));
            content_ += as_text(step.content);
            if (loses_backend_ && content_.size() > lost_after_bytes) {
                session_.answer_message(lost);
            }
            break;
        case ServerEvent::content_end:
            check_content();
            heard_.accepted += content_ + "|";
            message_is_due_ = true;
            break;
        case ServerEvent::hello:
        case ServerEvent::content_refused:
        case ServerEvent::reset:
            break;
        case ServerEvent::blocked:
        case ServerEvent::need_input:
        case ServerEvent::close:
            RINGMX_ASSERT(false);
        }
    }

    [[nodiscard]] bool is_due() const {
        return mail_is_due_ || !recipients_due_.empty() || data_is_due_ || message_is_due_;
    }

    // Everything that is due, in the order of the commands.
    void answer() {
        if (std::exchange(mail_is_due_, false)) {
            session_.answer_mail(ok);
        }
        for (const bool is_taken : std::exchange(recipients_due_, {})) {
            session_.answer_recipient(is_taken ? ok : refused, AnswerSource::own, true);
        }
        if (std::exchange(data_is_due_, false)) {
            session_.answer_data(go_ahead);
        }
        if (std::exchange(message_is_due_, false)) {
            for (std::uint32_t due = session_.recipients_accepted(); session_.in_transaction();
                 --due) {
                RINGMX_ASSERT(due > 0);
                session_.answer_message(ok);
            }
        }
    }

    void check_content() const {
        RINGMX_ASSERT(session_.recipients_accepted() > 0 &&
                      session_.recipients_accepted() <= recipients_max);
        RINGMX_ASSERT(size_max_ == 0 || session_.content_bytes() <= size_max_);
        RINGMX_ASSERT(session_.content_bytes() <= content_.size());
        RINGMX_ASSERT(session_.content_chunked() ||
                      ("\r\n" + content_).find("\r\n.\r\n") == std::string::npos);
        NewlineScanner newlines;
        newlines.scan_plain(as_bytes(content_));
        newlines.finish();
        RINGMX_ASSERT(!newlines.has_bare_newline());
    }

    ServerSession session_;
    std::uint64_t size_max_;
    bool loses_backend_;
    Answers answers_;
    bool mail_is_due_ = false;
    bool data_is_due_ = false;
    bool message_is_due_ = false;
    std::vector<bool> recipients_due_;
    std::string content_;
    Heard heard_;
};

void check_replies(const std::string& replies) {
    ReplyParser parser;
    for (Bytes rest = as_bytes(replies); !rest.empty();) {
        const auto [outcome, consumed] = parser.parse(rest);
        RINGMX_ASSERT(outcome == ReplyParser::Outcome::reply);
        rest = rest.subspan(consumed);
    }
}

Heard run(Bytes input, unsigned choice, std::size_t piece_bytes, Answers answers) {
    ServerSettings settings;
    settings.hostname = "mx.example";
    settings.lmtp = (choice & 1U) != 0;
    settings.offer_chunking = (choice & 2U) == 0;
    settings.message_size_bytes_max = (choice & 4U) != 0 ? 60 : 0;
    settings.errors_max = (choice & 8U) != 0 ? 3 : 0;
    settings.unknown_recipients_max = (choice & 64U) != 0 ? 2 : 0;
    settings.received_fields_max = 2;
    settings.recipients_max = recipients_max;
    Owner owner(settings, (choice & 16U) != 0, (choice & 32U) != 0, answers);
    bool goes_on = true;
    while (goes_on && !input.empty()) {
        const std::size_t taken = std::min(piece_bytes, input.size());
        goes_on = owner.feed(input.first(taken));
        input = input.subspan(taken);
    }
    if (goes_on) {
        owner.finish();
    }
    check_replies(owner.heard().replies);
    return owner.heard();
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 3) {
        return 0;
    }
    const Bytes input = std::as_bytes(std::span(data + 2, size - 2));
    const std::size_t piece_bytes = data[1] + std::size_t{1};
    const Heard whole = run(input, data[0], input.size(), Answers::at_once);
    const Heard cut = run(input, data[0], piece_bytes, Answers::at_once);
    const Heard octets = run(input, data[0], 1, Answers::at_once);
    const Heard late = run(input, data[0], piece_bytes, Answers::late);
    // A message that is refused early for its content and one whose backend is lost first get
    // different replies, and which comes first is a matter of the cut.
    if ((data[0] & 32U) == 0) {
        RINGMX_ASSERT(cut == whole);
        RINGMX_ASSERT(octets == whole);
        RINGMX_ASSERT(late == whole);
    }
    return 0;
}
