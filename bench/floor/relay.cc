// The least SMTP relay on bare io_uring: what this machine allows to a program that does ringmx's
// exchanges and nothing else.
//
//   floor_relay LISTEN_PORT BACKEND_PORT [EXCHANGES]     both on 127.0.0.1; runs until it is killed
//
// Towards the backend a message takes as few exchanges as client and backend allow, but never fewer
// than EXCHANGES (1, 2 or 3; 1 if not given):
//   one    MAIL RCPT BDAT LAST content      a client that pipelines BDAT, a backend with CHUNKING
//   two    MAIL RCPT | BDAT LAST content    any client, a backend with CHUNKING
//          MAIL RCPT DATA | content         a client that pipelines DATA
//   three  MAIL RCPT | DATA | content       a client in lock-step
// Each is one send. Content of up to 256 KiB goes when it is whole, more as it comes. The client
// gets what the backend has answered, in one send for all that is due to it at once. One backend
// connection for each client connection.
//
// Nothing is parsed but line ends, the first letters of a command and a chunk's size; nothing is
// checked, counted, logged or limited: it takes well-behaved clients (smtp-source, ringmx-load) and
// backends (smtp-sink, ringmx-sink) only, and content without lines that begin with a dot. Receives
// fill 64 KiB buffers, 16 with the kernel at a time; content goes out from where it was received.
#include "bare_ring.h"

#include <algorithm>
#include <deque>
#include <memory>
#include <string>
#include <unistd.h>

namespace {

using namespace floor_bench;

constexpr std::size_t whole_bytes_max = 256 * 1024;
constexpr std::string_view end_of_data = "\r\n.\r\n";
// The replies to a client are parts of this text: some times Ok, or that and 354.
constexpr std::string_view replies = "250 2.0.0 Ok\r\n250 2.0.0 Ok\r\n250 2.0.0 Ok\r\n354 Go\r\n";
constexpr std::size_t ok_bytes = 14;
constexpr std::size_t go_bytes = 8;

struct Piece {
    unsigned buffer; // buffers_count: text of the relay's own
    iovec octets;
};

struct Side {
    int descriptor = -1;
    std::vector<Piece> queued;
    std::vector<Piece> sending;
    std::vector<iovec> vectors;
    msghdr message{};
};

// What the backend's replies that are due answer.
enum class Await : std::uint8_t { greeting, hello, nothing, envelope, data, content };
enum class Form : std::uint8_t { none, data, chunk };

struct Relay {
    Side client;
    Side backend;
    Await await = Await::greeting;
    unsigned lines_due = 0;          // of the backend
    unsigned owed = 0;               // replies to the client, for the next send
    std::string line;                // of the client, while it is cut
    std::string hello;               // the backend's reply to EHLO so far
    std::string envelope;            // MAIL and RCPT
    std::deque<std::string> headers; // of this message's chunks
    std::vector<Piece> held;         // content that is not queued yet
    std::string tail;                // the content's last octets
    std::size_t held_bytes = 0;
    std::size_t chunk_left_bytes = 0;
    Form form = Form::none; // of the content that the client sends now
    bool hello_due = false; // the client's EHLO waits for the backend's
    bool envelope_due = false;
    bool data_due = false;
    bool content_whole = false;
    bool backend_chunks = false;
};

class Program {
  public:
    Program(const char* port, const char* backend_port, unsigned exchanges_min)
        : listener_(listen_on(port)), backend_(loopback(backend_port)),
          exchanges_min_(exchanges_min) {}

    void run() {
        ring_.accept(listener_, 0);
        ring_.run([this](const io_uring_cqe& completion) { complete(completion); },
                  [this] {
                      for (Relay* relay : touched_) {
                          flush(*relay, relay->client, 2);
                          flush(*relay, relay->backend, 3);
                      }
                      touched_.clear();
                      return true;
                  });
    }

