// A scripted SMTP or LMTP backend for simulations of a worker.
//
// It answers as an ordinary server of its profile does; answer() may say something else to a
// command: a reply (with its CRLF), drop_now (the connection ends), say_nothing, or nothing at all
// for the ordinary answer. "." stands for the end of the content. What it is told is kept: commands
// in order, messages with their octets unstuffed.
//
// It notes what a client must not do: more commands than one without PIPELINING, BDAT without
// CHUNKING, BODY= without 8BITMIME.
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
};

struct BackendMessage {
    std::string mail; // the whole command
    std::vector<std::string> recipients;
    std::string octets;
    bool by_chunks = false;
    bool complete = false; // its last octet came
    bool taken = false;    // and was answered 250 (LMTP: for each recipient)
};

class ScriptedBackend {
  public:
    static constexpr const char* drop_now = "!drop";
    static constexpr const char* say_nothing = "!nothing";
    using Answer = std::function<std::optional<std::string>(const std::string& command)>;

    ScriptedBackend(SimNetwork& network, const std::string& address, BackendProfile profile);

    Answer answer; // asked first; "." is the end of the content, "connect" the greeting
    BackendProfile profile;
    std::vector<std::string> commands;
    std::vector<std::string> violations;
    std::vector<std::shared_ptr<BackendMessage>> messages; // those whose content began
    std::size_t connections = 0;
    std::size_t connections_gone = 0;

    [[nodiscard]] std::size_t taken_count() const;
    [[nodiscard]] std::size_t count_of(std::string_view verb) const;
    void close_all();    // every open connection, at once
    void stop_reading(); // on every open connection
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
        State state = State::commands;
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
    [[nodiscard]] std::string hello_reply() const;

    std::vector<std::unique_ptr<Session>> sessions_;
    bool holds_ = false;
};

} // namespace ringmx::sim
