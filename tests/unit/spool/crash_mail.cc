#include "unit/spool/crash_mail.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace ringmx::spool {

std::string CrashMail::content() {
    std::string content(random_.chance(0.5) ? random_.below(200'000) : random_.below(20'000), 'x');
    for (std::size_t at = 0; at + sizeof(std::uint64_t) <= content.size();
         at += sizeof(std::uint64_t)) {
        const std::uint64_t octets = random_.next();
        std::memcpy(&content[at], &octets, sizeof octets);
    }
    return content;
}

void CrashMail::forge(std::string& content, std::size_t before) {
    const std::vector<int> files = disk_.files();
    if (files.empty()) {
        return;
    }
    const Bytes file = disk_.octets(files[random_.below(files.size())]);
    std::vector<std::size_t> records;
    for (std::size_t at = block_bytes; at < file.size(); at += block_bytes) {
        if (as_text(file.subspan(at, 4)) == "RMXr") {
            records.push_back(at);
        }
    }
    if (!records.empty()) {
        const Bytes copied = file.subspan(records[random_.below(records.size())]);
        content.assign(block_bytes - before % block_bytes, 'x');
        content += as_text(copied.first(std::min<std::size_t>(copied.size(), 100'000)));
    }
}

std::string body_of(const CrashMessage& known) { return body_of(known, known.chunks); }

std::string body_of(const CrashMessage& known, const std::vector<ChunkPlace>& chunks) {
    StoredMessage message;
    message.accepted_at = known.accepted_at;
    message.expires_from = known.is_acknowledged ? known.expires_from() : known.accepted_at;
    message.is_on_hold = known.is_held();
    message.content_bytes = known.content.size();
    message.reverse_path = "a@b.example";
    message.recipients.resize(known.recipients);
    for (std::uint32_t index = 0; index < known.recipients; ++index) {
        message.recipients[index].mailbox = "user@one.example";
        message.recipients[index].state = known.state(index);
    }
    message.chunks = chunks;
    std::string body;
    append_message_body(body, message);
    return body;
}

} // namespace ringmx::spool