  private:
    // A tag is the relay's address with what completes in its low three bits: 0 receive client, 1
    // receive backend, 2 send client, 3 send backend.
    void complete(const io_uring_cqe& completion) {
        if (completion.user_data == 0) {
            accepted(completion.res);
            return;
        }
        auto* relay = reinterpret_cast<Relay*>(completion.user_data & ~std::uint64_t{7});
        const auto what = static_cast<unsigned>(completion.user_data & 7U);
        if (what >= 2) {
            Side& side = what == 2 ? relay->client : relay->backend;
            for (const Piece& piece : side.sending) {
                if (piece.buffer < buffers_count) {
                    ring_.release(piece.buffer);
                }
            }
            side.sending.clear();
            touched_.push_back(relay);
            return;
        }
        if ((completion.flags & IORING_CQE_F_BUFFER) == 0) {
            if (completion.res == -ENOBUFS) {
                receive(*relay, what);
                return;
            }
            // The client has ended: both connections go. The Relay stays, since completions may
            // still name it; a benchmark is short.
            if (what == 0 && completion.res <= 0 && relay->client.descriptor >= 0) {
                ::close(relay->client.descriptor);
                ::shutdown(relay->backend.descriptor, SHUT_RDWR);
                ::close(relay->backend.descriptor);
                relay->client.descriptor = relay->backend.descriptor = -1;
            }
            return;
        }
        unsigned slot = 0;
        const std::string_view octets = ring_.take(completion, slot);
        touched_.push_back(relay);
        if (what == 0) {
            from_client(*relay, slot, octets);
        } else {
            from_backend(*relay, octets);
        }
        ring_.release(slot);
        if ((completion.flags & IORING_CQE_F_MORE) == 0 && relay->client.descriptor >= 0) {
            receive(*relay, what);
        }
    }

    void accepted(int descriptor) {
        auto* relay = new Relay;
        relay->client.descriptor = descriptor;
        relay->backend.descriptor = tcp_socket();
        if (::connect(relay->backend.descriptor, reinterpret_cast<const sockaddr*>(&backend_),
                      sizeof backend_) != 0) {
            fail("connect", errno);
        }
        receive(*relay, 0);
        receive(*relay, 1);
        say(relay->client, "220 floor ESMTP\r\n");
    }

    void from_client(Relay& relay, unsigned slot, std::string_view octets) {
        while (!octets.empty()) {
            octets.remove_prefix(relay.form != Form::none && !relay.content_whole
                                     ? content(relay, slot, octets)
                                     : command(relay, octets));
        }
        advance(relay);
    }

    // Both return how many octets they took.
    std::size_t content(Relay& relay, unsigned slot, std::string_view octets) {
        if (relay.form == Form::chunk) {
            octets = octets.substr(0, relay.chunk_left_bytes);
            relay.chunk_left_bytes -= octets.size();
            relay.content_whole = relay.chunk_left_bytes == 0;
        } else {
            relay.tail +=
                octets.substr(octets.size() - std::min(octets.size(), end_of_data.size()));
            relay.content_whole = relay.tail.ends_with(end_of_data);
            relay.tail.erase(0,
                             relay.tail.size() - std::min(relay.tail.size(), end_of_data.size()));
        }
        ring_.hold(slot);
        relay.held.push_back({slot, {const_cast<char*>(octets.data()), octets.size()}});
        relay.held_bytes += octets.size();
        return octets.size();
    }

    std::size_t command(Relay& relay, std::string_view octets) {
        const std::size_t end = octets.find('\n');
        if (end == std::string_view::npos) {
            relay.line += octets;
            return octets.size();
        }
        relay.line += octets.substr(0, end + 1);
        const bool is_last = end + 1 == octets.size(); // else the client pipelines
        switch (relay.line[0] == 'R' ? relay.line[1] : relay.line[0]) {
        case 'M': // MAIL
            relay.envelope = relay.line;
            ++relay.owed;
            break;
        case 'C': // RCPT
            relay.envelope += relay.line;
            relay.envelope_due = true;
            break;
        case 'D': // DATA
            relay.data_due = true;
            break;
        case 'B': // BDAT
            relay.form = Form::chunk;
            relay.chunk_left_bytes =
                std::strtoul(relay.line.c_str() + std::strlen("BDAT "), nullptr, 10);
            relay.content_whole = relay.chunk_left_bytes == 0;
            break;
        case 'E': // EHLO
            relay.hello_due = true;
            break;
        default: // HELO, RSET, QUIT
            ++relay.owed;
            break;
        }
        if (is_last && !relay.envelope_due && relay.form == Form::none) {
            answer(relay);
        }
        relay.line.clear();
        return end + 1;
    }

