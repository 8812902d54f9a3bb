#include "sink/totals.h"

#include <fmt/format.h>

namespace ringmx::sink {

void Totals::add(const Totals& other) {
    connections += other.connections;
    messages += other.messages;
    recipients += other.recipients;
    bytes += other.bytes;
    messages_without_id += other.messages_without_id;
    unanswered += other.unanswered;
    ids.merge(other.ids);
}

std::string Totals::json(bool with_unanswered) const {
    const std::uint64_t unique = ids.size() + messages_without_id;
    return fmt::format(
        "{{\"connections\": {}, \"messages\": {}, \"recipients\": {}, \"bytes\": {}, "
        "\"unique\": {}, \"duplicates\": {}{}}}\n",
        connections, messages, recipients, bytes, unique, messages - unique,
        with_unanswered ? fmt::format(", \"unanswered\": {}", unanswered) : "");
}

} // namespace ringmx::sink
