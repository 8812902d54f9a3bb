// One log event as plain memory: a worker fills it in place, the log thread makes a line of it.
//
//   ┌ numbers (time, event, client, size, …) ┬ field[0] ─┬ field[1] ─┬ … ┐
//   └ where each text field lies             └───────── text_ ───────────┘
//
// Setters copy text into the record, at most field_bytes_max octets of each and text_bytes_max in
// all; what doesn't fit is cut and the line shows it ("..."). A detail, which is set last, may take
// all that is left. Text is raw here: the log thread escapes it.
// Invariant: trivially copyable; record_bytes in all.
// Thread:    as its ring.
// Cost:      the octets copied.
// Errors:    none.
#pragma once

#include "base/address.h"
#include "base/instant.h"
#include "base/settings/settings.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

namespace ringmx::observe {

// What happened. Which fields each one reads in the text format stands beside it; JSON prints
// whatever is set.
enum class LogEvent : std::uint8_t {
    // The process.
    start,         // detail (version)
    ready,         // detail
    listening,     // address, detail (what for)
    reloaded,      // detail
    reload_failed, // detail
    drain_begin,   // detail
    drain_end,     // detail
    stopped,       // detail
    notice,        // detail: anything else; its level makes the "warning: " or "error: "
    // Clients.
    connect,           // client
    disconnect,        // client, detail ("ehlo=1 mail=1 quit=1 commands=3")
    lost_connection,   // client, after, size (octets of data so far)
    timeout,           // client, after, size
    too_slow,          // client, size
    too_many_errors,   // client, after
    early_talker,      // client, size (octets received too early)
    connections_limit, // client, count: open connections of this client
    connection_rate,   // client, count: connections in the period
    message_rate,      // client, count
    recipient_rate,    // client, count
    connections_full,  // client, count: limits.connections is reached
    proxy_fault,       // client (the peer), detail
    // Transactions.
    sender_rejected,    // client, reply, sender, protocol, hello
    recipient_rejected, // client, reply, sender, recipient, protocol, hello, reason
    // id, client, after (unset: the message's end), reply, sender, recipient, size, protocol, hello
    message_rejected,
    // id, client, sender, recipients, size, protocol, hello, tls, backend, reply, duration
    accepted,
    // id, recipient, more_recipients, recipients, backend, backend_address, duration, waited, reply;
    // in JSON also client, sender, size, tls
    delivered,
    // id, recipient, pool, backend, duration (since acceptance), detail (the reply); in JSON also
    // client, sender, size
    deferred,     // to be tried again
    failed,       // for good; reason: "bounced", or "held" in the queue
    reported,     // id, sender, detail: to the sender, and the report's own id
    queue_change, // id, detail: an operator's
    // Backends.
    backend_up,      // pool, backend, detail
    backend_down,    // pool, backend, detail
    backend_failure, // id, pool, backend, detail or reply: an attempt failed
    backend_fault,   // id, pool, backend, after (the verb), reply: a 5xx that tells of our side
    // id, pool, backend, client, detail; reason "queued": its client has a 250 from here, and it is
    // tried again from the queue
    possible_duplicate,
    records_lost, // count: the log thread's own
    count_,
};

// The name in JSON: "recipient_rejected".
[[nodiscard]] std::string_view name_of(LogEvent event);
// The level that an event has when its writer doesn't choose one.
[[nodiscard]] LogLevel default_level(LogEvent event);

struct LogReply {
    std::uint16_t code = 0;
    std::uint8_t enhanced_class = 0; // 0: none
    std::uint16_t enhanced_subject = 0;
    std::uint16_t enhanced_detail = 0;
    std::string_view text;
};

enum class LogField : std::uint8_t {
    id,
    sender,
    recipient,
    more_recipients, // each with an LF behind it, which no address has
    hello,
    protocol, // "ESMTP", "SMTP", "ESMTPS"
    tls,      // "TLSv1.3"; unset: none
    pool,
    backend,         // its name in the config
    backend_address, // what it resolved to
    address,         // of a listener
    after,           // the last command: "CONNECT", "RCPT", "DATA"
    reply_text,
    reason, // the label of a RejectReason and the like
    detail,
    count_,
};

class LogRecord {
  public:
    static constexpr std::size_t record_bytes = 1024; // sixteen cache lines
    static constexpr std::size_t field_bytes_max =
        320; // an address of RFC 5321's longest local part and domain, with its brackets
    static constexpr std::uint64_t no_number = ~std::uint64_t{0};

    void clear(LogEvent event, LogLevel level, WallTime time);

