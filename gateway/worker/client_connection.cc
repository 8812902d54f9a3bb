// Opening, timers, draining and closing of a client's connection; client_session.cc runs the
// session on it.
#include "worker/client_connection.h"

#include "worker/delivery.h"
#include "worker/replies.h"
#include "worker/snapshot.h"
#include "worker/worker.h"

#include "base/mutation.h"

#include <algorithm>

namespace ringmx::worker {

using observe::LogEvent;
using observe::LogRecord;
using observe::RefuseReason;
using observe::RejectReason;

namespace {

constexpr Duration cut_linger_time = 500ms;
// The average of limits.minimum_data_rate is taken over this.
constexpr Duration rate_window = 60s;
// A session without a transaction counts as idle from then on.
constexpr Duration shed_after = 5s;

} // namespace

ClientConnection::ClientConnection(Handle self, Worker& worker, std::uint32_t listener_index)
    : self_(self), worker_(worker), snapshot_(worker.snapshot()), stream_(self, client_operations),
      timer_(static_cast<std::uint8_t>(TimerKind::client), self.slot),
      session_(snapshot_->smtp_settings(listener_index)), opened_at_(worker.now()),
      last_octet_at_(worker.now()), last_command_at_(worker.now()),
      listener_index_(listener_index) {
    session_.observe(this);
}

Transaction* ClientConnection::find_transaction() { return worker_.transaction(transaction_); }

void ClientConnection::open(int descriptor) {
    stream_.open(descriptor);
    worker_.counters().connections_open.add();
    const auto peer = worker_.loop().port().peer_address(descriptor);
    if (!peer) {
        close();
        return;
    }
    is_unix_peer_ = peer->is_unix;
    client_ip_ = peer->ip;
    client_port_ = peer->port;
    const auto& proxy = snapshot_->listeners[listener_index_].settings.proxy_protocol;
    if (proxy) {
        const bool trusted = is_unix_peer_ || is_in(proxy->trusted, client_ip_);
        if (!trusted) {
            log_client(LogEvent::proxy_fault, "not a trusted proxy");
            worker_.counters().connections_refused[RefuseReason::proxy_untrusted].add();
            close(true);
            return;
        }
    }
    if (worker_.draining()) {
        refuse(replies::shutting_down, RefuseReason::shutdown, linger_time);
        return;
    }
    if (proxy) {
        is_trusted_peer_ = true;
        const policy::Admission admission = snapshot_->limits->admit_peer();
        ticket_ = admission.ticket;
        if (admission.verdict != policy::AdmissionVerdict::admitted) {
            refuse_by_limit(admission.verdict);
            return;
        }
        state_ = State::proxy_header;
        stream_.receive(worker_.loop());
        set_timer();
        return;
    }
    const policy::Admission admission =
        is_unix_peer_ ? snapshot_->limits->admit_peer()
                      : snapshot_->limits->admit_connection(client_ip_, worker_.now());
    ticket_ = admission.ticket;
    if (admission.verdict != policy::AdmissionVerdict::admitted) {
        refuse_by_limit(admission.verdict);
        return;
    }
    begin_serving();
}

void ClientConnection::begin_serving() {
    log_client(LogEvent::connect, {});
    session_.accept_bare_newlines(snapshot_->takes_bare_newlines(client_ip_));
    stream_.receive(worker_.loop());
    if (!is_trusted_peer_ && snapshot_->settings->timeouts.greeting_delay > Duration{0}) {
        state_ = State::delaying;
        set_timer();
        return;
    }
    greet();
}

void ClientConnection::greet() {
    state_ = State::serving;
    last_command_at_ = worker_.now();
    session_.greet();
    resume();
}

void ClientConnection::refuse_by_limit(policy::AdmissionVerdict verdict) {
    switch (verdict) {
    case policy::AdmissionVerdict::refused_client_count:
        log_limit(LogEvent::connections_limit, snapshot_->settings->limits.connections_per_client);
        refuse(replies::client_limit, RefuseReason::client_connections, linger_time);
        return;
    case policy::AdmissionVerdict::refused_client_rate:
        log_limit(LogEvent::connection_rate,
                  snapshot_->settings->limits.connection_rate_per_client.count);
        refuse(replies::client_rate, RefuseReason::client_rate, linger_time);
        return;
    case policy::AdmissionVerdict::refused_total:
        log_limit(LogEvent::connections_full, snapshot_->settings->limits.connections);
        // Descriptors may be what there is too few of.
        refuse(replies::connections_full, RefuseReason::connections, cut_linger_time);
        return;
    case policy::AdmissionVerdict::admitted:
        return;
    }
}

// Turned away before the greeting: one reply, then close.
void ClientConnection::refuse(const smtp::Reply& reply, RefuseReason reason, Duration time) {
    worker_.counters().connections_refused[reason].add();
    stream_.receive(worker_.loop());
    session_.fail(reply);
    finish_output();
    linger(time);
}

void ClientConnection::read_proxy_header(Slice octets) {
    const smtp::ProxyHeader::Step step = proxy_header_.receive(octets.bytes());
    switch (step.result) {
    case smtp::ProxyResult::need_more:
        return;
    case smtp::ProxyResult::malformed:
        log_client(LogEvent::proxy_fault, "malformed PROXY header");
        worker_.counters().connections_refused[RefuseReason::proxy_header].add();
        close();
        return;
    case smtp::ProxyResult::done:
        break;
    }
    if (step.has_addresses && !step.source.is_unix) {
        client_ip_ = step.source.ip;
        client_port_ = step.source.port;
        is_unix_peer_ = false;
        const policy::AdmissionVerdict verdict =
            snapshot_->limits->admit_client(ticket_, client_ip_, worker_.now());
        if (verdict != policy::AdmissionVerdict::admitted) {
            refuse_by_limit(verdict);
            return;
        }
    }
    octets.remove_prefix(step.consumed);
    begin_serving();
    if (!octets.empty()) {
        received(std::move(octets));
    }
}

void ClientConnection::received(Slice octets) {
    switch (state_) {
    case State::proxy_header:
        read_proxy_header(std::move(octets));
        return;
    case State::delaying:
        if (LogRecord* record = worker_.log().begin(LogEvent::early_talker, worker_.wall_time())) {
            record->client(client_ip_, client_port_).size(octets.size());
            worker_.log().commit();
        }
        worker_.counters().connections_refused[RefuseReason::early_talker].add();
        session_.fail(replies::early_talker);
        finish_output();
        linger(linger_time);
        return;
    case State::serving:
        last_octet_at_ = worker_.now();
        rate_bytes_ += octets.size();
        if (Transaction* const transaction = open_transaction()) {
            transaction->client_spoke();
        }
        input_.push(worker_.pool(), std::move(octets));
        resume();
        return;
    case State::lingering:
    case State::closing:
        return;
    }
}

void ClientConnection::complete(ring::StreamOperation operation, const ring::Completion& completion,
                                Slice&& octets) {
    switch (stream_.complete(worker_.loop(), operation, completion)) {
    case ring::StreamEvent::nothing:
        RINGMX_MUTATE(stale_completion_drops_buffer, new Slice(std::move(octets)));
        return;
    case ring::StreamEvent::connected:
        return;
    case ring::StreamEvent::received:
        worker_.counters().bytes_received_total.add(octets.size());
        received(std::move(octets));
        return;
    case ring::StreamEvent::starved:
        starved_ = true;
        worker_.receive_buffers().starve(completion.token);
        run_rate_clock();
        set_timer();
        return;
    case ring::StreamEvent::sent:
        last_sent_at_ = worker_.now();
        if (state_ == State::serving && wants_input_ && !input_ended_ && !worker_.draining() &&
            session_.output().empty()) {
            // The usual reply: nothing waited for it to be sent.
            if (stream_.receiving()) {
                set_timer();
            } else {
                adjust_reading();
            }
        } else if (state_ == State::serving) {
            resume();
        } else if (state_ == State::lingering && input_ended_) {
            close(); // its end was seen before our last reply was out
        }
        return;
    case ring::StreamEvent::ended:
        peer_ended(false);
        return;
    case ring::StreamEvent::failed:
        peer_ended(true);
        return;
    case ring::StreamEvent::closed:
        closed();
        return;
    }
}

bool ClientConnection::arm_receive() {
    starved_ = false;
    if (!stream_.receiving() || stream_.closing()) {
        return false;
    }
    stream_.receive(worker_.loop());
    last_octet_at_ = worker_.now();
    run_rate_clock();
    set_timer();
    return true;
}

// The client has shut its sending side down (it may still read), or the connection is lost.
void ClientConnection::peer_ended(bool lost) {
    input_ended_ = true;
    if (state_ != State::serving) {
        if (lost || stream_.unsent_bytes() == 0) {
            close();
        }
        return; // lingering: our last replies still go out, then it is closed
    }
    Transaction* const transaction = open_transaction();
    if (!lost &&
        (blocked_ || !input_.empty() || (transaction != nullptr && transaction->content_ended()))) {
        resume(); // what came before the end still gets its answers
        return;
    }
    end_by_client(lost);
}

void ClientConnection::end_by_client(bool lost) {
    if (Transaction* const transaction = open_transaction()) {
        transaction_ = {};
        if (transaction->content_ended()) {
            transaction->client_left();
        } else {
            transaction->abandon(RejectReason::client_gone);
        }
    }
    count_rejected(RejectReason::client_gone);
    if (!saw_close_) {
        worker_.counters().connections_lost_total.add();
        log_after(LogEvent::lost_connection);
    }
    if (lost || stream_.unsent_bytes() == 0) {
        close();
    } else {
        linger(linger_time);
    }
}

std::string_view ClientConnection::phase_word() const {
    const std::string_view last = session_.last_command();
    return last.empty() ? "CONNECT" : last;
}

void ClientConnection::set_timer() {
    const TimeoutSettings& timeouts = snapshot_->settings->timeouts;
    TimerWheel& timers = worker_.timers();
    switch (state_) {
    case State::proxy_header:
        timers.set(timer_,
                   opened_at_ +
                       snapshot_->listeners[listener_index_].settings.proxy_protocol->timeout);
        return;
    case State::delaying:
        timers.set(timer_, opened_at_ + timeouts.greeting_delay);
        return;
    case State::serving:
        timers.set(timer_, serving_deadline());
        return;
    case State::lingering:
    case State::closing:
        return;
    }
}

// When the client has been waited for long enough; while we owe it an answer it is not waited for
// at all.
Instant ClientConnection::serving_deadline() const {
    if (replies_due_ != never) {
        return replies_due_;
    }
    const TimeoutSettings& timeouts = snapshot_->settings->timeouts;
    if (stream_.unsent_bytes() > 0) {
        return std::max(last_sent_at_, last_command_at_) + timeouts.command;
    }
    if (blocked_) {
        return never;
    }
    if (!session_.in_content()) {
        const Instant silent = last_command_at_ + timeouts.command;
        return spare_shed_ || session_.in_transaction()
                   ? silent
                   : std::min(silent, last_command_at_ + shed_after);
    }
    if (!awaits_content()) {
        return never;
    }
    const Instant silent = last_octet_at_ + timeouts.data;
    return snapshot_->settings->limits.minimum_data_rate_bytes == 0
               ? silent
               : std::min(silent, rate_resumed_at_ + (rate_window - rate_elapsed_));
}

// Content is what the client is waited for: not while we don't read, nor between two chunks.
bool ClientConnection::awaits_content() const {
    return session_.in_content() && stream_.receiving() && !starved_;
}

void ClientConnection::timer_fired() {
    switch (state_) {
    case State::proxy_header:
        log_client(LogEvent::proxy_fault, "no PROXY header in time");
        worker_.counters().connections_refused[RefuseReason::proxy_header].add();
        close();
        return;
    case State::delaying:
        greet();
        return;
    case State::serving:
        serving_timer_fired();
        return;
    case State::lingering:
        close();
        return;
    case State::closing:
        return;
    }
}

void ClientConnection::serving_timer_fired() {
    if (serving_deadline() > worker_.now()) {
        set_timer();
        return;
    }
    if (replies_due_ != never) {
        finish_output();
        set_timer();
        return;
    }
    if (stream_.unsent_bytes() > 0) {
        end_by_client(true); // it does not read our replies
        return;
    }
    const TimeoutSettings& timeouts = snapshot_->settings->timeouts;
    const bool in_content = session_.in_content();
    if (in_content && last_octet_at_ + timeouts.data > worker_.now()) {
        check_data_rate();
        return;
    }
    if (!in_content && last_command_at_ + timeouts.command > worker_.now()) {
        session_.shed_spare_memory(); // it has gone idle
        spare_shed_ = true;
        set_timer();
        return;
    }
    worker_.counters().timeouts_total.add();
    log_after(LogEvent::timeout);
    fail(replies::timed_out, RejectReason::timeout);
}

void ClientConnection::check_data_rate() {
    const std::uint64_t least = snapshot_->settings->limits.minimum_data_rate_bytes *
                                static_cast<std::uint64_t>(rate_window / 1s);
    if (rate_bytes_ < least) {
        log_after(LogEvent::too_slow);
        fail(replies::too_slow, RejectReason::too_slow);
        return;
    }
    begin_rate_window();
    set_timer();
}

void ClientConnection::begin_rate_window() {
    rate_resumed_at_ = worker_.now();
    rate_elapsed_ = Duration{0};
    rate_bytes_ = 0;
}

void ClientConnection::run_rate_clock() {
    const bool runs = awaits_content();
    if (runs && !rate_running_) {
        rate_resumed_at_ = worker_.now();
    } else if (!runs && rate_running_) {
        rate_elapsed_ += worker_.now() - rate_resumed_at_;
    }
    rate_running_ = runs;
}

// A last reply of ours, whatever the session was doing.
void ClientConnection::fail(const smtp::Reply& reply, RejectReason reason) {
    abandon(reason);
    session_.fail(reply);
    finish_output();
    linger(linger_time);
}

void ClientConnection::fail_for_memory() {
    Transaction* const transaction = open_transaction();
    if (transaction != nullptr && transaction->is_final_submitted()) {
        transaction_ = {};
        transaction->send_client_away();
    } else if (transaction != nullptr) {
        transaction->log_message_refusal(replies::memory_gone, RejectReason::no_memory,
                                         phase_word());
    } else {
        log_sender_refusal(session_.mail().reverse_path, replies::memory_gone,
                           RejectReason::no_memory);
    }
    if (stream_.unsent_bytes() == 0) {
        fail(replies::memory_gone, RejectReason::no_memory);
    } else { // it does not read what it has been told already
        abandon(RejectReason::no_memory);
        close();
    }
}

bool ClientConnection::awaits_final_reply() {
    const Transaction* const transaction = open_transaction();
    return transaction != nullptr && transaction->is_final_submitted();
}

void ClientConnection::abandon(RejectReason reason) {
    forget_awaited();
    if (Transaction* const transaction = open_transaction()) {
        transaction_ = {};
        transaction->abandon(reason);
    }
    count_rejected(reason);
}

void ClientConnection::drain() {
    switch (state_) {
    case State::proxy_header:
    case State::delaying:
        session_.fail(replies::shutting_down);
        finish_output();
        linger(linger_time);
        return;
    case State::serving:
        resume();
        return;
    case State::lingering:
    case State::closing:
        return;
    }
}

void ClientConnection::cut() {
    if (state_ == State::serving) {
        if (Transaction* const transaction = open_transaction()) {
            transaction_ = {};
            transaction->client_left(); // it is told here, once
            transaction->cut();
        }
        count_rejected(RejectReason::shutdown);
        session_.fail(replies::shutting_down);
        finish_output();
        linger(cut_linger_time);
    } else if (state_ != State::closing) {
        close();
    }
}

void ClientConnection::configuration_changed() {
    if (state_ == State::proxy_header || state_ == State::delaying || session_.in_transaction() ||
        open_transaction() != nullptr) {
        return; // taken at the transaction's end
    }
    snapshot_ = worker_.snapshot();
    session_.use(snapshot_->smtp_settings(listener_index_));
    session_.accept_bare_newlines(snapshot_->takes_bare_newlines(client_ip_));
}

void ClientConnection::linger(Duration time) {
    if (state_ == State::lingering || state_ == State::closing) {
        return;
    }
    state_ = State::lingering;
    input_.clear();
    forget_awaited();
    if (input_ended_ && stream_.unsent_bytes() == 0) {
        close();
        return;
    }
    stream_.receive(worker_.loop());
    stream_.finish(worker_.loop());
    worker_.timers().set(timer_, worker_.now() + time);
}

void ClientConnection::close(bool reset) {
    if (state_ == State::closing) {
        return;
    }
    state_ = State::closing;
    timer_.cancel();
    input_.clear();
    forget_awaited();
    if (stream_.close(worker_.loop(), reset)) {
        closed();
    }
}

void ClientConnection::closed() {
    log_disconnect();
    release_room();
    snapshot_->limits->release(ticket_);
    worker_.counters().connections_open.subtract();
    worker_.client_closed(*this);
}

} // namespace ringmx::worker
