#include "unit/spool/crash_message.h"

#include <algorithm>
#include <gtest/gtest.h>
#include <utility>

namespace ringmx::spool {
namespace {

std::set<std::uint32_t> settled(const RecoveredMessage& found, RecipientState state) {
    std::set<std::uint32_t> indexes;
    for (const RecoveredMessage::Recipient& recipient : found.settled) {
        if (recipient.state == state) {
            indexes.insert(recipient.index);
        }
    }
    return indexes;
}

bool includes(const std::set<std::uint32_t>& all, const std::set<std::uint32_t>& some) {
    return std::ranges::includes(all, some);
}

} // namespace

void CrashMessage::acknowledge() {
    is_acknowledged = true;
    expires_from_ = accepted_at;
    may_be_ = {{.expires_from = accepted_at}};
}

void CrashMessage::adopt(const RecoveredMessage& found) {
    is_acknowledged = true;
    is_refused = is_moving = may_be_removed_ = false;
    command_.reset();
    may_become_.clear();
    is_held_ = found.is_on_hold;
    expires_from_ = found.expires_from;
    delivered_ = delivered_for_sure_ = settled(found, RecipientState::delivered);
    failed_ = settled(found, RecipientState::failed);
    Standing standing{.is_held = is_held_, .expires_from = found.expires_from};
    failures_.assign(failed_.begin(), failed_.end());
    unordered_.clear();
    for (std::uint32_t number = 0; number < failures_.size(); ++number) {
        standing.failures.insert(number);
    }
    standing.durable_failures = standing.failures;
    may_be_ = {std::move(standing)};
}

bool CrashMessage::is_over() const {
    return is_refused || is_removed_ || command_ == MarkKind::removed ||
           delivered_.size() == recipients;
}

bool CrashMessage::is_gone() const {
    return is_removed_ || delivered_for_sure_.size() == recipients;
}

std::optional<std::uint32_t> CrashMessage::next_recipient() const {
    for (std::uint32_t index = 0; index < recipients && !is_held_; ++index) {
        if (!delivered_.contains(index) && !failed_.contains(index)) {
            return index;
        }
    }
    return std::nullopt;
}

RecipientState CrashMessage::state(std::uint32_t recipient) const {
    return delivered_.contains(recipient) ? RecipientState::delivered
           : failed_.contains(recipient)  ? RecipientState::failed
                                          : RecipientState::pending;
}

void CrashMessage::begin(MarkKind command, WallTime at) {
    command_ = command;
    if (command == MarkKind::removed) {
        return;
    }
    may_become_ = may_be_;
    is_held_ = command == MarkKind::hold;
    for (Standing& standing : may_become_) {
        if (command == MarkKind::hold) {
            standing.is_held = true;
        } else {
            standing = {.is_held = false, .expires_from = at};
        }
    }
    if (command == MarkKind::release) {
        expires_from_ = at;
        failed_.clear();
    }
}

void CrashMessage::end(bool is_done) {
    const MarkKind command = std::exchange(command_, std::nullopt).value();
    if (command == MarkKind::removed) {
        (is_done ? is_removed_ : may_be_removed_) = true;
    } else if (is_done) {
        may_be_ = std::exchange(may_become_, {});
    } else {
        may_be_.insert(may_be_.end(), may_become_.begin(), may_become_.end());
        may_become_.clear();
    }
}

bool CrashMessage::delivery_durable(std::uint32_t recipient) {
    delivered_for_sure_.insert(recipient);
    return delivered_for_sure_.size() == recipients;
}

std::uint32_t CrashMessage::fail(std::uint32_t recipient) {
    const auto number = static_cast<std::uint32_t>(failures_.size());
    failures_.push_back(recipient);
    failed_.insert(recipient);
    if (command_) {
        unordered_.insert(number);
    }
    for (std::vector<Standing>* const standings : {&may_be_, &may_become_}) {
        for (Standing& standing : *standings) {
            standing.failures.insert(number);
        }
    }
    return number;
}

void CrashMessage::failure_durable(std::uint32_t number) {
    if (unordered_.contains(number)) {
        return;
    }
    for (std::vector<Standing>* const standings : {&may_be_, &may_become_}) {
        for (Standing& standing : *standings) {
            if (standing.failures.contains(number)) {
                standing.durable_failures.insert(number);
            }
        }
    }
}

std::set<std::uint32_t> CrashMessage::whose(const std::set<std::uint32_t>& numbers) const {
    std::set<std::uint32_t> indexes;
    for (const std::uint32_t number : numbers) {
        indexes.insert(failures_[number]);
    }
    return indexes;
}

std::string CrashMessage::words_of(const std::vector<Standing>& standings) const {
    std::string words;
    for (const Standing& standing : standings) {
        words += std::string(words.empty() ? "; expected " : ", or ") +
                 (standing.is_held ? "held" : "not held") + ", up to " +
                 std::to_string(whose(standing.failures).size()) + " failed and at least " +
                 std::to_string(whose(standing.durable_failures).size()) + ", from " +
                 std::to_string(standing.expires_from.time_since_epoch().count());
    }
    return words;
}

bool CrashMessage::fits(const Standing& standing, const RecoveredMessage& found) const {
    const std::set<std::uint32_t> failed = settled(found, RecipientState::failed);
    std::set<std::uint32_t> over = settled(found, RecipientState::delivered);
    over.insert(failed.begin(), failed.end());
    return standing.is_held == found.is_on_hold && standing.expires_from == found.expires_from &&
           includes(whose(standing.failures), failed) &&
           includes(over, whose(standing.durable_failures));
}

CrashMessage::Found CrashMessage::judge(const RecoveredMessage& found, bool is_quiet) const {
    EXPECT_FALSE(is_removed_) << "removed, and back: " << found.id;
    EXPECT_FALSE(is_gone()) << "delivered to all, and back: " << found.id;
    EXPECT_FALSE(is_refused && is_quiet) << "refused, and there: " << found.id;
    EXPECT_EQ(found.recipients_count, recipients);
    EXPECT_EQ(found.accepted_at, accepted_at);
    const std::set<std::uint32_t> delivered = settled(found, RecipientState::delivered);
    EXPECT_TRUE(includes(delivered_, delivered)) << "never delivered: " << found.id;
    EXPECT_TRUE(includes(delivered, delivered_for_sure_)) << "delivered, and not so: " << found.id;
    EXPECT_TRUE(settled(found, RecipientState::bounced).empty()) << "half removed: " << found.id;
    if (!is_acknowledged) {
        return Found::nothing_under_way; // nobody knew of it
    }
    const auto fits_found = [&](const Standing& standing) { return fits(standing, found); };
    const bool is_before = std::ranges::any_of(may_be_, fits_found);
    const bool is_after = std::ranges::any_of(may_become_, fits_found);
    EXPECT_TRUE(is_before || is_after)
        << "neither as before nor as after what was asked of it: " << found.id << ", "
        << (found.is_on_hold ? "held" : "not held") << ", "
        << settled(found, RecipientState::failed).size() << " failed, its time from "
        << found.expires_from.time_since_epoch().count() << words_of(may_be_)
        << (may_become_.empty() ? "" : "; after it") << words_of(may_become_);
    if (!command_) {
        return Found::nothing_under_way;
    }
    return is_before && is_after ? Found::either : is_after ? Found::after : Found::before;
}

CrashMessage::Found CrashMessage::judge_missing() const {
    EXPECT_TRUE(!is_acknowledged || is_over() || may_be_removed_) << "lost";
    return command_ == MarkKind::removed ? Found::after : Found::nothing_under_way;
}

} // namespace ringmx::spool
