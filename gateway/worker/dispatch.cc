#include "worker/dispatch.h"

#include "worker/choice_key.h"
#include "worker/forwarding.h"
#include "worker/mail_queue.h"
#include "worker/replies.h"
#include "worker/snapshot.h"
#include "worker/worker.h"

#include "smtp/line_text.h"
#include "spool/message_id.h"
#include "upstream/usable.h"

#include <algorithm>
#include <cerrno>
#include <fmt/format.h>
#include <map>
#include <tuple>
#include <utility>

namespace ringmx::worker {
namespace {

// A reply as it is kept of a recipient: in one line, and no more of it than a report tells, since each
// of a thousand may have one.
std::string line_of(const smtp::Reply& reply) {
    std::string line = fmt::format("{} {}.{}.{} {}", reply.code, reply.enhanced.class_digit,
                                   reply.enhanced.subject, reply.enhanced.detail, reply.text);
    line.resize(smtp::cut_text(line, smtp::diagnostic_bytes_max).size());
    std::ranges::replace(line, '\n', ' ');
    return line;
}

std::size_t bytes_of(const spool::StoredMessage& message) {
    std::size_t bytes = message.reverse_path.size() + message.trace_field.size() +
                        message.chunks.size() * sizeof(spool::ChunkPlace);
    for (const spool::StoredRecipient& recipient : message.recipients) {
        bytes += sizeof recipient + sizeof(Outcome) + recipient.mailbox.size() +
                 recipient.original_recipient.size();
    }
    return bytes;
}

} // namespace

Outcome Outcome::own(Kind kind, std::uint16_t pool, const smtp::Reply& reply) {
    return {.kind = kind,
            .pool = pool,
            .reply = line_of(reply),
            .status = reply.enhanced,
            .is_own = true};
}

std::string_view Outcome::text() const {
    const std::string_view line = reply;
    const std::size_t enhanced = line.find(' ');
    return line.substr(std::min(line.find(' ', enhanced + 1), line.size() - 1) + 1);
}

Dispatch::Dispatch(Handle self, Worker& worker, MailQueue& queue, std::uint64_t id,
                   spool::QueueIndex::Slot slot, bool is_from_disk)
    : self_(self), worker_(worker), queue_(queue), snapshot_(worker.snapshot()), id_(id),
      id_text_(spool::id_text(id)), slot_(slot), is_from_disk_(is_from_disk) {}

Dispatch::~Dispatch() { worker_.count_envelope_bytes(-counted_bytes_); }

void Dispatch::start(spool::StoredMessage message, std::vector<Slice> content) {
    message_ = std::move(message);
    content_ = std::move(content);
    outcomes_.resize(message_.recipients.size());
    counted_bytes_ = static_cast<std::ptrdiff_t>(sizeof(Dispatch) + bytes_of(message_));
    worker_.count_envelope_bytes(counted_bytes_);
    route();
}

void Dispatch::start(ReadRecord record) {
    const int error = record.error != 0 ? record.error : EBADMSG;
    std::optional<ReadMessage> message = message_of(std::move(record));
    if (!message) {
        error_ = error;
        queue_.finish(*this);
        return;
    }
    start(std::move(message->head), std::move(message->content));
}

// The backend that the key's slot ranks first among those that may be used now; where there is
// none, its first.
std::uint32_t Dispatch::backend_for(std::uint32_t pool_index, std::uint64_t key_hash) const {
    const upstream::Pool& pool = snapshot_->pools[pool_index]->upstream;
    if (pool.settings.hash == HashKey::none) {
        return upstream::no_backend; // in turn: one for all
    }
    const std::uint32_t slot = upstream::SlotTable::slot_of(key_hash);
    const std::uint32_t first = pool.table.first(slot);
    if (pool.settings.failover == Failover::none) {
        return first;
    }
    const std::uint32_t choice = upstream::first_usable(pool, slot, worker_.now());
    return choice == upstream::no_backend ? first : choice;
}

void Dispatch::route() {
    snapshot_ = worker_.snapshot(); // there may have been a reload while it was read
    struct Part {
        std::uint64_t key_hash = 0;
        std::vector<std::uint32_t> recipients;
    };
    std::map<std::pair<std::uint32_t, std::uint32_t>, Part> parts; // by pool and backend
    OnlyPlace only;
    const spool::QueueExtra* const extra = queue_.index().extra(slot_);
    for (std::uint32_t index = 0; index < message_.recipients.size(); ++index) {
        // The index knows; what the record says an operator may have undone.
        if (extra != nullptr && extra->is_settled(index)) {
            continue;
        }
        const std::string& mailbox = message_.recipients[index].mailbox;
        const auto pool_index =
            snapshot_->pool_for(mailbox, message_.is_report(), worker_.route_key());
        if (!pool_index) {
            only.note(spool::no_pool, queue_.places());
            outcomes_[index] =
                Outcome::own(Outcome::Kind::deferred, spool::no_pool, replies::route_gone);
            continue;
        }
        const Pool& pool = *snapshot_->pools[*pool_index];
        if (pool.settings().hold) {
            only.note(queue_.places().of(pool), queue_.places());
            outcomes_[index] = Outcome::own(Outcome::Kind::pool_hold, queue_.places().of(pool),
                                            replies::pool_on_hold);
            continue;
        }
        const std::uint64_t key = choice_key(pool.settings().hash, worker_.route_key(),
                                             message_.reverse_path, message_.client_ip);
        const std::uint32_t backend = backend_for(*pool_index, key);
        const bool is_stand_in =
            backend != pool.upstream.table.first(upstream::SlotTable::slot_of(key));
        only.note(queue_.places().of(pool, backend, is_stand_in), queue_.places());
        Part& part = parts[{*pool_index, backend}];
        if (part.recipients.empty()) {
            part.key_hash = key;
        }
        part.recipients.push_back(index);
    }
    if (!parts.empty() && !queue_.take_share(*this, only.place())) {
        outcomes_.clear(); // nobody was tried
        queue_.finish(*this);
        return;
    }
    is_routing_ = true; // one that ends at once does not end the dispatch
    for (const auto& [place, part] : parts) {
        Forwarding* const made = queue_.forwardings().create(worker_, queue_, *this, place.first,
                                                             part.key_hash, part.recipients);
        if (made != nullptr) {
            forwardings_.push_back(made->handle());
            made->advance();
        }
    }
    is_routing_ = false;
    if (forwardings_.empty()) {
        queue_.finish(*this);
    }
}

spool::RecordPlace Dispatch::chunk_place(std::uint32_t index) const {
    const spool::ChunkPlace& chunk = message_.chunks[index];
    const spool::QueueExtra* const extra = queue_.index().extra(slot_);
    RINGMX_ASSERT(extra != nullptr && index < extra->chunk_segments.size());
    return {extra->chunk_segments[index], chunk.offset, chunk.record_bytes};
}

void Dispatch::set_outcome(std::uint32_t recipient, Outcome::Kind kind, std::uint32_t pool_index,
                           std::uint32_t backend_index, const smtp::Reply& reply, bool is_own) {
    const Pool& pool = *snapshot_->pools[pool_index];
    Outcome& outcome = outcomes_[recipient];
    outcome = {.kind = kind,
               .pool = kind == Outcome::Kind::no_backend ? queue_.places().of(pool, backend_index)
                                                         : queue_.places().of(pool),
               .reply = line_of(reply),
               .status = reply.enhanced,
               .is_own = is_own};
    if (!is_own) {
        outcome.pool_name = pool.settings().name;
        outcome.backend = pool.settings().backends[backend_index].address;
        outcome.backend_host = pool.settings().backends[backend_index].host;
    }
}

void Dispatch::forwarding_ended(Forwarding& forwarding) {
    std::erase(forwardings_, forwarding.handle());
    if (forwardings_.empty() && !is_routing_) {
        queue_.finish(*this);
    } else {
        queue_.note_delivered(*this);
    }
}

bool Dispatch::postpone() {
    std::vector<Forwarding*> waiting;
    for (const Handle handle : forwardings_) {
        Forwarding* const forwarding = queue_.forwardings().find(handle);
        if (forwarding == nullptr || !forwarding->is_waiting()) {
            return false;
        }
        waiting.push_back(forwarding);
    }
    if (waiting.empty()) {
        return false;
    }
    for (Forwarding* const forwarding : waiting) {
        forwarding->give_up(); // the last one finishes this
    }
    return true;
}

void Dispatch::cut() {
    const std::vector<Handle> handles = forwardings_;
    for (const Handle handle : handles) {
        if (Forwarding* const forwarding = queue_.forwardings().find(handle)) {
            forwarding->cut();
        }
    }
}

} // namespace ringmx::worker
