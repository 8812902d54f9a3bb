// One client of the sink, sans I/O: accepts what ServerSession offers, reads the content without
// keeping it, and decides how a message ends.
//
//   receive(octets) ─▶ need_input | wait | close | drop          output(): reply octets to send
//                                     └─ after the delay: conclude(), then receive() with what was
//                                        left
//
// Verdicts: a message is dropped with probability `disconnect`; else each final reply (LMTP: one
//           for each recipient) is 451 with probability `tempfail`, 550 with `reject`, and 250
//           otherwise. A message with a 250 is acknowledged: stored first, then counted and
//           recorded.
// Bounds:   holds no content; a stored message's octets are in its file.
// Thread:   one worker's.
// Errors:   a store that fails is told on stderr, and the message gets 451 4.3.0.
#pragma once

#include "record/record_file.h"
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
};

class Connection {
  public:
    enum class Wish : std::uint8_t {
        need_input, // all of the input is consumed
        wait,       // a message is whole: conclude() after the delay; nothing more is read before
        close,      // send output(), then close
        drop,       // close at once, without sending anything more
    };
    struct Step {
        Wish wish = Wish::need_input;
        std::size_t consumed = 0;
    };

    explicit Connection(Ledger& ledger); // the greeting is in output()

    // Goes on up to the next wish other than need_input, or the input's end.
    [[nodiscard]] Step receive(Bytes input);
    // Answers the message that `wait` announced. False: drop the connection.
    [[nodiscard]] bool conclude();
    [[nodiscard]] std::string& output() { return session_.output(); }

  private:
    enum class Verdict : std::uint8_t { taken, tempfailed, rejected, not_stored };

    void begin_message();
    void take_content(const smtp::ServerSession::Step& step);
    void take_octets(Bytes octets);
    [[nodiscard]] bool open_draft();
    [[nodiscard]] Verdict draw_verdict();
    [[nodiscard]] bool store_message();
    void acknowledge(std::size_t recipients);

    Ledger& ledger_;
    smtp::ServerSession session_;
    MessageReader reader_;
    smtp::Unstuffer unstuffer_;
    std::vector<Verdict> verdicts_;
    MessageStore::Draft draft_;
    std::optional<Error> store_error_; // why there is no draft
    StoredEnvelope envelope_;          // filled only for the store
};

} // namespace ringmx::sink
