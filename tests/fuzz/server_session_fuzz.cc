// Any octets, cut anywhere, are heard the same way: equal replies, equal accepted content.
//
// The first octet chooses the settings, the second how the rest is cut: pieces of 1 to 256 octets.
#include "base/assert.h"
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

struct Heard {
    std::string replies;
    std::string accepted;
    bool operator==(const Heard&) const = default;
};

class Owner {
  public:
    Owner(const ServerSettings& settings, bool normalizes) : session_(settings) {
        session_.accept_bare_newlines(normalizes);
    }

    // Whether the session goes on.
    bool feed(Bytes octets) {
        const std::vector<std::byte> memory(octets.begin(), octets.end());
        for (Bytes rest = memory;;) {
            const auto step = session_.receive(rest);
            rest = rest.subspan(step.consumed);
            if (step.event == ServerEvent::need_input || step.event == ServerEvent::close) {
                RINGMX_ASSERT(step.event == ServerEvent::close || rest.empty());
                heard_.replies += std::exchange(session_.output(), {});
                return step.event == ServerEvent::need_input;
            }
            run(step);
        }
    }

    [[nodiscard]] const Heard& heard() const { return heard_; }

  private:
    void run(const ServerSession::Step& step) {
        switch (step.event) {
        case ServerEvent::mail:
            content_.clear();
            session_.answer_mail(ok);
            break;
        case ServerEvent::recipient:
            session_.answer_recipient(session_.recipient().mailbox.size() % 3 == 0 ? refused : ok,
                                      AnswerSource::own, true);
            break;
        case ServerEvent::data:
            session_.answer_data(go_ahead);
            break;
        case ServerEvent::content:
            content_ += as_text(step.content);
            break;
        case ServerEvent::content_end:
            heard_.accepted += content_ + "|";
            for (std::uint32_t due = session_.recipients_accepted(); session_.in_transaction();
                 --due) {
                RINGMX_ASSERT(due > 0);
                session_.answer_message(ok);
            }
            break;
        case ServerEvent::hello:
        case ServerEvent::content_refused:
        case ServerEvent::reset:
            break;
        case ServerEvent::blocked: // every answer is given at once
        case ServerEvent::need_input:
        case ServerEvent::close:
            RINGMX_ASSERT(false);
        }
    }

    ServerSession session_;
    std::string content_;
    Heard heard_;
};

Heard run(Bytes input, unsigned choice, std::size_t piece_bytes) {
    ServerSettings settings;
    settings.hostname = "mx.example";
    settings.lmtp = (choice & 1U) != 0;
    settings.offer_chunking = (choice & 2U) == 0;
    settings.message_size_bytes_max = (choice & 4U) != 0 ? 60 : 0;
    settings.errors_max = (choice & 8U) != 0 ? 3 : 0;
    settings.received_fields_max = 2;
    settings.recipients_max = 3;
    Owner owner(settings, (choice & 16U) != 0);
    while (!input.empty()) {
        const std::size_t taken = std::min(piece_bytes, input.size());
        if (!owner.feed(input.first(taken))) {
            break;
        }
        input = input.subspan(taken);
    }
    return owner.heard();
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 3) {
        return 0;
    }
    const Bytes input = std::as_bytes(std::span(data + 2, size - 2));
    const Heard whole = run(input, data[0], input.size());
    RINGMX_ASSERT(run(input, data[0], data[1] + std::size_t{1}) == whole);
    RINGMX_ASSERT(run(input, data[0], 1) == whole);
    return 0;
}
