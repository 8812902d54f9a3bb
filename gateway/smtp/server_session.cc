#include "smtp/server_session.h"

#include "base/assert.h"
#include "smtp/server_session_state.h"

namespace ringmx::smtp {
namespace {

constexpr Reply too_many_errors = {421, {4, 7, 0}, "Too many errors"};
constexpr Reply too_many_unknown = {421, {4, 7, 0}, "Too many unknown recipients"};
constexpr Reply no_valid_recipients = {554, {5, 5, 1}, "No valid recipients"};

} // namespace

ServerSession::ServerSession(const ServerSettings& settings)
    : state_(std::make_unique<State>(settings)) {}
ServerSession::~ServerSession() = default;
ServerSession::ServerSession(ServerSession&&) noexcept = default;
ServerSession& ServerSession::operator=(ServerSession&&) noexcept = default;

void ServerSession::use(const ServerSettings& settings) { state_->settings = &settings; }

void ServerSession::accept_bare_newlines(bool accept) { state_->accepts_bare_newlines = accept; }

void ServerSession::observe(RefusalObserver* observer) { state_->observer = observer; }

void ServerSession::greet() {
    const ServerSettings& settings = *state_->settings;
    std::string& output = state_->output;
    state_->output_may_wait = false;
    output += "220 ";
    output += settings.hostname;
    output += ' ';
    output += settings.greeting_text;
    output += "\r\n";
}

ServerSession::Step ServerSession::receive(Bytes input) {
    std::size_t used = 0;
    for (;;) {
        auto step = state_->advance(input.subspan(used), used);
        if (step) {
            step->consumed = used;
            return *step;
        }
    }
}

ServerSession::State::Turn ServerSession::State::advance(Bytes rest, std::size_t& used) {
    switch (phase) {
    case Phase::closed:
        return event(ServerEvent::close);
    case Phase::message_end:
        return end_message();
    case Phase::dropped_chunk:
        return dropped_content(rest, used);
    case Phase::chunk:
        return chunk_content(rest, used);
    case Phase::mail_answer:
    case Phase::data_answer:
    case Phase::message_answer:
        return event(rest.empty() ? ServerEvent::need_input : ServerEvent::blocked);
    case Phase::command:
    case Phase::overlong_line:
    case Phase::data:
        break;
    }
    if (rest.empty()) {
        return event(ServerEvent::need_input);
    }
    if (phase == Phase::data) {
        return data_content(rest, used);
    }
    return phase == Phase::command ? next_line(rest, used) : skip_line(rest, used);
}

std::string& ServerSession::output() { return state_->output; }

bool ServerSession::output_may_wait() const {
    return state_->output_may_wait && !state_->output.empty();
}

const MailCommand& ServerSession::mail() const {
    RINGMX_ASSERT(state_->transaction);
    return state_->transaction->mail;
}

const RecipientCommand& ServerSession::recipient() const {
    RINGMX_ASSERT(state_->transaction);
    return state_->transaction->recipient;
}

std::uint32_t ServerSession::recipients_accepted() const {
    return state_->transaction ? state_->transaction->accepted_count : 0;
}

std::uint32_t ServerSession::recipients_unanswered() const {
    return state_->transaction ? state_->transaction->unanswered_count : 0;
}

bool ServerSession::in_transaction() const { return state_->in_transaction(); }

bool ServerSession::in_content() const {
    return state_->phase == Phase::data || state_->phase == Phase::chunk ||
           state_->phase == Phase::dropped_chunk || state_->phase == Phase::message_end;
}

bool ServerSession::waits_for_input() const {
    switch (state_->phase) {
    case Phase::command:
    case Phase::overlong_line:
    case Phase::mail_answer:
    case Phase::data_answer:
    case Phase::message_answer:
    case Phase::data:
        return true;
    case Phase::chunk: // which may be over
    case Phase::dropped_chunk:
    case Phase::message_end:
    case Phase::closed:
        break;
    }
    return false;
}

bool ServerSession::mid_command() const {
    return !state_->line.empty() || state_->phase == Phase::overlong_line;
}

void ServerSession::answer_mail(const Reply& reply) {
    State& state = *state_;
    if (state.phase == Phase::closed) {
        return;
    }
    RINGMX_ASSERT(state.phase == Phase::mail_answer);
    state.phase = Phase::command;
    state.transaction->is_open = reply.severity() == 2;
    if (reply.severity() == 5) {
        state.refuse(reply);
    } else {
        state.send_in_group(reply);
    }
}

void ServerSession::answer_recipient(const Reply& reply, AnswerSource source, bool unknown) {
    State& state = *state_;
    if (state.phase == Phase::closed) {
        return; // the answers that were under way when the session ended find nobody
    }
    RINGMX_ASSERT(state.awaits_recipients());
    Transaction& transaction = *state.transaction;
    --transaction.unanswered_count;
    if (reply.severity() == 2) {
        ++transaction.accepted_count;
        state.send_in_group(reply);
        return;
    }
    if (unknown && ++state.unknown_recipients_count > state.settings->unknown_recipients_max &&
        state.settings->unknown_recipients_max != 0) {
        state.close_with(too_many_unknown, CloseCause::too_many_unknown);
    } else if (source == AnswerSource::own && reply.severity() == 5) {
        state.refuse(reply);
    } else {
        state.send_in_group(reply);
    }
}

void ServerSession::answer_data(const Reply& reply) {
    State& state = *state_;
    if (state.phase == Phase::closed) {
        return;
    }
    RINGMX_ASSERT(state.phase == Phase::data_answer && !state.awaits_recipients());
    state.phase = Phase::command;
    if (reply.severity() != 3) {
        state.send(reply);
    } else if (state.transaction->accepted_count == 0) {
        state.refuse(no_valid_recipients);
    } else {
        state.send(start_data);
        state.transaction->begin_content(ContentForm::dot_stuffed, state.accepts_bare_newlines);
        state.phase = Phase::data;
    }
}

void ServerSession::answer_message(const Reply& reply) {
    State& state = *state_;
    if (state.phase == Phase::closed) {
        return;
    }
    RINGMX_ASSERT(state.in_transaction());
    Transaction& transaction = *state.transaction;
    if (state.phase != Phase::message_answer) {
        RINGMX_ASSERT(in_content() || transaction.is_chunked);
        RINGMX_ASSERT_STATE(reply.severity() >= 4, "code %u", unsigned{reply.code});
        if (!transaction.is_refused()) {
            transaction.answer = OwnedReply(reply);
            transaction.is_answered = true;
        }
        return;
    }
    state.send(reply);
    if (reply.severity() == 2) {
        state.errors_count = 0;
    }
    if (--transaction.answers_due_count == 0) {
        state.last_command = end_of_message;
        state.end_transaction();
        state.phase = Phase::command;
    }
}

void ServerSession::fail(const Reply& reply) {
    if (state_->phase != Phase::closed) {
        state_->close_with(reply, CloseCause::failed);
    }
}

void ServerSession::shed_spare_memory() {
    State& state = *state_;
    if (state.phase == Phase::command && !state.in_transaction()) {
        state.transaction.reset();
    }
    state.output.shrink_to_fit();
}

std::uint64_t ServerSession::content_bytes() const {
    return state_->transaction ? state_->transaction->content_bytes : 0;
}

bool ServerSession::content_chunked() const {
    return state_->transaction && state_->transaction->is_chunked;
}

bool ServerSession::content_starts_with_space() const {
    return state_->transaction && state_->transaction->header.starts_with_space();
}

std::uint64_t ServerSession::chunk_bytes_left() const { return state_->chunk_bytes_left; }
bool ServerSession::chunk_is_last() const { return state_->chunk_is_last; }
std::string_view ServerSession::hello_name() const { return state_->hello_name; }
bool ServerSession::esmtp() const { return state_->esmtp; }
std::string_view ServerSession::last_command() const { return state_->last_command; }
CloseCause ServerSession::close_cause() const { return state_->close_cause; }
std::uint32_t ServerSession::errors_total() const { return state_->errors_total; }
std::uint32_t ServerSession::commands_total() const { return state_->commands_total; }

ContentFault ServerSession::content_fault() const {
    return state_->transaction ? state_->transaction->fault() : ContentFault::none;
}

Reply ServerSession::content_refusal() const {
    RINGMX_ASSERT(state_->transaction);
    return state_->transaction->refusal();
}

void ServerSession::State::send(const Reply& reply) {
    Reply completed = reply;
    if (completed.enhanced.class_digit == 0 && completed.severity() != 3) {
        completed.enhanced = {static_cast<std::uint8_t>(reply.severity()), 0, 0};
    }
    append_reply(output, completed);
    output_may_wait = false;
}

void ServerSession::State::send_in_group(const Reply& reply) {
    const bool may_wait = output.empty() || output_may_wait;
    send(reply);
    output_may_wait = may_wait;
}

bool ServerSession::State::count_error() {
    ++errors_total;
    ++errors_count;
    return settings->errors_max != 0 && errors_count > settings->errors_max;
}

void ServerSession::State::refuse(const Reply& reply) {
    if (count_error()) {
        close_with(too_many_errors, CloseCause::too_many_errors);
    } else {
        send(reply);
    }
}

ServerSession::State::Turn ServerSession::State::refuse_in_order(const Reply& reply) {
    if (awaits_recipients()) {
        return event(ServerEvent::blocked);
    }
    refuse(reply);
    return {};
}

void ServerSession::State::close_with(const Reply& reply, CloseCause cause) {
    send(reply);
    close(cause);
}

void ServerSession::State::close(CloseCause cause) {
    if (phase != Phase::closed) { // what closed it first says why
        close_cause = cause;
    }
    phase = Phase::closed;
    end_transaction();
    release_line();
}

void ServerSession::State::end_transaction() {
    if (transaction) {
        transaction->is_open = false;
        transaction->accepted_count = 0;
        transaction->unanswered_count = 0;
    }
}

void ServerSession::State::release_line() { std::string().swap(line); }

} // namespace ringmx::smtp
