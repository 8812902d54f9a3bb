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
#include <arpa/inet.h>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <liburing.h>
#include <memory>
#include <netinet/tcp.h>
#include <string>
#include <string_view>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

namespace {

constexpr unsigned posted_buffers = 16;
constexpr unsigned buffers_count = 4096;
constexpr std::size_t buffer_bytes = 64 * 1024;
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
    Program(int listener, std::uint16_t backend_port)
        : listener_(listener), backend_port_(backend_port) {
        io_uring_params parameters{};
        parameters.flags =
            IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE;
        parameters.cq_entries = 16384;
        if (io_uring_queue_init_params(1024, &ring_, &parameters) != 0) {
            std::perror("io_uring");
            std::exit(1);
        }
        int error = 0;
        buffer_ring_ =
            io_uring_setup_buf_ring(&ring_, posted_buffers, 0, IOU_PBUF_RING_INC, &error);
        if (buffer_ring_ == nullptr) {
            std::fprintf(stderr, "floor_relay: no incremental provided buffers (kernel 6.12): %s\n",
                         std::strerror(-error));
            std::exit(1);
        }
        memory_ =
            static_cast<char*>(::mmap(nullptr, buffers_count * buffer_bytes, PROT_READ | PROT_WRITE,
                                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        for (unsigned index = buffers_count; index > 0; --index) {
            free_.push_back(index - 1);
        }
        for (unsigned index = 0; index < posted_buffers; ++index) {
            post();
        }
    }

    [[noreturn]] void run() {
        io_uring_sqe* accept = next();
        io_uring_prep_multishot_accept(accept, listener_, nullptr, nullptr, 0);
        io_uring_sqe_set_data64(accept, 0);
        for (;;) {
            io_uring_submit_and_wait(&ring_, 1);
            std::array<io_uring_cqe*, 256> completions{};
            const unsigned count =
                io_uring_peek_batch_cqe(&ring_, completions.data(), completions.size());
            for (unsigned index = 0; index < count; ++index) {
                complete(*completions[index]);
            }
            io_uring_cq_advance(&ring_, count);
            for (Relay* relay : touched_) {
                flush(*relay, relay->client, 2);
                flush(*relay, relay->backend, 3);
            }
            touched_.clear();
        }
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
                release(piece.buffer);
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
        const unsigned slot = completion.flags >> IORING_CQE_BUFFER_SHIFT;
        char* const octets = memory_ + slot * buffer_bytes + offsets_[slot];
        const auto bytes = static_cast<std::size_t>(completion.res);
        offsets_[slot] += bytes;
        ++references_[slot];
        if ((completion.flags & IORING_CQE_F_BUF_MORE) == 0) {
            release(slot); // the kernel's own
            post();
        }
        touched_.push_back(relay);
        if (what == 0) {
            from_client(*relay, slot, {octets, bytes});
        } else {
            from_backend(*relay, {octets, bytes});
        }
        release(slot);
        if ((completion.flags & IORING_CQE_F_MORE) == 0 && relay->client.descriptor >= 0) {
            receive(*relay, what);
        }
    }

    void accepted(int descriptor) {
        auto* relay = new Relay;
        relay->client.descriptor = descriptor;
        relay->backend.descriptor = ::socket(AF_INET, SOCK_STREAM, 0);
        const int one = 1;
        ::setsockopt(relay->backend.descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(backend_port_);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        if (::connect(relay->backend.descriptor, reinterpret_cast<sockaddr*>(&address),
                      sizeof address) != 0) {
            std::perror("connect");
            std::exit(1);
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
        ++references_[slot];
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
        io_uring_sqe* const entry = next();
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
        io_uring_sqe* const entry = next();
        io_uring_prep_recv_multishot(
            entry, what == 0 ? relay.client.descriptor : relay.backend.descriptor, nullptr, 0, 0);
        entry->flags |= IOSQE_BUFFER_SELECT;
        entry->buf_group = 0;
        io_uring_sqe_set_data64(entry, reinterpret_cast<std::uint64_t>(&relay) | what);
    }

    io_uring_sqe* next() {
        io_uring_sqe* entry = io_uring_get_sqe(&ring_);
        if (entry == nullptr) {
            io_uring_submit(&ring_);
            entry = io_uring_get_sqe(&ring_);
        }
        return entry;
    }

    void post() {
        const unsigned slot = free_.back();
        free_.pop_back();
        references_[slot] = 1;
        offsets_[slot] = 0;
        io_uring_buf_ring_add(buffer_ring_, memory_ + slot * buffer_bytes, buffer_bytes,
                              static_cast<unsigned short>(slot),
                              io_uring_buf_ring_mask(posted_buffers), 0);
        io_uring_buf_ring_advance(buffer_ring_, 1);
    }

    void release(unsigned slot) {
        if (slot < buffers_count && --references_[slot] == 0) {
            free_.push_back(slot);
        }
    }

    io_uring ring_{};
    io_uring_buf_ring* buffer_ring_ = nullptr;
    char* memory_ = nullptr;
    std::vector<unsigned> free_;
    std::array<std::size_t, buffers_count> offsets_{};
    std::array<unsigned, buffers_count> references_{};
    std::vector<Relay*> touched_;
    int listener_;
    std::uint16_t backend_port_;
};

} // namespace

int main(int argument_count, char** arguments) {
    if (argument_count != 3) {
        std::fprintf(stderr, "usage: floor_relay LISTEN_PORT BACKEND_PORT\n");
        return 2;
    }
    const int listener = ::socket(AF_INET, SOCK_STREAM, 0);
    const int one = 1;
    ::setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    ::setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(std::atoi(arguments[1])));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
        ::listen(listener, 4096) != 0) {
        std::perror("listen");
        return 1;
    }
    auto program =
        std::make_unique<Program>(listener, static_cast<std::uint16_t>(std::atoi(arguments[2])));
    program->run();
}
