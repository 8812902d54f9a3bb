// What ringmx-load says on one connection, sans I/O: greeting, EHLO or LHLO, one transaction after
// another, QUIT. The owner connects, sends and receives.
//
//   open(now) ─▶ receive()… ─▶ ready ─▶ begin() ─▶ receive()… ─▶ done ─▶ begin() … ─▶ quit()
//
// After every call the owner sends output() (and clears it), and if content_due() the message's
// content in content_form() behind it, in the same send; then it says content_submitted().
// content_sent() tells when the kernel has taken the last octet.
//
// Without pipelining each command waits for its reply. With it MAIL, every RCPT and DATA (or BDAT
// with the whole content) go in one send, where the server offers PIPELINING; CHUNKING likewise.
//
// Times are recorded in the result's parts: greeting, hello, envelope (MAIL to the last answer
// before the content), end_of_data (the last octet given to the kernel to the final reply). What
// takes the owner's part (connect, message) is recorded by it.
//
// Thread: one. Memory: as ClientSession's, and one reply.
// Errors: outcome() after done; `failed` when the connection is of no use (a transaction under way
//         is an error then).
// Source: RFC 5321; RFC 2920; RFC 3030; RFC 2033.
#pragma once

#include "base/instant.h"
#include "load/message_source.h"
#include "load/result.h"
#include "smtp/client_session.h"

#include <cstdint>
#include <string>

namespace ringmx::load {

enum class ContentForm : std::uint8_t { stuffed, raw };

class Dialog {
  public:
    enum class Event : std::uint8_t {
        need_input,
        ready,  // begin() may be called
        done,   // a transaction is over: outcome(); begin() may be called
        closed, // QUIT is answered
        failed, // outcome() says why
    };
    struct Step {
        Event event = Event::need_input;
        std::size_t consumed = 0;
    };
    enum class Ending : std::uint8_t { accepted, tempfailed, rejected, error };
    struct Outcome {
        Ending ending = Ending::error;
        std::string kind; // of a failure, for Result::failures
    };

    // Both outlive it.
    Dialog(const Options& options, Result& result);

    void open(Instant now);
    [[nodiscard]] Step receive(Bytes input, Instant now);
    // The message stays as it is until its end.
    void begin(const Message& message, std::uint64_t sequence, MessageSource& source, Instant now);
    void quit();
    [[nodiscard]] bool is_quitting() const { return phase_ == Phase::quit; }

    [[nodiscard]] std::string& output() { return session_.output(); }
    [[nodiscard]] bool content_due() const { return content_due_; }
    [[nodiscard]] ContentForm content_form() const {
        return chunked_ ? ContentForm::raw : ContentForm::stuffed;
    }
    // DATA was taken though no recipient was: nothing but the final dot goes.
    [[nodiscard]] bool is_content_empty() const { return is_empty_content_; }
    void content_submitted(Instant now);
    void content_sent(Instant now);

    [[nodiscard]] const Outcome& outcome() const { return outcome_; }
    [[nodiscard]] bool in_transaction() const {
        return phase_ == Phase::envelope || phase_ == Phase::content || phase_ == Phase::reset;
    }
    // The whole message is with the kernel: should the connection end now, its fate is unknown.
    [[nodiscard]] bool was_content_submitted() const { return content_submitted_; }
    // The word for where a connection ended: "greeting", "envelope", "end of data".
    [[nodiscard]] const char* phase_word() const;

  private:
    enum class Phase : std::uint8_t { greeting, hello, idle, envelope, content, reset, quit };

    Event take_reply(Instant now);
    Event envelope_reply(const smtp::Reply& reply, Instant now);
    void envelope_answered(Instant now);
    Event content_reply(const smtp::Reply& reply, Instant now);
    void send_next(Instant now);
    void queue_body();
    void note_failure(const smtp::Reply& reply);
    Event conclude();
    Event fail(Ending ending, std::string kind);

    const Options& options_;
    Result& result_;
    smtp::ClientSession session_;
    smtp::MailCommand mail_;
    const Message* message_ = nullptr;
    MessageSource* source_ = nullptr;
    std::uint64_t sequence_ = 0;
    Outcome outcome_;
    Instant began_{};
    Instant submitted_{};
    std::uint32_t recipients_sent_ = 0;
    std::uint32_t recipients_answered_ = 0;
    std::uint32_t recipients_accepted_ = 0;
    Phase phase_ = Phase::greeting;
    bool pipelined_ = false;
    bool chunked_ = false;
    bool has_failed_ = false; // outcome_ holds the first refusal
    bool content_due_ = false;
    bool content_submitted_ = false;
    bool is_empty_content_ = false;
};

} // namespace ringmx::load
