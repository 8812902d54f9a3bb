#include "observe/log_line.h"

#include "base/assert.h"
#include "base/escape.h"
#include "base/put.h"

#include <algorithm>
#include <fmt/compile.h>
#include <iterator>
#include <optional>
#include <utility>

namespace ringmx::observe {
namespace {

constexpr std::string_view cut_mark = "...";

// The format is compiled: parsing it for each line cost more than the line.
template <typename Format, typename... Values>
void put_format(fmt::memory_buffer& out, const Format& format, Values&&... values) {
    fmt::format_to(std::back_inserter(out), format, std::forward<Values>(values)...);
}

// The text format, one function for each shape. A TextLine is made for one record.
class TextLine {
  public:
    TextLine(fmt::memory_buffer& out, const LogRecord& record) : out_(out), record_(record) {}

    void append();

  private:
    void text(LogField field);
    void angle(std::string_view name, LogField field); // ` from=<a@b>`
    void client();
    void id_or_noqueue();
    void reply();
    void envelope(); // `; from=<…> to=<…> proto=ESMTP helo=<…>`, and behind it ` size=1234`
    void level_word();
    void process(std::string_view what);
    void cut_off(std::string_view what); // `lost connection after DATA (12 bytes) from unknown[…]`
    void limit(std::string_view what);
    void rejected(std::string_view verb, std::string_view words, std::optional<LogField> subject);
    void recipient_rejected();
    void accepted();
    void delivered();
    void undelivered(std::string_view status);
    void more_recipients();
    void seconds(Duration duration);
    void relay();
    void backend(std::string_view what);

