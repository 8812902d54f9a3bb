// A forwarding's content: DATA or BDAT towards the backend, from memory or chunk by chunk from the
// log, and the replies to it.
#include "worker/backend_connection.h"
#include "worker/dispatch.h"
#include "worker/forwarding.h"
#include "worker/mail_queue.h"
#include "worker/replies.h"
#include "worker/worker.h"

#include "smtp/delivery_report.h"

#include <utility>

namespace ringmx::worker {

bool Forwarding::has_everything() const { return dispatch_.message().chunks.empty(); }

// DATA goes up with the last RCPT where the backend takes pipelining; so does the whole content by
// BDAT, unless it has to be read first.
void Forwarding::begin_content(BackendConnection& current) {
    if (data_sent_ || content_begun_ || mail_refusal_.code != 0 || !mail_sent_) {
        return;
    }
    const bool is_settled = is_envelope_settled(current);
    if (is_settled ? accepted_ == 0 : next_to_ask_ < recipients_.size()) {
        return;
    }
    const smtp::Capabilities& offered = current.capabilities();
    if (!is_settled && (!offered.pipelining || (offered.chunking && !has_everything()))) {
        return;
    }
    if (offered.chunking) {
        by_chunks_ = content_begun_ = true;
        return;
    }
    data_sent_ = true;
    current.session().data();
}

void Forwarding::pump(BackendConnection& current) {
    if (!content_begun_ || final_submitted_ || is_reading_) {
        return;
    }
    if (!body_begun_ && has_everything() && content_.held_bytes() == 0) {
        for (const Slice& slice : dispatch_.content()) {
            if (!content_.append(worker_.pool(), slice, slice.bytes())) {
                content_.begin(dispatch_.message().is_stuffed ? WireForm::stuffed : WireForm::raw);
                return; // go_on() comes back here
            }
        }
    }
    const auto chunks = static_cast<std::uint32_t>(dispatch_.message().chunks.size());
    if (content_.unsent_bytes() == 0 && next_chunk_ < chunks) {
        read_next_chunk();
        return;
    }
    if (body_begun_ && (current.unsent_bytes() > 0 || current.session().unanswered() > 0)) {
        return; // one piece after the other: on_sent() or the answer comes back here
    }
    const bool is_last = next_chunk_ == chunks;
    if (by_chunks_) {
        send_chunk(current, is_last);
    } else {
        send_data(current, is_last);
    }
}

void Forwarding::read_next_chunk() {
    is_reading_ = queue_.log().read(dispatch_.chunk_place(next_chunk_), dispatch_.id(), self_,
                                    next_chunk_ + 1);
}

void Forwarding::on_chunk(std::uint32_t part, const ReadRecord& record) {
    is_reading_ = false;
    if (ended_) {
        return;
    }
    if (part != next_chunk_ + 1 || !content_begun_) {
        advance(); // of an attempt that is over
        return;
    }
    bool kept = record.error == 0;
    for (const Slice& slice : record.body) {
        kept = kept && content_.append(worker_.pool(), slice, slice.bytes());
    }
    if (!kept) {
        access_.leave(BackendConnection::Leave::broken);
        settle_rest(record.error == 0 ? replies::no_memory : replies::disk_error, {});
        end();
        return;
    }
    ++next_chunk_;
    advance();
}

bool Forwarding::fill(WireForm form) {
    SliceList& outgoing = worker_.outgoing();
    outgoing.clear();
    const bool filled =
        (body_begun_ ||
         outgoing.append_copy(worker_.pool(), as_bytes(dispatch_.message().trace_field))) &&
        content_.take(worker_.pool(), form, outgoing);
    if (!filled) {
        outgoing.clear();
    }
    return filled;
}

void Forwarding::send_chunk(BackendConnection& current, bool is_last) {
    Draft kept_for_command = worker_.pool().draft(smtp::chunk_command_bytes_max);
    if (!kept_for_command || !fill(WireForm::raw)) {
        return;
    }
    body_begun_ = true;
    kept_for_command = Draft();
    current.session().chunk(worker_.outgoing().bytes(), is_last);
    const bool is_queued = current.send_commands();
    RINGMX_ASSERT(is_queued);
    send_all(current);
    if (is_last) {
        submit_final(current);
    }
}

void Forwarding::send_data(BackendConnection& current, bool is_last) {
    if (!fill(WireForm::stuffed)) {
        return;
    }
    body_begun_ = true;
    send_all(current);
    if (is_last) {
        current.send(Slice::literal(content_.terminator()));
        submit_final(current);
        current.session().content_sent(accepted_);
    }
}

void Forwarding::send_all(BackendConnection& current) {
    SliceList& outgoing = worker_.outgoing();
    worker_.counters().backend_bytes_sent_total.add(outgoing.bytes());
    for (Slice& slice : outgoing.slices()) {
        current.send(std::move(slice));
    }
    outgoing.clear();
    content_.drop_taken(true); // another try begins with the dispatch's, or with the first chunk
    current.expect_within(access_.settings().timeouts.backend_reply);
}

void Forwarding::submit_final(BackendConnection& current) {
    final_submitted_ = true;
    current.expect_within(access_.settings().timeouts.backend_end_of_data);
}

void Forwarding::on_sent(BackendConnection& sender) {
    if (body_begun_ && !final_submitted_ && sender.session().unanswered() == 0) {
        sender.expect_nothing();
    }
    advance();
}

void Forwarding::data_reply(const smtp::Reply& reply) {
    if (accepted_ == 0) {
        return; // pipelined behind recipients that were all refused: check_over() sees to it
    }
    if (reply.code == 354) {
        content_begun_ = true;
        return;
    }
    for (Recipient& recipient : recipients_) {
        if (recipient.fate == Fate::accepted) {
            settle(recipient, reply, "DATA");
        }
    }
    accepted_ = 0;
}

// The answer to the content; LMTP gives one for each recipient, in their order. One that comes while
// there is more to send is about a chunk.
void Forwarding::content_reply(BackendConnection& from, const smtp::Reply& reply) {
    if (!final_submitted_ && reply.severity() == 2) {
        return;
    }
    content_refused_ = content_refused_ || reply.severity() != 2;
    const bool is_for_each = final_submitted_ && pool().settings().protocol == Protocol::lmtp;
    taken_now_.clear();
    for (Recipient& recipient : recipients_) {
        if (recipient.fate != Fate::accepted) {
            continue;
        }
        if (reply.severity() == 2) {
            taken_now_.push_back(recipient.index);
            set_outcome(recipient, kind_of_success(recipient, from), reply, false);
        } else {
            settle(recipient, reply, "end of data");
        }
        if (is_for_each) {
            break;
        }
    }
    if (taken_now_.empty()) {
        return;
    }
    if (!std::exchange(is_taken_, true)) {
        observe::BackendCounters& counted = worker_.counters_of(from.lease(), from.pool());
        counted.messages_forwarded_total.add();
        counted.forward.record(worker_.now() - offered_at_);
    }
    log_delivered(from, reply);
}

} // namespace ringmx::worker
