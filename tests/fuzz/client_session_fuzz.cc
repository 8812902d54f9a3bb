// A backend that says anything at all, at any time, to a client that pipelines anything: no crash,
// every command leaves as one line with no more than the backend offered, every reply belongs to
// the command that it is due to, and octets that come one by one are heard like those that come
// together.
//
// The first octet chooses the protocol (bit 0: LMTP), whether the backend has greeted already (bit
// 1) and whether it offers anything then (bit 2). Each step is an octet: its low half chooses the
// action (0 to 9 queue a command, the rest feed), its high half how many octets are fed.
#include "base/assert.h"
#include "smtp/client_session.h"

#include <algorithm>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

namespace {

using ringmx::Bytes;
using ringmx::smtp::BodyType;
using ringmx::smtp::ClientCommand;
using ringmx::smtp::ClientEvent;
using ringmx::smtp::ClientSession;
using ringmx::smtp::ReturnContent;

constexpr std::uint32_t recipients_sent = 2;

// Which replies are due, by the protocol's own words: the session must agree.
class Dues {
  public:
    explicit Dues(bool lmtp) : lmtp_(lmtp) {}

    void add(ClientCommand command, bool is_last_chunk = false) {
        const bool is_each = command == ClientCommand::content && lmtp_;
        dues_.insert(dues_.end(), is_each ? recipients_sent : 1,
                     Due{command, is_last_chunk && lmtp_});
    }

    void take(ClientCommand command, unsigned severity) {
        if (dues_.empty()) {
            RINGMX_ASSERT(command == ClientCommand::unsolicited);
            return;
        }
        if (dues_.front().is_per_recipient) {
            dues_.front().is_per_recipient = false;
            dues_.insert(dues_.begin(), std::max(accepted_, 1U) - 1, dues_.front());
        }
        RINGMX_ASSERT(command == dues_.front().command);
        dues_.pop_front();
        if (command == ClientCommand::mail || command == ClientCommand::reset) {
            accepted_ = 0;
        } else if (command == ClientCommand::recipient && severity == 2) {
            ++accepted_;
        }
    }

    [[nodiscard]] std::size_t count() const { return dues_.size(); }

  private:
    struct Due {
        ClientCommand command;
        bool is_per_recipient; // LMTP's last chunk, until its first reply
    };

    bool lmtp_;
    std::deque<Due> dues_;
    std::uint32_t accepted_ = 0;
};

class Conversation {
  public:
    explicit Conversation(bool lmtp) : session_("mx.example", lmtp), dues_(lmtp) {}

    // False: the session is of no more use.
    bool feed(Bytes input, std::size_t piece_bytes) {
        while (!input.empty()) {
            const Bytes front = input.first(std::min(piece_bytes, input.size()));
            if (!feed_piece(front)) {
                return false;
            }
            input = input.subspan(front.size());
        }
        return true;
    }

    void queue_command(unsigned choice) {
        std::string& output = session_.output();
        output.clear();
        queue(choice);
        RINGMX_ASSERT(output.find("\r\n") == output.size() - 2);
        RINGMX_ASSERT(output.find(" SIZE=") == std::string::npos || session_.capabilities().size);
        RINGMX_ASSERT(output.find(" BODY=") == std::string::npos ||
                      session_.capabilities().eight_bit_mime);
        RINGMX_ASSERT(output.find(" SMTPUTF8") == std::string::npos ||
                      session_.capabilities().smtputf8);
        RINGMX_ASSERT(output.find(" ENVID=") == std::string::npos || session_.capabilities().dsn);
        RINGMX_ASSERT(output.find(" NOTIFY=") == std::string::npos || session_.capabilities().dsn);
        RINGMX_ASSERT(session_.unanswered() == dues_.count());
    }

    [[nodiscard]] bool is_ready() const { return is_ready_; }
    [[nodiscard]] const std::string& heard() const { return heard_; }