    fmt::memory_buffer& out_;
    const LogRecord& record_;
};

void TextLine::text(LogField field) {
    append_log_text(out_, record_.text(field));
    if (record_.is_cut(field)) {
        put(out_, cut_mark);
    }
}

void TextLine::angle(std::string_view name, LogField field) {
    put(out_, name);
    put(out_, "=<");
    text(field);
    put(out_, ">");
}

// "unknown[192.0.2.1]": Postfix's name[address] of a client whose name nobody looked up.
void TextLine::client() {
    put(out_, "unknown[");
    put(out_, record_.has_client() ? record_.client_ip().text() : std::string("unknown"));
    put(out_, "]");
}

void TextLine::id_or_noqueue() {
    if (record_.has(LogField::id)) {
        text(LogField::id);
    } else {
        put(out_, "NOQUEUE");
    }
    put(out_, ": ");
}

void TextLine::reply() {
    const LogReply reply = record_.reply();
    put_format(out_, FMT_COMPILE("{} "), reply.code);
    if (reply.enhanced_class != 0) {
        put_format(out_, FMT_COMPILE("{}.{}.{} "), reply.enhanced_class, reply.enhanced_subject,
                   reply.enhanced_detail);
    }
}

void TextLine::envelope() {
    put(out_, ";");
    if (record_.has(LogField::sender)) {
        angle(" from", LogField::sender);
    }
    if (record_.has(LogField::recipient)) {
        angle(" to", LogField::recipient);
    }
    put(out_, " proto=");
    if (record_.has(LogField::protocol)) {
        text(LogField::protocol);
    } else {
        put(out_, "SMTP");
    }
    if (record_.has(LogField::hello)) {
        angle(" helo", LogField::hello);
    }
    if (record_.size() != LogRecord::no_number) {
        put_format(out_, FMT_COMPILE(" size={}"), record_.size());
    }
}

void TextLine::level_word() {
    switch (record_.level()) {
    case LogLevel::debug:
    case LogLevel::info:
        break;
    case LogLevel::warning:
        put(out_, "warning: ");
        break;
    case LogLevel::error:
        put(out_, "error: ");
        break;
    }
}

void TextLine::process(std::string_view what) {
    level_word();
    put(out_, what);
    if (record_.has(LogField::address)) {
        put(out_, " ");
        text(LogField::address);
    }
    if (record_.has(LogField::detail)) {
        put(out_, what.empty() ? "" : ": ");
        text(LogField::detail);
    }
}

void TextLine::cut_off(std::string_view what) {
    level_word();
    put(out_, what);
    put(out_, " after ");
    if (record_.has(LogField::after)) {
        text(LogField::after);
    } else {
        put(out_, "CONNECT");
    }
    if (record_.size() != LogRecord::no_number) {
        put_format(out_, FMT_COMPILE(" ({} bytes)"), record_.size());
    }
    put(out_, " from ");
    client();
}

// Postfix's anvil words it so; fail2ban's and pflogsumm's patterns look for "limit exceeded: N
// from".
void TextLine::limit(std::string_view what) {
    level_word();
    put(out_, what);
    put(out_, " limit exceeded: ");
    put_format(out_, FMT_COMPILE("{} from "),
               record_.count() == LogRecord::no_number ? 0 : record_.count());
    client();
    put(out_, " for service smtp");
}

void TextLine::rejected(std::string_view verb, std::string_view words,
                        std::optional<LogField> subject) {
    id_or_noqueue();
    put(out_, "reject: ");
    append_log_text(out_, verb);
    put(out_, " from ");
    client();
    put(out_, ": ");
    reply();
    if (subject) {
        put(out_, "<");
        text(*subject);
        put(out_, ">: ");
    }
    put(out_, words);
    text(LogField::reply_text);
    envelope();
}

// Postfix's own words for its two common cases come first, since parsers and fail2ban's filter know
// them; what was really answered follows. The reasons are RecipientReason's labels.
void TextLine::recipient_rejected() {
    const std::string_view reason = record_.text(LogField::reason);
    const std::string_view answer = record_.text(LogField::reply_text);
    const auto with = [&](std::string_view known, std::string_view prefix, std::string_view whole) {
        return answer.starts_with(known) ? prefix : whole;
    };
    if (reason == "no_route" || answer.starts_with("Relay access denied")) {
        rejected("RCPT", with("Relay access denied", "", "Relay access denied: "),
                 LogField::recipient);
    } else if (reason == "unknown_recipient") {
        rejected("RCPT",
                 with("User unknown",
                      "Recipient address rejected: ", "Recipient address rejected: User unknown: "),
                 LogField::recipient);
    } else {
        rejected("RCPT", with("Recipient address rejected", "", "Recipient address rejected: "),
                 LogField::recipient);
    }
}

void TextLine::accepted() {
    id_or_noqueue();
    put(out_, "client=");
    client();
    angle(", from", LogField::sender);
    if (record_.size() != LogRecord::no_number) {
        put_format(out_, FMT_COMPILE(", size={}"), record_.size());
    }
    if (record_.recipients() != LogRecord::no_number) {
        put_format(out_, FMT_COMPILE(", nrcpt={}"), record_.recipients());
    }
    if (record_.has(LogField::protocol)) {
        put(out_, ", proto=");
        text(LogField::protocol);
    }
    if (record_.has(LogField::hello)) {
        angle(", helo", LogField::hello);
    }
    put(out_, ", tls=");
    if (record_.has(LogField::tls)) {
        text(LogField::tls);
    } else {
        put(out_, "none");
    }
    if (record_.has(LogField::backend)) {
        put(out_, ", ");
        relay();
    }
    if (record_.has_duration()) {
        put(out_, ", delay=");
        seconds(record_.duration());
    }
    if (record_.reply().code != 0) {
        put(out_, ", reply=(");
        reply();
        text(LogField::reply_text);
        put(out_, ")");
    }
}

// "relay=10.0.1.1[10.0.1.1]:25": Postfix's host[address]:port; a Unix path stands as it is.
void TextLine::relay() {
    put(out_, "relay=");
    if (!record_.has(LogField::backend)) {
        put(out_, "none");
        return;
    }
    const std::string_view name = record_.text(LogField::backend);
    const std::string_view address =
        record_.has(LogField::backend_address) ? record_.text(LogField::backend_address) : name;
    const auto host_of = [](std::string_view both) { return both.substr(0, both.rfind(':')); };
    const auto bare = [](std::string_view host) {
        return host.size() > 2 && host.front() == '[' && host.back() == ']'
                   ? host.substr(1, host.size() - 2)
                   : host;
    };
    if (name.starts_with("unix:") || name.rfind(':') == std::string_view::npos) {
        text(LogField::backend);
        return;
    }
    append_log_text(out_, bare(host_of(name)));
    put(out_, "[");
    append_log_text(out_, bare(host_of(address)));
    put(out_, "]:");
    append_log_text(out_, name.substr(name.rfind(':') + 1));
}

// To three places, as Postfix prints them.
void TextLine::seconds(Duration duration) {
    const auto milliseconds = std::chrono::round<std::chrono::milliseconds>(duration).count();
    put_format(out_, FMT_COMPILE("{}.{:03}"), milliseconds / 1000, milliseconds % 1000);
}

// The reply begins with code and enhanced code, of which Postfix repeats the latter.
void TextLine::undelivered(std::string_view status) {
    id_or_noqueue();
    angle("to", LogField::recipient);
    put(out_, ", ");
    relay();
    put(out_, ", delay=");
    seconds(record_.duration());
    put(out_, ", delays=");
    seconds(record_.duration());
    put(out_, "/0/0/0, dsn=");
    const std::string_view given = record_.text(LogField::detail);
    const std::size_t code_end = std::min(given.find(' '), given.size());
    const std::string_view rest = given.substr(std::min(code_end + 1, given.size()));
    append_log_text(out_, rest.substr(0, rest.find(' ')));
    put(out_, ", status=");
    append_log_text(out_, status);
    put(out_, " (");
    text(LogField::detail);
    put(out_, ")");
}

void TextLine::delivered() {
    id_or_noqueue();
    angle("to", LogField::recipient);
    put(out_, ", ");
    relay();
    // Postfix splits the delay in four: before the queue manager, in it, connecting, sending. Here
    // nothing waits in a queue manager, and a connection is mostly there already.
    put(out_, ", delay=");
    seconds(record_.waited() + record_.duration());
    put(out_, ", delays=");
    if (record_.waited() > Duration{0}) {
        seconds(record_.waited());
    } else {
        put(out_, "0");
    }
    put(out_, "/0/0/");
    seconds(record_.duration());
    const LogReply reply_given = record_.reply();
    if (reply_given.enhanced_class != 0) {
        put_format(out_, FMT_COMPILE(", dsn={}.{}.{}"), reply_given.enhanced_class,
                   reply_given.enhanced_subject, reply_given.enhanced_detail);
    } else {
        put(out_, ", dsn=2.0.0");
    }
    put(out_, ", status=sent (");
    reply();
    text(LogField::reply_text);
    put(out_, ")");
    more_recipients();
}

// Postfix has a line for each recipient, and its parsers know nothing between to=<> and the status:
// the others of this delivery stand behind it, where they look no more.
void TextLine::more_recipients() {
    if (record_.recipients() == LogRecord::no_number || record_.recipients() < 2) {
        return;
    }
    put_format(out_, FMT_COMPILE(", nrcpt={}"), record_.recipients());
    std::string_view rest = record_.text(LogField::more_recipients);
    while (!rest.empty()) {
        const std::size_t end = std::min(rest.find('\n'), rest.size());
        put(out_, ", also=<");
        append_log_text(out_, rest.substr(0, end));
        put(out_, ">");
        rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    if (record_.is_cut(LogField::more_recipients)) {
        put(out_, ", ");
        put(out_, cut_mark);
    }
}

void TextLine::backend(std::string_view what) {
    if (record_.has(LogField::id)) {
        text(LogField::id);
        put(out_, ": ");
    }
    level_word();
    put(out_, "backend ");
    text(LogField::backend);
    put(out_, " of pool ");
    text(LogField::pool);
    put(out_, " ");
    put(out_, what);
    if (record_.has_client()) {
        put(out_, " for ");
        client();
    }
    if (record_.reply().code != 0) {
        put(out_, ": ");
        if (record_.has(LogField::after)) {
            text(LogField::after);
            put(out_, " was answered ");
        }
        reply();
        text(LogField::reply_text);
    }
    if (record_.has(LogField::detail)) {
        put(out_, ": ");
        text(LogField::detail);
    }
}

void TextLine::append() {
    switch (record_.event()) {
    case LogEvent::start:
        return process("starting");
    case LogEvent::ready:
        return process("ready");
    case LogEvent::listening:
        return process("listening on");
    case LogEvent::reloaded:
        return process("configuration reloaded");
    case LogEvent::reload_failed:
        return process("configuration not reloaded, the old one stays");
    case LogEvent::drain_begin:
        return process("draining");
    case LogEvent::drain_end:
        return process("drained");
    case LogEvent::stopped:
        return process("stopped");
    case LogEvent::notice:
        return process("");
    case LogEvent::connect:
        put(out_, "connect from ");
        return client();
    case LogEvent::disconnect:
        put(out_, "disconnect from ");
        client();
        if (record_.has(LogField::detail)) {
            put(out_, " ");
            text(LogField::detail);
        }
        return;
    case LogEvent::lost_connection:
        return cut_off("lost connection");
    case LogEvent::timeout:
        return cut_off("timeout");
    case LogEvent::too_slow:
        return cut_off("too slow");
    case LogEvent::too_many_errors:
        return cut_off("too many errors");
    case LogEvent::early_talker: // postscreen's word for it, which fail2ban's filter knows
        level_word();
        put_format(out_, FMT_COMPILE("PREGREET {} after 0 from "),
                   record_.size() == LogRecord::no_number ? 0 : record_.size());
        return client();
    case LogEvent::connections_limit:
        return limit("Connection concurrency");
    case LogEvent::connection_rate:
        return limit("Connection rate");
    case LogEvent::message_rate:
        return limit("Message delivery request rate");
    case LogEvent::recipient_rate:
        return limit("Recipient address rate");
    case LogEvent::connections_full:
        return limit("Total connections");
    case LogEvent::proxy_fault:
        level_word();
        put(out_, "haproxy protocol fault from ");
        client();
        put(out_, ": ");
        return text(LogField::detail);
    case LogEvent::sender_rejected:
        if (record_.text(LogField::reason) != "syntax") { // a size or a rate: not about the address
            return rejected("MAIL", "", std::nullopt);
        }
        return rejected("MAIL", "Sender address rejected: ", LogField::sender);
    case LogEvent::recipient_rejected:
        return recipient_rejected();
    case LogEvent::message_rejected:
        return rejected(record_.has(LogField::after) ? record_.text(LogField::after)
                                                     : std::string_view("END-OF-MESSAGE"),
                        "", std::nullopt);
    case LogEvent::accepted:
        return accepted();
    case LogEvent::delivered:
        return delivered();
    case LogEvent::deferred:
        return undelivered("deferred");
    case LogEvent::failed:
        return undelivered(record_.has(LogField::reason) ? record_.text(LogField::reason)
                                                         : std::string_view("bounced"));
    case LogEvent::queue_change: // "removed", as Postfix's postsuper says it
    case LogEvent::reported:
        id_or_noqueue();
        return text(LogField::detail);
    case LogEvent::backend_up:
        return backend("is up");
    case LogEvent::backend_down:
        return backend("is down");
    case LogEvent::backend_failure:
        return backend("failed");
    case LogEvent::backend_fault:
        return backend("refused what ringmx sent");
    case LogEvent::possible_duplicate:
        return backend(record_.has(LogField::reason)
                           ? "may have taken a message that is tried again from the queue"
                           : "may have taken a message that was not acknowledged");
    case LogEvent::records_lost:
        level_word();
        put_format(
            out_,
            FMT_COMPILE(
                "{} log records were lost: the log is written more slowly than events happen"),
            record_.count());
        return;
    case LogEvent::count_:
        break;
    }
    RINGMX_ASSERT_STATE(false, "event %u", static_cast<unsigned>(record_.event()));
}

} // namespace

void append_text_line(fmt::memory_buffer& out, const LogRecord& record, std::string_view prefix,
                      std::int64_t pid) {
    append_log_text(out, prefix);
    put_format(out, FMT_COMPILE("[{}]: "), pid);
    TextLine(out, record).append();
    put(out, "\n");
}

} // namespace ringmx::observe
