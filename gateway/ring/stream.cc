#include "ring/stream.h"

#include "base/mutation.h"

#include <algorithm>
#include <cerrno>

namespace ringmx::ring {
namespace {

// One sendmsg takes at most IOV_MAX (1024) pieces; this many keep the kernel's copy of them on its
// stack's fast path or close to it.
constexpr std::size_t pieces_per_send_max = 256;
// Records beyond this are given back to the allocator after a burst.
constexpr std::size_t free_records_max = 1024;

} // namespace

void SendRecord::clear() {
    slices.clear();
    pieces.clear();
    first = 0;
    bytes = 0;
}

void Loop::flush() {
    // Submitting never marks a stream dirty, so the list does not grow under this loop.
    for (Stream* stream : dirty_) {
        if (stream != nullptr) {
            stream->dirty_in_ = nullptr;
            if (!stream->sending_ && !stream->closing_ && stream->queued_) {
                stream->submit_send(*this);
            }
        }
    }
    dirty_.clear();
}

std::span<const Completion> Loop::turn(Instant until) {
    flush();
    completions_.clear();
    operations_total_ += operations_.size();
    now_ = port_.turn(operations_, until, completions_);
    operations_.clear();
    return completions_;
}

std::unique_ptr<SendRecord> Loop::take_record() {
    if (free_records_.empty()) {
        return std::make_unique<SendRecord>();
    }
    std::unique_ptr<SendRecord> record = std::move(free_records_.back());
    free_records_.pop_back();
    return record;
}

void Loop::give_back(std::unique_ptr<SendRecord> record) {
    record->clear();
    if (free_records_.size() < free_records_max) {
        free_records_.push_back(std::move(record));
    }
}

Stream::~Stream() {
    RINGMX_ASSERT_STATE(in_flight_ == 0, "descriptor %d with %d operations in flight", descriptor_,
                        int{in_flight_});
    if (dirty_in_ != nullptr) {
        std::ranges::replace(dirty_in_->dirty_, this, static_cast<Stream*>(nullptr));
    }
}

Token Stream::token(StreamOperation operation) const {
    return {static_cast<std::uint8_t>(operation_base_ + static_cast<std::uint8_t>(operation)),
            owner_.slot, owner_.generation};
}

Operation Stream::make(Opcode code, StreamOperation operation) const {
    Operation made{};
    made.code = code;
    made.descriptor = descriptor_;
    made.token = token(operation);
    return made;
}

void Stream::submit(Loop& loop, const Operation& operation) {
    ++in_flight_;
    loop.queue(operation);
}

void Stream::submit_cancel(Loop& loop, StreamOperation target, StreamOperation as) {
    Operation operation = make(Opcode::cancel, as);
    operation.target = token(target);
    submit(loop, operation);
}

void Stream::cancel_receive(Loop& loop) {
    if (!receive_armed_) {
        return;
    }
    if (receive_cancelling_) {
        receive_cancel_again_ = true;
        return;
    }
    receive_cancelling_ = true;
    submit_cancel(loop, StreamOperation::receive, StreamOperation::cancel_receive);
}

void Stream::connect(Loop& loop, const SocketAddress& target) {
    target_ = std::make_unique<sockaddr_storage>();
    Operation operation = make(Opcode::connect, StreamOperation::connect);
    operation.kernel_address_bytes = target.to_kernel(*target_);
    operation.kernel_address = reinterpret_cast<const sockaddr*>(target_.get());
    submit(loop, operation);
}

void Stream::receive(Loop& loop) {
    receive_wanted_ = true;
    if (!receive_armed_ && !peer_ended_ && !failed_ && !closing_) {
        receive_armed_ = true;
        submit(loop, make(Opcode::receive, StreamOperation::receive));
    }
}

void Stream::pause(Loop& loop) {
    if (receive_wanted_) {
        receive_wanted_ = false;
        cancel_receive(loop);
    }
}

void Stream::mark_dirty(Loop& loop) {
    if (dirty_in_ == nullptr) {
        dirty_in_ = &loop;
        loop.dirty_.push_back(this);
    }
}

void Stream::send(Loop& loop, Slice octets) {
    if (octets.empty() || failed_ || closing_) {
        return;
    }
    if (!queued_) {
        queued_ = loop.take_record();
    }
    queued_->bytes += octets.size();
    queued_->slices.push_back(std::move(octets));
    mark_dirty(loop);
}

bool Stream::send_text(Loop& loop, std::string_view text) {
    while (!text.empty()) {
        const std::string_view part = text.substr(0, BufferPool::draft_bytes_max);
        Slice copy = loop.pool().copy(as_bytes(part));
        if (copy.empty()) {
            return false;
        }
        send(loop, std::move(copy));
        text.remove_prefix(part.size());
    }
    return true;
}

void Stream::submit_send(Loop& loop) {
    if (!sending_) {
        sending_ = std::move(queued_);
    }
    SendRecord& record = *sending_;
    RINGMX_MUTATE(slice_freed_at_send,
                  for (Slice& slice : record.slices) slice = Slice(nullptr, slice.bytes()));
    const std::size_t count = std::min(record.slices.size() - record.first, pieces_per_send_max);
    if (count == 1) {
        Operation operation = make(Opcode::send, StreamOperation::send);
        operation.octets = record.slices[record.first].bytes();
        submit(loop, operation);
        return;
    }
    record.pieces.resize(count);
    for (std::size_t index = 0; index < count; ++index) {
        const Slice& slice = record.slices[record.first + index];
        // iovec has no const form; the kernel only reads.
        record.pieces[index] = {const_cast<std::byte*>(slice.data()), slice.size()};
    }
    record.message = {};
    record.message.msg_iov = record.pieces.data();
    record.message.msg_iovlen = count;
    Operation operation = make(Opcode::send_message, StreamOperation::send);
    operation.message = &record.message;
    submit(loop, operation);
}

void Stream::finish(Loop& loop) {
    finish_wanted_ = true;
    if (!finish_sent_ && !failed_ && !closing_ && !sending_ && !queued_) {
        finish_sent_ = true;
        submit(loop, make(Opcode::finish, StreamOperation::shutdown));
    }
}

bool Stream::close(Loop& loop, bool reset) {
    if (!is_open()) {
        return true;
    }
    if (closing_) {
        return false;
    }
    closing_ = true;
    receive_wanted_ = false;
    reset_on_close_ = reset;
    if (queued_) {
        loop.give_back(std::move(queued_));
    }
    RINGMX_MUTATE(closed_in_flight, loop.port().close(descriptor_); descriptor_ = -1; return true);
    if (in_flight_ != 0) {
        cancel_receive(loop);
        if (sending_) {
            submit_cancel(loop, StreamOperation::send, StreamOperation::cancel_other);
        }
        if (target_) {
            submit_cancel(loop, StreamOperation::connect, StreamOperation::cancel_other);
        }
        return false;
    }
    loop.port().close(descriptor_, reset_on_close_);
    descriptor_ = -1;
    return true;
}

void Stream::renew() {
    RINGMX_ASSERT(!is_open() && in_flight_ == 0);
    error_ = 0;
    receive_wanted_ = receive_armed_ = receive_cancelling_ = receive_cancel_again_ = false;
    peer_ended_ = failed_ = finish_wanted_ = finish_sent_ = closing_ = reset_on_close_ = false;
}

StreamEvent Stream::fail(int error) {
    if (closing_ || failed_) {
        return StreamEvent::nothing;
    }
    failed_ = true;
    error_ = error;
    return StreamEvent::failed;
}

StreamEvent Stream::complete_receive(Loop& loop, const Completion& completion) {
    if (!completion.more) {
        receive_armed_ = false;
    }
    if (closing_) {
        return StreamEvent::nothing;
    }
    if (completion.result > 0) {
        RINGMX_MUTATE(receive_not_rearmed, return StreamEvent::received);
        if (!receive_armed_ && receive_wanted_) {
            receive(loop);
        }
        return StreamEvent::received;
    }
    if (completion.result == 0) {
        peer_ended_ = true;
        return StreamEvent::ended;
    }
    if (completion.result == -ENOBUFS) {
        return receive_wanted_ ? StreamEvent::starved : StreamEvent::nothing;
    }
    if (completion.result == -ECANCELED || completion.result == -EINTR) {
        if (receive_wanted_ && !receive_armed_) {
            receive(loop); // resumed while the cancel was under way
        }
        return StreamEvent::nothing;
    }
    return fail(-completion.result);
}

StreamEvent Stream::complete_send(Loop& loop, const Completion& completion) {
    if (closing_) {
        loop.give_back(std::move(sending_));
        return StreamEvent::nothing;
    }
    if (completion.result <= 0) {
        loop.give_back(std::move(sending_));
        return fail(completion.result == 0 ? EPIPE : -completion.result);
    }
    SendRecord& record = *sending_;
    auto sent = static_cast<std::size_t>(completion.result);
    RINGMX_ASSERT(sent <= record.bytes);
    RINGMX_MUTATE(short_send_taken_as_whole, sent = record.bytes);
    record.bytes -= sent;
    while (sent > 0) {
        Slice& slice = record.slices[record.first];
        if (sent < slice.size()) {
            slice.remove_prefix(sent);
            break;
        }
        sent -= slice.size();
        slice.reset();
        ++record.first;
    }
    if (record.bytes > 0) {
        submit_send(loop); // more pieces than one send takes, or a signal cut it short
        return StreamEvent::nothing;
    }
    loop.give_back(std::move(sending_));
    if (queued_) {
        mark_dirty(loop);
        return StreamEvent::nothing;
    }
    if (finish_wanted_) {
        finish(loop);
    }
    return StreamEvent::sent;
}

StreamEvent Stream::complete(Loop& loop, StreamOperation operation, const Completion& completion) {
    if (!completion.more) {
        RINGMX_ASSERT(in_flight_ > 0);
        --in_flight_;
    }
    StreamEvent event = StreamEvent::nothing;
    switch (operation) {
    case StreamOperation::receive:
        event = complete_receive(loop, completion);
        break;
    case StreamOperation::send:
        event = complete_send(loop, completion);
        break;
    case StreamOperation::connect:
        target_.reset();
        if (!closing_) {
            event = completion.result < 0 ? fail(-completion.result) : StreamEvent::connected;
        }
        break;
    case StreamOperation::cancel_receive: {
        // A cancel that found its target is followed by the target's own end. One that did not, or
        // that was for an earlier receive, has to be tried again.
        const bool again = receive_cancel_again_ || completion.result < 0;
        receive_cancelling_ = false;
        receive_cancel_again_ = false;
        if (again && !receive_wanted_) {
            cancel_receive(loop);
        }
        break;
    }
    case StreamOperation::cancel_other:
    case StreamOperation::shutdown:
    case StreamOperation::count:
        break;
    }
    if (closing_ && in_flight_ == 0) {
        loop.port().close(descriptor_, reset_on_close_);
        descriptor_ = -1;
        return StreamEvent::closed;
    }
    return event;
}

} // namespace ringmx::ring
