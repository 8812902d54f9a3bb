// A backend that says anything at all, at any time, to a client that pipelines anything: no crash,
// and every event belongs to a command.
//
// Each step is an octet: its low half chooses the action (0 to 9 queue a command, the rest feed),
// its high half how many octets are fed.
#include "base/assert.h"
#include "smtp/client_session.h"

#include <algorithm>
#include <cstdint>
#include <vector>

namespace {

using ringmx::Bytes;
using ringmx::smtp::ClientCommand;
using ringmx::smtp::ClientEvent;
using ringmx::smtp::ClientSession;

void queue_command(ClientSession& session, unsigned choice) {
    switch (choice) {
    case 0:
        session.mail({"a@b.example", {}, ringmx::smtp::BodyType::eight_bit_mime, true}, 77);
        break;
    case 1:
    case 2:
        session.recipient("c@d.example");
        break;
    case 3:
        session.data();
        break;
    case 4:
        session.content_sent(2);
        break;
    case 5:
        session.chunk(5, false);
        break;
    case 6:
        session.chunk(5, true);
        break;
    case 7:
        session.reset();
        break;
    default:
        session.quit();
        break;
    }
}

// False: the session is of no more use.
bool feed(ClientSession& session, Bytes input, bool& is_ready) {
    const std::vector<std::byte> piece(input.begin(), input.end());
    for (Bytes rest = piece;;) {
        const std::size_t before = session.unanswered();
        const auto [event, consumed] = session.receive(rest);
        RINGMX_ASSERT(consumed <= rest.size());
        rest = rest.subspan(consumed);
        switch (event) {
        case ClientEvent::need_input:
            RINGMX_ASSERT(rest.empty());
            return true;
        case ClientEvent::malformed:
            RINGMX_ASSERT(session.receive(rest).event == ClientEvent::malformed);
            return false;
        case ClientEvent::failed:
            return false;
        case ClientEvent::ready:
            is_ready = true;
            break;
        case ClientEvent::reply:
            RINGMX_ASSERT(is_ready);
            RINGMX_ASSERT(before > 0 || session.command() == ClientCommand::unsolicited);
            RINGMX_ASSERT(session.reply().severity() != 3 ||
                          session.command() == ClientCommand::data);
            RINGMX_ASSERT(session.reply().severity() == 3 ||
                          session.reply().enhanced.class_digit == session.reply().severity());
            break;
        }
    }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 1) {
        return 0;
    }
    ClientSession session("mx.example", (data[0] & 1U) != 0);
    bool is_ready = false;
    std::size_t position = 1;
    if ((data[0] & 2U) != 0 &&
        !feed(session,
              ringmx::as_bytes("220 b\r\n250-b\r\n250-SIZE\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n"),
              is_ready)) {
        return 0;
    }
    while (position < size) {
        const unsigned step = data[position++];
        if ((step & 15U) < 10 && is_ready) {
            queue_command(session, step & 15U);
            continue;
        }
        const std::size_t count = std::min<std::size_t>((step >> 4U) * 8U + 1, size - position);
        if (!feed(session, std::as_bytes(std::span(data + position, count)), is_ready)) {
            return 0;
        }
        position += count;
    }
    return 0;
}
