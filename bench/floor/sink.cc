// The least SMTP sink on bare io_uring: what this machine allows to a program that takes mail and
// throws it away.
//
//   floor_sink PORT          on 127.0.0.1; runs until it is killed
//
// One reply for each command, one send for the replies to what came at once. Nothing is parsed but
// line ends and the first letter of a command, nothing is checked, counted, logged or limited: it
// takes well-behaved clients only, lock-step or pipelining, with DATA or BDAT.
#include "bare_ring.h"

#include <algorithm>
#include <memory>
#include <string>

namespace {

using namespace floor_bench;

constexpr std::string_view greeting = "220 floor ESMTP\r\n";
constexpr std::string_view hello =
    "250-floor\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 8BITMIME\r\n";
constexpr std::string_view bye = "221 2.0.0 Bye\r\n";
constexpr std::string_view accepted_once = "250 2.0.0 Ok\r\n";
constexpr std::string_view go = "354 Go\r\n";
constexpr std::string_view end_of_data = "\r\n.\r\n";

constexpr std::uint64_t send_tag = 1; // and 0: accept; else a connection's address

struct Connection {
    int descriptor = -1;
    bool in_content = false;          // of DATA
    std::size_t chunk_left_bytes = 0; // of BDAT
    std::string line;                 // while it is cut
    std::string tail;                 // the content's last octets, fewer than end_of_data has
};

class Program {
  public:
    explicit Program(const char* port) : listener_(listen_on(port)) {
        // Replies are parts of one text that never changes: nobody waits for sends.
        for (std::size_t count = 0; count < replies_max; ++count) {
            replies_ += accepted_once;
        }
        replies_ += go;
    }

    void run() {
        ring_.accept(listener_, 0);
        ring_.run([this](const io_uring_cqe& completion) { complete(completion); },
                  [] { return true; });
    }

  private:
    static constexpr std::size_t replies_max = 1000;

    void complete(const io_uring_cqe& completion) {
        if (completion.user_data == send_tag) {
            return; // the client has ended: its receive says so too
        }
        if (completion.user_data == 0) {
            auto* connection = new Connection;
            connection->descriptor = completion.res;
            receive(*connection);
            ring_.send_quietly(connection->descriptor, greeting, send_tag);
            return;
        }
        auto* connection = reinterpret_cast<Connection*>(completion.user_data);
        if ((completion.flags & IORING_CQE_F_BUFFER) != 0) {
            unsigned slot = 0;
            received(*connection, ring_.take(completion, slot));
            ring_.release(slot);
        }
        if ((completion.flags & IORING_CQE_F_MORE) != 0) {
            return;
        }
        if (completion.res > 0 || completion.res == -ENOBUFS) {
            receive(*connection);
            return;
        }
        io_uring_sqe* const entry = ring_.next();
        io_uring_prep_close(entry, connection->descriptor);
        entry->flags |= IOSQE_CQE_SKIP_SUCCESS;
        io_uring_sqe_set_data64(entry, send_tag);
        delete connection;
    }

    void receive(Connection& connection) {
        ring_.receive(connection.descriptor, reinterpret_cast<std::uint64_t>(&connection));
    }

    void received(Connection& connection, std::string_view octets) {
        accepted_count_ = 0;
        while (!octets.empty()) {
            octets.remove_prefix(connection.in_content             ? content(connection, octets)
                                 : connection.chunk_left_bytes > 0 ? chunk(connection, octets)
                                                                   : command(connection, octets));
        }
        say(connection, "");
    }

    // All three return how many octets they took.
    std::size_t content(Connection& connection, std::string_view octets) {
        const std::size_t kept = connection.tail.size();
        connection.tail += octets.substr(0, end_of_data.size() - 1);
        const std::size_t across = connection.tail.find(end_of_data);
        std::size_t taken = octets.size();
        if (across != std::string::npos) {
            taken = across + end_of_data.size() - kept;
        } else if (const void* end = ::memmem(octets.data(), octets.size(), end_of_data.data(),
                                              end_of_data.size())) {
            taken = static_cast<std::size_t>(static_cast<const char*>(end) - octets.data()) +
                    end_of_data.size();
        } else {
            if (octets.size() >= end_of_data.size()) {
                connection.tail = octets.substr(octets.size() - end_of_data.size() + 1);
            } else if (connection.tail.size() >= end_of_data.size()) {
                connection.tail.erase(0, connection.tail.size() - end_of_data.size() + 1);
            }
            return taken;
        }
        connection.in_content = false;
        ++accepted_count_;
        return taken;
    }

    std::size_t chunk(Connection& connection, std::string_view octets) {
        const std::size_t taken = std::min(octets.size(), connection.chunk_left_bytes);
        connection.chunk_left_bytes -= taken;
        accepted_count_ += connection.chunk_left_bytes == 0 ? 1U : 0U;
        return taken;
    }

    std::size_t command(Connection& connection, std::string_view octets) {
        const std::size_t end = octets.find('\n');
        if (end == std::string_view::npos) {
            connection.line += octets;
            return octets.size();
        }
        switch (connection.line.empty() ? octets[0] : connection.line[0]) {
        case 'E':
            say(connection, hello);
            break;
        case 'Q':
            say(connection, bye);
            break;
        case 'D':
            connection.in_content = true;
            connection.tail = "\r\n";
            say(connection, go);
            break;
        case 'B':
            connection.line += octets.substr(0, end);
            connection.chunk_left_bytes =
                std::strtoul(connection.line.c_str() + std::strlen("BDAT "), nullptr, 10);
            accepted_count_ += connection.chunk_left_bytes == 0 ? 1U : 0U;
            break;
        default: // HELO, MAIL, RCPT, RSET, NOOP
            ++accepted_count_;
            break;
        }
        connection.line.clear();
        return end + 1;
    }

    // Sends the replies that are due, and then `text`.
    void say(const Connection& connection, std::string_view text) {
        const std::size_t due = accepted_count_ * accepted_once.size();
        const std::string_view all = replies_;
        accepted_count_ = 0;
        if (text.data() == go.data()) {
            ring_.send_quietly(connection.descriptor, all.substr(all.size() - go.size() - due),
                               send_tag);
            return;
        }
        if (due > 0) {
            ring_.send_quietly(connection.descriptor, all.substr(0, due), send_tag);
        }
        if (!text.empty()) {
            ring_.send_quietly(connection.descriptor, text, send_tag);
        }
    }

    BareRing ring_;
    int listener_;
    std::string replies_;            // replies_max times accepted_once, and go
    std::size_t accepted_count_ = 0; // due to the client whose octets are being read
};

} // namespace

int main(int argument_count, char** arguments) {
    if (argument_count != 2) {
        std::fprintf(stderr, "usage: floor_sink PORT\n");
        return 2;
    }
    std::make_unique<Program>(arguments[1])->run();
}