    // Sends the backend what may go now.
    void advance(Relay& relay) {
        if (relay.hello_due && relay.await > Await::hello) {
            relay.hello_due = false;
            say(relay.client, relay.backend_chunks
                                  ? "250-floor\r\n250-PIPELINING\r\n250 CHUNKING\r\n"
                                  : "250-floor\r\n250 PIPELINING\r\n");
        }
        if (relay.await == Await::nothing && relay.envelope_due) {
            envelope(relay);
        }
        if (relay.await == Await::nothing && relay.data_due) {
            relay.data_due = false;
            if (relay.backend_chunks && exchanges_min_ < 3) {
                go(relay);
            } else {
                say(relay.backend, "DATA\r\n");
                await(relay, Await::data, 1);
            }
        }
        if (relay.form != Form::none &&
            (relay.await == Await::nothing || relay.await == Await::content)) {
            release_content(relay);
        }
    }

    void envelope(Relay& relay) {
        const bool joins_content = relay.form == Form::chunk && exchanges_min_ == 1;
        if (joins_content && !is_content_due(relay)) {
            return;
        }
        relay.envelope_due = false;
        const bool joins_data =
            relay.data_due && !relay.backend_chunks && exchanges_min_ < 3 && !joins_content;
        if (joins_data) {
            relay.data_due = false;
            relay.envelope += "DATA\r\n";
        }
        say(relay.backend, relay.envelope);
        ++relay.owed; // RCPT's
        await(relay,
              joins_content ? Await::content
              : joins_data  ? Await::data
                            : Await::envelope,
              joins_data ? 3 : 2);
    }

    static bool is_content_due(const Relay& relay) {
        return relay.content_whole || relay.held_bytes > whole_bytes_max;
    }

    // Queues the content that is held, once it is whole or too much to hold.
    void release_content(Relay& relay) {
        const bool chunks =
            relay.form == Form::chunk || (relay.backend_chunks && exchanges_min_ < 3);
        const bool streams = !chunks && relay.await == Await::content;
        if (!is_content_due(relay) && !streams) {
            return;
        }
        std::vector<Piece> kept;
        if (chunks) {
            // Of DATA the final dot does not go, and what may be its beginning waits.
            const std::size_t kept_bytes = relay.form == Form::chunk ? 0
                                           : relay.content_whole     ? 3
                                                                     : end_of_data.size();
            kept = split(relay, kept_bytes);
            relay.headers.push_back("BDAT " + std::to_string(relay.held_bytes) +
                                    (relay.content_whole ? " LAST\r\n" : "\r\n"));
            say(relay.backend, relay.headers.back());
        }
        for (const Piece& piece : relay.held) {
            relay.backend.queued.push_back(piece);
        }
        await(relay, Await::content, chunks || relay.content_whole ? 1 : 0);
        relay.held.swap(kept);
        relay.held_bytes = 0;
        for (const Piece& piece : relay.held) {
            relay.held_bytes += piece.octets.iov_len;
        }
        if (relay.content_whole) {
            drop_held(relay);
            relay.form = Form::none;
        }
    }

    // Takes the last octets off what is held.
    std::vector<Piece> split(Relay& relay, std::size_t bytes) {
        std::vector<Piece> taken;
        relay.held_bytes -= bytes;
        while (bytes > 0) {
            Piece& last = relay.held.back();
            const std::size_t count = std::min(bytes, last.octets.iov_len);
            last.octets.iov_len -= count;
            bytes -= count;
            taken.insert(taken.begin(),
                         {last.buffer,
                          {static_cast<char*>(last.octets.iov_base) + last.octets.iov_len, count}});
            if (last.octets.iov_len == 0) {
                relay.held.pop_back();
            } else {
                ring_.hold(last.buffer);
            }
        }
        return taken;
    }

    void drop_held(Relay& relay) {
        for (const Piece& piece : relay.held) {
            ring_.release(piece.buffer);
        }
        relay.held.clear();
        relay.held_bytes = 0;
    }

