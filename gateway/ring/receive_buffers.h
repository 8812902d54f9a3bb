// The accounting of provided receive buffers, above the Port so that simulations run it too.
//
//   BufferPool ──take──▶ posted (about 16) ──completions──▶ Slices ──▶ sessions
//        ▲              (the kernel's reference)               │
//        └──────────────── the last slice goes ◀───────────────┘
//
// A posted buffer is filled from its beginning on, receive after receive (incremental kernels), so
// that slices of several connections may lie in one buffer. The offset of the next octets is known
// only by having seen every completion before: settle() must be called for EVERY completion, in
// order, before its token is looked at, even when the event is then dropped as stale. A skipped one
// would put one client's octets into another's mail.
//
// When the pool has nothing left to post, receives end with -ENOBUFS. Re-arming them at once
// livelocks (measured: 1.6 million useless completions a second), so they queue here and are
// re-armed, oldest first, at most as many a turn as buffers are posted.
//
// Invariant: posted() buffers hold exactly one reference for the kernel, dropped when a completion
//            says that the kernel is done.
// Bound:     posted() <= posted_target(); starved() <= connections. Steady state allocates nothing.
// Thread:    the port's.
// Errors:    none; exhaustion shows in low() and exhausted().
#pragma once

#include "base/buffer.h"
#include "ring/port.h"

#include <cstdint>
#include <vector>

namespace ringmx::ring {

class ReceiveBuffers {
  public:
    // `pool` and `port` outlive this. `posted_target`: 0 means the port's maximum, at most half of
    // the pool.
    ReceiveBuffers(BufferPool& pool, Port& port, std::size_t posted_target = 0);
    // The port has no receive in flight any more, or is gone: what is posted returns to the pool.
    ~ReceiveBuffers();
    ReceiveBuffers(const ReceiveBuffers&) = delete;
    ReceiveBuffers& operator=(const ReceiveBuffers&) = delete;

    // The octets that this completion brought; empty when it brought none. Posts another buffer
    // when one ended.
    [[nodiscard]] Slice settle(const Completion& completion);

    // Posts buffers up to the target, as far as the pool has any. Once a turn, since slices are
    // freed elsewhere.
    void refill();

    // A receive ended with -ENOBUFS: `token` waits for its turn to be armed anew.
    void starve(Token token);
    // Once a turn, after refill(): gives waiting tokens, oldest first, to arm(Token) -> bool
    // (false: stale, nothing was armed), until as many were armed as buffers are posted.
    template <typename Arm> void rearm_starved(Arm&& arm) {
        for (std::size_t armed = 0; armed < posted_ && starved_head_ < starved_.size();) {
            const Token token = starved_[starved_head_++];
            armed += arm(token) ? 1U : 0U;
        }
        forget_rearmed();
    }

    [[nodiscard]] std::size_t posted() const { return posted_; }
    [[nodiscard]] std::size_t posted_target() const { return posted_target_; }
    [[nodiscard]] std::size_t starved() const { return starved_.size() - starved_head_; }
    // The pool could not fill the posts at the last try: receive memory runs out, long-lived slices
    // should move.
    [[nodiscard]] bool low() const { return posted_ < posted_target_; }
    [[nodiscard]] bool exhausted() const { return posted_ == 0; }

    // Takes back what is posted. Only when the kernel can't fill it any more (see the destructor).
    void return_all();

  private:
    static constexpr std::uint32_t not_posted = UINT32_MAX;
    void forget_rearmed();

    BufferPool& pool_;
    Port& port_;
    std::size_t posted_target_;
    std::size_t posted_ = 0;
    std::vector<std::uint32_t> offsets_; // by buffer id: where the next octets go
    std::vector<Token> starved_;         // [starved_head_, end) wait
    std::size_t starved_head_ = 0;
};

} // namespace ringmx::ring
