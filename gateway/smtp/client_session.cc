#include "smtp/client_session.h"

#include "base/ascii.h"
#include "base/assert.h"
#include "smtp/reply_parser.h"
#include "smtp/xtext.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <utility>
#include <vector>

namespace ringmx::smtp {
namespace {

struct FlagKeyword {
    std::string_view keyword;
    bool Capabilities::* flag;
};
constexpr FlagKeyword flag_keywords[] = {
    {"PIPELINING", &Capabilities::pipelining},
    {"CHUNKING", &Capabilities::chunking},
    {"8BITMIME", &Capabilities::eight_bit_mime},
    {"SMTPUTF8", &Capabilities::smtputf8},
    {"SIZE", &Capabilities::size},
    {"ENHANCEDSTATUSCODES", &Capabilities::enhanced_status_codes},
    {"STARTTLS", &Capabilities::starttls},
    {"DSN", &Capabilities::dsn},
    {"XCLIENT", &Capabilities::xclient},
    {"XFORWARD", &Capabilities::xforward},
};

// "SIZE 1000" of RFC 1870, 3; no number, or one that can't be read: none is stated.
std::uint64_t stated_size(std::string_view parameter) {
    std::uint64_t size = 0;
    const char* const end = parameter.data() + parameter.size();
    const auto [stop, error] = std::from_chars(parameter.data(), end, size);
    return error == std::errc() && (stop == end || *stop == ' ') ? size : 0;
}

void note_keyword(Capabilities& capabilities, std::string_view line) {
    const std::size_t space = std::min(line.find(' '), line.size());
    const std::string_view keyword = line.substr(0, space);
    for (const FlagKeyword& known : flag_keywords) {
        if (equal_ignoring_case(keyword, known.keyword)) {
            capabilities.*known.flag = true;
            if (known.flag == &Capabilities::size && space < line.size()) {
                capabilities.size_bytes_max = stated_size(line.substr(space + 1));
            }
            return;
        }
    }
}

// The text of the reply to EHLO or LHLO: a greeting line, then one keyword a line (RFC
// 5321, 4.1.1.1).
Capabilities parse_capabilities(std::string_view text) {
    Capabilities capabilities;
    capabilities.esmtp = true;
    std::size_t end = text.find('\n');
    while (end != std::string_view::npos) {
        text.remove_prefix(end + 1);
        end = text.find('\n');
        note_keyword(capabilities, text.substr(0, end));
    }
    return capabilities;
}

void append_number(std::string& wire, std::uint64_t number) {
    char digits[std::numeric_limits<std::uint64_t>::digits10 + 1];
    const auto [end, error] = std::to_chars(std::begin(digits), std::end(digits), number);
    wire.append(digits, static_cast<std::size_t>(end - digits));
}

// What stands in a command line was checked where it came in; a line end that got this far would be
// a command of the client's making.
void append_checked(std::string& wire, std::string_view text) {
    RINGMX_ASSERT(text.find_first_of("\r\n") == std::string_view::npos);
    wire += text;
}

void append_notify(std::string& wire, std::uint8_t notify) {
    if (notify == notify_never) {
        wire += " NOTIFY=NEVER";
        return;
    }
    std::string_view before = " NOTIFY=";
    const auto append = [&](std::uint8_t bit, std::string_view word) {
        if ((notify & bit) != 0) {
            wire += before;
            wire += word;
            before = ",";
        }
    };
    append(notify_success, "SUCCESS");
    append(notify_failure, "FAILURE");
    append(notify_delay, "DELAY");
}

// UTF-8 may stand there only beside MAIL's SMTPUTF8. In its ASCII form an address may pass the
// bound: better none than one that the backend refuses.
void append_original_recipient(std::string& wire, std::string_view value, bool takes_utf8) {
    const std::string ascii =
        is_ascii(value) || takes_utf8 ? std::string() : ascii_original_recipient(value);
    if (ascii.size() <= original_recipient_bytes_max) {
        wire += " ORCPT=";
        append_checked(wire, ascii.empty() ? value : ascii);
    }
}

} // namespace

struct ClientSession::State {
    enum class Phase : std::uint8_t { greeting, hello, hello_again, open, broken };

    // Equal commands in a row, with the replies that are due to them.
    struct Run {
        ClientCommand command;
        bool is_per_recipient; // LMTP's last chunk: the count is known when the reply comes
        std::uint32_t count;
    };

    std::string output;
    ReplyParser parser;
    Capabilities capabilities;
    std::vector<Run> runs;
    std::unique_ptr<std::string> hostname; // until EHLO or HELO is taken
    std::uint32_t first_run = 0;
    std::uint32_t recipients_accepted = 0; // of the transaction, by the replies so far
    Phase phase = Phase::greeting;
    bool lmtp = false;
    bool content_open = false; // 354 came, the content's end is not sent yet
    // The reply that is coming began when nothing was unanswered: it answers no command that the
    // owner queues meanwhile.
    bool is_surplus = false;
    ClientCommand command = ClientCommand::greeting;

