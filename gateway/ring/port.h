// The seam to the kernel: what a loop asks of it, and what it answers, at io_uring's level.
//
// A loop (a worker, the main thread, ringmx-sink) gathers Operations and gives them all to one
// turn(); the Port submits them, waits, and appends Completions. UringPort does it with io_uring;
// SimPort (tests) with a seeded network and clock.
//
// Operation:  plain values. What it points to (octets, msghdr, iovecs, kernel address, path) belongs
//             to the caller and stays as it is until the operation's last completion (the one without
//             `more`).
// Completion: result is io_uring's: >= 0, or a negative errno. `more`: the same operation will
//             complete again. has_buffer: `result` octets were put into provided buffer
//             `buffer_id`, behind what earlier completions put there; `buffer_more` off: the kernel
//             is done with that buffer. Every completion's resources are settled before its token
//             is looked at (see ReceiveBuffers).
//
// Every operation ends exactly once: one completion without `more`.
// Thread: one Port per thread; only Waker::wake() may be called from others.
// Errors: turn() cannot fail but for our own mistakes; set-up fails with Error.
// Source: io_uring(7), io_uring_enter(2), io_uring_prep_*(3).
#pragma once

#include "base/address.h"
#include "base/error.h"
#include "base/instant.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <sys/uio.h>
#include <vector>

struct msghdr;
struct sockaddr;

namespace ringmx::ring {

// Travels through the kernel in user_data: 8 bits operation, 24 bits slot, 32 bits generation. What
// the operation numbers and slots mean is the loop's own affair; the Port only carries them.
struct Token {
    std::uint8_t operation = 0;
    std::uint32_t slot = 0; // 24 bits
    std::uint32_t generation = 0;

    [[nodiscard]] constexpr std::uint64_t packed() const {
        return std::uint64_t{operation} << 56U | std::uint64_t{slot & 0xFFFFFFU} << 32U |
               generation;
    }
    [[nodiscard]] static constexpr Token unpacked(std::uint64_t value) {
        return {static_cast<std::uint8_t>(value >> 56U),
                static_cast<std::uint32_t>(value >> 32U) & 0xFFFFFFU,
                static_cast<std::uint32_t>(value)};
    }
    bool operator==(const Token&) const = default;
};

enum class Opcode : std::uint8_t {
    accept,       // multishot on a listening descriptor; result is the new descriptor
    receive,      // multishot into provided buffers; result 0 is the peer's end
    send,         // `octets`, all of them (MSG_WAITALL) unless the connection fails or a signal
                  // cuts it short: the result says how many
    send_message, // `message`, all of it, likewise
    connect,      // to `kernel_address`
    shutdown,     // both directions
    finish,       // the sending direction only: the peer sees our end, we still receive
    cancel,   // the operation whose token is `target`; its own completion says whether it was found
    poll_in,  // once: the descriptor is readable (signalfd, c-ares)
    poll_out, // once: the descriptor is writable
    read,     // into `memory`, for signalfd
    // Files: `pieces` to or from `offset` on. The result may be less than all of it. With O_DSYNC a
    // write that is complete is durable.
    write_file,
    read_file,
};

struct Operation {
    Opcode code;
    int descriptor = -1;
    Token token;
    Token target;                             // cancel
    std::span<const std::byte> octets;        // send
    const msghdr* message = nullptr;          // send_message
    const sockaddr* kernel_address = nullptr; // connect
    unsigned kernel_address_bytes = 0;        // connect
    std::span<std::byte> memory;              // read
    std::span<const iovec> pieces;            // write_file, read_file
    std::uint64_t offset = 0;                 // write_file, read_file
};

struct Completion {
    Token token;
    std::int32_t result = 0;
    bool more = false;
    bool has_buffer = false;
    bool buffer_more = false;
    std::uint16_t buffer_id = 0;
};

// Ends another thread's wait in Port::turn(). Several wakes may count as one; a wake before the
// wait ends the next one at once.
class Waker {
  public:
    virtual ~Waker() = default;
    virtual void wake() = 0; // any thread
};

class Port {
  public:
    virtual ~Port() = default;

    // Submits `operations`, waits for a completion, a wake or `until` (whichever is first), appends
    // every completion there is. Returns the time after the wait.
    virtual Instant turn(std::span<const Operation> operations, Instant until,
                         std::vector<Completion>& completions) = 0;

    // Gives the kernel a buffer to receive into, under this id; it is used from its beginning on.
    // At most provided_buffers_max() are with the kernel at a time. Leaves with the next turn.
    virtual void provide_buffer(std::uint16_t buffer_id, std::span<std::byte> memory) = 0;
    [[nodiscard]] virtual std::size_t provided_buffers_max() const = 0;
    // Whether the kernel fills a provided buffer bit by bit (6.12); else each completion ends its
    // buffer.
    [[nodiscard]] virtual bool incremental_buffers() const = 0;

    // A stream socket for connecting to `target`, with TCP_NODELAY where that means something.
    [[nodiscard]] virtual Expected<int> open_socket(const SocketAddress& target) = 0;
    // Who is at the other end of an accepted connection, and which address of ours it came to. An
    // error: it is gone already.
    [[nodiscard]] virtual Expected<SocketAddress> peer_address(int descriptor) = 0;
    [[nodiscard]] virtual Expected<SocketAddress> local_address(int descriptor) = 0;
    // The last step of closing: nothing is in flight on the descriptor any more. `reset`: tell the
    // peer by RST (SO_LINGER 0).
    virtual void close(int descriptor, bool reset = false) = 0;

    [[nodiscard]] virtual Instant now() = 0;
    [[nodiscard]] virtual WallTime wall_time() = 0;
    [[nodiscard]] virtual Waker& waker() = 0;
};

} // namespace ringmx::ring
