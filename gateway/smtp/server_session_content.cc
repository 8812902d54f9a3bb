// Message content: where it ends, what it is refused for, and what its owner is given of it.
#include "base/assert.h"
#include "smtp/server_session_state.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace ringmx::smtp {
namespace {

using Turn = std::optional<ServerSession::Step>;

constexpr Reply size_exceeded = {552, {5, 3, 4}, "Message size exceeds fixed limit"};
constexpr Reply too_many_hops = {554, {5, 4, 6}, "Too many hops"};
constexpr Reply bad_newline = {
    550, {5, 6, 0}, "Message has bare CR or LF octets or a dot with NULs"};

} // namespace

void Transaction::begin(const MailArguments& arguments) {
    mail.reverse_path = arguments.reverse_path;
    mail.declared_size_bytes = arguments.declared_size_bytes;
    mail.body = arguments.body;
    mail.smtputf8 = arguments.smtputf8;
    mail.return_content = arguments.return_content;
    mail.envelope_id = arguments.envelope_id;
    accepted_count = 0;
    unanswered_count = 0;
    answers_due_count = 0;
    is_open = false;
    is_chunked = false;
    begin_content(ContentForm::dot_stuffed, false);
}

void Transaction::begin_content(ContentForm form, bool normalize) {
    data.reset();
    newlines.reset();
    normalizing = NormalizingScanner(form);
    header = HeaderScanner(form);
    content_bytes = 0;
    normalizes = normalize;
    is_holding = is_held_given = is_data_ended = is_finished = false;
    is_answered = is_over_size = is_looping = false;
    has_bad_newline = has_nul_line = is_bad_chunk = false;
}

Reply Transaction::refusal() const {
    RINGMX_ASSERT(is_refused());
    if (is_answered) {
        return answer.view();
    }
    if (is_over_size) {
        return size_exceeded;
    }
    return is_looping ? too_many_hops : bad_newline;
}

// In the order of refusal().
ContentFault Transaction::fault() const {
    if (is_answered) {
        return is_bad_chunk ? ContentFault::bad_chunk : ContentFault::none;
    }
    if (is_over_size) {
        return ContentFault::over_size;
    }
    if (is_looping) {
        return ContentFault::received_loop;
    }
    if (has_bad_newline) {
        return ContentFault::bare_newline;
    }
    return has_nul_line ? ContentFault::nul_line : ContentFault::none;
}

Turn ServerSession::State::data_content(Bytes rest, std::size_t& used) {
    Transaction& message = *transaction;
    if (message.is_data_ended) {
        used += 1; // the terminator's LF, kept back so that the end has an octet of its own
        return end_message();
    }
    if (message.normalizes) {
        return normalized_data(rest, used);
    }
    if (message.is_holding && !message.is_held_given) {
        // One octet more tells what was held back; a copy of the scanner looks, so that the literal
        // can be given first.
        DataScanner probe = message.data;
        const DataScan seen = probe.scan(rest.first(1));
        if (!seen.held.empty()) {
            message.is_held_given = true;
            return give(as_bytes(seen.held), true);
        }
    }
    const DataScan scan = message.data.scan(rest);
    message.is_held_given = false;
    message.is_holding = !scan.ended && scan.content_bytes < rest.size();
    message.is_data_ended = scan.ended;
    message.content_bytes = message.data.content_bytes();
    used += scan.ended ? scan.consumed - 1 : rest.size();
    return give(rest.first(scan.content_bytes), false);
}

Turn ServerSession::State::normalized_data(Bytes rest, std::size_t& used) {
    Transaction& message = *transaction;
    const NormalizingScanner::Piece piece = message.normalizing.next(rest);
    message.content_bytes = message.normalizing.content_bytes();
    used += piece.consumed;
    return piece.ended ? end_message() : give(piece.content, piece.is_literal);
}

