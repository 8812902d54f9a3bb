#include "worker/mail_queue.h"
#include "worker/replies.h"
#include "worker/spool_intake.h"
#include "worker/spool_log.h"

#include <algorithm>
#include <utility>

namespace ringmx::worker {

// One at a time.
bool SpoolIntake::leave(std::uint32_t segment) {
    if (moving_chunk_ || ended_ || is_failed_ || is_stored_) {
        return moving_chunk_.has_value();
    }
    const auto chunk = std::ranges::find_if(chunks_, [segment](const Chunk& each) {
        return each.place.record_bytes != 0 && each.segment == segment;
    });
    if (chunk == chunks_.end()) {
        return false;
    }
    const auto index = static_cast<std::uint32_t>(chunk - chunks_.begin());
    const spool::RecordPlace place{segment, chunk->place.offset, chunk->place.record_bytes};
    if (!queue_.log().read(place, id_, self_, MailQueue::intake_part)) {
        return false;
    }
    moving_chunk_ = index;
    ++chunks_in_flight_; // the message record waits for it, and so does the end
    return true;
}

void SpoolIntake::on_record(ReadRecord record) {
    if (ended_) {
        end_move();
        let_go_of_chunks();
        return;
    }
    if (record.error != 0) { // nor will whoever forwards it read that
        end_move();
        fail(replies::disk_error, observe::RejectReason::disk_error);
        return;
    }
    moving_content_ = std::move(record.body);
    write_moving_chunk();
}

void SpoolIntake::write_moving_chunk() {
    const auto appended = queue_.log().journal().append({.type = spool::RecordType::chunk,
                                                         .id = id_,
                                                         .owner = MailQueue::owner_of(*this),
                                                         .part = *moving_chunk_},
                                                        {}, moving_content_);
    if (appended != spool::Commit::Append::taken) {
        wait_for_journal();
        return;
    }
    moving_content_.clear();
}

// It stays where it was.
void SpoolIntake::end_move() {
    moving_content_.clear();
    moving_chunk_.reset();
    --chunks_in_flight_;
}

std::uint64_t SpoolIntake::bytes_in(std::uint32_t segment) const {
    std::uint64_t bytes = 0;
    for (const Chunk& chunk : chunks_) {
        bytes += chunk.segment == segment ? chunk.place.record_bytes : 0;
    }
    return bytes;
}

} // namespace ringmx::worker