    void expect(ClientCommand expected, std::uint32_t count, bool is_per_recipient = false);
    void say_hello(std::string_view verb);
    ClientEvent take_reply();
    ClientEvent take_greeting();
    ClientEvent take_hello();
    ClientEvent take_answer();
    ClientEvent fail();
    void supply_class();
};

ClientSession::ClientSession(std::string_view hostname, bool lmtp)
    : state_(std::make_unique<State>()) {
    static_assert(sizeof(State) <= 200, "an idle backend connection's session is small");
    state_->hostname = std::make_unique<std::string>(hostname);
    state_->lmtp = lmtp;
}
ClientSession::~ClientSession() = default;
ClientSession::ClientSession(ClientSession&&) noexcept = default;
ClientSession& ClientSession::operator=(ClientSession&&) noexcept = default;

ClientSession::Step ClientSession::receive(Bytes input) {
    State& state = *state_;
    std::size_t consumed = 0;
    if (state.phase == State::Phase::open && state.runs.empty() && !input.empty()) {
        state.is_surplus = true;
    }
    while (state.phase != State::Phase::broken) {
        const ReplyParser::Step step = state.parser.parse(input.subspan(consumed));
        consumed += step.consumed;
        switch (step.outcome) {
        case ReplyParser::Outcome::need_input:
            return {ClientEvent::need_input, consumed};
        case ReplyParser::Outcome::malformed:
            state.phase = State::Phase::broken;
            break;
        case ReplyParser::Outcome::reply: {
            const bool has_more = consumed < input.size();
            const ClientEvent event = state.take_reply();
            if (event != ClientEvent::need_input) {
                state.is_surplus = has_more && state.runs.empty();
                return {event, consumed};
            }
            if (has_more) { // EHLO's answer can't have come before EHLO was sent
                state.phase = State::Phase::broken;
            }
            break;
        }
        }
    }
    return {ClientEvent::malformed, consumed};
}

ClientEvent ClientSession::State::take_reply() {
    switch (phase) {
    case Phase::greeting:
        return take_greeting();
    case Phase::hello:
    case Phase::hello_again:
        return take_hello();
    case Phase::open:
    case Phase::broken:
        break;
    }
    return take_answer();
}

ClientEvent ClientSession::State::take_greeting() {
    if (parser.reply().code != 220) {
        return fail();
    }
    say_hello(lmtp ? "LHLO " : "EHLO ");
    phase = Phase::hello;
    command = ClientCommand::hello;
    return ClientEvent::need_input;
}

ClientEvent ClientSession::State::take_hello() {
    const Reply& reply = parser.reply();
    if (reply.severity() >= 4 && reply.code != 421 && phase == Phase::hello && !lmtp) {
        say_hello("HELO ");
        phase = Phase::hello_again;
        return ClientEvent::need_input;
    }
    if (reply.severity() != 2) {
        return fail();
    }
    if (phase == Phase::hello) {
        capabilities = parse_capabilities(reply.text);
    }
    hostname.reset();
    phase = Phase::open;
    return ClientEvent::ready;
}

// The session may still be told to quit(), and the owner sees that it is of no other use.
ClientEvent ClientSession::State::fail() {
    supply_class();
    hostname.reset();
    phase = Phase::open;
    return ClientEvent::failed;
}

// X.0.0, where the backend gave no enhanced code; 3xx has none (RFC 3463, 2).
void ClientSession::State::supply_class() {
    const unsigned severity = parser.reply().severity();
    if (parser.reply().enhanced.class_digit == 0 && severity != 3) {
        parser.supply({static_cast<std::uint8_t>(severity), 0, 0});
    }
}

ClientEvent ClientSession::State::take_answer() {
    const Reply& reply = parser.reply();
    const unsigned severity = reply.severity();
    supply_class();
    if (std::exchange(is_surplus, false)) {
        const bool in_content =
            content_open || (!runs.empty() && runs[first_run].command == ClientCommand::content);
        if (in_content && severity >= 4 && reply.code != 421) {
            content_open = false;
            command = ClientCommand::content;
            return ClientEvent::reply;
        }
        command = ClientCommand::unsolicited;
        if (reply.code == 421) {
            return ClientEvent::reply;
        }
        phase = Phase::broken;
        return ClientEvent::need_input;
    }
    RINGMX_ASSERT(!runs.empty());
    Run& run = runs[first_run];
    command = run.command;
    // 2xx to DATA would leave it open whether content may follow; 3xx to anything else asks for
    // what is not there.
    if (severity == (command == ClientCommand::data ? 2U : 3U)) {
        phase = Phase::broken;
        return ClientEvent::need_input;
    }
    if (run.is_per_recipient) {
        run.is_per_recipient = false;
        run.count = std::max(recipients_accepted, 1U);
    }
    if (--run.count == 0 && ++first_run == runs.size()) {
        runs.clear();
        first_run = 0;
    }
    if (command == ClientCommand::mail || command == ClientCommand::reset) {
        recipients_accepted = 0;
    } else if (command == ClientCommand::recipient && severity == 2) {
        ++recipients_accepted;
    } else if (command == ClientCommand::data) {
        content_open = severity == 3;
    }
    return ClientEvent::reply;
}

void ClientSession::State::expect(ClientCommand expected, std::uint32_t count,
                                  bool is_per_recipient) {
    // A pipeline that never runs dry must not let answered runs pile up.
    if (first_run > 16 && first_run * 2 > runs.size()) {
        runs.erase(runs.begin(), runs.begin() + first_run);
        first_run = 0;
    }
    if (!runs.empty() && runs.back().command == expected && !runs.back().is_per_recipient &&
        !is_per_recipient) {
        runs.back().count += count;
    } else {
        runs.push_back({expected, is_per_recipient, count});
    }
}

void ClientSession::State::say_hello(std::string_view verb) {
    output += verb;
    append_checked(output, *hostname);
    output += "\r\n";
}

std::string& ClientSession::output() { return state_->output; }
const Capabilities& ClientSession::capabilities() const { return state_->capabilities; }
const Reply& ClientSession::reply() const { return state_->parser.reply(); }
ClientCommand ClientSession::command() const { return state_->command; }

std::size_t ClientSession::unanswered() const {
    std::size_t count = 0;
    for (std::size_t index = state_->first_run; index < state_->runs.size(); ++index) {
        count += state_->runs[index].count;
    }
    return count;
}

void ClientSession::mail(const MailCommand& command, std::uint64_t size_bytes) {
    std::string& wire = state_->output;
    const Capabilities& offered = state_->capabilities;
    wire += "MAIL FROM:<";
    append_checked(wire, command.reverse_path);
    wire += '>';
    if (size_bytes != 0 && offered.size) {
        wire += " SIZE=";
        append_number(wire, size_bytes);
    }
    if (command.body == BodyType::eight_bit_mime && offered.eight_bit_mime) {
        wire += " BODY=8BITMIME";
    }
    if (command.smtputf8 && offered.smtputf8) {
        wire += " SMTPUTF8";
    }
    if (command.return_content != ReturnContent::unstated && offered.dsn) {
        wire += command.return_content == ReturnContent::full ? " RET=FULL" : " RET=HDRS";
    }
    if (!command.envelope_id.empty() && offered.dsn) {
        wire += " ENVID=";
        append_checked(wire, command.envelope_id);
    }
    wire += "\r\n";
    state_->expect(ClientCommand::mail, 1);
}

void ClientSession::recipient(std::string_view mailbox, const RecipientParameters& parameters) {
    std::string& wire = state_->output;
    const Capabilities& offered = state_->capabilities;
    wire += "RCPT TO:<";
    append_checked(wire, mailbox);
    wire += '>';
    if (parameters.notify != 0 && offered.dsn) {
        append_notify(wire, parameters.notify);
    }
    if (!parameters.original_recipient.empty() && offered.dsn) {
        append_original_recipient(wire, parameters.original_recipient, offered.smtputf8);
    }
    wire += "\r\n";
    state_->expect(ClientCommand::recipient, 1);
}

void ClientSession::data() {
    state_->output += "DATA\r\n";
    state_->expect(ClientCommand::data, 1);
}

void ClientSession::chunk(std::uint64_t size_bytes, bool last) {
    std::string& wire = state_->output;
    wire += "BDAT ";
    append_number(wire, size_bytes);
    wire += last ? " LAST\r\n" : "\r\n";
    state_->expect(ClientCommand::chunk, 1, state_->lmtp && last);
}

void ClientSession::content_sent(std::uint32_t recipients_accepted) {
    state_->content_open = false;
    const std::uint32_t replies = state_->lmtp ? std::max(recipients_accepted, 1U) : 1U;
    state_->expect(ClientCommand::content, replies);
}

void ClientSession::reset() {
    state_->output += "RSET\r\n";
    state_->expect(ClientCommand::reset, 1);
}

void ClientSession::quit() {
    state_->output += "QUIT\r\n";
    state_->expect(ClientCommand::quit, 1);
}

} // namespace ringmx::smtp