Turn ServerSession::State::chunk_content(Bytes rest, std::size_t& used) {
    if (chunk_bytes_left == 0) {
        return end_chunk();
    }
    if (rest.empty()) {
        return event(ServerEvent::need_input);
    }
    Transaction& message = *transaction;
    Bytes octets = rest.first(
        static_cast<std::size_t>(std::min<std::uint64_t>(rest.size(), chunk_bytes_left)));
    bool is_literal = false;
    std::size_t consumed = octets.size();
    if (message.is_answered) {
        octets = {};
    } else if (message.normalizes) {
        const NormalizingScanner::Piece piece = message.normalizing.next(octets);
        octets = piece.content;
        is_literal = piece.is_literal;
        consumed = piece.consumed;
        message.content_bytes = message.normalizing.content_bytes();
    } else {
        message.newlines.scan(octets);
        message.content_bytes += octets.size();
    }
    used += consumed;
    chunk_bytes_left -= consumed;
    return give(octets, is_literal);
}

Turn ServerSession::State::end_chunk() {
    Transaction& message = *transaction;
    if (chunk_is_last) {
        if (!message.is_finished) {
            message.is_finished = true;
            if (message.normalizes) {
                const NormalizingScanner::Piece piece = message.normalizing.finish();
                message.content_bytes = message.normalizing.content_bytes();
                return give(piece.content, piece.is_literal);
            }
            message.newlines.finish();
        }
        return end_message();
    }
    phase = Phase::command;
    if (message.is_answered || message.is_over_size) {
        send(message.refusal());
        return {};
    }
    std::array<char, 48> text{};
    char* end = std::to_chars(text.data(), text.data() + text.size(), chunk_bytes).ptr;
    constexpr std::string_view behind = " octets received";
    end = std::copy(behind.begin(), behind.end(), end);
    send({250, {2, 0, 0}, {text.data(), static_cast<std::size_t>(end - text.data())}});
    return {};
}

Turn ServerSession::State::dropped_content(Bytes rest, std::size_t& used) {
    if (chunk_bytes_left > 0) {
        if (rest.empty()) {
            return event(ServerEvent::need_input);
        }
        const auto dropped =
            static_cast<std::size_t>(std::min<std::uint64_t>(rest.size(), chunk_bytes_left));
        used += dropped;
        chunk_bytes_left -= dropped;
        return {};
    }
    phase = Phase::command;
    if (dropped_reply != nullptr) {
        refuse(*dropped_reply);
        return {};
    }
    if (!chunk_is_last) {
        send(transaction->refusal());
        return {};
    }
    end_refused_message();
    return event(ServerEvent::reset);
}

Turn ServerSession::State::end_message() {
    if (note_faults()) {
        phase = Phase::message_end;
        return event(ServerEvent::content_refused);
    }
    if (transaction->is_refused()) {
        phase = Phase::command;
        end_refused_message();
        return event(ServerEvent::reset);
    }
    phase = Phase::message_answer;
    transaction->answers_due_count = final_replies();
    return event(ServerEvent::content_end);
}

Turn ServerSession::State::give(Bytes content, bool is_literal) {
    transaction->header.scan(content);
    if (note_faults()) {
        return event(ServerEvent::content_refused);
    }
    if (content.empty() || transaction->is_refused()) {
        return {};
    }
    return Step{ServerEvent::content, 0, content, is_literal};
}

bool ServerSession::State::note_faults() {
    Transaction& message = *transaction;
    const bool was_refused = message.is_refused();
    if (const std::uint64_t limit = settings->message_size_bytes_max; limit != 0) {
        message.is_over_size = message.is_over_size || message.content_bytes > limit;
    }
    if (const std::uint32_t limit = settings->received_fields_max; limit != 0) {
        message.is_looping = message.is_looping || message.header.received_fields_count() > limit;
    }
    message.has_bad_newline = message.has_bad_newline || message.data.has_bare_newline() ||
                              message.newlines.has_bare_newline();
    message.has_nul_line = message.has_nul_line || message.data.suspicious_nul_dot() ||
                           (!message.is_chunked && message.normalizing.suspicious_nul_dot());
    return !was_refused && message.is_refused();
}

void ServerSession::State::end_refused_message() {
    const Reply refusal = transaction->refusal();
    for (std::uint32_t index = 0; index < final_replies(); ++index) {
        send(refusal);
    }
    last_command = end_of_message;
    end_transaction();
}

} // namespace ringmx::smtp
