// Messages of earlier runs: some of them in each turn become messages of this one.
#include "worker/mail_queue.h"

#include "worker/worker.h"

#include <algorithm>
#include <utility>

namespace ringmx::worker {

void MailQueue::adopt(std::vector<spool::RecoveredMessage> messages,
                      std::vector<AdoptedSegment*> segments) {
    log_.adopt(std::move(segments));
    to_adopt_ = std::move(messages);
    is_adopting_ = true;
}

void MailQueue::go_on_adopting() {
    if (!is_adopting_) {
        return;
    }
    const std::size_t end = std::min(to_adopt_.size(), adopted_count_ + adopted_per_turn);
    while (adopted_count_ < end) {
        adopt(to_adopt_[adopted_count_++]);
    }
    if (end == to_adopt_.size()) {
        is_adopting_ = false;
        to_adopt_ = std::vector<spool::RecoveredMessage>(); // which gives its memory back
        count_queue(); // main looks at the counts as soon as it is told
        worker_.counters().queue_has_earlier.set();
    }
}

void MailQueue::adopt(const spool::RecoveredMessage& message) {
    const Slot slot = index_.adopt({.id = message.id,
                                    .segment = message.segment | adopted_segment,
                                    .offset = message.offset,
                                    .record_bytes = message.record_bytes,
                                    .stored_bytes = message.stored_bytes,
                                    .recipients_count = message.recipients_count,
                                    .accepted_at_s = spool::seconds_of(message.accepted_at),
                                    .expires_from_s = spool::seconds_of(message.expires_from)});
    if (!message.chunk_segments.empty()) {
        std::vector<std::uint32_t> chunks = message.chunk_segments;
        for (std::uint32_t& segment : chunks) {
            segment |= adopted_segment;
        }
        index_.set_chunk_segments(slot, std::move(chunks));
    }
    std::size_t over = 0;
    for (const spool::RecoveredMessage::Recipient& recipient : message.settled) {
        index_.settle(slot, recipient.index, recipient.state, recipient.reply,
                      recipient.reply.substr(0, 3));
        ++over;
    }
    set_flag(index_.at(slot), pool_hold_flag, message.waits_for_pool);
    if (message.is_on_hold) {
        index_.hold(slot);
    } else if (over == message.recipients_count) {
        index_.at(slot).expires_from_s =
            std::max(index_.at(slot).expires_from_s, spool::seconds_of(message.failed_at));
        index_.fail(slot);
    } else {
        index_.set_due(slot, worker_.now());
    }
}

} // namespace ringmx::worker
