// The least SMTP load generator on bare io_uring: what this machine allows to a program that sends
// messages in lock-step and measures nothing.
//
//   floor_load PORT CONNECTIONS MESSAGES SIZE [one-per-connection]          to 127.0.0.1
//
// The exchanges of smtp-source -d (and without -d): HELO, then for each message MAIL, RCPT, DATA
// and the content with its end, each in one send, each waiting for its reply; QUIT. Prints how many
// messages it sent in how many seconds. A reply is whole when what came ends in a line end; one
// that is neither 2xx nor 3xx ends the program.
#include "bare_ring.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>

namespace {

using namespace floor_bench;

// Tags of what completes only when it fails; any other is a session's address.
constexpr std::uint64_t quiet_tag = 0;
constexpr std::uint64_t closing_tag = 1; // the server may have been first

// What a session waits for the reply to.
enum class Step : std::uint8_t { greeting, hello, mail, recipient, data, content, quit };

struct Session {
    int descriptor = -1;
    Step step = Step::greeting;
    std::string reply; // while it is cut
};

std::string content_of(std::size_t bytes) {
    std::string text = "From: <sender@example.com>\r\nSubject: floor\r\n\r\n";
    while (text.size() + 2 < bytes) {
        text += std::string(std::min<std::size_t>(bytes - text.size() - 2, 76), 'x') + "\r\n";
    }
    return text + ".\r\n";
}

class Program {
  public:
    Program(const char* port, std::size_t connections, std::size_t messages, std::size_t bytes,
            bool one_per_connection)
        : server_(loopback(port)), sessions_(connections), content_(content_of(bytes)),
          messages_left_(messages), one_per_connection_(one_per_connection) {}

    void run() {
        for (Session& session : sessions_) {
            open(session);
        }
        ring_.run([this](const io_uring_cqe& completion) { complete(completion); },
                  [this] { return open_count_ > 0; });
    }

  private:
    // Connecting and the first receive are one chain: only the receive completes.
    void open(Session& session) {
        if (messages_left_ == 0) {
            return;
        }
        --messages_left_; // this one's
        ++open_count_;
        session.descriptor = tcp_socket();
        session.step = Step::greeting;
        io_uring_sqe* const entry = ring_.next();
        io_uring_prep_connect(entry, session.descriptor,
                              reinterpret_cast<const sockaddr*>(&server_), sizeof server_);
        entry->flags |= IOSQE_IO_LINK | IOSQE_CQE_SKIP_SUCCESS;
        io_uring_sqe_set_data64(entry, quiet_tag);
        receive(session);
    }

    void receive(Session& session) {
        ring_.receive(session.descriptor, reinterpret_cast<std::uint64_t>(&session));
    }

    void complete(const io_uring_cqe& completion) {
        if (completion.user_data == closing_tag) {
            return;
        }
        if (completion.user_data == quiet_tag) {
            fail("connect or send", -completion.res);
        }
        auto& session = *reinterpret_cast<Session*>(completion.user_data);
        if ((completion.flags & IORING_CQE_F_BUFFER) != 0) {
            unsigned slot = 0;
            received(session, ring_.take(completion, slot));
            ring_.release(slot);
        }
        if ((completion.flags & IORING_CQE_F_MORE) != 0) {
            return;
        }
        if (completion.res > 0 || completion.res == -ENOBUFS) {
            receive(session);
        } else if (session.step != Step::quit) {
            fail("receive", completion.res == 0 ? ECONNRESET : -completion.res);
        } else {
            close(session);
        }
    }

    void close(Session& session) {
        io_uring_sqe* const entry = ring_.next();
        io_uring_prep_close(entry, session.descriptor);
        entry->flags |= IOSQE_CQE_SKIP_SUCCESS;
        io_uring_sqe_set_data64(entry, closing_tag);
        --open_count_;
        open(session);
    }

    void received(Session& session, std::string_view octets) {
        if (!session.reply.empty() || octets.back() != '\n') {
            session.reply += octets;
            octets = session.reply;
        }
        if (octets.back() != '\n') {
            return;
        }
        if (octets[0] != '2' && octets[0] != '3') {
            std::fprintf(stderr, "reply: %.*s", static_cast<int>(octets.size()), octets.data());
            std::exit(1);
        }
        session.reply.clear();
        answer(session);
    }

    void answer(Session& session) {
        switch (session.step) {
        case Step::greeting:
            say(session, Step::hello, "HELO floor.example\r\n");
            break;
        case Step::hello:
            say(session, Step::mail, "MAIL FROM:<sender@example.com>\r\n");
            break;
        case Step::mail:
            say(session, Step::recipient, "RCPT TO:<user@example.com>\r\n");
            break;
        case Step::recipient:
            say(session, Step::data, "DATA\r\n");
            break;
        case Step::data:
            say(session, Step::content, content_);
            break;
        case Step::content:
            if (one_per_connection_ || messages_left_ == 0) {
                say(session, Step::quit, "QUIT\r\n");
            } else {
                --messages_left_;
                say(session, Step::mail, "MAIL FROM:<sender@example.com>\r\n");
            }
            break;
        case Step::quit:
            end_receive(session); // its last completion closes the session
            break;
        }
    }

    void say(Session& session, Step step, std::string_view text) {
        session.step = step;
        ring_.send_quietly(session.descriptor, text, quiet_tag);
    }

    // Not by shutdown: the kernel gives that to another thread.
    void end_receive(Session& session) {
        io_uring_sqe* const entry = ring_.next();
        io_uring_prep_cancel64(entry, reinterpret_cast<std::uint64_t>(&session), 0);
        entry->flags |= IOSQE_CQE_SKIP_SUCCESS;
        io_uring_sqe_set_data64(entry, closing_tag);
    }

    BareRing ring_;
    sockaddr_in server_;
    std::vector<Session> sessions_;
    std::string content_;
    std::size_t messages_left_;
    std::size_t open_count_ = 0;
    bool one_per_connection_;
};

} // namespace

int main(int argument_count, char** arguments) {
    const bool one_per_connection =
        argument_count == 6 && std::string_view(arguments[5]) == "one-per-connection";
    if (argument_count != 5 && !one_per_connection) {
        std::fprintf(stderr,
                     "usage: floor_load PORT CONNECTIONS MESSAGES SIZE [one-per-connection]\n");
        return 2;
    }
    const auto number = [&](int index) { return std::strtoul(arguments[index], nullptr, 10); };
    const std::size_t messages = number(3);
    auto program =
        std::make_unique<Program>(arguments[1], number(2), messages, number(4), one_per_connection);
    const auto start = std::chrono::steady_clock::now();
    program->run();
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    std::printf("%zu messages in %.3f seconds\n", messages, elapsed.count());
}
