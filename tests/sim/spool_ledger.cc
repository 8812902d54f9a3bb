#include "sim/spool_ledger.h"

#include "spool/message_id.h"

#include <algorithm>
#include <gtest/gtest.h>
#include <memory>
#include <utility>

namespace ringmx::sim {
namespace {

constexpr std::string_view key_name = "X-Key: ";
constexpr std::string_view addresses[] = {"a@one.example", "b@one.example", "c@one.example",
                                          "a@two.example", "b@two.example"};

// It returns the letter that it is about.
bool is_report(const BackendMessage& message) { return message.mail.starts_with("MAIL FROM:<>"); }

bool is_letter(const BackendMessage& message) {
    return !is_report(message) && message.octets.find(key_name) != std::string::npos;
}

std::string key_of(const BackendMessage& message) {
    const std::size_t key = message.octets.find(key_name) + key_name.size();
    return message.octets.substr(key, message.octets.find('\r', key) - key);
}

// Of "RCPT TO:<a@one.example> …".
std::string address_of(const std::string& command) {
    const std::size_t start = command.find('<') + 1;
    return command.substr(start, command.find('>') - start);
}

} // namespace

// Of lines, some of which begin with dots; most letters are small.
Letter& SpoolLedger::write_letter() {
    const std::string key = std::to_string(letters_.size() + 1);
    Letter& letter = letters_[key];
    letter.key = key;
    letter.content = std::string(key_name) + key + "\r\n\r\n";
    const std::size_t bytes = random_.chance(0.7)   ? random_.between(100, 8'000)
                              : random_.chance(0.7) ? random_.between(8'000, 300'000)
                                                    : random_.between(300'000, 1'048'576);
    while (letter.content.size() < bytes) {
        letter.content.append(random_.below(3), '.');
        letter.content.append(random_.between(1, 900), static_cast<char>('a' + random_.below(26)));
        letter.content += "\r\n";
    }
    const std::uint64_t recipients = random_.chance(0.5) ? 1 : random_.between(2, 4);
    while (letter.recipients.size() < recipients) {
        letter.recipients[std::string(addresses[random_.below(std::size(addresses))])];
    }
    return letter;
}

void SpoolLedger::acknowledged(Letter& letter, std::string id) {
    letter.is_acknowledged = true;
    letter.id = std::move(id);
    acknowledged_.push_back(&letter);
}

void SpoolLedger::asked(Letter& letter, QueueQuestion::Kind kind) {
    using Kind = QueueQuestion::Kind;
    letter.is_under_command = true;
    if (kind == Kind::remove) {
        letter.may_be_removed = true;
    } else if (kind == Kind::hold) {
        letter.may_be_on_hold = true;
    } else {
        if (std::exchange(letter.is_on_hold, false)) {
            expect_rest(letter, last_copies());
        }
        letter.rests_since = SIZE_MAX;
    }
}

void SpoolLedger::done(Letter& letter, QueueQuestion::Kind kind) {
    using Kind = QueueQuestion::Kind;
    if (kind == Kind::remove) {
        letter.is_removed = true;
    } else {
        letter.is_on_hold = letter.may_be_on_hold = kind == Kind::hold;
    }
}

void SpoolLedger::let_go(std::uint64_t id) {
    Letter* const letter = find(spool::id_text(id));
    ASSERT_TRUE(letter != nullptr && letter->may_be_on_hold)
        << "on hold, and nobody wants that: " << spool::id_text(id);
    asked(*letter, QueueQuestion::Kind::release);
}

Letter* SpoolLedger::find(std::string_view id) const {
    const auto letter = std::ranges::find_if(acknowledged_, [id](const Letter* one) { //
        return one->id == id;
    });
    return letter == acknowledged_.end() ? nullptr : *letter;
}

// What is on its way to a backend at a stop arrives later; so it counts by its connection.
SpoolLedger::LastCopies SpoolLedger::last_copies() const {
    LastCopies last;
    for (std::size_t index = 0; index < backends_.size(); ++index) {
        for (const std::shared_ptr<BackendMessage>& message : backends_[index]->messages) {
            if (is_letter(*message)) {
                const auto start = std::ranges::count_if(starts_, [&](const auto& connections) {
                    return connections[index] < message->connection;
                });
                std::size_t& known = last[key_of(*message)];
                known = std::max(known, static_cast<std::size_t>(start));
            }
        }
    }
    return last;
}

void SpoolLedger::expect_rest(const Letter& letter, const LastCopies& last) {
    const auto copy = last.find(letter.key);
    EXPECT_TRUE(copy == last.end() || copy->second < letter.rests_since)
        << (letter.is_removed ? "removed" : "on hold") << ", and sent: letter " << letter.key
        << ", " << letter.id;
}

// What was being forwarded when it was removed or held may have been taken all the same; from now on
// nothing of it is begun.
void SpoolLedger::started() {
    std::vector<std::size_t>& connections = starts_.emplace_back();
    for (const ScriptedBackend* const backend : backends_) {
        connections.push_back(backend->connections);
    }
    const LastCopies last = last_copies();
    for (Letter* const letter : acknowledged_) {
        letter->is_under_command = false; // nobody answers any more
        expect_rest(*letter, last);
        if (letter->is_removed || letter->is_on_hold) {
            letter->rests_since = std::min(letter->rests_since, starts_.size());
        }
    }
}

void SpoolLedger::judge(bool bounces) {
    for (std::size_t index = 0; index < backends_.size(); ++index) {
        for (const std::shared_ptr<BackendMessage>& message : backends_[index]->messages) {
            if (message->taken && is_report(*message)) {
                judge_report(*message, bounces);
            } else if (message->taken) {
                judge_copy(*message, index < 2 ? "@one.example" : "@two.example");
            }
        }
    }
    const LastCopies last = last_copies();
    for (const Letter* const letter : acknowledged_) {
        for (const auto& [address, recipient] : letter->recipients) {
            EXPECT_TRUE(recipient.taken > 0 || letter->may_be_removed || recipient.is_reported)
                << "lost: letter " << letter->key << ", " << letter->id << ", to " << address;
        }
        expect_rest(*letter, last);
    }
}

void SpoolLedger::judge_copy(const BackendMessage& message, std::string_view pool) {
    const std::size_t start = message.octets.find(key_name);
    ASSERT_NE(start, std::string::npos) << "invented: " << message.octets.substr(0, 300);
    const auto letter = letters_.find(key_of(message));
    ASSERT_NE(letter, letters_.end()) << "invented: " << message.octets.substr(0, 300);
    EXPECT_TRUE(std::string_view(message.octets).substr(start) == letter->second.content)
        << "changed: letter " << letter->first;
    for (const std::string& command : message.recipients) {
        const auto recipient = letter->second.recipients.find(address_of(command));
        ASSERT_NE(recipient, letter->second.recipients.end())
            << "letter " << letter->first << " went to " << command;
        EXPECT_TRUE(recipient->first.ends_with(pool))
            << "letter " << letter->first << " went to " << pool << " for " << command;
        ++recipient->second.taken;
    }
}

// It tells of what happened, to whom it did, and goes to who wants to hear of it.
void SpoolLedger::judge_report(const BackendMessage& message, bool bounces) {
    EXPECT_TRUE(bounces) << message.octets;
    EXPECT_NE(message.octets.find(refusal), std::string::npos) << message.octets;
    EXPECT_TRUE(message.recipients.size() == 1 &&
                message.recipients[0].starts_with("RCPT TO:<sender@one.example>"));
    const std::string_view words = "The message had the queue id ";
    const std::size_t at = message.octets.find(words);
    ASSERT_NE(at, std::string::npos) << message.octets;
    Letter* const letter =
        find(std::string_view(message.octets).substr(at + words.size(), spool::id_letters));
    if (letter == nullptr) {
        return;
    }
    const std::string_view field = "Final-Recipient: rfc822; ";
    for (std::size_t next = message.octets.find(field); next != std::string::npos;
         next = message.octets.find(field, next)) {
        next += field.size();
        const std::string address =
            message.octets.substr(next, message.octets.find('\r', next) - next);
        const auto recipient = letter->recipients.find(address);
        ASSERT_NE(recipient, letter->recipients.end()) << message.octets;
        recipient->second.is_reported = true;
    }
}

std::size_t SpoolLedger::duplicates() const {
    std::size_t sum = 0;
    for (const auto& [key, letter] : letters_) {
        for (const auto& [address, recipient] : letter.recipients) {
            sum += recipient.taken > 1 ? recipient.taken - 1 : 0;
        }
    }
    return sum;
}

std::size_t SpoolLedger::reported() const {
    std::size_t sum = 0;
    for (const Letter* const letter : acknowledged_) {
        for (const auto& [address, recipient] : letter->recipients) {
            sum += recipient.is_reported ? 1U : 0U;
        }
    }
    return sum;
}

} // namespace ringmx::sim
