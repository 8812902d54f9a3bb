#include "sim/world_ledger.h"

#include <algorithm>
#include <utility>

namespace ringmx::sim {
namespace {

constexpr std::string_view trace_begins = "Received: from ";

std::string_view begin_of(std::string_view octets) { return octets.substr(0, 300); }

// The octets of the trace field in front; 0: it is not all there yet.
std::size_t trace_field_bytes(std::string_view octets, bool is_whole) {
    for (std::size_t end = octets.find("\r\n"); end != std::string_view::npos;
         end = octets.find("\r\n", end + 2)) {
        const std::size_t next = end + 2;
        if (next == octets.size()) {
            return is_whole ? next : 0;
        }
        if (octets[next] != ' ' && octets[next] != '\t') {
            return next;
        }
    }
    return 0;
}

// What a backend must get behind the trace field, as message content.
std::string expected_content(const Attempt& attempt, bool arrives_by_chunks) {
    const bool begins_with_space =
        attempt.octets.starts_with(' ') || attempt.octets.starts_with('\t');
    std::string expected = begins_with_space ? "\r\n" : "";
    expected += attempt.octets;
    if (attempt.by_chunks && !arrives_by_chunks && !attempt.octets.ends_with("\r\n") &&
        !attempt.octets.empty()) {
        expected += "\r\n"; // the final dot wants a line of its own
    }
    return expected;
}

} // namespace

std::string mailbox_in(std::string_view command) {
    const std::size_t begin = command.find('<') + 1;
    return std::string(command.substr(begin, command.find('>', begin) - begin));
}

std::string dots_stuffed(std::string_view octets) {
    std::string wire;
    wire.reserve(octets.size() + octets.size() / 64);
    for (std::size_t index = 0; index < octets.size(); ++index) {
        const bool begins_line =
            index == 0 || (index > 1 && octets[index - 1] == '\n' && octets[index - 2] == '\r');
        if (begins_line && octets[index] == '.') {
            wire += '.';
        }
        wire += octets[index];
    }
    return wire;
}

std::string_view pool_of(std::string_view recipient) {
    return recipient.ends_with("@one.example")   ? "one"
           : recipient.ends_with("@two.example") ? "two"
                                                 : "";
}

bool Attempt::was_said(std::string_view to, const std::string& reply) const {
    const auto found = said.find(to);
    return is_garbled || (found != said.end() && found->second.contains(reply));
}

Attempt& Ledger::begin(std::string sender, std::string octets) {
    Attempt& attempt = attempts_[sender];
    attempt.sender = std::move(sender);
    attempt.octets = std::move(octets);
    return attempt;
}

Attempt* Ledger::attempt_of(const BackendMessage& message) {
    const auto found = attempts_.find(mailbox_in(message.mail));
    return found == attempts_.end() ? nullptr : &found->second;
}

Attempt* Ledger::attempt_of(const Asked& asked) {
    if (asked.command.starts_with("MAIL")) {
        const auto found = attempts_.find(mailbox_in(asked.command));
        return found == attempts_.end() ? nullptr : &found->second;
    }
    return asked.message == nullptr ? nullptr : attempt_of(*asked.message);
}

void Ledger::garbled(const Asked& asked) {
    if (Attempt* const attempt = attempt_of(asked)) {
        attempt->is_garbled = true;
    }
}

void Ledger::heard(std::string_view pool, const Asked& asked) {
    if (asked.command.starts_with("MAIL")) {
        heard_mail(asked.command);
        return;
    }
    Attempt* const attempt = asked.message == nullptr ? nullptr : attempt_of(*asked.message);
    if (attempt == nullptr) {
        return;
    }
    if (asked.command.starts_with("RCPT")) {
        heard_recipient(pool, asked.command, *attempt);
    } else if (asked.command == ".") {
        heard_end(*asked.message, *attempt);
    } else if ((asked.command == "DATA" || asked.command == "chunk") && !attempt->content_offered) {
        fault("a backend hears " + asked.command + " of " + attempt->sender +
              ", who has not said so");
    }
}

void Ledger::heard_mail(const std::string& command) {
    if (!attempts_.contains(mailbox_in(command))) {
        fault("a backend hears what nobody sent: " + command);
    }
}

void Ledger::heard_recipient(std::string_view pool, const std::string& command, Attempt& attempt) {
    const std::string recipient = mailbox_in(command);
    if (std::ranges::find(attempt.recipients, recipient) == attempt.recipients.end()) {
        fault("a backend hears " + command + " of " + attempt.sender + ", who did not send it");
    }
    if (pool_of(recipient) != pool) {
        fault("pool " + std::string(pool) + " hears " + command);
    }
}

void Ledger::heard_end(const BackendMessage& message, Attempt& attempt) {
    ++complete_;
    compared_.erase(&message);
    const std::string_view octets = message.octets;
    const std::size_t trace_bytes = trace_field_bytes(octets, true);
    const std::string expected = expected_content(attempt, message.by_chunks);
    if (!octets.starts_with(trace_begins) || octets.substr(trace_bytes) != expected) {
        fault("the message of " + attempt.sender + " changed on its way");
    }
    if (!attempt.ended) {
        fault("the message of " + attempt.sender + " is whole, but its last octet was not sent");
    }
    if (attempt.is_poison) {
        fault("the message of " + attempt.sender + " should have been refused");
    }
    if (++attempt.complete_count > 1) {
        fault("the message of " + attempt.sender + " came twice");
    }
    std::vector<std::string> recipients;
    std::ranges::transform(message.recipients, std::back_inserter(recipients), mailbox_in);
    // The client may not have heard of the last ones yet.
    if (attempt.accepted.size() > recipients.size() ||
        !std::equal(attempt.accepted.begin(), attempt.accepted.end(), recipients.begin())) {
        fault("the message of " + attempt.sender + " came without a recipient that was promised");
    }
    attempt.taken_for = std::move(recipients);
}

void Ledger::overheard(const BackendMessage& message) {
    if (const Attempt* const attempt = attempt_of(message)) {
        compare(message, *attempt);
    }
}

void Ledger::compare(const BackendMessage& message, const Attempt& attempt) {
    const std::string_view octets = message.octets;
    Compared& compared = compared_[&message];
    if (compared.trace_bytes == 0) {
        const std::size_t seen = std::min(octets.size(), trace_begins.size());
        if (octets.substr(0, seen) != trace_begins.substr(0, seen)) {
            fault("the message of " + attempt.sender + " begins with " +
                  std::string(begin_of(octets)));
        }
        compared.trace_bytes = trace_field_bytes(octets, false);
        if (compared.trace_bytes == 0) {
            return;
        }
        const std::string content = expected_content(attempt, message.by_chunks);
        compared.expected = message.by_chunks ? content : dots_stuffed(content) + ".\r\n";
    }
    const std::string_view arrived = octets.substr(compared.trace_bytes);
    const std::string_view fresh = arrived.substr(std::min(compared.count, arrived.size()));
    const std::string_view expected =
        std::string_view(compared.expected)
            .substr(std::min(compared.count, compared.expected.size()))
            .substr(0, fresh.size());
    if (fresh != expected) {
        fault("the message of " + attempt.sender + " is another within " +
              std::to_string(arrived.size()) + " octets");
    }
    compared.count = arrived.size();
}

void Ledger::answered(const Asked& asked, const std::string& reply) {
    Attempt* const attempt = attempt_of(asked);
    if (attempt == nullptr) {
        return;
    }
    const std::string to = asked.command.starts_with("MAIL")   ? "MAIL"
                           : asked.command.starts_with("RCPT") ? mailbox_in(asked.command)
                                                               : asked.command;
    attempt->said[to].insert(reply);
    if (asked.command.starts_with("RCPT") && reply.starts_with("2")) {
        ++recipients_said_;
    }
    if (asked.command == "." && reply.starts_with("2")) {
        ++taken_;
    }
}

bool Ledger::is_ours(const std::string& reply, std::initializer_list<std::string_view> starts) {
    return std::ranges::any_of(starts,
                               [&](std::string_view start) { return reply.starts_with(start); });
}

bool Ledger::told_recipient(Attempt& attempt, const std::string& recipient,
                            const std::string& reply) {
    if (reply.starts_with("2")) {
        if (!attempt.was_said(recipient, reply)) {
            fault(attempt.sender + " is told for " + recipient +
                  ", what no backend said: " + reply);
        }
        attempt.accepted.push_back(recipient);
        ++told_recipients_;
        return true;
    }
    const bool is_known = attempt.was_said(recipient, reply) || attempt.was_said("MAIL", reply) ||
                          is_ours(reply, {"451 4.4.1", "452 4.3.1", "451 4.3.5", "452 4.5.3"}) ||
                          (pool_of(recipient).empty() && reply.starts_with("550 5.7.1"));
    if (!is_known) {
        fault(attempt.sender + " is told for " + recipient + ": " + reply);
    }
    return false;
}

bool Ledger::told_data(Attempt& attempt, const std::string& reply) {
    if (reply.starts_with("354 ") && !attempt.accepted.empty()) {
        return true;
    }
    const bool is_known = attempt.accepted.empty()
                              ? reply.starts_with("554 5.5.1")
                              : attempt.was_said("DATA", reply) ||
                                    is_ours(reply, {"451 4.4.1", "452 4.3.1", "451 4.3.5"});
    if (!is_known) {
        fault(attempt.sender + " is told for DATA: " + reply);
    }
    return false;
}

bool Ledger::told_final(Attempt& attempt, const std::string& reply) {
    if (reply.starts_with("2")) {
        attempt.taken = true;
        ++told_taken_;
        if (!attempt.was_said(".", reply)) {
            fault(attempt.sender + " is told what no backend said: " + reply);
        }
        if (attempt.taken_for != attempt.accepted) {
            fault(attempt.sender + " is told 250, but the backend has other recipients");
        }
        return true;
    }
    const bool is_known = attempt.was_said(".", reply) || attempt.was_said("chunk", reply) ||
                          attempt.was_said("DATA", reply) ||
                          is_ours(reply, {"451 4.4.1", "452 4.3.1", "451 4.3.5"}) ||
                          (attempt.is_poison && is_ours(reply, {"550 5.6.0", "552 5.3.4"}));
    if (!is_known) {
        fault(attempt.sender + " is told at the end: " + reply);
    }
    return false;
}

} // namespace ringmx::sim