  private:
    bool feed_piece(Bytes input) {
        // Memory of its own, so that a read beyond the piece is seen.
        const std::vector<std::byte> piece(input.begin(), input.end());
        for (Bytes rest = piece;;) {
            const auto [event, consumed] = session_.receive(rest);
            RINGMX_ASSERT(consumed <= rest.size());
            rest = rest.subspan(consumed);
            switch (event) {
            case ClientEvent::need_input:
                RINGMX_ASSERT(rest.empty());
                return true;
            case ClientEvent::malformed:
                RINGMX_ASSERT(session_.receive(rest).event == ClientEvent::malformed);
                heard_ += "malformed";
                return false;
            case ClientEvent::failed:
                note_reply();
                return false;
            case ClientEvent::ready:
                is_ready_ = true;
                break;
            case ClientEvent::reply:
                take_reply();
                break;
            }
        }
    }

    void take_reply() {
        RINGMX_ASSERT(is_ready_);
        const auto& reply = session_.reply();
        RINGMX_ASSERT(reply.severity() != 3 || session_.command() == ClientCommand::data);
        RINGMX_ASSERT(reply.severity() != 2 || session_.command() != ClientCommand::data);
        RINGMX_ASSERT(session_.command() != ClientCommand::unsolicited || reply.code == 421);
        dues_.take(session_.command(), reply.severity());
        note_reply();
    }

    void note_reply() {
        const auto& reply = session_.reply();
        RINGMX_ASSERT(reply.severity() == 3 || reply.enhanced.class_digit == reply.severity());
        heard_ += std::to_string(static_cast<int>(session_.command())) + " " +
                  std::to_string(reply.code) + " " + std::string(reply.text) + "|";
    }

    void queue(unsigned choice) {
        switch (choice) {
        case 0:
            session_.mail({"a@b.example",
                           {},
                           BodyType::eight_bit_mime,
                           true,
                           ReturnContent::headers,
                           "QQ+2B1"},
                          77);
            return dues_.add(ClientCommand::mail);
        case 1:
        case 2:
            session_.recipient("c@d.example", {choice == 1 ? ringmx::smtp::notify_never
                                                           : ringmx::smtp::notify_delay,
                                               "utf-8;\xc3\xbc"});
            return dues_.add(ClientCommand::recipient);
        case 3:
            session_.data();
            return dues_.add(ClientCommand::data);
        case 4:
            session_.output() = "\r\n"; // no line of the session's own
            session_.content_sent(recipients_sent);
            return dues_.add(ClientCommand::content);
        case 5:
        case 6:
            session_.chunk(5, choice == 6);
            return dues_.add(ClientCommand::chunk, choice == 6);
        case 7:
            session_.reset();
            return dues_.add(ClientCommand::reset);
        default:
            session_.quit();
            return dues_.add(ClientCommand::quit);
        }
    }

    ClientSession session_;
    Dues dues_;
    bool is_ready_ = false;
    std::string heard_;
};

std::string converse(Bytes script, unsigned choice, std::size_t piece_bytes) {
    Conversation conversation((choice & 1U) != 0);
    if ((choice & 2U) != 0) {
        const std::string_view hello =
            (choice & 4U) != 0 ? "250 b\r\n"
                               : "250-b\r\n250-SIZE\r\n250-8BITMIME\r\n250-DSN\r\n250 SMTPUTF8\r\n";
        RINGMX_ASSERT(conversation.feed(ringmx::as_bytes("220 b\r\n"), piece_bytes));
        RINGMX_ASSERT(conversation.feed(ringmx::as_bytes(hello), piece_bytes));
        RINGMX_ASSERT(conversation.is_ready());
    }
    while (!script.empty()) {
        const auto step = static_cast<unsigned>(script.front());
        script = script.subspan(1);
        if ((step & 15U) < 10 && conversation.is_ready()) {
            conversation.queue_command(step & 15U);
            continue;
        }
        const std::size_t count = std::min<std::size_t>((step >> 4U) * 8U + 1, script.size());
        // EHLO's answer is none when it comes with the greeting: there the pieces matter.
        const std::size_t pieces = conversation.is_ready() ? piece_bytes : count;
        if (!conversation.feed(script.first(count), std::max<std::size_t>(pieces, 1))) {
            break;
        }
        script = script.subspan(count);
    }
    return conversation.heard();
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 1) {
        return 0;
    }
    const Bytes script = std::as_bytes(std::span(data + 1, size - 1));
    RINGMX_ASSERT(converse(script, data[0], script.size() + 64) == converse(script, data[0], 1));
    return 0;
}
