// The server's side of one SMTP connection, sans I/O: octets in, events and reply octets out.
//
//            receive(octets)                 mail / recipient / data / content …
//   wire ───────────────────▶ ServerSession ───────────────────────────────────▶ its owner
//        ◀──── output() ─────               ◀─── answer_mail / _recipient / ─── (gateway worker,
//                                                answer_data / _message          sink)
//
// receive() runs at most up to the next event and says how many octets of the input are done with;
// the owner calls it again with the rest, also when that is empty, until it gives need_input,
// blocked or close (a chunk that ends with the input gives `content`, and content_end only in the
// next call). After an answer it is called again too, even without input: the answer may have been
// one refusal too many, and `close` follows. Commands are parsed in place; only a command that the
// input cuts is kept, in at most command_line_bytes_max octets that exist only while it is cut (an
// idle session holds no line memory).
//
// Pipelining. MAIL waits for answer_mail. RCPT commands do not wait for one another: each gives an
// event `recipient`, answers come later by answer_recipient in the same order, and replies leave in
// command order. DATA is given as event `data` at once, even while recipients are unanswered (the
// owner may pipeline it to a backend); any other command after unanswered recipients gives
// `blocked` and consumes nothing until they are answered, and so do BDAT, a RCPT that the session
// itself refuses, and one that may pass recipients_max.
//
// Content. Event `content` names octets of the message: a view into the input, or a static literal
// for a "." that was held back at a cut or a normalised newline (is_literal). DATA content is in
// wire form: dot-stuffed, without the terminator's dot (the CRLF before it belongs to the content);
// BDAT content is as sent. The session counts octets after unstuffing, sees bare CR and LF, counts
// Received fields, and sees whether the first octet is SP or TAB. A message that must be refused
// for what it is gives one event `content_refused` as early as that is known (the owner drops what
// it has; no further `content` comes), is read to its true end, and is answered by the session
// itself there. Which refusal that is does not depend on how the input was cut: size before
// Received fields before newlines.
//
// Chunks. Each chunk but the last gets "250 2.0.0 N octets received". A fault of the content
// (newlines, Received fields) is answered at the last chunk only; past the size limit, or after an
// early answer_message, that chunk and all that follow get the refusal and their octets are
// dropped. The last chunk, RSET or EHLO ends the transaction; until then MAIL, RCPT and DATA get
// 503. A chunk that can't be taken (no transaction, no recipient, CHUNKING not offered) is dropped
// and gives no event. One with a word other than LAST is dropped and spoils the message. One whose
// size can't be read closes.
//
// Invariants: nothing is run as a command that the client's octets did not put behind a CRLF
//             outside of message content.
// Thread: one.
// Errors: none; the peer's mistakes are replies.
// Memory: no allocation per command in the steady state.
// Source: RFC 5321, 2920, 3030, 1870, 2034, 3461, 6152, 6531; the contract's table of replies.
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

// What all sessions of one listener share; outlives them.
struct ServerSettings {
    std::string hostname;
    std::string greeting_text = "ESMTP ringmx"; // "220 HOSTNAME <greeting_text>"
    bool lmtp = false; // LHLO, not EHLO/HELO; a final reply for each accepted recipient (RFC 2033)
    bool offer_pipelining = true;
    bool offer_chunking = true;
    bool offer_smtputf8 = true;
    bool offer_dsn = true;
    std::uint64_t message_size_bytes_max = 0;   // 0: no limit, SIZE is offered without a number
    std::uint32_t recipients_max = 1000;        // accepted ones per transaction; 0: no limit
    std::uint32_t errors_max = 20;              // error N + 1 gets 421 4.7.0 and close; 0: no limit
    std::uint32_t unknown_recipients_max = 100; // 0: no limit
    std::uint32_t received_fields_max = 100;    // 0: no limit
};

enum class ServerEvent : std::uint8_t {
    need_input,      // all of the input is consumed
    blocked,         // an answer is awaited; the rest of the input stays with the owner
    hello,           // EHLO, HELO or LHLO was answered; a transaction, if there was one, is gone
    mail,            // mail() is set: call answer_mail
    recipient,       // recipient() is set: answer_recipient is due
    data,            // DATA: call answer_data once every recipient is answered
    content,         // Step::content is part of the message
    content_refused, // the message will be refused by the session: drop it
    content_end,     // the message is whole: call answer_message (LMTP: for each recipient)
    reset,           // the transaction is gone: RSET, or a refused message's end
    close,           // nothing more will be read: send output(), then close
};

// Whose verdict an answer is: it decides what counts as an error or an unknown recipient.
enum class AnswerSource : std::uint8_t { own, backend };

// Why the session itself refuses a message's content.
enum class ContentFault : std::uint8_t {
    none,
    over_size,     // 552 5.3.4
    received_loop, // 554 5.4.6
    bare_newline,  // 550 5.6.0
    nul_line,      // 550 5.6.0: a lone dot among NULs
    bad_chunk,     // 501 5.5.4: BDAT with a word other than LAST
};

