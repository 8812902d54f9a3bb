// Lines, and the commands on them: order (RFC 5321, 4.1.4) and replies (the contract's table).
#include "smtp/server_session_state.h"

#include <algorithm>
#include <cstring>

namespace ringmx::smtp {
namespace {

using Turn = std::optional<ServerSession::Step>;

constexpr std::size_t hello_name_bytes_max = 255; // no host name is longer (RFC 5321, 4.5.3.1.2)
constexpr auto npos = static_cast<std::size_t>(-1);

constexpr Reply unknown_command = {500, {5, 5, 2}, "Command unrecognized"};
constexpr Reply bad_line = {500, {5, 5, 2}, "Line too long"};
constexpr Reply hello_syntax = {501, {5, 5, 4}, "Hostname required"};
constexpr Reply no_argument = {501, {5, 5, 4}, "No argument allowed"};
constexpr Reply verify_syntax = {501, {5, 5, 4}, "Syntax: VRFY address"};
constexpr Reply chunk_syntax = {501, {5, 5, 4}, "Syntax: BDAT octets [LAST]"};
constexpr Reply hello_first = {503, {5, 5, 1}, "Say hello first"};
constexpr Reply nested_mail = {503, {5, 5, 1}, "Nested MAIL command"};
constexpr Reply mail_first = {503, {5, 5, 1}, "Need MAIL command"};
constexpr Reply chunks_begun = {503, {5, 5, 1}, "Only BDAT may follow BDAT"};
constexpr Reply no_recipients = {554, {5, 5, 1}, "No valid recipients"};
constexpr Reply too_many_recipients = {452, {4, 5, 3}, "Too many recipients"};
constexpr Reply size_exceeded = {552, {5, 3, 4}, "Message size exceeds fixed limit"};
constexpr Reply not_offered = {502, {5, 5, 1}, "Command not implemented"};
constexpr Reply can_not_verify = {252, {2, 5, 0}, "Cannot VRFY user, send mail to find out"};
constexpr Reply help_text = {214, {2, 0, 0}, "See RFC 5321"};
constexpr Reply ok = {250, {2, 0, 0}, "Ok"};
constexpr Reply bye = {221, {2, 0, 0}, "Bye"};

std::string_view name_of(Verb verb) {
    switch (verb) {
    case Verb::ehlo:
        return "EHLO";
    case Verb::helo:
        return "HELO";
    case Verb::lhlo:
        return "LHLO";
    case Verb::mail:
        return "MAIL";
    case Verb::rcpt:
        return "RCPT";
    case Verb::data:
        return "DATA";
    case Verb::bdat:
        return "BDAT";
    case Verb::rset:
        return "RSET";
    case Verb::quit:
        return "QUIT";
    case Verb::noop:
        return "NOOP";
    case Verb::help:
        return "HELP";
    case Verb::vrfy:
        return "VRFY";
    case Verb::expn:
        return "EXPN";
    case Verb::starttls:
        return "STARTTLS";
    }
    return "UNKNOWN";
}

// Up to and with the first CRLF; npos: none ends here. A CR or LF alone ends nothing.
std::size_t line_bytes(Bytes octets, bool is_behind_cr) {
    std::size_t position = 0;
    while (position < octets.size()) {
        const void* found = std::memchr(octets.data() + position, '\n', octets.size() - position);
        if (found == nullptr) {
            return npos;
        }
        const auto index =
            static_cast<std::size_t>(static_cast<const std::byte*>(found) - octets.data());
        if (index == 0 ? is_behind_cr : octets[index - 1] == std::byte{'\r'}) {
            return index + 1;
        }
        position = index + 1;
    }
    return npos;
}

// What could break out of a log line or a comment becomes '?', as Postfix does with it.
char harmless(char octet) {
    const bool is_graphic = octet > 0x20 && octet < 0x7f;
    return is_graphic && std::string_view("<>()\\\";@").find(octet) == std::string_view::npos
               ? octet
               : '?';
}

} // namespace

Turn ServerSession::State::next_line(Bytes rest, std::size_t& used) {
    const std::size_t held_bytes = line.size();
    const std::size_t end = line_bytes(rest, line.ends_with('\r'));
    const std::size_t total_bytes = held_bytes + (end == npos ? rest.size() : end);
    if (end == npos) {
        if (total_bytes < command_line_bytes_max) {
            line += as_text(rest);
        } else {
            is_behind_cr = rest.back() == std::byte{'\r'};
            phase = Phase::overlong_line;
            release_line();
        }
        used += rest.size();
        return {};
    }
    Turn turn;
    if (total_bytes > command_line_bytes_max) {
        turn = refuse_in_order(bad_line);
    } else if (held_bytes == 0) {
        turn = run_line(as_text(rest.first(end - 2)));
    } else {
        line += as_text(rest.first(end));
        turn = run_line(std::string_view(line).substr(0, total_bytes - 2));
        line.resize(std::min(line.size(), held_bytes));
    }
    if (turn && turn->event == ServerEvent::blocked) {
        return turn;
    }
    ++commands_total;
    release_line();
    used += end;
    return turn;
}

Turn ServerSession::State::skip_line(Bytes rest, std::size_t& used) {
    const std::size_t end = line_bytes(rest, is_behind_cr);
    if (end == npos) {
        is_behind_cr = rest.back() == std::byte{'\r'};
        used += rest.size();
        return {};
    }
    if (awaits_recipients()) {
        return event(ServerEvent::blocked);
    }
    used += end;
    phase = Phase::command;
    ++commands_total;
    last_command = "UNKNOWN";
    refuse(bad_line);
    return {};
}

Turn ServerSession::State::run_line(std::string_view text) {
    const auto command = parse_command(text);
    last_command = command ? name_of(command->verb) : "UNKNOWN";
    if (!command) {
        return refuse_in_order(unknown_command);
    }
    if (command->verb == Verb::rcpt) {
        return recipient(command->argument);
    }
    if (command->verb == Verb::data) {
        return begin_data(command->argument);
    }
    if (awaits_recipients()) {
        return event(ServerEvent::blocked);
    }
    return run_alone(*command);
}

// The commands that wait until every recipient before them is answered.
Turn ServerSession::State::run_alone(const Command& command) {
    switch (command.verb) {
    case Verb::ehlo:
    case Verb::helo:
    case Verb::lhlo:
        return hello(command);
    case Verb::mail:
        return mail(command.argument);
    case Verb::bdat:
        return begin_chunk(command.argument);
    case Verb::rset:
        return reset(command.argument);
    case Verb::quit:
        return quit(command.argument);
    case Verb::noop:
        send(ok);
        return {};
    case Verb::help:
        send(help_text);
        return {};
    case Verb::vrfy:
        if (command.argument.empty()) {
            refuse(verify_syntax);
        } else {
            send(can_not_verify);
        }
        return {};
    case Verb::starttls:
        refuse(command.argument.empty() ? not_offered : no_argument);
        return {};
    case Verb::expn:
        refuse(not_offered);
        return {};
    case Verb::rcpt:
    case Verb::data:
        break; // run_line has run them
    }
    return {};
}

Turn ServerSession::State::hello(const Command& command) {
    if (settings->lmtp != (command.verb == Verb::lhlo)) {
        refuse(unknown_command);
        return {};
    }
    if (command.argument.empty()) {
        refuse(hello_syntax);
        return {};
    }
    end_transaction();
    hello_name = command.argument.substr(0, hello_name_bytes_max);
    std::transform(hello_name.begin(), hello_name.end(), hello_name.begin(), harmless);
    esmtp = command.verb != Verb::helo;
    output_may_wait = false;
    if (!esmtp) {
        append_reply(output, {250, {}, settings->hostname});
        return event(ServerEvent::hello);
    }
    const auto extension = [this](std::string_view name) {
        output += "\r\n250-";
        output += name;
    };
    output += "250-";
    output += settings->hostname;
    if (settings->offer_pipelining) {
        extension("PIPELINING");
    }
    extension("SIZE");
    if (settings->message_size_bytes_max != 0) {
        output += ' ';
        output += std::to_string(settings->message_size_bytes_max);
    }
    extension("8BITMIME");
    if (settings->offer_smtputf8) {
        extension("SMTPUTF8");
    }
    if (settings->offer_dsn) {
        extension("DSN");
    }
    if (settings->offer_chunking) {
        extension("CHUNKING");
    }
    output += "\r\n250 ENHANCEDSTATUSCODES\r\n";
    return event(ServerEvent::hello);
}

Turn ServerSession::State::mail(std::string_view argument) {
    if (hello_name.empty()) {
        refuse(hello_first);
        return {};
    }
    if (in_transaction()) {
        refuse(nested_mail);
        return {};
    }
    const auto arguments = parse_mail(argument, {settings->offer_smtputf8, settings->offer_dsn});
    if (!arguments) {
        return refuse_mail(argument, arguments.error());
    }
    if (settings->message_size_bytes_max != 0 &&
        arguments->declared_size_bytes.value_or(0) > settings->message_size_bytes_max) {
        return refuse_mail(argument, size_exceeded);
    }
    if (!transaction) {
        transaction = std::make_unique<Transaction>();
    }
    transaction->begin(*arguments);
    phase = Phase::mail_answer;
    return event(ServerEvent::mail);
}

Turn ServerSession::State::refuse_mail(std::string_view argument, const Reply& reply) {
    if (observer != nullptr) {
        observer->mail_refused(argument, reply);
    }
    refuse(reply);
    return {};
}

Turn ServerSession::State::refuse_recipient(std::string_view argument, const Reply& reply) {
    if (awaits_recipients()) {
        return event(ServerEvent::blocked);
    }
    if (observer != nullptr) {
        observer->recipient_refused(argument, reply);
    }
    if (reply.severity() == 5) {
        refuse(reply);
    } else {
        send(reply);
    }
    return {};
}

Turn ServerSession::State::recipient(std::string_view argument) {
    if (!in_transaction() || transaction->is_chunked) {
        return refuse_in_order(in_chunks() ? chunks_begun : mail_first);
    }
    const auto arguments =
        parse_recipient(argument, {transaction->mail.smtputf8, settings->offer_dsn});
    if (!arguments) {
        return refuse_recipient(argument, arguments.error());
    }
    if (const std::uint32_t limit = settings->recipients_max; limit != 0) {
        if (transaction->accepted_count >= limit && !awaits_recipients()) {
            return refuse_recipient(argument, too_many_recipients);
        }
        // The unanswered ones may all be accepted: only their answers tell whether there is room.
        if (transaction->accepted_count + transaction->unanswered_count >= limit) {
            return event(ServerEvent::blocked);
        }
    }
    transaction->recipient.mailbox = arguments->mailbox;
    transaction->recipient.bare_postmaster = arguments->is_bare_postmaster;
    transaction->recipient.notify = arguments->parameters.notify;
    transaction->recipient.original_recipient = arguments->parameters.original_recipient;
    ++transaction->unanswered_count;
    return event(ServerEvent::recipient);
}

Turn ServerSession::State::begin_data(std::string_view argument) {
    if (!in_transaction() || transaction->is_chunked) {
        return refuse_in_order(in_chunks() ? chunks_begun : mail_first);
    }
    if (!argument.empty()) {
        return refuse_in_order(no_argument);
    }
    if (transaction->accepted_count == 0 && !awaits_recipients()) {
        refuse(no_recipients);
        return {};
    }
    phase = Phase::data_answer;
    return event(ServerEvent::data);
}

Turn ServerSession::State::begin_chunk(std::string_view argument) {
    const auto arguments = parse_chunk(argument);
    if (!arguments) {
        // Nobody can say where its octets end, so nothing behind it may be run.
        refuse(chunk_syntax);
        close(CloseCause::bad_chunk);
        return {};
    }
    chunk_bytes = chunk_bytes_left = arguments->size_bytes;
    chunk_is_last = arguments->is_last;
    if (!settings->offer_chunking) {
        return drop_next_chunk(not_offered);
    }
    if (!in_transaction()) {
        return drop_next_chunk(mail_first);
    }
    if (transaction->accepted_count == 0) {
        return drop_next_chunk(no_recipients);
    }
    if (!transaction->is_chunked) {
        transaction->is_chunked = true;
        transaction->begin_content(ContentForm::raw, accepts_bare_newlines);
    }
    const bool was_refused = transaction->is_refused();
    if (arguments->has_bad_keyword) {
        // Its octets will be missing: the message can't be taken any more.
        if (!was_refused) {
            transaction->answer = OwnedReply(chunk_syntax);
            transaction->is_answered = true;
            transaction->is_bad_chunk = true;
        }
        drop_next_chunk(chunk_syntax);
        return was_refused ? Turn() : event(ServerEvent::content_refused);
    }
    const std::uint64_t limit = settings->message_size_bytes_max;
    if (limit != 0 &&
        (transaction->content_bytes > limit || chunk_bytes > limit - transaction->content_bytes)) {
        transaction->is_over_size = true;
    }
    if (transaction->is_answered || transaction->is_over_size) {
        dropped_reply = nullptr;
        phase = Phase::dropped_chunk;
        return was_refused ? Turn() : event(ServerEvent::content_refused);
    }
    phase = Phase::chunk;
    return {};
}

Turn ServerSession::State::drop_next_chunk(const Reply& reply) {
    dropped_reply = &reply;
    phase = Phase::dropped_chunk;
    return {};
}

Turn ServerSession::State::reset(std::string_view argument) {
    if (!argument.empty()) {
        refuse(no_argument);
        return {};
    }
    end_transaction();
    send_in_group(ok);
    return event(ServerEvent::reset);
}

Turn ServerSession::State::quit(std::string_view argument) {
    if (!argument.empty()) {
        refuse(no_argument);
        return {};
    }
    close_with(bye, CloseCause::quit);
    return {};
}

} // namespace ringmx::smtp
