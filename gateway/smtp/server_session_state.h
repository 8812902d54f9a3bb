// The inside of ServerSession: what it keeps, and the steps that its three source files share.
//
//   server_session.cc           answers and questions of the owner, replies, error counting
//   server_session_commands.cc  lines, and the commands on them
//   server_session_content.cc   DATA and BDAT content
//
// A step function takes what is left of the input, adds to `used` what it is done with, and returns
// an event, or nothing to be called again at once. Every path that returns nothing has consumed
// input, advanced a scanner or changed the phase, so that receive() ends.
//
// Memory: State is all that an idle session costs besides its hello name; a Transaction is made at
//         the first MAIL and kept for the next ones until shed_spare_memory().
// Thread: one.
// Errors: none.
// Source: as server_session.h.
#pragma once

#include "smtp/command.h"
#include "smtp/data_scanner.h"
#include "smtp/data_scanner_normalizing.h"
#include "smtp/header_scanner.h"
#include "smtp/newline_scanner.h"
#include "smtp/server_session.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace ringmx::smtp {

// ServerSession::last_command() behind a message, as Postfix's log has it.
inline constexpr std::string_view end_of_message = "END-OF-MESSAGE";

// What the octets that come next are.
enum class Phase : std::uint8_t {
    command,
    overlong_line,  // a line past its bound, dropped up to its CRLF
    mail_answer,    // nothing is read until answer_mail
    data_answer,    // … answer_data
    message_answer, // … answer_message
    data,
    chunk,
    dropped_chunk, // a chunk that is answered by dropped_reply or by the transaction's refusal
    message_end,   // the content is over, but content_refused had to be given first
    closed,
};

struct Transaction {
    MailCommand mail;
    RecipientCommand recipient;
    std::uint32_t accepted_count = 0;
    std::uint32_t unanswered_count = 0;
    std::uint32_t answers_due_count = 0; // final replies that the owner still owes
    bool is_open = false;                // MAIL was accepted
    bool is_chunked = false;             // BDAT has begun: no DATA, no RCPT any more

    DataScanner data;
    NewlineScanner newlines;
    NormalizingScanner normalizing{ContentForm::dot_stuffed};
    HeaderScanner header{ContentForm::dot_stuffed};
    std::uint64_t content_bytes = 0;
    bool normalizes = false;
    bool is_holding = false;    // the data scanner holds a dot back
    bool is_held_given = false; // and it was given out ahead of the scan
    bool is_data_ended = false; // the terminator was seen; its LF is still to be consumed
    bool is_finished = false;   // the last chunk's scanner was told so

    // Why the message is refused; the first of these in this order is the reply.
    bool is_answered = false; // by `answer`
    bool is_over_size = false;
    bool is_looping = false;
    bool has_bad_newline = false;
    bool has_nul_line = false;
    bool is_bad_chunk = false; // is_answered by the session, for a BDAT's unknown word
    OwnedReply answer;

    [[nodiscard]] bool is_refused() const {
        return is_answered || is_over_size || is_looping || has_bad_newline || has_nul_line;
    }
    void begin(const MailArguments& arguments);
    void begin_content(ContentForm form, bool normalize);
    [[nodiscard]] Reply refusal() const;
    [[nodiscard]] ContentFault fault() const;
};

struct ServerSession::State {
    explicit State(const ServerSettings& session_settings) : settings(&session_settings) {}

    const ServerSettings* settings;
    std::unique_ptr<Transaction> transaction;
    std::string output;
    std::string line; // what came of a command that the input cut
    std::string hello_name;
    std::uint64_t chunk_bytes = 0;
    std::uint64_t chunk_bytes_left = 0;
    const Reply* dropped_reply = nullptr; // of a dropped chunk; null: the transaction's refusal
    std::uint32_t errors_count = 0;       // since the last accepted message
    std::uint32_t errors_total = 0;
    std::uint32_t commands_total = 0;
    std::uint32_t unknown_recipients_count = 0;
    std::string_view last_command;
    RefusalObserver* observer = nullptr;
    Phase phase = Phase::command;
    CloseCause close_cause = CloseCause::none;
    bool is_behind_cr = false; // overlong_line: the last octet was a CR
    bool esmtp = false;
    bool accepts_bare_newlines = false;
    bool chunk_is_last = false;
    bool output_may_wait = false; // replies to MAIL, RCPT and RSET are all that is in it

    using Turn = std::optional<Step>; // nothing: go on
    static Turn event(ServerEvent event) { return Step{event, 0, {}, false}; }

    Turn advance(Bytes rest, std::size_t& used);

    // Lines and commands.
    Turn next_line(Bytes rest, std::size_t& used);
    Turn skip_line(Bytes rest, std::size_t& used);
    Turn run_line(std::string_view text);
    Turn run_alone(const Command& command);
    Turn hello(const Command& command);
    Turn mail(std::string_view argument);
    Turn refuse_mail(std::string_view argument, const Reply& reply);
    Turn recipient(std::string_view argument);
    Turn refuse_recipient(std::string_view argument, const Reply& reply);
    Turn begin_data(std::string_view argument);
    Turn begin_chunk(std::string_view argument);
    Turn drop_next_chunk(const Reply& reply);
    Turn reset(std::string_view argument);
    Turn quit(std::string_view argument);

    // Content.
    Turn data_content(Bytes rest, std::size_t& used);
    Turn normalized_data(Bytes rest, std::size_t& used);
    Turn chunk_content(Bytes rest, std::size_t& used);
    Turn dropped_content(Bytes rest, std::size_t& used);
    Turn end_chunk();
    Turn end_message();
    Turn give(Bytes content, bool is_literal);
    bool note_faults(); // whether the message has just become one to refuse
    void end_refused_message();

    // Replies.
    void send(const Reply& reply);
    void send_in_group(const Reply& reply);   // to MAIL, RCPT or RSET: it may wait for those behind
    void refuse(const Reply& reply);          // a 5xx of our own to a command: counts as an error
    Turn refuse_in_order(const Reply& reply); // once the recipients before it are answered
    bool count_error();                       // whether that was one too many
    void close_with(const Reply& reply, CloseCause cause);
    void close(CloseCause cause);
    void end_transaction();
    void release_line();

    [[nodiscard]] bool in_transaction() const { return transaction && transaction->is_open; }
    [[nodiscard]] bool in_chunks() const { return in_transaction() && transaction->is_chunked; }
    [[nodiscard]] bool awaits_recipients() const {
        return transaction && transaction->unanswered_count > 0;
    }
    [[nodiscard]] std::uint32_t final_replies() const {
        return settings->lmtp ? transaction->accepted_count : 1;
    }
};

} // namespace ringmx::smtp