// Why the session ended.
enum class CloseCause : std::uint8_t {
    none, // it has not
    quit,
    too_many_errors,
    too_many_unknown,
    bad_chunk, // a BDAT whose size can't be read
    failed,    // fail(): the owner ended it
};

// Is told of each MAIL and RCPT that the session refuses for what it says, before the reply is
// queued: syntax, a parameter, the declared size, one recipient too many. Those out of order are
// errors of the dialog and not told. `argument` is what stands behind the verb, valid during the
// call; the session may be asked, not told, from it.
class RefusalObserver {
  public:
    virtual void mail_refused(std::string_view argument, const Reply& reply) = 0;
    virtual void recipient_refused(std::string_view argument, const Reply& reply) = 0;

  protected:
    ~RefusalObserver() = default;
};

class ServerSession {
  public:
    struct Step {
        ServerEvent event = ServerEvent::need_input;
        std::size_t consumed = 0;
        Bytes content;           // event content only
        bool is_literal = false; // content has static storage duration and lies outside the input
    };

    explicit ServerSession(const ServerSettings& settings);
    ~ServerSession();
    ServerSession(ServerSession&&) noexcept;
    ServerSession& operator=(ServerSession&&) noexcept;

    // New settings after a reload; takes effect from the next command on.
    void use(const ServerSettings& settings);
    // Bare newlines in content are normalised instead of refused: each becomes CRLF by a literal
    // `content`, can never end the data, and a dot behind one is stuffed (DATA only: chunks need no
    // stuffing).
    void accept_bare_newlines(bool accept);

    // Outlives the session.
    void observe(RefusalObserver* observer);

    void greet(); // queues the 220
    [[nodiscard]] Step receive(Bytes input);

    // Reply octets waiting to be sent; the owner sends them and clears the string.
    [[nodiscard]] std::string& output();
    // Whether all of them answer MAIL, RCPT or RSET: then they may wait for a while for the reply to
    // what the client has sent behind these (RFC 2920, 3.2). Any other reply is sent at once.
    [[nodiscard]] bool output_may_wait() const;

    [[nodiscard]] const MailCommand& mail() const;
    [[nodiscard]] const RecipientCommand& recipient() const; // of the last event `recipient`
    [[nodiscard]] std::uint32_t recipients_accepted() const;
    [[nodiscard]] std::uint32_t recipients_unanswered() const;
    [[nodiscard]] bool in_transaction() const; // MAIL accepted, not yet ended
    [[nodiscard]] bool in_content() const;     // inside DATA or a BDAT chunk
    [[nodiscard]] bool mid_command() const;    // part of a command line is kept
    // All that receive() of nothing would do is to give need_input.
    [[nodiscard]] bool waits_for_input() const;

    void answer_mail(const Reply& reply);
    // `unknown`: this refusal says that there is no such recipient (route, verification, a
    // backend's 550).
    void answer_recipient(const Reply& reply, AnswerSource source, bool unknown);
    // Positive (3xx): 354 is sent if a recipient was accepted, else 554 5.5.1. Negative: it is the
    // reply and the transaction goes on.
    void answer_data(const Reply& reply);
    // May also be given before content_end: the content's rest is read and dropped, then this is
    // the reply (a backend that is lost or refuses mid-way, no memory). Early, it is a refusal
    // (4xx, 5xx), one for all recipients, and the event `reset` follows the end.
    void answer_message(const Reply& reply);
    // A last reply (421 and the like) outside the order of commands; receive() gives `close` from
    // then on.
    void fail(const Reply& reply);
    // Gives back what only a session at work needs (an ended transaction's strings, spare output);
    // for connections that have gone idle.
    void shed_spare_memory();

    // About the message under way, or the one that content_end announced.
    [[nodiscard]] std::uint64_t content_bytes() const; // after unstuffing
    [[nodiscard]] bool content_chunked() const;        // came by BDAT: not dot-stuffed
    [[nodiscard]] bool content_starts_with_space() const;
    [[nodiscard]] std::uint64_t chunk_bytes_left() const; // of the BDAT chunk under way
    [[nodiscard]] bool chunk_is_last() const;
    // From content_refused until the message's end: why, and the reply that stands there.
    [[nodiscard]] ContentFault content_fault() const;
    [[nodiscard]] Reply content_refusal() const;

    // About the client.
    [[nodiscard]] std::string_view hello_name() const; // as given to EHLO or HELO; empty before
    [[nodiscard]] bool esmtp() const;                  // EHLO or LHLO

    // The verb of the last command ("RCPT"), "UNKNOWN", or "END-OF-MESSAGE" behind a message; empty
    // before the first. Static text.
    [[nodiscard]] std::string_view last_command() const;
    [[nodiscard]] CloseCause close_cause() const;

    // Each counted since the session began, for the owner's counters.
    [[nodiscard]] std::uint32_t errors_total() const;
    [[nodiscard]] std::uint32_t commands_total() const; // lines, refused ones included

  private:
    struct State;
    std::unique_ptr<State> state_;
};

} // namespace ringmx::smtp
