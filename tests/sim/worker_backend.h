// A scripted SMTP or LMTP backend for simulations of a worker.
//
// It answers as an ordinary server of its profile does; answer() may say something else to a
// command: a reply (with its CRLF), drop_now (the connection ends), say_nothing, or nothing at all
// for the ordinary answer. "." stands for the end of the content. What it is told is kept: commands
// in order, messages with their octets unstuffed. judge(), where there is one, decides every answer
// with all that is known, and may put it off; overhear() sees content as it comes.
//
// It notes what a client must not do: more commands than one without PIPELINING, BDAT without
// CHUNKING, BODY= without 8BITMIME, another message behind a 421.
// Thread: the network's.
// Bound:  what the test sends.
#pragma once

#include "sim/sim_network.h"

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ringmx::sim {

struct BackendProfile {
    bool lmtp = false;
    bool pipelining = true;
    bool chunking = true;
    bool eight_bit = true;
    bool utf8 = true;
    bool dsn = true;
};

struct BackendMessage {
    std::string mail; // the whole command
    std::vector<std::string> recipients;
    std::string octets;
    std::size_t connection = 0; // that it came by, as `connections` counts them
    bool by_chunks = false;
    bool complete = false; // its last octet came
    bool taken = false;    // and was answered 250 (LMTP: for each recipient)
};

// What is to be answered; `message` is null while no transaction is open.
struct Asked {
    const std::string& command; // as for answer(); "chunk" is the end of one
    BackendMessage* message;
    const std::string& ordinary;
};

struct Judged {
    enum class Then : std::uint8_t { go_on, close, reset, end, hush };
    std::string text; // empty: nothing is said
    Duration after{0};
    Then then = Then::go_on; // end: half-closes; hush: says nothing more, reads on
};

class ScriptedBackend {
  public:
    static constexpr const char* drop_now = "!drop";
    static constexpr const char* say_nothing = "!nothing";
    using Answer = std::function<std::optional<std::string>(const std::string& command)>;

    ScriptedBackend(SimNetwork& network, const std::string& address, BackendProfile profile);

    Answer answer; // asked first; "." is the end of the content, "connect" the greeting
    std::function<Judged(const Asked&)> judge; // instead of answer()
    // DATA's content is as on the wire until it is whole.
    std::function<void(const BackendMessage&)> overhear;
    BackendProfile profile; // of connections from now on
    std::vector<std::string> commands;
    std::vector<std::string> violations;
    std::vector<std::shared_ptr<BackendMessage>> messages; // those whose content began
    std::size_t connections = 0;
    std::size_t connections_gone = 0;

    [[nodiscard]] std::size_t taken_count() const;
    [[nodiscard]] std::size_t count_of(std::string_view verb) const;
    void close_all();                               // every open connection, at once
    void close_idle(const std::string& last_words); // those without a transaction
    void refuse_connections(bool on);               // as if nobody listened
    void stop_reading();                            // on every open connection
    void go_on_reading();
    void hold();  // reads, but answers nothing,
    void go_on(); // until then
    // Says `reply` (354) to a DATA that `answer` left without one.
    void begin_data(const std::string& reply);
    // On every open connection, whatever was asked.
    void interject(const std::string& reply);

  private:
    enum class State { commands, data, chunk, over };
    struct Session {
        SimSocket* socket = nullptr;
        std::size_t number = 0;
        BackendProfile profile;
        State state = State::commands;
        Instant speaks_at{};   // not before: answers keep their order
        bool said_421 = false; // as an answer
        std::string input;
        std::size_t searched = 0;
        std::size_t chunk_left = 0;
        bool chunk_last = false;
        bool gone = false;
        bool owes_data_reply = false;
        std::shared_ptr<BackendMessage> message;
    };

    void accept(SimSocket& socket);
    void hear(Session& session);
    void run(Session& session);
    bool run_command(Session& session);
    bool run_data(Session& session);
    bool run_chunk(Session& session);
    void obey(Session& session, const std::string& command);
    void begin_chunk(Session& session, const std::string& command);
    void finish_message(Session& session);
    // Says the scripted answer, else `ordinary`; gives what was said.
    std::string say(Session& session, const std::string& command, const std::string& ordinary);
    std::string say(Session& session, BackendMessage* message, const std::string& command,
                    const std::string& ordinary);
    void pronounce(Session& session, const Judged& said);
    static void part(Session& session, Judged::Then then);
    [[nodiscard]] static std::string hello_reply(const BackendProfile& profile);

    SimNetwork& network_;
    SocketAddress address_;
    bool listens_ = true;
    std::vector<std::unique_ptr<Session>> sessions_;
    bool holds_ = false;
};

// DATA's content without the dots that stuffing added.
[[nodiscard]] std::string unstuffed(std::string_view wire);

} // namespace ringmx::sim
