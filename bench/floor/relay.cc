// The least SMTP relay on bare io_uring: what this machine allows to a program that does ringmx's
// exchanges and nothing else.
//
//   floor_relay LISTEN_PORT BACKEND_PORT          both on 127.0.0.1; runs until it is killed
//
// Exchanges: client lock-step (a reply for each command); towards the backend MAIL and RCPT in one
// send, DATA in one, the content with its end in one (up to 256 KiB; more goes up as it comes). One
// backend connection for each client connection. Nothing is parsed but line ends and the first
// letter of a command, nothing is checked, counted, logged or limited: it takes well-behaved
// clients (smtp-source) and backends (smtp-sink) only. Receives fill 64 KiB buffers, 16 with the
// kernel at a time; content goes out from where it was received.
#include "bare_ring.h"

#include <algorithm>
#include <memory>
#include <string>
#include <unistd.h>

namespace {

using namespace floor_bench;

constexpr std::size_t whole_bytes_max = 256 * 1024;

struct Piece {
    unsigned buffer; // buffers_count: static text
    iovec octets;
};

struct Side {
    int descriptor = -1;
    std::vector<Piece> queued;
    std::vector<Piece> sending;
    std::vector<iovec> vectors;
    msghdr message{};
};

enum class Await : std::uint8_t { greeting, hello, envelope, data, end, nothing };

struct Relay {
    Side client;
    Side backend;
    std::string line; // of the client, while it is cut
    std::string envelope;
    std::string tail = "\r\n"; // the content's last octets
    std::string hello;         // the backend's reply to EHLO so far
    std::size_t held_bytes = 0;
    unsigned lines_due = 0;
    bool envelope_waits = false; // for the backend's hello
    Await await = Await::greeting;
    bool in_content = false;
    bool content_ended = false;
};

class Program {
  public:
    Program(const char* port, const char* backend_port)
        : listener_(listen_on(port)), backend_(loopback(backend_port)) {}

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
        say(*relay, relay->client, "220 floor ESMTP\r\n");
    }

    void from_client(Relay& relay, unsigned slot, std::string_view octets) {
        if (relay.in_content) {
            content(relay, slot, octets);
            return;
        }
        relay.line += octets;
        if (relay.line.size() < 2 || relay.line.back() != '\n') {
            return;
        }
        switch (relay.line[0] == 'R' ? relay.line[1]
                                     : relay.line[0]) { // MAIL, RCPT, RSET, DATA, HELO, EHLO, QUIT
        case 'M':
            relay.envelope = relay.line;
            say(relay, relay.client, "250 2.1.0 Ok\r\n");
            break;
        case 'C':
            relay.envelope += relay.line;
            relay.envelope_waits = relay.await != Await::nothing;
            if (!relay.envelope_waits) {
                send_envelope(relay);
            }
            break;
        case 'D':
            say(relay, relay.backend, "DATA\r\n");
            relay.await = Await::data;
            relay.lines_due = 1;
            break;
        default:
            say(relay, relay.client, "250 2.0.0 Ok\r\n");
            break;
        }
        relay.line.clear();
    }

    static void send_envelope(Relay& relay) {
        copy(relay.backend, relay.envelope);
        relay.await = Await::envelope;
        relay.lines_due = 2;
    }

    void content(Relay& relay, unsigned slot, std::string_view octets) {
        ring_.hold(slot);
        relay.backend.queued.push_back({slot, {const_cast<char*>(octets.data()), octets.size()}});
        relay.held_bytes += octets.size();
        relay.tail += octets.size() > 5 ? octets.substr(octets.size() - 5) : octets;
        relay.content_ended = relay.tail.ends_with("\r\n.\r\n");
        relay.tail.erase(0, relay.tail.size() - std::min<std::size_t>(relay.tail.size(), 5));
        if (relay.content_ended) {
            relay.in_content = false;
            relay.await = Await::end;
            relay.lines_due = 1;
        }
    }

    void from_backend(Relay& relay, std::string_view octets) {
        if (relay.await == Await::greeting) {
            relay.await = Await::hello;
            say(relay, relay.backend, "EHLO floor\r\n");
            return;
        }
        if (relay.await == Await::hello) {
            relay.hello += octets;
            if (relay.hello.ends_with("\r\n") && relay.hello.find("250 ") != std::string::npos) {
                relay.await = Await::nothing;
                if (relay.envelope_waits) {
                    send_envelope(relay);
                }
            }
            return;
        }
        for (const char octet : octets) {
            relay.lines_due -= octet == '\n' && relay.lines_due > 0 ? 1U : 0U;
        }
        if (relay.lines_due > 0 || relay.await == Await::nothing) {
            return;
        }
        if (relay.await == Await::data) {
            say(relay, relay.client, "354 Go\r\n");
            relay.in_content = true;
            relay.content_ended = false;
            relay.held_bytes = 0;
            relay.tail = "\r\n";
        } else {
            say(relay, relay.client, "250 2.0.0 Ok\r\n");
        }
        relay.await = Await::nothing;
    }

    static void say(Relay&, Side& side, std::string_view text) {
        side.queued.push_back({buffers_count, {const_cast<char*>(text.data()), text.size()}});
    }

    // Text of the relay's own stays where it is until the backend has answered it.
    static void copy(Side& side, std::string& text) {
        side.queued.push_back({buffers_count, {text.data(), text.size()}});
    }

    void flush(Relay& relay, Side& side, unsigned what) {
        const bool waits_for_end =
            &side == &relay.backend && relay.in_content && relay.held_bytes <= whole_bytes_max;
        if (side.queued.empty() || !side.sending.empty() || waits_for_end || side.descriptor < 0) {
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
};

} // namespace

int main(int argument_count, char** arguments) {
    if (argument_count != 3) {
        std::fprintf(stderr, "usage: floor_relay LISTEN_PORT BACKEND_PORT\n");
        return 2;
    }
    std::make_unique<Program>(arguments[1], arguments[2])->run();
}
