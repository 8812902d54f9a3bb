#include "spool/stored_message.h"

#include "base/assert.h"
#include "spool/little_endian.h"

#include <algorithm>

namespace ringmx::spool {
namespace {

constexpr std::uint16_t stuffed_flag = 1;
constexpr std::uint16_t smtputf8_flag = 2;
constexpr std::uint16_t on_hold_flag = 4;
constexpr std::uint16_t esmtp_flag = 8;
constexpr std::uint16_t waits_for_pool_flag = 16;
constexpr std::size_t reply_bytes_max = UINT16_MAX;

std::uint64_t nanoseconds(WallTime time) {
    return static_cast<std::uint64_t>(time.time_since_epoch().count());
}

WallTime wall_time(std::uint64_t value) {
    return WallTime(Duration(static_cast<std::int64_t>(value)));
}

template <std::unsigned_integral Number> Number size_as(std::string_view text) {
    RINGMX_ASSERT(text.size() <= std::numeric_limits<Number>::max());
    return static_cast<Number>(text.size());
}

// Nothing: a state that this version does not know.
std::optional<StoredRecipient> read_recipient(Reader& reader) {
    StoredRecipient recipient;
    const auto state = reader.number<std::uint8_t>();
    recipient.notify = reader.number<std::uint8_t>();
    const auto mailbox_bytes = reader.number<std::uint16_t>();
    const auto original_bytes = reader.number<std::uint16_t>();
    const auto reply_bytes = reader.number<std::uint16_t>();
    recipient.mailbox = reader.text(mailbox_bytes);
    recipient.original_recipient = reader.text(original_bytes);
    recipient.last_reply = reader.text(reply_bytes);
    if (state > static_cast<std::uint8_t>(RecipientState::bounced)) {
        return std::nullopt;
    }
    recipient.state = static_cast<RecipientState>(state);
    return recipient;
}

} // namespace

void append_message_body(std::string& out, const StoredMessage& message) {
    append_numbers(
        out, nanoseconds(message.accepted_at), nanoseconds(message.expires_from),
        message.content_bytes, message.message_bytes,
        static_cast<std::uint16_t>(
            (message.is_stuffed ? stuffed_flag : 0) | (message.smtputf8 ? smtputf8_flag : 0) |
            (message.is_on_hold ? on_hold_flag : 0) | (message.is_esmtp ? esmtp_flag : 0) |
            (message.waits_for_pool ? waits_for_pool_flag : 0)),
        static_cast<std::uint8_t>(message.body), static_cast<std::uint8_t>(message.return_content),
        message.client_port, size_as<std::uint16_t>(message.hello_name));
    out += as_text(std::as_bytes(std::span(message.client_ip.octets)));
    append_numbers(out, static_cast<std::uint32_t>(message.recipients.size()),
                   static_cast<std::uint32_t>(message.chunks.size()),
                   size_as<std::uint16_t>(message.envelope_id),
                   size_as<std::uint16_t>(message.reverse_path),
                   size_as<std::uint16_t>(message.trace_field));
    out += message.hello_name;
    out += message.envelope_id;
    out += message.reverse_path;
    out += message.trace_field;
    for (const StoredRecipient& recipient : message.recipients) {
        append_numbers(out, static_cast<std::uint8_t>(recipient.state), recipient.notify,
                       size_as<std::uint16_t>(recipient.mailbox),
                       size_as<std::uint16_t>(recipient.original_recipient),
                       size_as<std::uint16_t>(recipient.last_reply));
        out += recipient.mailbox;
        out += recipient.original_recipient;
        out += recipient.last_reply;
    }
    for (const ChunkPlace& chunk : message.chunks) {
        append_numbers(out, chunk.life, chunk.offset, chunk.record_bytes);
    }
}

std::optional<StoredMessage> read_message_head(Bytes beginning, std::uint64_t body_bytes,
                                               std::size_t& content_start) {
    Reader reader(beginning);
    StoredMessage message;
    message.accepted_at = wall_time(reader.number<std::uint64_t>());
    message.expires_from = wall_time(reader.number<std::uint64_t>());
    message.content_bytes = reader.number<std::uint64_t>();
    message.message_bytes = reader.number<std::uint64_t>();
    const auto flags = reader.number<std::uint16_t>();
    message.is_stuffed = (flags & stuffed_flag) != 0;
    message.smtputf8 = (flags & smtputf8_flag) != 0;
    message.is_on_hold = (flags & on_hold_flag) != 0;
    message.is_esmtp = (flags & esmtp_flag) != 0;
    message.waits_for_pool = (flags & waits_for_pool_flag) != 0;
    const auto stated_body = reader.number<std::uint8_t>();
    message.body = static_cast<StoredBody>(stated_body);
    const auto stated_return = reader.number<std::uint8_t>();
    message.return_content = static_cast<StoredReturn>(stated_return);
    message.client_port = reader.number<std::uint16_t>();
    const auto hello_bytes = reader.number<std::uint16_t>();
    const std::string_view client_ip = reader.text(message.client_ip.octets.size());
    const auto recipients_count = reader.number<std::uint32_t>();
    const auto chunks_count = reader.number<std::uint32_t>();
    const auto envelope_id_bytes = reader.number<std::uint16_t>();
    const auto reverse_path_bytes = reader.number<std::uint16_t>();
    const auto trace_bytes = reader.number<std::uint16_t>();
    std::ranges::copy(client_ip, message.client_ip.octets.begin());
    message.hello_name = reader.text(hello_bytes);
    message.envelope_id = reader.text(envelope_id_bytes);
    message.reverse_path = reader.text(reverse_path_bytes);
    message.trace_field = reader.text(trace_bytes);
    for (std::uint32_t count = 0; count < recipients_count && reader.ok(); ++count) {
        std::optional<StoredRecipient> recipient = read_recipient(reader);
        if (!recipient) {
            return std::nullopt;
        }
        message.recipients.push_back(std::move(*recipient));
    }
    for (std::uint32_t count = 0; count < chunks_count && reader.ok(); ++count) {
        ChunkPlace& chunk = message.chunks.emplace_back();
        chunk.life = reader.number<std::uint64_t>();
        chunk.offset = reader.number<std::uint64_t>();
        chunk.record_bytes = reader.number<std::uint32_t>();
    }
    content_start = beginning.size() - reader.rest().size();
    const std::uint64_t inline_bytes = chunks_count == 0 ? message.content_bytes : 0;
    const bool is_whole = reader.ok() && recipients_count > 0 &&
                          stated_body <= static_cast<std::uint8_t>(StoredBody::eight_bit_mime) &&
                          stated_return <= static_cast<std::uint8_t>(StoredReturn::headers);
    if (!is_whole || body_bytes - content_start != inline_bytes) {
        return std::nullopt;
    }
    return message;
}

std::optional<StoredMessage> read_message_body(Bytes body, Bytes* content) {
    std::size_t content_start = 0;
    std::optional<StoredMessage> message = read_message_head(body, body.size(), content_start);
    if (message && content != nullptr) {
        *content = body.subspan(content_start);
    }
    return message;
}

void append_mark(std::string& out, const Mark& mark) {
    const std::string_view reply = mark.reply.substr(0, reply_bytes_max);
    append_numbers(out, mark.id, mark.home.life, nanoseconds(mark.at), mark.recipient,
                   mark.home.generation, mark.home.worker, static_cast<std::uint16_t>(mark.kind),
                   size_as<std::uint16_t>(reply));
    out += reply;
}

std::optional<Mark> MarksReader::next() {
    while (!rest_.empty()) {
        Reader reader(rest_);
        Mark mark;
        mark.id = reader.number<std::uint64_t>();
        mark.home.life = reader.number<std::uint64_t>();
        mark.at = wall_time(reader.number<std::uint64_t>());
        mark.recipient = reader.number<std::uint32_t>();
        mark.home.generation = reader.number<std::uint32_t>();
        mark.home.worker = reader.number<std::uint16_t>();
        const auto kind = reader.number<std::uint16_t>();
        const auto reply_bytes = reader.number<std::uint16_t>();
        mark.reply = reader.text(reply_bytes);
        rest_ = reader.ok() ? reader.rest() : Bytes{};
        if (reader.ok() && kind >= static_cast<std::uint16_t>(MarkKind::delivered) &&
            kind <= static_cast<std::uint16_t>(MarkKind::pool_release)) {
            mark.kind = static_cast<MarkKind>(kind);
            return mark;
        }
        ++unreadable_;
    }
    return std::nullopt;
}

} // namespace ringmx::spool
