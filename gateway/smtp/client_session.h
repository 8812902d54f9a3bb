// The client's side of one SMTP or LMTP connection to a backend, sans I/O: command octets out,
// replies in.
//
// Commands are appended to output() and remembered in order; receive() gives back each reply with
// the command that it answers. The owner decides what to pipeline: it may queue several commands
// before it sends (only where capabilities().pipelining), and it sends message content itself,
// between the commands (after the reply 354, or straight behind bdat()).
//
// Life: the owner connects, then receive(): the greeting; then the session queues EHLO (or LHLO) by
// itself, falls back to HELO when EHLO is refused (RFC 5321, 3.2 and 4.1.1.1), and gives `ready` or
// `failed`. From then on it only does as it is told.
//
// Replies that can't be what they answer are `malformed` too: 3xx to anything but DATA, 2xx to
// DATA. A 421 that answers nothing is an event `reply` with command() `unsolicited` (the backend is
// closing: RFC 5321, 3.8); any other reply that answers nothing is `malformed`, save a refusal
// between 354 and the content's end, which is the answer to the content. A reply that had begun to
// come when nothing was unanswered answers nothing, whatever the owner queues meanwhile.
//
// Bounds: a reply of more than ReplyParser::reply_bytes_max octets in all, or a line over
//         ReplyParser::line_bytes_max, or anything that is no reply, is `malformed`: the connection
//         can't be used any more.
// Memory: the state below 200 octets, a string for output and one for a reply's text, and 8 octets
//         per unanswered run of equal commands.
// Thread: one.
// Errors: none but the events.
// Source: RFC 5321, 4.2; RFC 2033 (LMTP); RFC 2920; RFC 3030; RFC 1870; RFC 3461; RFC 6152;
//         RFC 6531.
#pragma once

#include "base/bytes.h"
#include "smtp/envelope.h"
#include "smtp/reply.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace ringmx::smtp {

struct Capabilities {
    bool esmtp = false; // EHLO or LHLO was taken
    bool pipelining = false;
    bool chunking = false;
    bool eight_bit_mime = false;
    bool smtputf8 = false;
    bool size = false;
    bool enhanced_status_codes = false;
    bool starttls = false;
    bool dsn = false;
    bool xclient = false;
    bool xforward = false;
    std::uint64_t size_bytes_max = 0; // 0: none stated

    [[nodiscard]] bool may_take(std::uint64_t message_bytes) const {
        return !size || size_bytes_max == 0 || message_bytes <= size_bytes_max;
    }
};

// "BDAT 18446744073709551615 LAST" and its CRLF: what chunk() needs room for.
inline constexpr std::size_t chunk_command_bytes_max = 32;

enum class ClientCommand : std::uint8_t {
    greeting,
    hello,
    mail,
    recipient,
    data,
    content,
    chunk,
    reset,
    quit,
    unsolicited
};

enum class ClientEvent : std::uint8_t {
    need_input, // no whole reply in the input: all of it is consumed
    ready,      // greeting and EHLO/HELO/LHLO are done: capabilities() is set
    failed,     // greeting other than 220, EHLO and HELO both refused: reply() says how
    reply,      // reply() answers command(); for LMTP's content one event per accepted recipient
    malformed,  // not SMTP, or a bound was passed
};

class ClientSession {
  public:
    struct Step {
        ClientEvent event = ClientEvent::need_input;
        std::size_t consumed = 0;
    };

    ClientSession(std::string_view hostname, bool lmtp);
    ~ClientSession();
    ClientSession(ClientSession&&) noexcept;
    ClientSession& operator=(ClientSession&&) noexcept;

    [[nodiscard]] Step receive(Bytes input);
    [[nodiscard]] std::string& output();

    [[nodiscard]] const Capabilities& capabilities() const;
    // Of the last event reply or failed; valid until the next receive(). A reply without enhanced
    // code gets X.0.0 of its class.
    [[nodiscard]] const Reply& reply() const;
    [[nodiscard]] ClientCommand command() const;
    [[nodiscard]] std::size_t unanswered() const; // commands whose reply has not come

    // Each queues one command. Parameters go out only where the backend offers them.
    void mail(const MailCommand& command,
              std::uint64_t size_bytes); // size 0: unknown, SIZE= is left out
    void recipient(std::string_view mailbox, const RecipientParameters& parameters = {});
    void data();
    // BDAT; its octets follow. One reply each, as `chunk`; LMTP answers the last one once for each
    // recipient that the replies so far accepted (once if there is none): RFC 2033, 4.2. No
    // content_sent() after it.
    void chunk(std::uint64_t size_bytes, bool last);
    // DATA's content and its end were (or are about to be) sent: a final reply is due (LMTP: one
    // for each of `recipients_accepted`).
    void content_sent(std::uint32_t recipients_accepted);
    void reset();
    void quit();

  private:
    struct State;
    std::unique_ptr<State> state_;
};

} // namespace ringmx::smtp
