// Running the SMTP server session on a client's input, and the transaction's events.
#include "worker/client_connection.h"
#include "worker/delivery.h"
#include "worker/mail_queue.h"
#include "worker/replies.h"
#include "worker/snapshot.h"
#include "worker/worker.h"

#include "base/mutation.h"

#include <algorithm>
#include <utility>

namespace ringmx::worker {

using observe::LogEvent;
using observe::RecipientReason;
using observe::RejectReason;
using smtp::AnswerSource;
using smtp::ServerEvent;

namespace {

// What a client may have waiting while its session awaits an answer; reading pauses above it.
constexpr std::size_t waiting_input_bytes_max = 64 * 1024;
// Replies that a client does not read: its commands are left unread above this.
constexpr std::size_t unsent_output_bytes_max = 64 * 1024;
// Waiting input below this is moved out of its receive buffer: it would pin sixteen times its size.
constexpr std::size_t pinned_input_bytes_min = 4096;

// A flood of commands leaves no more behind than this.
constexpr std::size_t kept_output_bytes_max = 4096;

// Replies that wait for the next one wait no longer (Postfix waits 10 s), and no more of them.
constexpr Duration replies_wait_max = 1s;
constexpr std::size_t waiting_replies_bytes_max = 4096;

// A command of six octets can have a reply of a hundred.
constexpr std::size_t commands_portion_bytes_max = 4096;

RejectReason reject_reason(smtp::ContentFault fault) {
    switch (fault) {
    case smtp::ContentFault::over_size:
        return RejectReason::size;
    case smtp::ContentFault::received_loop:
        return RejectReason::received_loop;
    case smtp::ContentFault::bare_newline:
        return RejectReason::bare_newline;
    case smtp::ContentFault::nul_line:
        return RejectReason::nul_line;
    case smtp::ContentFault::bad_chunk:
        return RejectReason::syntax;
    case smtp::ContentFault::none:
        break;
    }
    return RejectReason::abandoned;
}

// The address in an argument that could not be parsed, for the log: "FROM:<a b> SIZE=1" is "a b".
std::string_view subject_of(std::string_view argument) {
    argument.remove_prefix(std::min(argument.find(':') + 1, argument.size()));
    argument.remove_prefix(std::min(argument.find_first_not_of(" \t"), argument.size()));
    if (argument.starts_with('<')) {
        argument.remove_prefix(1);
        return argument.substr(0, argument.find('>'));
    }
    return argument.substr(0, argument.find(' '));
}

} // namespace

void ClientConnection::resume() {
    if (processing_ || state_ != State::serving) {
        return;
    }
    processing_ = true;
    process();
    processing_ = false;
    if (state_ != State::serving) {
        return;
    }
    if (has_drained()) {
        fail(replies::shutting_down, RejectReason::shutdown);
        return;
    }
    finish_output();
    if (state_ != State::serving) {
        return;
    }
    if (input_ended_ && !blocked_ && input_.empty()) {
        Transaction* const transaction = open_transaction();
        if (transaction == nullptr || !transaction->content_ended()) {
            end_by_client(false);
            return;
        }
    }
    adjust_reading();
}

// Commands are given in small portions, so that the replies to them stay bounded too.
Bytes ClientConnection::session_input(Bytes waiting) const {
    const bool is_content = session_.in_content();
    return is_content ? waiting
                      : waiting.first(std::min(waiting.size(), commands_portion_bytes_max));
}

// Gives the session what waits, until it is used up, an answer is awaited, or the session ends.
void ClientConnection::process() {
    blocked_ = wants_input_ = false;
    const Slice nothing;
    while (state_ == State::serving && !has_drained() &&
           stream_.unsent_bytes() + session_.output().size() < unsent_output_bytes_max) {
        const bool has_input = !input_.empty();
        if (!has_input && session_.waits_for_input()) {
            wants_input_ = true;
            break;
        }
        const Slice& input = has_input ? input_.front() : nothing;
        const smtp::ServerSession::Step step = session_.receive(session_input(input.bytes()));
        run_event(step, input);
        if (state_ != State::serving) {
            break;
        }
        if (has_input) {
            input_.consume(step.consumed);
        }
        if (step.event == ServerEvent::blocked) {
            blocked_ = true;
            break;
        }
        if (step.event == ServerEvent::need_input && input_.empty()) {
            wants_input_ = true;
            break;
        }
    }
    if (owes_answer()) {
        blocked_ = true;
    }
}

// An answer that the client waits for is ours to give: its timeouts don't run.
bool ClientConnection::owes_answer() {
    const Transaction* const transaction = open_transaction();
    return session_.recipients_unanswered() > 0 ||
           (transaction != nullptr && transaction->owes_client());
}

void ClientConnection::run_event(const smtp::ServerSession::Step& step, const Slice& input) {
    switch (step.event) {
    case ServerEvent::need_input:
    case ServerEvent::blocked:
        break;
    case ServerEvent::hello:
    case ServerEvent::reset:
        last_command_at_ = worker_.now();
        abandon(RejectReason::abandoned);
        transaction_over();
        break;
    case ServerEvent::mail:
        last_command_at_ = worker_.now();
        on_mail();
        break;
    case ServerEvent::recipient:
        last_command_at_ = worker_.now();
        on_recipient();
        break;
    case ServerEvent::data:
        last_command_at_ = worker_.now();
        on_data();
        break;
    case ServerEvent::content:
        on_content(step, input);
        break;
    case ServerEvent::content_refused:
        on_content_refused();
        break;
    case ServerEvent::content_end:
        last_command_at_ = worker_.now();
        on_content_end();
        break;
    case ServerEvent::close:
        on_close();
        break;
    }
}

void ClientConnection::on_mail() {
    if (snapshot_ != worker_.snapshot()) {
        configuration_changed();
    }
    begin_count();
    const bool in_rate = snapshot_->limits->admit_message(ticket_, worker_.now());
    const std::optional<Refusal> want = want_of_room();
    if (in_rate && !want) {
        reserve_room();
        session_.answer_mail(replies::sender_ok);
        return;
    }
    if (!in_rate) {
        log_limit(LogEvent::message_rate,
                  snapshot_->settings->limits.message_rate_per_client.count);
    }
    const auto [reply, reason] =
        in_rate ? *want : Refusal{replies::message_rate, RejectReason::rate_limit};
    log_sender_refusal(session_.mail().reverse_path, reply, reason);
    count_rejected(reason);
    session_.answer_mail(reply);
}

void ClientConnection::begin_count() {
    owes_count_ = true;
    spare_shed_ = false;
    begin_rate_window();
    has_recipient_ = false;
    failure_ = RejectReason::count_;
}

// From MAIL on, or several could be promised the same. A transaction has its own.
void ClientConnection::reserve_room() {
    if (spools()) {
        reserved_bytes_ = MailQueue::room_for(session_.mail());
        worker_.queue()->change_reserved(0, reserved_bytes_);
    }
}

void ClientConnection::release_room() {
    if (reserved_bytes_ > 0) {
        worker_.queue()->change_reserved(std::exchange(reserved_bytes_, 0), 0);
    }
}

void ClientConnection::count_rejected(RejectReason reason) {
    release_room();
    RINGMX_MUTATE(counter_off, if (reason == RejectReason::client_gone) return);
    if (owes_count_) {
        owes_count_ = false;
        worker_.counters()
            .messages_rejected[failure_ == RejectReason::count_ ? reason : failure_]
            .add();
    }
}

bool ClientConnection::spools() const {
    return snapshot_->listeners[listener_index_].settings.acknowledge == Acknowledge::spool;
}

// Why a message can't be taken now.
std::optional<Refusal> ClientConnection::want_of_room() {
    if (worker_.pressure() != Pressure::none) {
        return Refusal{replies::no_memory, RejectReason::no_memory};
    }
    return spools() ? worker_.queue()->refusal_of(session_.mail()) : std::nullopt;
}

void ClientConnection::note_recipient_refusal(RecipientReason reason) {
    if (!has_recipient_) {
        failure_ = observe::reject_reason(reason);
    }
}

void ClientConnection::mail_refused(std::string_view argument, const smtp::Reply& reply) {
    const RejectReason reason = reply.code == 552 ? RejectReason::size : RejectReason::syntax;
    begin_count();
    log_sender_refusal(subject_of(argument), reply, reason);
    count_rejected(reason);
}

void ClientConnection::recipient_refused(std::string_view argument, const smtp::Reply& reply) {
    const RecipientReason reason =
        reply.severity() == 4 ? RecipientReason::recipients_limit : RecipientReason::syntax;
    worker_.counters().recipients_rejected[reason].add();
    log_recipient_refusal(subject_of(argument), reply, reason);
    note_recipient_refusal(reason);
}

Transaction* ClientConnection::begin_transaction() {
    release_room();
    if (spools()) {
        SpoolIntake* const intake = worker_.queue()->begin(*this);
        if (intake != nullptr) {
            transaction_ = {TransactionId::Kind::intake, intake->handle()};
        }
        return intake;
    }
    Delivery* const delivery = worker_.deliveries().create(worker_, *this);
    if (delivery != nullptr) {
        transaction_ = {TransactionId::Kind::delivery, delivery->handle()};
    }
    return delivery;
}

void ClientConnection::on_data() {
    if (awaited_ != nullptr) {
        data_waits_ = true;
    } else if (Transaction* const transaction = open_transaction()) {
        transaction->begin_data();
    } else {
        session_.answer_data(smtp::start_data); // no recipient was taken: the session says 554
    }
}

// There is no event for the first BDAT: its first content (or the end of an empty message) says so.
void ClientConnection::begin_content() {
    Transaction* const transaction = open_transaction();
    if (transaction != nullptr && !transaction->content_begun() && session_.content_chunked()) {
        transaction->begin_chunks();
    }
}

void ClientConnection::on_content(const smtp::ServerSession::Step& step, const Slice& input) {
    begin_content();
    Transaction* const transaction = open_transaction();
    if (transaction != nullptr && !transaction->content(input, step.content, step.is_literal)) {
        transaction->fail_for_memory();
    }
}

void ClientConnection::on_content_end() {
    begin_content();
    if (Transaction* const transaction = open_transaction()) {
        owes_count_ = false; // from here on the transaction knows, whatever becomes of the client
        transaction->end_content();
    }
}

void ClientConnection::on_content_refused() {
    const RejectReason reason = reject_reason(session_.content_fault());
    if (Transaction* const transaction = open_transaction()) {
        transaction->log_message_refusal(session_.content_refusal(), reason, {});
    }
    abandon(reason);
    content_paused_ = false;
}

void ClientConnection::on_close() {
    saw_close_ = true;
    RejectReason reason = RejectReason::abandoned;
    switch (session_.close_cause()) {
    case smtp::CloseCause::too_many_errors:
    case smtp::CloseCause::too_many_unknown:
        log_after(LogEvent::too_many_errors);
        reason = RejectReason::too_many_errors;
        break;
    case smtp::CloseCause::bad_chunk:
        reason = RejectReason::syntax;
        break;
    case smtp::CloseCause::quit:
    case smtp::CloseCause::failed: // whoever ended it has counted and logged
    case smtp::CloseCause::none:
        break;
    }
    abandon(reason);
    finish_output();
    linger(linger_time);
}

void ClientConnection::answer_recipient(const smtp::Reply& reply, AnswerSource source, bool unknown,
                                        RecipientReason reason) {
    if (reply.severity() == 2) {
        has_recipient_ = true;
        failure_ = RejectReason::count_;
    } else {
        note_recipient_refusal(reason);
    }
    session_.answer_recipient(reply, source, unknown);
    // The client was waiting for us: its time begins now.
    last_octet_at_ = worker_.now();
    last_command_at_ = worker_.now();
}

void ClientConnection::answer_data(const smtp::Reply& reply, RejectReason reason) {
    if (reply.severity() >= 4) {
        failure_ = reason;
    }
    session_.answer_data(reply);
    last_octet_at_ = worker_.now();
    last_command_at_ = worker_.now();
    resume();
}

void ClientConnection::answer_message(const smtp::Reply& reply) {
    transaction_ = {};
    owes_count_ = false;
    content_paused_ = false;
    session_.answer_message(reply);
    last_command_at_ = worker_.now();
    transaction_over();
    resume();
}

void ClientConnection::transaction_over() {
    content_paused_ = false;
    if (snapshot_ != worker_.snapshot()) {
        configuration_changed();
    }
}

// The drain has come and no transaction is under way (any more): what waits is not run.
bool ClientConnection::has_drained() {
    return worker_.draining() && !session_.in_transaction() && open_transaction() == nullptr;
}

void ClientConnection::pause_content() { content_paused_ = true; }

void ClientConnection::resume_content() {
    if (content_paused_) {
        content_paused_ = false;
        resume();
    }
}

// A client that has sent more than these replies answer is owed another one: it takes them all in
// one send (RFC 2920, 3.2).
bool ClientConnection::holds_replies() {
    if (!blocked_ || !session_.output_may_wait() ||
        session_.output().size() >= waiting_replies_bytes_max) {
        return false;
    }
    if (replies_due_ == never) {
        replies_due_ = worker_.now() + replies_wait_max;
    }
    return replies_due_ > worker_.now();
}

void ClientConnection::finish_output() {
    const std::uint32_t errors = session_.errors_total();
    worker_.counters().protocol_errors_total.add(errors - errors_counted_);
    errors_counted_ = errors;
    const std::uint32_t commands = session_.commands_total();
    worker_.counters().commands_total.add(commands - commands_counted_);
    commands_counted_ = commands;
    std::string& output = session_.output();
    if (output.empty() || holds_replies()) {
        return;
    }
    replies_due_ = never;
    last_command_at_ = worker_.now(); // whatever was answered was a whole command
    worker_.counters().bytes_sent_total.add(output.size());
    if (stream_.unsent_bytes() == 0) {
        last_sent_at_ = worker_.now();
    }
    const bool is_one_piece = output.size() <= BufferPool::draft_bytes_max;
    const bool sent = stream_.send_text(worker_.loop(), output);
    output.clear();
    if (output.capacity() > kept_output_bytes_max) {
        output.shrink_to_fit();
    }
    if (!sent) {
        // A reply that there is no memory for ends the dialog, by one that needs none; not where
        // half a reply is queued.
        abandon(RejectReason::no_memory);
        if (is_one_piece) {
            stream_.send(worker_.loop(), Slice::literal(replies::memory_gone_line));
            linger(linger_time);
        } else {
            close();
        }
    }
}

// Reads on unless enough is waiting already; what waits small leaves its receive buffer.
void ClientConnection::adjust_reading() {
    const bool crowded = !input_.empty() && worker_.pressure() != Pressure::none;
    if (!input_.empty()) {
        input_.unpin(worker_.pool(), crowded ? SIZE_MAX : pinned_input_bytes_min);
    }
    const bool pause = content_paused_ || input_.bytes() > waiting_input_bytes_max || crowded ||
                       stream_.unsent_bytes() >= unsent_output_bytes_max;
    if (pause) {
        stream_.pause(worker_.loop());
    } else if (!stream_.receiving()) {
        last_octet_at_ = worker_.now(); // its silence was our doing
        stream_.receive(worker_.loop());
    }
    run_rate_clock();
    set_timer();
}

void ClientConnection::relieve() {
    if (state_ == State::serving && !input_.empty()) {
        adjust_reading();
    }
}

} // namespace ringmx::worker
