// The Port over io_uring: one ring, one thread, one system call a turn.
//
// Ring:    SINGLE_ISSUER and DEFER_TASKRUN (6.1), so that completions are made in turn() only. It
//          is created disabled, restricted to the operations below, and enabled by the thread that
//          calls enable() or the first turn(); create() may run on another.
// Buffers: one provided buffer ring. With incremental consumption (6.12) a buffer serves many
//          receives; else each ends it.
// Waker:   an eventfd that the ring itself reads; the loop never sees it. Wakes that find one
//          pending cost an atomic exchange.
//
// Shutdown is done by shutdown(2) between submission and waiting: io_uring hands it to a kernel
// thread, which costs more than the call.
//
// Bounds:  submissions beyond the queue are submitted in between. The completion queue is large,
//          because receives that share a buffer must be seen in the order in which the kernel made
//          them, and an overflowing queue may end a multishot out of that order.
// Tokens:  Token{255, 0xFFFFFF, 0xFFFFFFFF} is the port's own.
// Thread:  everything but create(), waker().wake() and the destructor belongs to the enabling
//          thread. The destructor runs on that thread too, if there was one; it cancels and awaits
//          what is in flight, so that the caller may free its memory after it.
// Errors:  create() says which limit or policy denies io_uring and how to mend it (ring/probe.h).
// Source:  io_uring_setup(2), io_uring_register(2), io_uring_enter(2); kernel 6.1, liburing 2.9.
#pragma once

#include "ring/port.h"
#include "ring/probe.h"

#include <memory>

namespace ringmx::ring {

class UringPort final : public Port {
  public:
    struct Settings {
        unsigned submissions = 1024;  // power of two; 64 bytes each
        unsigned completions = 16384; // power of two; 16 bytes each
        // Power of two. 16 buffers at a time keep the working set in the cache (28.2 to 16.7 µs a
        // message against hundreds).
        unsigned provided_buffers = 16;
        Features features; // from probe()
    };

    [[nodiscard]] static Expected<std::unique_ptr<UringPort>> create(const Settings& settings);
    ~UringPort() override;
    UringPort(const UringPort&) = delete;
    UringPort& operator=(const UringPort&) = delete;

    // Makes the calling thread the ring's own. turn() does it when nobody did.
    void enable();

    Instant turn(std::span<const Operation> operations, Instant until,
                 std::vector<Completion>& completions) override;
    void provide_buffer(std::uint16_t buffer_id, std::span<std::byte> memory) override;
    [[nodiscard]] std::size_t provided_buffers_max() const override;
    [[nodiscard]] bool incremental_buffers() const override;
    [[nodiscard]] Expected<int> open_socket(const SocketAddress& target) override;
    [[nodiscard]] Expected<SocketAddress> peer_address(int descriptor) override;
    [[nodiscard]] Expected<SocketAddress> local_address(int descriptor) override;
    void close(int descriptor, bool reset = false) override;
    [[nodiscard]] Instant now() override;
    [[nodiscard]] WallTime wall_time() override;
    [[nodiscard]] Waker& waker() override;

  private:
    struct State;
    explicit UringPort(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

} // namespace ringmx::ring