    LogRecord& text(LogField field, std::string_view text);
    LogRecord& id(std::string_view value) { return text(LogField::id, value); }
    LogRecord& sender(std::string_view value) { return text(LogField::sender, value); }
    LogRecord& recipient(std::string_view value) { return text(LogField::recipient, value); }
    // Behind all other fields: the first one that finds no room is left out, and the field is cut.
    bool add_recipient(std::string_view value);
    LogRecord& hello(std::string_view value) { return text(LogField::hello, value); }
    LogRecord& protocol(std::string_view value) { return text(LogField::protocol, value); }
    LogRecord& tls(std::string_view value) { return text(LogField::tls, value); }
    LogRecord& pool(std::string_view value) { return text(LogField::pool, value); }
    LogRecord& backend(std::string_view value) { return text(LogField::backend, value); }
    LogRecord& backend_address(std::string_view value) {
        return text(LogField::backend_address, value);
    }
    LogRecord& address(std::string_view value) { return text(LogField::address, value); }
    LogRecord& after(std::string_view value) { return text(LogField::after, value); }
    LogRecord& reason(std::string_view value) { return text(LogField::reason, value); }
    LogRecord& detail(std::string_view value) { return text(LogField::detail, value); }
    LogRecord& reply(const LogReply& reply);
    // The unspecified address is nobody's: a report that the gateway wrote itself.
    LogRecord& client(const IpAddress& address, std::uint16_t port = 0);
    LogRecord& worker(std::size_t index);
    LogRecord& size(std::uint64_t octets);
    LogRecord& recipients(std::uint64_t count);
    LogRecord& count(std::uint64_t count);
    LogRecord& duration(Duration duration);
    LogRecord& waited(Duration before); // in the queue, before what `duration` is of

    [[nodiscard]] LogEvent event() const { return event_; }
    [[nodiscard]] LogLevel level() const { return level_; }
    [[nodiscard]] WallTime time() const { return WallTime(Duration(time_nanoseconds_)); }
    [[nodiscard]] bool has(LogField field) const {
        return place_[static_cast<std::size_t>(field)].is_set;
    }
    [[nodiscard]] bool is_cut(LogField field) const {
        return place_[static_cast<std::size_t>(field)].is_cut;
    }
    [[nodiscard]] std::string_view text(LogField field) const;
    [[nodiscard]] LogReply reply() const; // code 0: none
    [[nodiscard]] bool has_client() const { return has_client_; }
    [[nodiscard]] const IpAddress& client_ip() const { return client_; }
    [[nodiscard]] std::uint16_t client_port() const { return client_port_; }
    [[nodiscard]] std::uint64_t size() const { return size_; }             // no_number: unset
    [[nodiscard]] std::uint64_t recipients() const { return recipients_; } // likewise
    [[nodiscard]] std::uint64_t count() const { return event_count_; }     // likewise
    [[nodiscard]] std::uint64_t worker() const { return worker_; }         // likewise
    [[nodiscard]] bool has_duration() const { return has_duration_; }
    [[nodiscard]] Duration duration() const { return Duration(duration_nanoseconds_); }
    [[nodiscard]] Duration waited() const { return Duration(waited_nanoseconds_); }

  private:
    struct Place {
        std::uint16_t offset;
        std::uint16_t length;
        bool is_set;
        bool is_cut;
    };
    static constexpr std::size_t fields_count = static_cast<std::size_t>(LogField::count_);
    static constexpr std::size_t numbers_bytes = 88;
    static constexpr std::size_t text_bytes_max =
        record_bytes - numbers_bytes - fields_count * sizeof(Place);

    std::int64_t time_nanoseconds_;
    std::uint64_t size_;
    std::uint64_t recipients_;
    std::uint64_t event_count_;
    std::uint64_t worker_;
    std::int64_t duration_nanoseconds_;
    std::int64_t waited_nanoseconds_;
    IpAddress client_;
    std::uint16_t client_port_;
    std::uint16_t reply_code_;
    std::uint16_t reply_subject_;
    std::uint16_t reply_detail_;
    std::uint8_t reply_class_;
    LogEvent event_;
    LogLevel level_;
    bool has_client_;
    bool has_duration_;
    std::uint16_t text_bytes_;
    std::array<Place, fields_count> place_;
    std::array<char, text_bytes_max> text_;
};

static_assert(std::is_trivially_copyable_v<LogRecord>);
static_assert(sizeof(LogRecord) == LogRecord::record_bytes);

} // namespace ringmx::observe
