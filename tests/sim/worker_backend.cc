#include "sim/worker_backend.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <utility>

namespace ringmx::sim {
namespace {

std::string verb_of(const std::string& command) {
    std::string verb = command.substr(0, command.find(' '));
    std::ranges::transform(verb, verb.begin(), [](unsigned char letter) {
        return static_cast<char>(std::toupper(letter));
    });
    return verb;
}

} // namespace

std::string unstuffed(std::string_view wire) {
    std::string plain;
    plain.reserve(wire.size());
    bool line_begins = true;
    for (std::size_t index = 0; index < wire.size(); ++index) {
        if (line_begins && wire[index] == '.') {
            line_begins = false;
            continue;
        }
        plain.push_back(wire[index]);
        line_begins = wire[index] == '\n' && index > 0 && wire[index - 1] == '\r';
    }
    return plain;
}

ScriptedBackend::ScriptedBackend(SimNetwork& network, const std::string& address,
                                 BackendProfile given)
    : profile(given), network_(network), address_(SocketAddress::parse(address).value()) {
    network_.listen(address_, [this](SimSocket& socket) { accept(socket); });
}

void ScriptedBackend::refuse_connections(bool on) {
    if (on && std::exchange(listens_, false)) {
        network_.stop_listening(address_);
    } else if (!on && !std::exchange(listens_, true)) {
        network_.listen(address_, [this](SimSocket& socket) { accept(socket); });
    }
}

std::size_t ScriptedBackend::taken_count() const {
    return static_cast<std::size_t>(std::ranges::count_if(
        messages, [](const std::shared_ptr<BackendMessage>& message) { return message->taken; }));
}

std::size_t ScriptedBackend::count_of(std::string_view verb) const {
    return static_cast<std::size_t>(std::ranges::count_if(
        commands, [&](const std::string& command) { return verb_of(command) == verb; }));
}

void ScriptedBackend::close_all() {
    for (const std::unique_ptr<Session>& session : sessions_) {
        if (!session->gone) {
            session->state = State::over;
            session->socket->close();
        }
    }
}

void ScriptedBackend::close_idle(const std::string& last_words) {
    for (const std::unique_ptr<Session>& session : sessions_) {
        if (session->state == State::commands && !session->gone && session->message == nullptr &&
            session->input.empty() && session->speaks_at <= network_.now()) {
            session->socket->write(last_words);
            part(*session, Judged::Then::close);
        }
    }
}

void ScriptedBackend::stop_reading() {
    for (const std::unique_ptr<Session>& session : sessions_) {
        session->socket->pause();
    }
}

void ScriptedBackend::go_on_reading() {
    for (const std::unique_ptr<Session>& session : sessions_) {
        session->socket->resume();
    }
}

void ScriptedBackend::hold() { holds_ = true; }

void ScriptedBackend::go_on() {
    holds_ = false;
    for (const std::unique_ptr<Session>& session : sessions_) {
        hear(*session);
    }
}

void ScriptedBackend::begin_data(const std::string& reply) {
    for (const std::unique_ptr<Session>& session : sessions_) {
        if (!session->gone && std::exchange(session->owes_data_reply, false)) {
            session->socket->write(reply);
            session->state = State::data;
            session->searched = 0;
            messages.push_back(session->message);
        }
    }
}

void ScriptedBackend::interject(const std::string& reply) {
    for (const std::unique_ptr<Session>& session : sessions_) {
        if (!session->gone) {
            session->socket->write(reply);
        }
    }
}

void ScriptedBackend::accept(SimSocket& socket) {
    ++connections;
    Session& session = *sessions_.emplace_back(std::make_unique<Session>());
    session.socket = &socket;
    session.number = connections;
    session.profile = profile;
    socket.on_event = [this, &session](SimSocket&) { hear(session); };
    (void)say(session, "connect", "220 backend ready\r\n");
}

void ScriptedBackend::hear(Session& session) {
    session.input += session.socket->take();
    if (holds_) {
        return;
    }
    if (session.state != State::over) {
        run(session);
    }
    if (session.socket->gone() && !session.gone) {
        session.gone = true;
        ++connections_gone;
        session.state = State::over;
        session.socket->close();
    }
}

void ScriptedBackend::run(Session& session) {
    bool goes_on = true;
    while (goes_on) {
        switch (session.state) {
        case State::commands:
            goes_on = run_command(session);
            break;
        case State::data:
            goes_on = run_data(session);
            break;
        case State::chunk:
            goes_on = run_chunk(session);
            break;
        case State::over:
            goes_on = false;
            break;
        }
    }
}

bool ScriptedBackend::run_command(Session& session) {
    const std::size_t end = session.input.find("\r\n");
    if (end == std::string::npos) {
        return false;
    }
    const std::string command = session.input.substr(0, end);
    session.input.erase(0, end + 2);
    commands.push_back(command);
    if (!session.profile.pipelining && !session.input.empty() && verb_of(command) != "BDAT") {
        violations.push_back("pipelined behind " + command);
    }
    obey(session, command);
    return true;
}

std::string ScriptedBackend::say(Session& session, const std::string& command,
                                 const std::string& ordinary) {
    return say(session, session.message.get(), command, ordinary);
}

std::string ScriptedBackend::say(Session& session, BackendMessage* message,
                                 const std::string& command, const std::string& ordinary) {
    if (judge) {
        const Judged judged = judge({command, message, ordinary});
        pronounce(session, judged);
        return judged.text;
    }
    std::string said = ordinary;
    if (answer) {
        said = answer(command).value_or(ordinary);
    }
    if (said == drop_now) {
        session.state = State::over;
        session.socket->close();
    } else if (said != say_nothing) {
        session.socket->write(said);
    }
    return said;
}

void ScriptedBackend::pronounce(Session& session, const Judged& said) {
    session.said_421 = session.said_421 || said.text.starts_with("421");
    session.speaks_at = std::max(session.speaks_at, network_.now() + said.after);
    if (said.then != Judged::Then::go_on) {
        session.state = State::over;
    }
    if (session.speaks_at <= network_.now()) {
        session.socket->write(said.text);
        part(session, said.then);
        return;
    }
    network_.schedule(session.speaks_at - network_.now(), [&session, said] {
        if (!session.gone) {
            session.socket->write(said.text);
            part(session, said.then);
        }
    });
}

void ScriptedBackend::part(Session& session, Judged::Then then) {
    switch (then) {
    case Judged::Then::go_on:
        return;
    case Judged::Then::hush:
        break;
    case Judged::Then::end:
        session.socket->end();
        break;
    case Judged::Then::close:
        session.socket->close();
        break;
    case Judged::Then::reset:
        session.socket->reset();
        break;
    }
    session.state = State::over;
}

std::string ScriptedBackend::hello_reply(const BackendProfile& profile) {
    std::string reply = "250-backend\r\n250-ENHANCEDSTATUSCODES\r\n";
    reply += profile.pipelining ? "250-PIPELINING\r\n" : "";
    reply += profile.chunking ? "250-CHUNKING\r\n" : "";
    reply += profile.eight_bit ? "250-8BITMIME\r\n" : "";
    reply += profile.utf8 ? "250-SMTPUTF8\r\n" : "";
    reply += profile.dsn ? "250-DSN\r\n" : "";
    return reply + "250 SIZE\r\n";
}

void ScriptedBackend::obey(Session& session, const std::string& command) {
    const std::string verb = verb_of(command);
    if (verb == (session.profile.lmtp ? "LHLO" : "EHLO")) {
        session.message = nullptr;
        (void)say(session, command, hello_reply(session.profile));
    } else if (verb == "HELO" && !session.profile.lmtp) {
        (void)say(session, command, "250 backend\r\n");
    } else if (verb == "MAIL") {
        if (session.message != nullptr) {
            violations.push_back("MAIL inside a transaction");
        }
        if (session.said_421) {
            violations.push_back("MAIL behind a 421");
        }
        if (!session.profile.eight_bit && command.find("BODY=") != std::string::npos) {
            violations.push_back("BODY= without 8BITMIME");
        }
        if (say(session, command, "250 2.1.0 Sender fine\r\n").starts_with("2")) {
            session.message = std::make_shared<BackendMessage>();
            session.message->mail = command;
            session.message->connection = session.number;
        }
    } else if (verb == "RCPT") {
        const bool begun = session.message != nullptr;
        const std::string ordinary = begun ? "250 2.1.5 Fine here\r\n" : "503 5.5.1 MAIL first\r\n";
        if (say(session, command, ordinary).starts_with("2") && begun) {
            session.message->recipients.push_back(command);
        }
    } else if (verb == "DATA") {
        const bool ready = session.message != nullptr && !session.message->recipients.empty();
        const std::string ordinary = ready ? "354 Go on\r\n" : "554 5.5.1 No recipients\r\n";
        const std::string said = say(session, command, ordinary);
        session.owes_data_reply = said == say_nothing;
        if (said.starts_with("354") && session.state == State::commands) {
            session.state = State::data;
            session.searched = 0;
            messages.push_back(session.message);
        }
    } else if (verb == "BDAT") {
        begin_chunk(session, command);
    } else if (verb == "RSET") {
        session.message = nullptr;
        (void)say(session, command, "250 2.0.0 Forgotten\r\n");
    } else if (verb == "QUIT") {
        (void)say(session, command, "221 2.0.0 Bye\r\n");
        session.state = State::over;
        session.socket->end();
    } else {
        violations.push_back("unknown command " + command);
        (void)say(session, command, "500 5.5.2 What\r\n");
    }
}

void ScriptedBackend::begin_chunk(Session& session, const std::string& command) {
    if (!session.profile.chunking) {
        violations.push_back("BDAT without CHUNKING");
    }
    session.chunk_left = 0;
    std::from_chars(command.data() + 5, command.data() + command.size(), session.chunk_left);
    session.chunk_last = command.ends_with(" LAST");
    session.state = State::chunk;
    if (session.message != nullptr && !session.message->by_chunks) {
        session.message->by_chunks = true;
        messages.push_back(session.message);
    }
}

bool ScriptedBackend::run_data(Session& session) {
    std::string& input = session.input;
    const bool empty = input.starts_with(".\r\n");
    const std::size_t end = empty ? 0 : input.find("\r\n.\r\n", session.searched);
    if (end == std::string::npos) {
        session.searched = input.size() < 4 ? 0 : input.size() - 4;
        // As far as it came; unstuffed when it is whole.
        session.message->octets.append(input, session.message->octets.size());
        if (overhear) {
            overhear(*session.message);
        }
        return false;
    }
    const std::size_t content = empty ? 0 : end + 2;
    session.message->octets = unstuffed(std::string_view(input).substr(0, content));
    input.erase(0, content + 3);
    finish_message(session);
    return true;
}

bool ScriptedBackend::run_chunk(Session& session) {
    const std::size_t count = std::min(session.chunk_left, session.input.size());
    if (session.message != nullptr) {
        session.message->octets.append(session.input, 0, count);
        if (overhear) {
            overhear(*session.message);
        }
    }
    session.input.erase(0, count);
    session.chunk_left -= count;
    if (session.chunk_left > 0) {
        return false;
    }
    if (!session.profile.pipelining && !session.input.empty()) {
        violations.push_back("pipelined behind a chunk");
    }
    if (session.message == nullptr || session.message->recipients.empty()) {
        session.state = State::commands;
        (void)say(session, "chunk", "503 5.5.1 No transaction\r\n");
    } else if (session.chunk_last) {
        finish_message(session);
    } else {
        session.state = State::commands;
        if (!say(session, "chunk", "250 2.0.0 More\r\n").starts_with("2")) {
            session.message = nullptr; // nor will what follows be taken (RFC 3030, 2)
        }
    }
    return true;
}

void ScriptedBackend::finish_message(Session& session) {
    const std::shared_ptr<BackendMessage> message = std::move(session.message);
    session.message = nullptr;
    message->complete = true;
    session.state = State::commands;
    const std::size_t answers = session.profile.lmtp ? message->recipients.size() : 1;
    message->taken = true;
    for (std::size_t index = 0; index < answers; ++index) {
        const std::string said =
            say(session, message.get(), ".", "250 2.0.0 Taken by the backend\r\n");
        message->taken = message->taken && said.starts_with("2");
    }
}

} // namespace ringmx::sim
