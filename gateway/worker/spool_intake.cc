#include "worker/spool_intake.h"

#include "worker/client_connection.h"
#include "worker/log_reply.h"
#include "worker/mail_queue.h"
#include "worker/replies.h"
#include "worker/snapshot.h"
#include "worker/worker.h"

#include "base/ascii.h"
#include "base/mutation.h"
#include "smtp/trace_field.h"
#include "spool/message_id.h"

#include <algorithm>
#include <array>
#include <utility>

namespace ringmx::worker {

using observe::LogEvent;
using observe::LogRecord;
using observe::RecipientReason;
using observe::RejectReason;
using smtp::AnswerSource;
using spool::Commit;

namespace {

// Places of chunks in the message record, of 20 octets each, beside the envelope.
constexpr std::size_t chunks_max = 12'000;
// What a recipient takes in a record beside its texts.
constexpr std::size_t recipient_overhead_bytes = 8;
// Our Received field beside the names in it; generous, since it is not known yet.
constexpr std::uint64_t trace_text_bytes = 200;
// Asked for at a time when a message grows beyond what was reserved for it.
constexpr std::uint64_t reserve_step_bytes = 256 * 1024;

} // namespace

SpoolIntake::SpoolIntake(Handle self, Worker& worker, MailQueue& queue, ClientConnection& client)
    : self_(self), worker_(worker), queue_(queue), snapshot_(client.snapshot()),
      client_(client.handle()), is_unix_peer_(client.is_unix_peer()), id_(queue.next_id()),
      id_text_(spool::id_text(id_)) {
    const smtp::MailCommand& mail = client.session().mail();
    declared_size_bytes_ = mail.declared_size_bytes;
    message_.smtputf8 = mail.smtputf8;
    message_.is_esmtp = client.session().esmtp();
    message_.body = static_cast<spool::StoredBody>(mail.body);
    message_.return_content = static_cast<spool::StoredReturn>(mail.return_content);
    message_.client_ip = client.client_ip();
    message_.client_port = client.client_port();
    message_.hello_name = client.session().hello_name();
    message_.envelope_id = mail.envelope_id;
    message_.reverse_path = mail.reverse_path;
    envelope_size_ =
        mail.reverse_path.size() + mail.envelope_id.size() + message_.hello_name.size();
    count_envelope(static_cast<std::ptrdiff_t>(sizeof(SpoolIntake) + envelope_size_));
    reserved_bytes_ = MailQueue::room_for(mail);
    queue_.change_reserved(0, reserved_bytes_);
}

ClientConnection* SpoolIntake::client() { return worker_.clients().find(client_); }

void SpoolIntake::add_recipient(std::string_view mailbox,
                                const smtp::RecipientParameters& parameters,
                                std::uint32_t pool_index, std::string_view key) {
    (void)key; // the backend is chosen anew at each attempt
    const std::size_t size =
        recipient_overhead_bytes + mailbox.size() + parameters.original_recipient.size();
    if (envelope_size_ + size > envelope_bytes_max) {
        refuse_recipient({replies::too_many_recipients, RecipientReason::recipients_limit},
                         mailbox);
        return;
    }
    // With our Received field, or what a backend just takes would be refused by it later.
    const std::uint64_t size_bytes = declared_size_bytes_
                                         ? *declared_size_bytes_ + trace_text_bytes +
                                               message_.hello_name.size() + mailbox.size() +
                                               snapshot_->settings->hostname.size()
                                         : 0;
    if (!snapshot_->pools[pool_index]->may_take(size_bytes)) {
        refuse_recipient({replies::too_large, RecipientReason::size}, mailbox);
        return;
    }
    if ((!is_ascii(mailbox) || !is_ascii(message_.reverse_path)) &&
        !snapshot_->pools[pool_index]->may_have(&BackendTraits::smtputf8)) {
        refuse_recipient({replies::needs_smtputf8, RecipientReason::backend_reject}, mailbox);
        return;
    }
    envelope_size_ += size;
    count_envelope(static_cast<std::ptrdiff_t>(size + sizeof(spool::StoredRecipient)));
    const Pool& pool = *snapshot_->pools[pool_index];
    place_.note(queue_.places().of(pool), queue_.places());
    message_.waits_for_pool = message_.waits_for_pool || pool.settings().hold;
    spool::StoredRecipient& recipient = message_.recipients.emplace_back();
    recipient.mailbox = mailbox;
    recipient.notify = parameters.notify;
    recipient.original_recipient = parameters.original_recipient;
    worker_.counters().recipients_accepted_total.add();
    client()->answer_recipient(replies::recipient_ok, AnswerSource::own, false,
                               RecipientReason::count_);
}

void SpoolIntake::refuse_recipient(const RecipientRefusal& refusal, std::string_view mailbox) {
    const auto& [reply, reason, unknown, source] = refusal;
    worker_.counters().recipients_rejected[reason].add();
    if (LogRecord* record =
            worker_.log().begin(LogEvent::recipient_rejected, worker_.wall_time())) {
        record->client(message_.client_ip, message_.client_port)
            .sender(message_.reverse_path)
            .recipient(mailbox);
        record->protocol(message_.is_esmtp ? "ESMTP" : "SMTP")
            .hello(message_.hello_name)
            .reply(for_log(reply));
        record->reason(observe::name_of(reason));
        worker_.log().commit();
    }
    client()->answer_recipient(reply, source, unknown, reason);
}

void SpoolIntake::begin_data() {
    if (message_.recipients.empty()) {
        client()->answer_data(smtp::start_data, RejectReason::count_); // the session says 554
        return;
    }
    form_ = WireForm::stuffed;
    content_begun_ = true;
    client()->answer_data(smtp::start_data, RejectReason::count_);
}

void SpoolIntake::begin_chunks() {
    form_ = WireForm::raw;
    content_begun_ = true;
}

bool SpoolIntake::content(const Slice& whole, Bytes part, bool is_literal) {
    if (ended_ || is_failed_) {
        return true;
    }
    const bool kept = is_literal ? content_.append_copy(worker_.pool(), part)
                                 : content_.append(worker_.pool(), whole, part);
    if (!kept) {
        return false;
    }
    if (content_.bytes() + envelope_size_ > reserved_bytes_ && !reserve(reserve_step_bytes)) {
        fail(replies::no_memory, RejectReason::spool_full);
        return true;
    }
    if (content_.bytes() > inline_bytes_max) {
        store_chunk();
    }
    return true;
}

// What has come is a record of its own.
void SpoolIntake::store_chunk() {
    if (chunks_.size() == chunks_max) {
        fail(replies::no_memory, RejectReason::no_memory);
        return;
    }
    std::size_t count = 0;
    std::size_t bytes = 0;
    for (const Slice& slice : content_.slices()) {
        if (bytes + slice.size() > spool::record_bytes_max - spool::record_header_bytes) {
            break;
        }
        bytes += slice.size();
        ++count;
    }
    const Commit::Append appended =
        queue_.log().journal().append({.type = spool::RecordType::chunk,
                                       .id = id_,
                                       .owner = MailQueue::owner_of(*this),
                                       .part = static_cast<std::uint32_t>(chunks_.size())},
                                      {}, std::span(content_.slices()).first(count));
    if (appended != Commit::Append::taken) {
        wait_for_journal();
        return;
    }
    if (chunks_.empty()) {
        losses_ = queue_.log().losses();
    }
    content_.drop_front(count);
    chunked_bytes_ += bytes;
    chunks_.emplace_back();
    ++chunks_in_flight_;
    set_reserved(reserved_bytes_ - std::min(reserved_bytes_, std::uint64_t{bytes}));
}

void SpoolIntake::wait_for_journal() {
    if (!std::exchange(is_waiting_, true)) {
        queue_.wait_for_journal(self_);
    }
    ClientConnection* const owner = client();
    if (owner != nullptr && !content_ended_) {
        owner->pause_content();
    }
}

void SpoolIntake::try_again() {
    is_waiting_ = false;
    if (ended_ || is_failed_ || is_stored_) {
        return;
    }
    if (!moving_content_.empty()) {
        write_moving_chunk();
    }
    if (content_ended_) {
        store_message();
    } else if (content_.bytes() > inline_bytes_max) {
        store_chunk();
    }
    ClientConnection* const owner = client();
    if (owner != nullptr && !ended_ && !is_waiting_ && !content_ended_) {
        owner->resume_content();
    }
}

bool SpoolIntake::reserve(std::uint64_t bytes) {
    if (!queue_.has_room(bytes)) {
        return false;
    }
    set_reserved(reserved_bytes_ + bytes);
    return true;
}

void SpoolIntake::set_reserved(std::uint64_t bytes) {
    queue_.change_reserved(std::exchange(reserved_bytes_, bytes), bytes);
}

void SpoolIntake::end_content() {
    if (ended_ || is_failed_) {
        return;
    }
    note_content();
    content_ended_ = true;
    content_ended_at_ = worker_.now();
    message_.accepted_at = message_.expires_from = worker_.wall_time();
    message_.content_bytes = chunked_bytes_ + content_.bytes();
    message_.is_stuffed = form_ == WireForm::stuffed;
    write_trace_field();
    store_message();
}

void SpoolIntake::note_content() {
    if (ClientConnection* const owner = client()) {
        starts_with_space_ = owner->session().content_starts_with_space();
        message_.message_bytes = owner->session().content_bytes();
    }
}

void SpoolIntake::write_trace_field() {
    smtp::TraceSource source;
    source.hello_name = message_.hello_name;
    if (!is_unix_peer_) {
        source.client_ip = message_.client_ip;
    }
    source.hostname = snapshot_->settings->hostname;
    source.id = id_text_;
    if (message_.recipients.size() == 1) {
        source.recipient = message_.recipients.front().mailbox;
    }
    source.received_at = message_.accepted_at;
    source.esmtp = message_.is_esmtp;
    source.smtputf8 = message_.smtputf8;
    source.content_starts_with_space = starts_with_space_;
    smtp::append_trace_field(message_.trace_field, source);
}

// The content is whole: what is left of it goes down, and once every chunk is durable the record
// that makes the message exist.
void SpoolIntake::store_message() {
    // Of a message that came while the journal was full no chunk may be stored yet.
    const bool has_chunks = !chunks_.empty() || content_.bytes() > inline_bytes_max;
    if (has_chunks && content_.bytes() > 0) {
        store_chunk();
        if (is_waiting_ || ended_ || content_.bytes() > 0) {
            wait_for_journal();
            return;
        }
    }
    RINGMX_MUTATE(message_before_chunks, chunks_in_flight_ = 0);
    if (chunks_in_flight_ > 0) {
        return; // on_durable() comes back here
    }
    if (has_chunks && queue_.log().losses() != losses_) { // they may be gone with their file
        fail(replies::disk_error, RejectReason::disk_error);
        return;
    }
    message_.chunks.clear();
    message_.chunks.reserve(chunks_.size());
    for (const Chunk& chunk : chunks_) {
        message_.chunks.push_back(chunk.place);
    }
    if (append_message(content_.slices()) != Commit::Append::taken) {
        wait_for_journal();
        return;
    }
    is_stored_ = true;
    content_.clear();
    RINGMX_MUTATE(acknowledged_before_durable, answer_client({250, {2, 0, 0}, "Ok: queued as X"}));
}

bool SpoolIntake::is_out_of_date() const {
    return snapshot_->settings != worker_.snapshot()->settings;
}

Commit::Append SpoolIntake::append_message(std::span<const Slice> content) {
    if (is_out_of_date()) {
        message_.waits_for_pool = false; // who knows
    }
    std::string& head = queue_.scratch();
    head.clear();
    spool::append_message_body(head, message_);
    return queue_.log().journal().append(
        {.type = spool::RecordType::message, .id = id_, .owner = MailQueue::owner_of(*this)},
        as_bytes(head), content);
}

void SpoolIntake::on_durable(const Commit::Record& record, const spool::RecordPlace& place,
                             const Commit& commit) {
    if (record.type == spool::RecordType::message) {
        taken(place, commit, record);
        return;
    }
    --chunks_in_flight_;
    Chunk& chunk = chunks_[record.part];
    if (moving_chunk_ == record.part) {
        queue_.log().release(chunk.segment);
        moving_chunk_.reset();
    }
    chunk.segment = place.segment;
    chunk.place = {queue_.log().name_of(place.segment).life, place.offset, place.record_bytes};
    if (ended_) {
        let_go_of_chunks();
    } else if (content_ended_) {
        store_message();
    }
}

void SpoolIntake::taken(const spool::RecordPlace& place, const Commit& commit,
                        const Commit::Record& record) {
    std::vector<std::uint32_t> segments;
    segments.reserve(chunks_.size());
    for (const Chunk& chunk : chunks_) {
        segments.push_back(chunk.segment);
    }
    worker_.counters().messages_accepted_total.add();
    worker_.counters().message_bytes_accepted_total.add(message_.message_bytes);
    constexpr std::string_view queued_as = "Ok: queued as ";
    std::array<char, queued_as.size() + spool::id_letters> text; // NOLINT: all of it is set
    std::copy(id_text_.begin(), id_text_.end(),
              std::copy(queued_as.begin(), queued_as.end(), text.begin()));
    const smtp::Reply reply{250, {2, 0, 0}, std::string_view(text.data(), text.size())};
    log_accepted(reply);
    chunks_.clear(); // their holds are the queue's now
    answer_client(reply);
    // The number may be another configuration's.
    const std::uint16_t pool = is_out_of_date() ? spool::no_pool : place_.place();
    queue_.add(id_, std::move(message_), pool, place, std::move(segments), commit, record);
    end();
}

void SpoolIntake::on_failed(const Commit::Record& record, bool is_written, int error) {
    if (record.type == spool::RecordType::chunk) {
        --chunks_in_flight_;
        if (moving_chunk_ == record.part) {
            moving_chunk_.reset(); // it is where it was
        } else {
            chunks_[record.part].place.record_bytes = 0; // there is none, nor a hold
        }
    }
    const bool was_stored = std::exchange(is_stored_, false);
    if (!ended_ && !is_failed_) {
        // What may be on the disk of a message record keeps its chunks until it is removed there.
        is_failed_ = was_stored && is_written && record.type == spool::RecordType::message;
        const Refusal refusal = MailQueue::refusal_for(error);
        fail(refusal.reply, refusal.reason);
    } else if (ended_) {
        let_go_of_chunks();
    }
}

void SpoolIntake::on_removed() {
    is_failed_ = false;
    end();
}

void SpoolIntake::expect_no_removal() {
    if (is_failed_) {
        chunks_.clear(); // their holds stay: what may be on the disk is whole
        on_removed();
    }
}

void SpoolIntake::fail(const smtp::Reply& reply, RejectReason reason) {
    worker_.counters().messages_rejected[reason].add();
    log_message_refusal(reply, reason, {});
    content_.clear();
    answer_client(reply);
    if (!is_failed_) {
        end();
    }
}

void SpoolIntake::fail_for_memory() { fail(replies::no_memory, RejectReason::no_memory); }

void SpoolIntake::answer_client(const smtp::Reply& reply) {
    if (content_ended_) {
        worker_.counters().acknowledge.record(worker_.now() - content_ended_at_);
    }
    ClientConnection* const owner = client();
    client_ = {};
    if (owner != nullptr) {
        owner->answer_message(reply);
    }
}

void SpoolIntake::abandon(RejectReason reason) {
    client_ = {};
    if (is_stored_ || ended_ || is_failed_) {
        return;
    }
    if (content_ended_) { // before that the client's connection counts
        worker_.counters().messages_rejected[reason].add();
    }
    end();
}

void SpoolIntake::send_client_away() { client_left(); }

void SpoolIntake::cut() {
    if (!is_stored_) {
        abandon(RejectReason::shutdown);
    }
}

// Memory is short: what has come goes to the disk, or is kept in no more than its size.
void SpoolIntake::relieve() {
    if (!moving_content_.empty()) {
        end_move(); // and try_again() is still to come
    }
    if (ended_ || is_stored_ || is_waiting_) {
        return;
    }
    if (!content_ended_ && content_.bytes() >= chunk_bytes_min) {
        store_chunk();
        return;
    }
    for (Slice& slice : content_.slices()) {
        if (!worker_.pool().unpin(slice)) {
            return;
        }
    }
}

void SpoolIntake::let_go_of_chunks() {
    if (chunks_in_flight_ > 0) {
        return; // each is told of; a hold that is still to come is let go with the rest
    }
    for (const Chunk& chunk : chunks_) {
        if (chunk.place.record_bytes != 0) {
            queue_.log().release(chunk.segment);
        }
    }
    chunks_.clear();
    queue_.intake_ended(*this);
}

void SpoolIntake::count_envelope(std::ptrdiff_t bytes) {
    envelope_bytes_ += bytes;
    worker_.count_envelope_bytes(bytes);
}

void SpoolIntake::end() {
    if (std::exchange(ended_, true)) {
        return;
    }
    if (!moving_content_.empty()) {
        end_move();
    }
    content_.clear();
    set_reserved(0);
    worker_.count_envelope_bytes(-std::exchange(envelope_bytes_, 0));
    let_go_of_chunks();
}

void SpoolIntake::log_accepted(const smtp::Reply& reply) {
    if (LogRecord* record = worker_.log().begin(LogEvent::accepted, worker_.wall_time())) {
        record->id(id_text_).client(message_.client_ip, message_.client_port);
        record->sender(message_.reverse_path)
            .recipients(message_.recipients.size())
            .size(message_.message_bytes);
        record->protocol(message_.is_esmtp ? "ESMTP" : "SMTP")
            .hello(message_.hello_name)
            .reply(for_log(reply));
        record->duration(worker_.now() - content_ended_at_);
        worker_.log().commit();
    }
}

void SpoolIntake::log_message_refusal(const smtp::Reply& reply, RejectReason reason,
                                      std::string_view after) {
    note_content();
    if (LogRecord* record = worker_.log().begin(LogEvent::message_rejected, worker_.wall_time())) {
        record->id(id_text_).client(message_.client_ip, message_.client_port);
        record->sender(message_.reverse_path).size(message_.message_bytes);
        record->protocol(message_.is_esmtp ? "ESMTP" : "SMTP")
            .hello(message_.hello_name)
            .reply(for_log(reply));
        record->reason(observe::name_of(reason));
        if (!after.empty()) {
            record->after(after);
        }
        if (!message_.recipients.empty()) {
            record->recipient(message_.recipients.front().mailbox);
        }
        worker_.log().commit();
    }
}

} // namespace ringmx::worker
