// One client of the sink, sans I/O: accepts what ServerSession offers, reads the content without
// keeping it, and decides how a message ends, and what goes wrong on the way there.
//
//   greet() ─▶ receive(octets) ─▶ need_input | wait | close | mute | flood
//                                      output(): reply octets to send
//                                     └─ wait: after delay(), conclude(), then receive() with what
//                                        was left
//
// Verdicts: each phase of the dialog has the delay and the mischief of its backend's Personality. A
//           message that is taken (LMTP: for at least one recipient) is acknowledged: stored first,
//           then counted and recorded, then answered. What was acknowledged before a mischief is
//           still answered: what is recorded was acknowledged.
// Bounds:   holds no content; a stored message's octets are in its file.
// Thread:   one worker's.
// Errors:   a store that fails is told on stderr, and the message gets 451 4.3.0.
#pragma once

#include "record/record_file.h"
#include "sink/backend.h"
#include "sink/message_reader.h"
#include "sink/message_store.h"
#include "sink/options.h"
#include "sink/totals.h"
#include "smtp/dot_stuffing.h"
#include "smtp/server_session.h"

#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <vector>

namespace ringmx::sink {

[[nodiscard]] smtp::ServerSettings server_settings(const Options& options);

// What the connections of one worker share.
struct Ledger {
    Ledger(const Options& settings, unsigned worker);

    // Uniform in [0, 1).
    [[nodiscard]] double draw();

    const Options& options;
    smtp::ServerSettings server;
    Totals totals;
    RecordFile record;
    std::optional<MessageStore> store;
    std::mt19937_64 random;
    Instant now; // of the worker's turn
};

class Connection {
  public:
    enum class Wish : std::uint8_t {
        need_input, // all of the input is consumed
        wait,       // conclude() after delay(); nothing more is read before
        close,      // send output(), then close
        mute,       // send output(), then read whatever comes and answer nothing, until it leaves
        flood,      // the same, and send flood() over and over
    };
    struct Step {
        Wish wish = Wish::need_input;
        std::size_t consumed = 0;
    };

    Connection(Ledger& ledger, Backend& backend);

    // Once, first; need_input: go on with receive().
    [[nodiscard]] Wish greet();
    // Goes on up to the next wish other than need_input, or the input's end.
    [[nodiscard]] Step receive(Bytes input);
    // What comes after the delay that `wait` asked for; need_input: go on with receive().
    [[nodiscard]] Wish conclude();
    // It was idle for too long: the last reply, if there is to be one.
    void expire();
    [[nodiscard]] std::string& output() { return session_.output(); }
    [[nodiscard]] Duration delay() const { return backend_.personality.at(phase_).delay; }
    [[nodiscard]] Duration idle_timeout() const { return backend_.personality.idle_timeout; }
    [[nodiscard]] std::string_view flood() const;

  private:
    [[nodiscard]] Wish meet(Phase phase);
    void hold_hello();
    [[nodiscard]] Wish behave();
    [[nodiscard]] Wish end(const smtp::Reply& reply);
    void begin_message();
    void take_content(const smtp::ServerSession::Step& step);
    void take_octets(Bytes octets);
    [[nodiscard]] bool open_draft();
    void answer_recipient();
    void answer_message();
    void keep_unanswered();
    [[nodiscard]] bool store_message();
    void acknowledge(std::size_t recipients);

    Ledger& ledger_;
    Backend& backend_;
    smtp::ServerSession session_;
    MessageReader reader_;
    smtp::Unstuffer unstuffer_;
    std::vector<const smtp::Reply*> verdicts_; // the final replies; static
    MessageStore::Draft draft_;
    std::optional<Error> store_error_; // why there is no draft
    StoredEnvelope envelope_;          // filled only for the store
    std::string held_hello_;           // EHLO's reply, which the session gives at once
    Phase phase_ = Phase::connect;
    Mischief mischief_ = Mischief::none; // that is to be done in this phase
    bool is_content_met_ = false;
};

} // namespace ringmx::sink
