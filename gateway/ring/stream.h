// One connected socket on a loop: receiving, sending, pausing and closing by the rules of the ring,
// for any owner.
//
//   Loop    what all streams of one loop share: the operations of the turn, send records, which
//           streams have something to send.
//   Stream  a descriptor and the operations in flight on it. Embedded in its owner, which lives in
//           a slab: its handle is in every token.
//
// Output: send() queues slices; at the turn's end Loop::flush() makes one send of all that a stream
//         has queued; while one send is under way the next gathers. What a send names is held by
//         its record until its completion, never by the owner.
// Input:  a multishot receive while receiving is wanted; pausing cancels it, and what still arrives
//         until the last completion is delivered.
// Close:  what is in flight is cancelled, then nothing happens until it has ended, then close(2):
//         complete() or close() says `closed`, and only then may the owner's slot be freed.
// Thread: one.
// Errors: events; the peer's end and failures are told once.
// Source: io_uring_prep_recv_multishot(3), io_uring_cancelation(7), shutdown(2); RFC 9293, 3.6
//         (half-closed connections).
#pragma once

#include "base/buffer.h"
#include "base/slab.h"
#include "ring/port.h"

#include <cstdint>
#include <memory>
#include <string_view>
#include <sys/socket.h>
#include <sys/uio.h>
#include <vector>

namespace ringmx::ring {

class Stream;

// Slices on their way out, and the kernel's view of them.
struct SendRecord {
    std::vector<Slice> slices;
    std::size_t first = 0; // slices before this one are sent and released
    std::vector<iovec> pieces;
    msghdr message{};
    std::size_t bytes = 0; // not yet sent

    void clear();
};

class Loop {
  public:
    Loop(Port& port, BufferPool& pool) : port_(port), pool_(pool), now_(port.now()) {}
    Loop(const Loop&) = delete;
    Loop& operator=(const Loop&) = delete;

    [[nodiscard]] Port& port() { return port_; }
    [[nodiscard]] BufferPool& pool() { return pool_; }
    [[nodiscard]] Instant now() const { return now_; }

    void queue(const Operation& operation) { operations_.push_back(operation); }
    // Given to the port since the loop began.
    [[nodiscard]] std::uint64_t operations_total() const { return operations_total_; }
    // Everything that streams have to send becomes operations.
    void flush();
    // Flushes, then one turn of the port: at `until` at the latest. The completions are valid until
    // the next turn.
    std::span<const Completion> turn(Instant until);

  private:
    friend class Stream;
    std::unique_ptr<SendRecord> take_record();
    void give_back(std::unique_ptr<SendRecord> record);

    Port& port_;
    BufferPool& pool_;
    Instant now_;
    std::uint64_t operations_total_ = 0;
    std::vector<Operation> operations_;
    std::vector<Completion> completions_;
    std::vector<Stream*> dirty_;
    std::vector<std::unique_ptr<SendRecord>> free_records_;
};

// The operations of a stream, as offsets to its owner's base number in Token::operation.
enum class StreamOperation : std::uint8_t {
    receive,
    send,
    connect,
    cancel_receive,
    cancel_other, // of a send or a connect, when closing
    shutdown,
    count
};

enum class StreamEvent : std::uint8_t {
    nothing,
    received,  // octets came (the slice that the completion's settling gave)
    ended,     // the peer will send no more
    starved,   // no buffer was free: call receive() again when there is one
    sent,      // everything that had been queued so far is with the kernel
    connected, // connect() succeeded
    failed,    // connect, receive or send failed: error()
    closed,    // close() is complete: nothing is in flight, the descriptor is gone
};

class Stream {
  public:
    // `operation_base`: Token::operation of StreamOperation::receive; the others follow.
    Stream(Handle owner, std::uint8_t operation_base)
        : owner_(owner), operation_base_(operation_base) {}
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;
    ~Stream();

    void open(int descriptor) { descriptor_ = descriptor; }
    [[nodiscard]] bool is_open() const { return descriptor_ >= 0; }
    [[nodiscard]] int descriptor() const { return descriptor_; }

    // The kernel's address stays in the stream until the connect is done.
    void connect(Loop& loop, const SocketAddress& target);

    void receive(Loop& loop); // wanted from now on
    void pause(Loop& loop);   // not wanted: the receive is cancelled
    [[nodiscard]] bool receiving() const { return receive_wanted_; }

    void send(Loop& loop, Slice octets);
    // Copies the text into pool memory; false when there is none (nothing is queued then).
    [[nodiscard]] bool send_text(Loop& loop, std::string_view text);
    [[nodiscard]] std::size_t unsent_bytes() const {
        return (queued_ ? queued_->bytes : 0) + (sending_ ? sending_->bytes : 0);
    }
    // After everything queued is sent, the peer sees our end.
    void finish(Loop& loop);

    // Drops what is queued, ends everything in flight. True: closed at once. `reset`: the peer gets
    // RST.
    bool close(Loop& loop, bool reset = false);
    [[nodiscard]] bool closing() const { return closing_; }
    // A closed stream may be opened with another descriptor.
    void renew();

    // One completion of this stream. Its buffer has been settled already.
    StreamEvent complete(Loop& loop, StreamOperation operation, const Completion& completion);
    [[nodiscard]] int error() const { return error_; } // errno of the last `failed`

  private:
    friend class Loop;
    [[nodiscard]] Token token(StreamOperation operation) const;
    Operation make(Opcode code, StreamOperation operation) const;
    void submit(Loop& loop, const Operation& operation);
    void cancel_receive(Loop& loop);
    void submit_cancel(Loop& loop, StreamOperation target, StreamOperation as);
    void submit_send(Loop& loop);
    void mark_dirty(Loop& loop);
    StreamEvent complete_receive(Loop& loop, const Completion& completion);
    StreamEvent complete_send(Loop& loop, const Completion& completion);
    StreamEvent fail(int error);

    std::unique_ptr<SendRecord> queued_;
    std::unique_ptr<SendRecord> sending_;
    std::unique_ptr<sockaddr_storage> target_; // while connecting
    Loop* dirty_in_ = nullptr;                 // the loop whose dirty list names this stream
    Handle owner_;
    int descriptor_ = -1;
    int error_ = 0;
    std::uint8_t operation_base_;
    std::uint8_t in_flight_ = 0;
    bool receive_wanted_ : 1 = false;
    bool receive_armed_ : 1 = false;
    bool receive_cancelling_ : 1 = false;
    bool receive_cancel_again_ : 1 =
        false; // the cancel under way may have been for the receive before this one
    bool peer_ended_ : 1 = false;
    bool failed_ : 1 = false;
    bool finish_wanted_ : 1 = false;
    bool finish_sent_ : 1 = false;
    bool closing_ : 1 = false;
    bool reset_on_close_ : 1 = false;
};

} // namespace ringmx::ring
