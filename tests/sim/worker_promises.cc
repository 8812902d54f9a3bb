#include "sim/worker_promises.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <ranges>
#include <set>

namespace ringmx::sim {
namespace {

const std::string id_begins = "Message-ID: <";

std::string id_of(const std::string& octets) {
    const std::size_t begin = octets.find(id_begins);
    if (begin == std::string::npos) {
        return {};
    }
    const std::size_t id = begin + id_begins.size();
    return octets.substr(id, octets.find('>', begin) - id);
}

std::vector<std::string> mailboxes_of(const std::vector<std::string>& commands) {
    std::vector<std::string> mailboxes;
    for (const std::string& command : commands) {
        const std::size_t begin = command.find('<') + 1;
        mailboxes.push_back(command.substr(begin, command.find('>') - begin));
    }
    return mailboxes;
}

} // namespace

Sent& Promises::begin(const std::string& id, Random& random, std::size_t size) {
    std::string octets = id_begins + id + ">\r\n\r\n";
    while (octets.size() < size) {
        octets.append(random.below(3), '.');
        octets.append(random.below(size > 50'000 ? 900 : 100),
                      static_cast<char>('a' + random.below(26)));
        octets += "\r\n";
    }
    Sent& sent = sent_[id];
    sent = {.octets = std::move(octets), .recipients = {}};
    return sent;
}

void Promises::check(const std::vector<ScriptedBackend*>& backends) const {
    std::set<std::string> at_backends;
    for (const ScriptedBackend* backend : backends) {
        for (const auto& message : backend->messages) {
            if (!message->complete) {
                continue;
            }
            const std::string id = id_of(message->octets);
            const auto found = sent_.find(id);
            ASSERT_NE(found, sent_.end()) << "a message that nobody sent: " << id;
            const Sent& sent = found->second;
            EXPECT_TRUE(sent.ended) << id << " has no last octet";
            EXPECT_TRUE(message->octets.ends_with("\r\n" + sent.octets)) << id << " changed";
            const std::vector<std::string> mailboxes = mailboxes_of(message->recipients);
            EXPECT_EQ(mailboxes, sent.accepted ? sent.recipients : mailboxes) << id;
            // A client that is gone may not have heard all its answers.
            EXPECT_TRUE(std::ranges::equal(sent.recipients,
                                           mailboxes | std::views::take(sent.recipients.size())))
                << id;
            EXPECT_TRUE(!backend->profile.lmtp || message->recipients.size() == 1) << id;
            if (message->taken) {
                at_backends.insert(id);
            }
        }
    }
    for (const auto& [id, message] : sent_) {
        EXPECT_TRUE(!message.accepted || at_backends.contains(id))
            << id << " was promised and is lost";
    }
}

std::size_t Promises::accepted_count() const {
    return static_cast<std::size_t>(
        std::ranges::count_if(sent_, [](const auto& entry) { return entry.second.accepted; }));
}

std::string stuffed(std::string_view octets) {
    std::string wire;
    wire.reserve(octets.size() + octets.size() / 64 + 3);
    bool line_begins = true;
    for (const char octet : octets) {
        if (line_begins && octet == '.') {
            wire += '.';
        }
        wire += octet;
        line_begins = octet == '\n';
    }
    return wire + ".\r\n";
}

} // namespace ringmx::sim
