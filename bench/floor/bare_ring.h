// What the floor programs share: a ring, its buffers, and loopback sockets. Failing at the start
// ends the program.
//
// Receives are multishot and fill 64 KiB buffers one behind the other, posted_buffers with the
// kernel at a time. A buffer is used again when the kernel and all who hold it have released it;
// the last one released comes first, since it is still in the processor's cache.
// Thread: one. Kernel: 6.12 (incremental provided buffers).
#pragma once

#include <arpa/inet.h>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <liburing.h>
#include <netinet/tcp.h>
#include <string_view>
#include <sys/mman.h>
#include <vector>

namespace floor_bench {

constexpr unsigned posted_buffers = 16;
constexpr unsigned buffers_count = 4096;
constexpr std::size_t buffer_bytes = 64 * 1024;

[[noreturn]] inline void fail(const char* what, int error) {
    std::fprintf(stderr, "%s: %s\n", what, std::strerror(error));
    std::exit(1);
}

inline sockaddr_in loopback(const char* port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(std::strtoul(port, nullptr, 10)));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

inline int tcp_socket() {
    const int descriptor = ::socket(AF_INET, SOCK_STREAM, 0);
    const int one = 1;
    if (descriptor < 0 ||
        ::setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0) {
        fail("socket", errno);
    }
    return descriptor;
}

// Accepted connections inherit TCP_NODELAY.
inline int listen_on(const char* port) {
    const int listener = tcp_socket();
    const int one = 1;
    ::setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    const sockaddr_in address = loopback(port);
    if (::bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
        ::listen(listener, 4096) != 0) {
        fail("listen", errno);
    }
    return listener;
}

class BareRing {
  public:
    BareRing() {
        io_uring_params parameters{};
        parameters.flags =
            IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE;
        parameters.cq_entries = 16384;
        int error = -io_uring_queue_init_params(1024, &ring_, &parameters);
        if (error != 0) {
            fail("io_uring", error);
        }
        buffer_ring_ =
            io_uring_setup_buf_ring(&ring_, posted_buffers, 0, IOU_PBUF_RING_INC, &error);
        if (buffer_ring_ == nullptr) {
            fail("incremental provided buffers (kernel 6.12)", -error);
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

    // Submits, waits, and gives each completion to `complete`; after each turn `go_on` says
    // whether there is another.
    template <typename Complete, typename GoOn> void run(Complete&& complete, GoOn&& go_on) {
        do {
            io_uring_submit_and_wait(&ring_, 1);
            std::array<io_uring_cqe*, 256> completions{};
            const unsigned count =
                io_uring_peek_batch_cqe(&ring_, completions.data(), completions.size());
            for (unsigned index = 0; index < count; ++index) {
                complete(*completions[index]);
            }
            io_uring_cq_advance(&ring_, count);
        } while (go_on());
    }

    io_uring_sqe* next() {
        io_uring_sqe* entry = io_uring_get_sqe(&ring_);
        if (entry == nullptr) {
            io_uring_submit(&ring_);
            entry = io_uring_get_sqe(&ring_);
        }
        return entry;
    }

    void accept(int listener, std::uint64_t tag) {
        io_uring_sqe* const entry = next();
        io_uring_prep_multishot_accept(entry, listener, nullptr, nullptr, 0);
        io_uring_sqe_set_data64(entry, tag);
    }

    void receive(int descriptor, std::uint64_t tag) {
        io_uring_sqe* const entry = next();
        io_uring_prep_recv_multishot(entry, descriptor, nullptr, 0, 0);
        entry->flags |= IOSQE_BUFFER_SELECT;
        entry->buf_group = 0;
        io_uring_sqe_set_data64(entry, tag);
    }

    // The octets must stay as they are until the peer has them; completes only when it fails.
    void send_quietly(int descriptor, std::string_view octets, std::uint64_t tag) {
        io_uring_sqe* const entry = next();
        io_uring_prep_send(entry, descriptor, octets.data(), octets.size(),
                           MSG_WAITALL | MSG_NOSIGNAL);
        entry->flags |= IOSQE_CQE_SKIP_SUCCESS;
        io_uring_sqe_set_data64(entry, tag);
    }

    // What a receive brought; `slot` is then held once.
    std::string_view take(const io_uring_cqe& completion, unsigned& slot) {
        slot = completion.flags >> IORING_CQE_BUFFER_SHIFT;
        const char* const octets = memory_ + slot * buffer_bytes + offsets_[slot];
        const auto bytes = static_cast<std::size_t>(completion.res);
        offsets_[slot] += bytes;
        hold(slot);
        if ((completion.flags & IORING_CQE_F_BUF_MORE) == 0) {
            release(slot); // the kernel's own
            post();
        }
        return {octets, bytes};
    }

    void hold(unsigned slot) { ++references_[slot]; }

    void release(unsigned slot) {
        if (--references_[slot] == 0) {
            free_.push_back(slot);
        }
    }

  private:
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

    io_uring ring_{};
    io_uring_buf_ring* buffer_ring_ = nullptr;
    char* memory_ = nullptr;
    std::vector<unsigned> free_;
    std::array<std::size_t, buffers_count> offsets_{};
    std::array<unsigned, buffers_count> references_{};
};

} // namespace floor_bench
