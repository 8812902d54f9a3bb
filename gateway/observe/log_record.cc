#include "observe/log_record.h"

#include "base/assert.h"

#include <algorithm>
#include <cstring>

namespace ringmx::observe {

std::string_view name_of(LogEvent event) {
    switch (event) {
    case LogEvent::start:
        return "start";
    case LogEvent::ready:
        return "ready";
    case LogEvent::listening:
        return "listening";
    case LogEvent::reloaded:
        return "reloaded";
    case LogEvent::reload_failed:
        return "reload_failed";
    case LogEvent::drain_begin:
        return "drain_begin";
    case LogEvent::drain_end:
        return "drain_end";
    case LogEvent::stopped:
        return "stopped";
    case LogEvent::notice:
        return "notice";
    case LogEvent::connect:
        return "connect";
    case LogEvent::disconnect:
        return "disconnect";
    case LogEvent::lost_connection:
        return "lost_connection";
    case LogEvent::timeout:
        return "timeout";
    case LogEvent::too_slow:
        return "too_slow";
    case LogEvent::too_many_errors:
        return "too_many_errors";
    case LogEvent::early_talker:
        return "early_talker";
    case LogEvent::connections_limit:
        return "connections_limit";
    case LogEvent::connection_rate:
        return "connection_rate";
    case LogEvent::message_rate:
        return "message_rate";
    case LogEvent::recipient_rate:
        return "recipient_rate";
    case LogEvent::connections_full:
        return "connections_full";
    case LogEvent::proxy_fault:
        return "proxy_fault";
    case LogEvent::sender_rejected:
        return "sender_rejected";
    case LogEvent::recipient_rejected:
        return "recipient_rejected";
    case LogEvent::message_rejected:
        return "message_rejected";
    case LogEvent::accepted:
        return "accepted";
    case LogEvent::delivered:
        return "delivered";
    case LogEvent::deferred:
        return "deferred";
    case LogEvent::failed:
        return "failed";
    case LogEvent::queue_change:
        return "queue_change";
    case LogEvent::reported:
        return "reported";
    case LogEvent::backend_up:
        return "backend_up";
    case LogEvent::backend_down:
        return "backend_down";
    case LogEvent::backend_failure:
        return "backend_failure";
    case LogEvent::backend_fault:
        return "backend_fault";
    case LogEvent::possible_duplicate:
        return "possible_duplicate";
    case LogEvent::records_lost:
        return "records_lost";
    case LogEvent::count_:
        break;
    }
    RINGMX_ASSERT_STATE(false, "event %u", static_cast<unsigned>(event));
    return {};
}

LogLevel default_level(LogEvent event) {
    switch (event) {
    // Two lines a connection cost more than most connections are worth; those that end badly have
    // events of their own.
    case LogEvent::connect:
    case LogEvent::disconnect:
        return LogLevel::debug;
    case LogEvent::start:
    case LogEvent::ready:
    case LogEvent::listening:
    case LogEvent::reloaded:
    case LogEvent::drain_begin:
    case LogEvent::drain_end:
    case LogEvent::stopped:
    case LogEvent::notice:
    case LogEvent::lost_connection:
    case LogEvent::timeout:
    case LogEvent::too_slow:
    case LogEvent::too_many_errors:
    case LogEvent::early_talker:
    case LogEvent::sender_rejected:
    case LogEvent::recipient_rejected:
    case LogEvent::message_rejected:
    case LogEvent::accepted:
    case LogEvent::delivered:
    case LogEvent::deferred:
    case LogEvent::failed:
    case LogEvent::queue_change:
    case LogEvent::reported:
    case LogEvent::backend_up:
        return LogLevel::info;
    case LogEvent::connections_limit:
    case LogEvent::connection_rate:
    case LogEvent::message_rate:
    case LogEvent::recipient_rate:
    case LogEvent::connections_full:
    case LogEvent::proxy_fault:
    case LogEvent::backend_down:
    case LogEvent::backend_failure:
    case LogEvent::possible_duplicate:
    case LogEvent::records_lost:
        return LogLevel::warning;
    case LogEvent::reload_failed:
    case LogEvent::backend_fault:
        return LogLevel::error;
    case LogEvent::count_:
        break;
    }
    RINGMX_ASSERT_STATE(false, "event %u", static_cast<unsigned>(event));
    return {};
}

void LogRecord::clear(LogEvent event, LogLevel level, WallTime time) {
    time_nanoseconds_ = time.time_since_epoch().count();
    size_ = no_number;
    recipients_ = no_number;
    event_count_ = no_number;
    worker_ = no_number;
    duration_nanoseconds_ = 0;
    waited_nanoseconds_ = 0;
    client_port_ = 0;
    reply_code_ = 0;
    reply_subject_ = 0;
    reply_detail_ = 0;
    reply_class_ = 0;
    event_ = event;
    level_ = level;
    has_client_ = false;
    has_duration_ = false;
    text_bytes_ = 0;
    place_.fill({0, 0, false, false});
}

LogRecord& LogRecord::text(LogField field, std::string_view text) {
    Place& place = place_[static_cast<std::size_t>(field)];
    const std::size_t left = text_bytes_max - text_bytes_;
    const std::size_t room = field == LogField::detail ? left : std::min(field_bytes_max, left);
    std::size_t length = std::min(text.size(), room);
    if (length < text.size()) { // not inside a UTF-8 character, which has at most three more octets
        for (int step = 0;
             step < 3 && length > 0 && (static_cast<unsigned char>(text[length]) & 0xC0U) == 0x80U;
             ++step) {
            --length;
        }
    }
    place = {text_bytes_, static_cast<std::uint16_t>(length), true, length < text.size()};
    if (length > 0) {
        std::memcpy(text_.data() + text_bytes_, text.data(), length);
        text_bytes_ = static_cast<std::uint16_t>(text_bytes_ + length);
    }
    return *this;
}

bool LogRecord::add_recipient(std::string_view value) {
    Place& place = place_[static_cast<std::size_t>(LogField::more_recipients)];
    if (!place.is_set) {
        place = {text_bytes_, 0, true, false};
    }
    RINGMX_ASSERT(place.offset + place.length ==
                  text_bytes_); // nothing was set since the first one
    if (value.size() + 1 > text_bytes_max - text_bytes_) {
        place.is_cut = true;
        return false;
    }
    std::memcpy(text_.data() + text_bytes_, value.data(), value.size());
    text_[text_bytes_ + value.size()] = '\n';
    place.length = static_cast<std::uint16_t>(place.length + value.size() + 1);
    text_bytes_ = static_cast<std::uint16_t>(text_bytes_ + value.size() + 1);
    return true;
}

LogRecord& LogRecord::reply(const LogReply& reply) {
    reply_code_ = reply.code;
    reply_class_ = reply.enhanced_class;
    reply_subject_ = reply.enhanced_subject;
    reply_detail_ = reply.enhanced_detail;
    return text(LogField::reply_text, reply.text);
}

LogRecord& LogRecord::client(const IpAddress& address, std::uint16_t port) {
    client_ = address;
    client_port_ = port;
    has_client_ = address != IpAddress{};
    return *this;
}

LogRecord& LogRecord::worker(std::size_t index) {
    worker_ = index;
    return *this;
}

LogRecord& LogRecord::size(std::uint64_t octets) {
    size_ = octets;
    return *this;
}

LogRecord& LogRecord::recipients(std::uint64_t count) {
    recipients_ = count;
    return *this;
}

LogRecord& LogRecord::count(std::uint64_t count) {
    event_count_ = count;
    return *this;
}

LogRecord& LogRecord::waited(Duration before) {
    waited_nanoseconds_ = before.count();
    return *this;
}

LogRecord& LogRecord::duration(Duration duration) {
    duration_nanoseconds_ = duration.count();
    has_duration_ = true;
    return *this;
}

std::string_view LogRecord::text(LogField field) const {
    const Place& place = place_[static_cast<std::size_t>(field)];
    return {text_.data() + place.offset, place.length};
}

LogReply LogRecord::reply() const {
    return {reply_code_, reply_class_, reply_subject_, reply_detail_, text(LogField::reply_text)};
}

} // namespace ringmx::observe