    void from_backend(Relay& relay, std::string_view octets) {
        if (relay.await == Await::greeting) {
            relay.await = Await::hello;
            say(relay.backend, "EHLO floor\r\n");
            return;
        }
        if (relay.await == Await::hello) {
            relay.hello += octets;
            if (relay.hello.ends_with("\r\n") && relay.hello.find("250 ") != std::string::npos) {
                relay.await = Await::nothing;
                relay.backend_chunks = relay.hello.find("CHUNKING") != std::string::npos;
                advance(relay);
            }
            return;
        }
        for (const char octet : octets) {
            relay.lines_due -= octet == '\n' && relay.lines_due > 0 ? 1U : 0U;
        }
        if (relay.lines_due > 0 || relay.await == Await::nothing) {
            return;
        }
        answered(relay);
        advance(relay);
    }

    // All that the backend owed is there.
    void answered(Relay& relay) {
        const Await what = relay.await;
        if (what == Await::content && relay.form != Form::none) {
            return; // chunks of a message that goes on
        }
        relay.await = Await::nothing;
        if (what == Await::data) {
            go(relay);
        } else if (what == Await::content) {
            ++relay.owed;
            answer(relay);
            relay.headers.clear();
        } else if (!relay.data_due && relay.form == Form::none) {
            answer(relay); // a client in lock-step waits for RCPT's
        }
    }

    static void await(Relay& relay, Await what, unsigned lines) {
        relay.await = what;
        relay.lines_due += lines;
    }

    static void answer(Relay& relay) {
        if (relay.owed > 0) {
            say(relay.client, replies.substr(0, relay.owed * ok_bytes));
        }
        relay.owed = 0;
    }

    static void go(Relay& relay) {
        say(relay.client, replies.substr(replies.size() - go_bytes - (relay.owed * ok_bytes)));
        relay.owed = 0;
        relay.form = Form::data;
        relay.content_whole = false;
        relay.tail = "\r\n";
    }

    // Text of the relay's own stays where it is until the backend has answered it.
    static void say(Side& side, std::string_view text) {
        side.queued.push_back({buffers_count, {const_cast<char*>(text.data()), text.size()}});
    }

    void flush(Relay& relay, Side& side, unsigned what) {
        if (side.queued.empty() || !side.sending.empty() || side.descriptor < 0) {
            return;
        }
        side.sending.swap(side.queued);
        side.vectors.clear();
        for (const Piece& piece : side.sending) {
            side.vectors.push_back(piece.octets);
        }
        io_uring_sqe* const entry = ring_.next();
        if (side.vectors.size() == 1) {
            io_uring_prep_send(entry, side.descriptor, side.vectors[0].iov_base,
                               side.vectors[0].iov_len, MSG_WAITALL | MSG_NOSIGNAL);
        } else {
            side.message.msg_iov = side.vectors.data();
            side.message.msg_iovlen = side.vectors.size();
            io_uring_prep_sendmsg(entry, side.descriptor, &side.message,
                                  MSG_WAITALL | MSG_NOSIGNAL);
        }
        io_uring_sqe_set_data64(entry, reinterpret_cast<std::uint64_t>(&relay) | what);
    }

    void receive(Relay& relay, unsigned what) {
        ring_.receive(what == 0 ? relay.client.descriptor : relay.backend.descriptor,
                      reinterpret_cast<std::uint64_t>(&relay) | what);
    }

    BareRing ring_;
    std::vector<Relay*> touched_;
    int listener_;
    sockaddr_in backend_;
    unsigned exchanges_min_;
};

} // namespace

int main(int argument_count, char** arguments) {
    const unsigned long exchanges =
        argument_count == 4 ? std::strtoul(arguments[3], nullptr, 10) : 1;
    if (argument_count < 3 || argument_count > 4 || exchanges < 1 || exchanges > 3) {
        std::fprintf(stderr, "usage: floor_relay LISTEN_PORT BACKEND_PORT [1|2|3]\n");
        return 2;
    }
    std::make_unique<Program>(arguments[1], arguments[2], static_cast<unsigned>(exchanges))->run();
}
